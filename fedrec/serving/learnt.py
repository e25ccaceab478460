"""The strategies that a loaded model offers to begin a session with, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_coldstart import USER_STRATEGIES
from fedrec.config_sequence import SEQUENCE_MODELS
from fedrec.errors import ModelError, nearest
from fedrec.models.export_starts import Kept, read_start, starts_of
from fedrec.models.item_item import ItemItem
from fedrec.serving.mixed import Mixed
from fedrec.serving.session import Adaptation
from fedrec.serving.starts import (
    Counted,
    Fitted,
    Fitting,
    Given,
    OrCounts,
    Segments,
    near_prototype,
)
from fedrec.serving.sums import ItemItemSums

AUTO, MODEL, MIXTURE = "auto", "model", "mixture"


@dataclass(frozen=True, eq=False)
class Learnt:
    """What the sessions of one model may begin with.

    Attributes:
        config: of the run.
        directory: of the model.
        own: how the model itself follows events.
        counts: float [I], popularity that was told or given; None: unknown.
    """

    config: Config
    directory: Path
    own: Adaptation
    counts: NDArray | None
    _built: dict[str, Adaptation] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Strategies that sessions can begin with, in the order of `USER_STRATEGIES`."""
        told = {*starts_of(self.directory), *self._inherent()}
        return tuple(name for name in USER_STRATEGIES if name in told)

    def choose(self, start: str) -> tuple[str, Adaptation]:
        """Return the name of a strategy and the strategy.

        Args:
            start: one of `names`; "model": as the model begins, whose name is ""; "auto": the
                mixture where the run has learnt one, else the model.

        Raises:
            ModelError: if the run has not learnt it.
            CheckpointError: if its file is damaged.
        """
        name = (MIXTURE if MIXTURE in self.names else MODEL) if start == AUTO else start
        if name == MODEL:
            return "", self.own
        if name not in self.names:
            self._refuse(name)
        if name not in self._built:
            self._built[name] = self._build(name)
        return name, self._built[name]

    def _refuse(self, name: str) -> None:
        words = (AUTO, MODEL, *USER_STRATEGIES)
        if name not in words:
            raise ModelError(f"unknown start {name!r}.{nearest(name, words)}")
        offered = ", ".join((MODEL, *self.names))
        raise ModelError(
            f"the run has not learnt the start {name!r}: train with coldstart.users that names it. "
            f"This model offers: {offered}"
        )

    def _inherent(self) -> set[str]:
        """Return the strategies that come with the model itself."""
        method, found = self.config.train.method, set[str]()
        if self.counts is not None:
            found.add("popularity")
        if method == "ease":
            options = self.config.baseline
            found.add("near-ease" if options.ease_window or options.ease_decay else "ease")
        found |= {method} & {"item-knn", "reptile", "fomaml"}
        if self.config.model.name in SEQUENCE_MODELS:
            found.add("sequence")
        return found

    def _build(self, name: str) -> Adaptation:
        learnt = name in starts_of(self.directory)
        kept = read_start(self.directory, name) if learnt else Kept()
        if name == MIXTURE:
            weights = kept.facts["weights"]
            used = dict.fromkeys(n for one in weights for n in one)
            return Mixed({n: self.choose(n)[1] for n in used}, kept.facts["k"], weights)
        if name in ("ease", "near-ease", "item-knn") and learnt:
            return OrCounts(item_sums(name, kept), kept.arrays["counts"])
        if name in ("ease", "near-ease", "item-knn", "sequence"):
            counts = kept.arrays["counts"] if learnt else self.counts
            return self.own if counts is None else OrCounts(self.own, counts)
        if name == "popularity":
            return Counted(kept.arrays["counts"] if learnt else cast("NDArray", self.counts))
        return MAKERS[name](self._fitting, kept)

    def _fitting(self) -> Fitting:
        """Return the model with the local steps that `coldstart.users` measures."""
        own: Any = self.own
        if not hasattr(own, "as_stranger"):
            raise ModelError(
                f"model.name = {self.config.model.name!r} has no personal parameters on a device"
            )
        return cast("Fitting", own.as_stranger(self.config))


def item_sums(name: str, kept: Kept) -> ItemItemSums:
    """Return the sums over the history of EASE or item neighbours."""
    if name == "item-knn":
        table = kept.arrays["table"]
        return ItemItemSums(ItemItem(table.shape[1] // 2), table)
    return ItemItemSums(ItemItem(decay=float(kept.facts["decay"])), kept.arrays["weights"])


def segments(own: Callable[[], Fitting], kept: Kept) -> Segments:
    """Return popularity by segment; a user of whom nothing is told is unknown in all."""
    rules = kept.facts["attributes"]
    return Segments(kept.arrays["share"], kept.group("lift"), rules, dict.fromkeys(rules, 0))


def attribute_map(own: Callable[[], Fitting], kept: Kept) -> Given:
    """Return the vector that attributes say; of a user of whom nothing is told, at first."""
    rules = kept.facts["attributes"]
    widths = {name: int(width) for name, width in kept.facts["widths"].items()}
    return Given(own(), {}, kept.group("map"), rules, widths).of_user({})


MAKERS: dict[str, Callable[[Callable[[], Fitting], Kept], Adaptation]] = {
    "recent-popularity": lambda own, kept: Counted(kept.arrays["counts"]),
    "segment-popularity": segments,
    "mean-vector": lambda own, kept: Given(own(), kept.group("start"), {}, {}, {}),
    "attribute-tower": attribute_map,
    "reconstruction": lambda own, kept: Fitted(own(), kept.group("start")),
    "reptile": lambda own, kept: Fitted(own(), {}),
    "fomaml": lambda own, kept: Fitted(own(), {}),
    "prototypes": lambda own, kept: near_prototype(own(), kept),
}
"""Strategy -> how it is made of the model and of what the run has kept."""
