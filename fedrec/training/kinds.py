"""What is fixed when a phase of local training is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedrec.models.recommender import Recommender
from fedrec.training.optimizers import adam_init
from fedrec.training.rows import entities, personal_tables


@dataclass(frozen=True)
class Kind:
    """What is fixed when a phase is compiled.

    Attributes:
        model: the model.
        shared: whether rows and weights move.
        personal: whether personal parameters (and users' rows, and own tables) move.
        optimizer: "sgd" or "adam".
        proximal: whether shared parameters are pulled to what was received, or to guides.
        decays: whether there is an l2 penalty.
        factored: row changes are returned as factors; only those that a later step
            reads are also kept as rows.
        rank_one: factors are one number a sample and one vector a batch; otherwise one
            vector a sample.
        personal_first: in a step personal parameters move first, the rest after them.
        sparse: whether there is an l1 penalty of shared rows.
        apart: whether own rows are driven from the shared rows of the same items.
        drifts: whether something is added to every gradient of what is shared.
    """

    model: Recommender
    shared: bool
    personal: bool
    optimizer: str
    proximal: bool
    decays: bool
    factored: bool
    rank_one: bool
    personal_first: bool = False
    sparse: bool = False
    apart: bool = False
    drifts: bool = False

    @property
    def turns(self) -> tuple[Kind, ...]:
        """What moves in a step, one after the other, each along a gradient of its own."""
        if not self.personal_first:
            return (self,)
        return (replace(self, shared=False), replace(self, personal=False))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables whose rows move."""
        return moving_tables(self.model, self.shared, self.personal)


def moving_tables(model: Recommender, shared: bool, personal: bool) -> tuple[str, ...]:
    """Return the tables whose rows move: users' rows and own tables are personal."""
    of_all = entities(model).items()
    moving = [table for table, e in of_all if (personal if e == "user" else shared)]
    return (*moving, *(personal_tables(model) if personal else ()))


def fresh_moments(kind: Kind, state: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what an optimiser starts with: group -> name -> moments; nothing for SGD."""
    if kind.optimizer != "adam":
        return {}
    moments = {"rows": adam_init({t: state["rows"][t] for t in kind.tables})}
    if kind.shared:
        moments["weights"] = adam_init(state["weights"])
    if kind.personal:
        moments["personal"] = adam_init(state["personal"])
    return moments
