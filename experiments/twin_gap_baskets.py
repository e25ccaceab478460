"""Why sequence models are below their centralised twins on Complete Journey (twin_gap.py)."""

from __future__ import annotations

from experiments.board.entries import Keys
from experiments.twin_gap_cases import (
    CENTRAL,
    DECAY,
    FADING,
    FIRST,
    LONGER,
    MANY,
    SAMPLES,
    SEQUENCE,
    TWIN,
    TWIN_FADING,
    Case,
    Gap,
)

_GRU: Keys = {
    **SEQUENCE,
    "model.ahead": 1,
    "model.history": 50,
    "server.table_lr": 0.05,
    "server.weight_lr": 0.003,
}
_BASKETS: Keys = {
    **SEQUENCE,
    "model.ahead": 3,
    "model.history": 20,
    "server.table_lr": 0.02,
    "server.weight_lr": 0.01,
}
_LONG: Keys = {**_BASKETS, "model.ahead": 1, "model.history": 50}
_LONG_TWIN: Keys = {**_LONG, "central.lr": 0.01, "central.l2": 0.0001}
_FEW: Keys = {
    **MANY,
    **SAMPLES,
    "model.ahead": 1,
    "model.history": 20,
    "server.table_lr": 0.02,
    "server.weight_lr": 0.01,
}
_HALF: Keys = {"clients.per_round": 25, "train.rounds": 800, "evaluate.every": 40}
_TWICE: Keys = {"train.rounds": 800, "evaluate.every": 40}
_THRICE: Keys = {"train.rounds": 1200, "evaluate.every": 60}
_SHORTER: Keys = {**MANY, **SAMPLES, **_TWICE, **FADING, **LONGER}
_TWIN_LONGER: Keys = {**TWIN_FADING, "central.epochs": 24}
_FEW_LONG: Keys = {**_FEW, "model.history": 50}
_FEW_TWIN: Keys = {**_FEW_LONG, **CENTRAL, "central.l2": 0.0001}

BASKETS: tuple[Gap, ...] = (
    Gap(
        "gru4rec",
        "complete-journey",
        (
            Case(FIRST, _GRU),
            Case(TWIN, {**_GRU, **CENTRAL}, "centralised"),
            Case(
                "the twin, batches as large as a round's",
                {**_GRU, **CENTRAL, "central.batch": 65536},
                "centralised",
            ),
            Case("federated, clients count by their samples", {**_GRU, **SAMPLES}),
            Case("and 4 times the steps, of a quarter of the clients", {**_GRU, **SAMPLES, **MANY}),
            Case("and again twice the steps, which grow shorter (a cosine)", {**_GRU, **_SHORTER}),
            Case("and weight decay", {**_GRU, **_SHORTER, **DECAY}),
            Case("the twin, steps grow shorter", {**_GRU, **CENTRAL, **TWIN_FADING}, "centralised"),
            Case("and twice the epochs", {**_GRU, **CENTRAL, **_TWIN_LONGER}, "centralised"),
        ),
    ),
    Gap(
        "sasrec",
        "complete-journey",
        (
            Case(FIRST, _FEW),
            Case(TWIN, _FEW_TWIN, "centralised"),
            Case("federated, the twin's history", _FEW_LONG),
            Case("twice the steps, of half the clients", {**_FEW, **_HALF}),
            Case("twice the steps, of as many clients", {**_FEW, **_TWICE}),
            Case(
                "three times the steps, longer ones that grow shorter (a cosine)",
                {**_FEW_LONG, **_SHORTER, **_THRICE},
            ),
            Case("and weight decay", {**_FEW_LONG, **_SHORTER, **_THRICE, **DECAY}),
            Case(
                "the twin, steps grow shorter",
                {**_FEW_TWIN, **TWIN_FADING},
                "centralised",
            ),
            Case(
                "and twice the epochs",
                {**_FEW_TWIN, **_TWIN_LONGER},
                "centralised",
            ),
        ),
    ),
    Gap(
        "nextitnet",
        "complete-journey",
        (
            Case(FIRST, _BASKETS),
            Case(TWIN, _LONG_TWIN, "centralised"),
            Case(
                "the twin, batches as large as a round's",
                {**_LONG_TWIN, "central.batch": 65536},
                "centralised",
            ),
            Case("federated, the twin's model", _LONG),
            Case("and 4 times the steps, of a quarter of the clients", {**_LONG, **MANY}),
            Case("and clients count by their samples", {**_LONG, **MANY, **SAMPLES}),
            Case("and again twice the steps, which grow shorter (a cosine)", {**_LONG, **_SHORTER}),
            Case("and weight decay", {**_LONG, **_SHORTER, **DECAY}),
            Case("the twin, steps grow shorter", {**_LONG_TWIN, **TWIN_FADING}, "centralised"),
            Case("and twice the epochs", {**_LONG_TWIN, **_TWIN_LONGER}, "centralised"),
        ),
    ),
)
