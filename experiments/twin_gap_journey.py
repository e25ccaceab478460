"""Why methods are below their centralised twins on Complete Journey (twin_gap.py)."""

from __future__ import annotations

from experiments.board.entries import Keys
from experiments.twin_gap_cases import (
    ALIKE,
    EVERYONE,
    FADING,
    FIRST,
    KEPT,
    POOLED,
    TWIN,
    Case,
    Gap,
)

_NCF: Keys = {
    "server.schedule": "constant",
    "clients.per_round": 800,
    "train.rounds": 60,
    "train.negatives": 2,
    "train.personal_lr": 0.1,
    "train.l2": 0.003,
    "server.table_lr": 0.02,
    "server.weight_lr": 0.01,
    "evaluate.every": 5,
    "central.lr": 0.003,
}
_NCF_TWIN: Keys = {**_NCF, "train.negatives": 4, "central.lr": 0.001, "central.l2": 0.0}
_FREE: Keys = {"train.negatives": 4, "train.l2": 0.0}
_LARGE: Keys = {"central.batch": 262144}
_HALVED: Keys = {
    "clients.sampling": "fixed",
    "clients.per_round": 1234,
    "train.rounds": 100,
    "evaluate.every": 10,
}
_JOURNEY: Keys = {
    "server.schedule": "constant",
    "train.rounds": 50,
    "evaluate.every": 5,
    "model.dim": 32,
    "train.negatives": 4,
    "train.personal_lr": 0.05,
    "train.l2": 0.01,
    "server.table_lr": 0.05,
}
_GRAPH: Keys = {
    "train.rounds": 20,
    "evaluate.every": 5,
    "train.l2": 0.001,
    "train.row_lr": 4000.0,
    "train.personal_lr": 0.03,
    "train.prox_mu": 3.7e-05,
    "train.neighbour_factor": 1.0,
    "evaluate.table": "averaged",
}
_GRAPH_TWIN: Keys = {**_GRAPH, "central.lr": 0.003, "central.l2": 0.01}
_JOURNEY_TWIN: Keys = {
    **_JOURNEY,
    "train.negatives": 8,
    "central.lr": 0.003,
    "central.l2": 0.01,
}
_ANCHORED: Keys = {
    "server.schedule": "constant",
    "train.rounds": 50,
    "evaluate.every": 5,
    "model.anchor": 0.03,
    "train.personal_lr": 0.05,
    "train.l2": 0.003,
    "server.table_lr": 0.05,
    "server.anchor_steps": 30,
    "central.l2": 0.01,
}
_ANCHORED_TWIN: Keys = {
    **_ANCHORED,
    "model.anchor": 0.003,
    "central.lr": 0.003,
    "central.l2": 0.003,
}
_ANCHORED_FADING: Keys = {**_ANCHORED, "train.l2": 0.01, "train.rounds": 100, **FADING}
_ANCHORED_SLOW: Keys = {
    **_ANCHORED_FADING,
    "model.anchor": 0.003,
    "server.anchor_steps": 5,
    "train.personal_lr": 0.02,
}
_AVERAGED: Keys = {
    "server.schedule": "constant",
    "model.dim": 16,
    "clients.per_round": 100,
    "train.rounds": 300,
    "evaluate.every": 20,
    "train.negatives": 4,
    "train.lr": 2.0,
    "train.personal_lr": 2.0,
    "train.l2": 0.0,
    "server.table_lr": 0.05,
}
_WIDE: Keys = {**_AVERAGED, "model.dim": 32}
_AT_ONCE: Keys = {**_WIDE, **KEPT, **EVERYONE}
_RECONSTRUCTED: Keys = {
    "server.schedule": "constant",
    "model.dim": 32,
    "train.rounds": 40,
    "evaluate.every": 5,
    "train.negatives": 4,
    "train.personal_lr": 10.0,
    "train.personal_steps": 20,
    "train.l2": 0.01,
    "train.support": 0.5,
    "server.table_lr": 0.05,
}
_TOWERS: Keys = {
    "train.rounds": 50,
    "evaluate.every": 5,
    "model.loss": "hinge",
    "model.tower": "32",
    "train.personal_lr": 0.02,
    "train.l2": 0.01,
    "server.table_lr": 0.05,
    "server.weight_lr": 0.003,
}
_TOWERS_TWIN: Keys = {
    **_TOWERS,
    "model.loss": "logistic",
    "central.lr": 0.003,
    "central.l2": 0.01,
}
_FIFTH: Keys = {
    "clients.sampling": "fixed",
    "clients.per_round": 494,
    "train.rounds": 250,
    "evaluate.every": 25,
}
_CROSSED: Keys = {
    "server.schedule": "constant",
    "train.rounds": 100,
    "evaluate.every": 5,
    "model.loss": "logistic",
    "model.tower": "64 32",
    "train.personal_lr": 0.05,
    "train.l2": 0.03,
    "server.table_lr": 0.05,
    "server.weight_lr": 0.01,
}
_CROSSED_TWIN: Keys = {**_CROSSED, "central.lr": 0.003, "central.l2": 0.001}
_HEADS: Keys = {
    "train.row_lr": 4000.0,
    "train.personal_lr": 0.03,
    "train.negatives": 4,
    "train.l2": 0.0,
    "evaluate.table": "averaged",
}
_HEADS_TWIN: Keys = {**_HEADS, "train.negatives": 8, "central.lr": 0.003}
_TWIN: Keys = {
    **POOLED,
    "central.lr": 0.003,
    "central.batch": 4096,
    "central.epochs": 15,
}

