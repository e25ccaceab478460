"""Methods below their centralised twins, and what is changed to see why (twin_gap.py)."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.board.entries import Keys

FIRST = "federated, as first chosen"
TWIN = "the twin"


@dataclass(frozen=True)
class Case:
    """One way to train a method.

    Attributes:
        name: what is changed.
        keys: dotted key -> value, on top of the method's file.
        system: "federated" or "centralised".
    """

    name: str
    keys: Keys
    system: str = "federated"


@dataclass(frozen=True)
class Gap:
    """A method on a data set, and the cases that are compared.

    Attributes:
        method: its file of experiments/leaderboard.
        data: the data set, a key of `experiments.board.entries.DATA`.
        cases: the first is the federated system as first chosen, the second its twin.
    """

    method: str
    data: str
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        """How it is called in the figures: "sasrec on ml-100k"."""
        return f"{self.method} on {self.data}"


_PLAIN: Keys = {
    "server.schedule": "constant",
    "central.schedule": "constant",
    "central.epochs": 12,
    "train.l2": 0.0,
}
FADING: Keys = {"server.schedule": "cosine"}
DECAY: Keys = {"train.l2": 0.1}
SEQUENCE: Keys = {
    **_PLAIN,
    "clients.per_round": 200,
    "train.rounds": 100,
    "evaluate.every": 5,
    "server.weighting": "equal",
}
_SLOW: Keys = {"server.table_lr": 0.01, "server.weight_lr": 0.003}
_SASREC: Keys = {**SEQUENCE, "model.ahead": 1, "model.history": 20}
LONGER: Keys = {"server.table_lr": 0.05, "server.weight_lr": 0.01}
CENTRAL: Keys = {"central.lr": 0.01, "central.l2": 0.001}
TWIN_FADING: Keys = {"central.schedule": "cosine"}
MANY: Keys = {**_PLAIN, "clients.per_round": 50, "train.rounds": 400, "evaluate.every": 20}
SAMPLES: Keys = {"server.weighting": "samples"}
_TWICE: Keys = {"clients.per_round": 100, "train.rounds": 200, "evaluate.every": 10}
_NEXTITNET: Keys = {
    **SEQUENCE,
    "model.ahead": 3,
    "model.history": 50,
    "server.table_lr": 0.05,
    "server.weight_lr": 0.01,
    "central.lr": 0.01,
    "central.l2": 0.0001,
}
_HEADS: Keys = {
    "train.rounds": 60,
    "train.row_lr": 40000.0,
    "train.personal_lr": 0.1,
    "train.negatives": 8,
    "train.l2": 0.0,
    "server.rows": "mean",
    "server.table_optimizer": "sgd",
    "server.table_lr": 1.0,
    "evaluate.table": "averaged",
}
_AVERAGED: Keys = {
    "server.schedule": "constant",
    "clients.per_round": 100,
    "train.rounds": 300,
    "evaluate.every": 20,
    "model.dim": 32,
    "train.lr": 8.0,
    "train.personal_lr": 8.0,
    "train.negatives": 4,
    "train.l2": 0.0,
    "server.table_lr": 0.02,
}
_FASTER: Keys = {"train.personal_lr": 32.0}
_WIDER: Keys = {"clients.per_round": 200}
_PULLED: Keys = {"train.l2": 0.001, "train.negatives": 8}
_DECAY: Keys = {"train.l2": 0.01}
_RECONSTRUCTED: Keys = {
    "train.rounds": 60,
    "model.dim": 64,
    "train.personal_lr": 3.0,
    "train.personal_steps": 20,
    "train.l2": 0.003,
    "train.support": 0.5,
    "server.table_lr": 0.1,
    "evaluate.every": 10,
}
KEPT: Keys = {
    "train.method": "alternating",
    "train.optimizer": "adam",
    "train.reduction": "sum",
    "train.personal_steps": 3,
    "train.personal_lr": 0.05,
    "train.l2": 0.01,
    "train.rounds": 50,
    "server.table_lr": 0.05,
}
POOLED: Keys = {
    "model.dim": 32,
    "train.negatives": 8,
    "central.optimizer": "adam",
    "central.epochs": 20,
    "central.batch": 1024,
    "central.lr": 0.01,
    "central.l2": 0.01,
}
EVERYONE: Keys = {
    "clients.sampling": "all",
    "evaluate.every": 5,
    "server.rows": "sum",
    "server.weighting": "equal",
}
_MORE: Keys = {"train.support": 0.8}
_MORE_STEPS: Keys = {"train.personal_steps": 50}
_ADAM: Keys = {
    "train.row_lr": 1.0,
    "server.rows": "sum",
    "server.table_optimizer": "adam",
    "server.table_lr": 0.05,
}
_GRAPH: Keys = {
    "train.negatives": 4,
    "train.rounds": 60,
    "evaluate.every": 10,
    "train.row_lr": 13456.0,
    "train.personal_lr": 0.3,
    "train.prox_mu": 7e-5,
    "train.neighbour_factor": 1.1,
    "evaluate.table": "personalised",
}
ALIKE: Keys = {"train.method": "pfedrec", "evaluate.table": "averaged"}
_MACHINE: Keys = {
    "train.rounds": 50,
    "evaluate.every": 5,
    "model.loss": "logistic",
    "train.personal_lr": 0.05,
    "train.l2": 0.01,
    "server.table_lr": 0.05,
    "server.weight_lr": 0.003,
}
_TOWERS: Keys = {**_MACHINE, "model.tower": "64 32"}
_TOWERS_TWIN: Keys = {**_TOWERS, "central.lr": 0.01, "central.l2": 0.001}

FILMS: tuple[Gap, ...] = (
    Gap(
        "sasrec",
        "ml-100k",
        (
            Case(FIRST, {**SEQUENCE, **_SLOW, "model.ahead": 3, "model.history": 10}),
            Case(TWIN, {**_SASREC, **CENTRAL}, "centralised"),
            Case(
                "the twin, batches as large as a round's",
                {**_SASREC, **CENTRAL, "central.batch": 12288},
                "centralised",
            ),
            Case("federated, the twin's model", {**_SASREC, **_SLOW}),
            Case(
                "and 4 times the steps, of a quarter of the clients", {**_SASREC, **_SLOW, **MANY}
            ),
            Case("and clients count by their samples", {**_SASREC, **_SLOW, **MANY, **SAMPLES}),
            Case("and steps are longer", {**_SASREC, **MANY, **SAMPLES, **LONGER}),
            Case(
                "and grow shorter (a cosine)",
                {**_SASREC, **MANY, **SAMPLES, **LONGER, **FADING},
            ),
            Case(
                "and weight decay",
                {**_SASREC, **MANY, **SAMPLES, **LONGER, **FADING, **DECAY},
            ),
            Case(
                "the twin, steps grow shorter",
                {**_SASREC, **CENTRAL, **TWIN_FADING},
                "centralised",
            ),
        ),
    ),
    Gap(
        "pfedrec",
        "ml-100k",
        (
            Case(FIRST, _HEADS),
            Case(TWIN, {**_HEADS, "central.lr": 0.003, "central.l2": 0.01}, "centralised"),
            Case(
                "the twin without weight decay",
                {**_HEADS, "central.lr": 0.003, "central.l2": 0.0},
                "centralised",
            ),
            Case("federated, the twin's optimiser, Adam, at the server", {**_HEADS, **_ADAM}),
            Case("and the twin's weight decay", {**_HEADS, **_ADAM, **_DECAY}),
        ),
    ),
    Gap(
        "fedavg-mf",
        "ml-100k",
        (
            Case(FIRST, _AVERAGED),
            Case(
                TWIN,
                {
                    **_AVERAGED,
                    "train.negatives": 8,
                    "central.epochs": 20,
                    "central.batch": 1024,
                    "central.lr": 0.01,
                    "central.l2": 0.01,
                },
                "centralised",
            ),
            Case("federated, user vectors learn faster", {**_AVERAGED, "train.personal_lr": 32.0}),
            Case("and twice the clients in a round", {**_AVERAGED, **_FASTER, **_WIDER}),
            Case("and weight decay", {**_AVERAGED, **_FASTER, **_WIDER, "train.l2": 0.001}),
            Case("and the twin's negatives", {**_AVERAGED, **_FASTER, **_WIDER, **_PULLED}),
            Case(
                "no local steps on rows: one gradient of all clients (FedMF)",
                {**_AVERAGED, **KEPT, **EVERYONE},
            ),
        ),
    ),
    Gap(
        "nextitnet",
        "ml-100k",
        (
            Case(FIRST, _NEXTITNET),
            Case(TWIN, {**_NEXTITNET, "model.history": 20}, "centralised"),
            Case(
                "the twin, batches as large as a round's",
                {**_NEXTITNET, "model.history": 20, "central.batch": 12288},
                "centralised",
            ),
            Case("federated, clients count by their samples", {**_NEXTITNET, **SAMPLES}),
            Case(
                "and twice the steps, of half the clients",
                {**_NEXTITNET, **SAMPLES, **_TWICE},
            ),
            Case("and again", {**_NEXTITNET, **SAMPLES, **MANY}),
            Case(
                "and steps grow shorter (a cosine)",
                {**_NEXTITNET, **SAMPLES, **MANY, **FADING},
            ),
            Case(
                "the twin, steps grow shorter",
                {**_NEXTITNET, "model.history": 20, **TWIN_FADING},
                "centralised",
            ),
        ),
    ),
    Gap(
        "fedrecon",
        "ml-100k",
        (
            Case(FIRST, _RECONSTRUCTED),
            Case(TWIN, {**_RECONSTRUCTED, **KEPT, **POOLED}, "centralised"),
            Case("federated, user vectors are kept", {**_RECONSTRUCTED, **KEPT}),
            Case("reconstructed, the support is 80% of a history", {**_RECONSTRUCTED, **_MORE}),
            Case("and 50 steps of reconstruction", {**_RECONSTRUCTED, **_MORE, **_MORE_STEPS}),
            Case(
                "reconstructed, steps of the server half as long",
                {**_RECONSTRUCTED, "server.table_lr": 0.05},
            ),
        ),
    ),
    Gap(
        "gpfedrec",
        "ml-100k",
        (
            Case(FIRST, _GRAPH),
            Case(TWIN, {**_GRAPH, "central.lr": 0.01, "central.l2": 0.001}, "centralised"),
            Case("federated, no graph: everyone is alike (PFedRec)", {**_GRAPH, **ALIKE}),
            Case("and longer steps of rows", {**_GRAPH, **ALIKE, "train.row_lr": 40000.0}),
        ),
    ),
    Gap(
        "deepfm",
        "ml-100k",
        (
            Case(FIRST, {**_MACHINE, "model.tower": "32"}),
            Case(TWIN, _TOWERS_TWIN, "centralised"),
            Case(
                "the twin, batches of 65,536",
                {**_TOWERS_TWIN, "central.batch": 65536},
                "centralised",
            ),
            Case("federated, the twin's model", _TOWERS),
            Case("and twice the rounds", {**_TOWERS, "train.rounds": 100, "evaluate.every": 10}),
        ),
    ),
)