JOURNEY: tuple[Gap, ...] = (
    Gap(
        "two_tower",
        "complete-journey",
        (
            Case(FIRST, _TOWERS),
            Case(TWIN, _TOWERS_TWIN, "centralised"),
            Case(
                "the twin, batches of 262,144",
                {**_TOWERS_TWIN, **_LARGE},
                "centralised",
            ),
            Case("twice the rounds", {**_TOWERS, "train.rounds": 100, "evaluate.every": 10}),
            Case("5 times the steps, of a fifth of the clients", {**_TOWERS, **_FIFTH}),
            Case(
                "and steps of the server half as long",
                {**_TOWERS, **_FIFTH, "server.table_lr": 0.02},
            ),
        ),
    ),
    Gap(
        "deepfm",
        "complete-journey",
        (
            Case(FIRST, _CROSSED),
            Case(TWIN, _CROSSED_TWIN, "centralised"),
            Case(
                "the twin, batches of 262,144",
                {**_CROSSED_TWIN, **_LARGE},
                "centralised",
            ),
            Case(
                "steps of the server grow shorter (a cosine)",
                {**_CROSSED, "train.rounds": 50, **FADING},
            ),
        ),
    ),
    Gap(
        "pfedrec",
        "complete-journey",
        (
            Case(FIRST, _HEADS),
            Case(TWIN, {**_HEADS_TWIN, "central.l2": 0.01}, "centralised"),
            Case(
                "the twin without weight decay", {**_HEADS_TWIN, "central.l2": 0.0}, "centralised"
            ),
            Case("federated, weight decay", {**_HEADS, "train.l2": 0.001}),
            Case("federated, steps a quarter as long", {**_HEADS, "train.row_lr": 1000.0}),
            Case(
                "and weight decay",
                {**_HEADS, "train.row_lr": 1000.0, "train.l2": 0.01},
            ),
        ),
    ),
    Gap(
        "gpfedrec",
        "complete-journey",
        (
            Case(FIRST, _GRAPH),
            Case(TWIN, _GRAPH_TWIN, "centralised"),
            Case("federated, no graph: everyone is alike (PFedRec)", {**_GRAPH, **ALIKE}),
        ),
    ),
    Gap(
        "ncf",
        "complete-journey",
        (
            Case(FIRST, _NCF),
            Case(TWIN, _NCF_TWIN, "centralised"),
            Case("the twin, batches of 262,144", {**_NCF_TWIN, **_LARGE}, "centralised"),
            Case("federated, the twin's negatives, no decay", {**_NCF, **_FREE}),
            Case(
                "2.5 times the rounds, steps grow shorter (a cosine)",
                {**_NCF, "train.rounds": 150, **FADING},
            ),
        ),
    ),
    Gap(
        "fedmf",
        "complete-journey",
        (
            Case(FIRST, _JOURNEY),
            Case(TWIN, _JOURNEY_TWIN, "centralised"),
            Case("the twin, batches of 262,144", {**_JOURNEY_TWIN, **_LARGE}, "centralised"),
            Case("federated, the twin's negatives", {**_JOURNEY, "train.negatives": 8}),
            Case("twice the steps, of half the clients", {**_JOURNEY, **_HALVED}),
            Case(
                "twice the steps, of all clients, which grow shorter (a cosine)",
                {**_JOURNEY, "train.rounds": 100, **FADING},
            ),
        ),
    ),
    Gap(
        "ifedrec",
        "complete-journey",
        (
            Case(FIRST, _ANCHORED),
            Case(TWIN, _ANCHORED_TWIN, "centralised"),
            Case("the twin, batches of 262,144", {**_ANCHORED_TWIN, **_LARGE}, "centralised"),
            Case("federated, the twin's weaker pull", {**_ANCHORED, "model.anchor": 0.003}),
            Case("twice the rounds, FedMF's decay, steps grow shorter", _ANCHORED_FADING),
            Case("and the twin's weaker pull, user vectors learn slower", _ANCHORED_SLOW),
        ),
    ),
    Gap(
        "fedavg-mf",
        "complete-journey",
        (
            Case(FIRST, _AVERAGED),
            Case(TWIN, {**_AT_ONCE, **_TWIN}, "centralised"),
            Case("federated, the twin's width, 32", _WIDE),
            Case(
                "and three times the rounds",
                {**_WIDE, "train.rounds": 900, "evaluate.every": 60},
            ),
            Case("no local steps on rows: one gradient of all clients (FedMF)", _AT_ONCE),
            Case(
                "4 times the clients, steps of the server grow shorter (a cosine)",
                {**_AVERAGED, "clients.per_round": 400, **FADING},
            ),
        ),
    ),
    Gap(
        "fedrecon",
        "complete-journey",
        (
            Case(FIRST, _RECONSTRUCTED),
            Case(TWIN, {**_RECONSTRUCTED, **KEPT, **_TWIN}, "centralised"),
            Case("federated, user vectors are kept", {**_RECONSTRUCTED, **KEPT}),
            Case(
                "reconstructed, twice the rounds, steps grow shorter (a cosine)",
                {**_RECONSTRUCTED, "train.rounds": 80, **FADING},
            ),
        ),
    ),
)
