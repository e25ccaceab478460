"""Where a session begins with a user whom no training has seen: strategies on one device.

A run with `coldstart.users` leaves the sums over clients that each strategy needs in its model
(`fedrec.models.export_starts`).  Here one user is served by them as `fedrec.coldstart` serves
all strangers of a run: by counts, by a vector that others have (a mean, what attributes say,
the nearest prototype of taste) or that follows from what is revealed, by sums over it, or by
a mixture that moves from one to another with each event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.on_device import code_of, mean_prototype, nearest_prototype
from fedrec.models.export_starts import Kept
from fedrec.serving.past import Past
from fedrec.serving.reasons import EXACT, LEFT_OUT, Shares
from fedrec.serving.session import Adaptation

Scores = NDArray[np.float32]
Vectors = Mapping[str, NDArray]
"""Personal parameters of one user, name -> float32 [...]."""
Rules = Mapping[str, Mapping[str, Any]]
MOST = 10
"""Latest items of the history that are left out one by one for an explanation."""


class Fitting(Protocol):
    """A model with personal parameters, which may be given or fitted to a past."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """See `Adaptation`."""

    def of_user(self, attributes: Mapping[str, Any]) -> Any:
        """See `Adaptation`."""

    def fitted(self, past: Past, begin: Vectors) -> dict[str, NDArray]:
        """Return personal parameters fitted to a past that is not empty, from a beginning on."""

    def scored(self, values: Vectors, past: Past) -> Scores:
        """Return the scores of all items with these personal parameters, float32 [I]."""


@dataclass(frozen=True, eq=False)
class Counted:
    """The same scores for everybody: popularity, of all time or of late.

    Attributes:
        counts: float [I].
        how: in words.
    """

    counts: NDArray
    how: str = "nothing is adapted: all users are shown what is popular"
    attributes: tuple[str, ...] = ()

    def of_user(self, attributes: Mapping[str, Any]) -> Counted:
        """See `Adaptation`: no attribute is read."""
        return self

    def start(self, past: Past) -> None:
        """There is no state."""

    def grown(self, state: None, past: Past) -> None:
        """See `start`."""

    def scores(self, state: None, past: Past) -> Scores:
        """Return the counts as scores, float32 [I]."""
        return np.asarray(self.counts, np.float32)

    def shares(self, state: None, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return the counts."""
        nothing = np.zeros((len(items), len(past)))
        return Shares(nothing, {("popularity", ""): self.counts[items]}, EXACT)


@dataclass(frozen=True, eq=False)
class Segments:
    """Popularity among people with the user's attributes (naive Bayes).

    Attributes:
        share: float [I], the logarithm of each item's share of interactions.
        lifts: attribute -> float [V, I], what each of its values adds.
        rules: attribute -> how a value becomes its code.
        codes: of the user's values; unknown where they are left out.
    """

    share: NDArray
    lifts: Mapping[str, NDArray]
    rules: Rules
    codes: Mapping[str, int]

    how = "nothing is adapted: users of like attributes are shown what is popular among them"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of the segments."""
        return tuple(self.rules)

    def of_user(self, attributes: Mapping[str, Any]) -> Segments:
        """Return the same for a user of these attributes."""
        return replace(self, codes=coded(self.rules, attributes))

    def start(self, past: Past) -> None:
        """There is no state."""

    def grown(self, state: None, past: Past) -> None:
        """See `start`."""

    def scores(self, state: None, past: Past) -> Scores:
        """Return the scores of all items, float32 [I]."""
        lifts = [self.lifts[name][code] for name, code in self.codes.items()]
        return np.asarray(self.share + sum(lifts), np.float32)

    def shares(self, state: None, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return popularity and what each attribute adds."""
        told = {("popularity", ""): self.share[items]}
        for name, code in self.codes.items():
            told["user attribute", name] = self.lifts[name][code, items]
        return Shares(np.zeros((len(items), len(past))), told, EXACT)


@dataclass(frozen=True, eq=False)
class Given:
    """Personal parameters that others have made: their mean, or what attributes say.

    Attributes:
        own: the model.
        values: of the user.
        maps: name -> float [1 + A, ...], from a one and the codes as ones; none: the same
            values for all.
        rules: attribute -> how a value becomes its code.
        widths: attribute -> how many codes it has.
    """

    own: Fitting
    values: Vectors
    maps: Mapping[str, NDArray]
    rules: Rules
    widths: Mapping[str, int]

    @property
    def how(self) -> str:
        """In words."""
        told = "what its attributes say of it" if self.maps else "the mean of all clients"
        return f"nothing is adapted: the user's vector is {told}"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of the map, and those that the model reads."""
        return tuple(dict.fromkeys((*self.own.attributes, *self.rules)))

    def of_user(self, attributes: Mapping[str, Any]) -> Given:
        """Return the same for a user of these attributes."""
        found = replace(self, own=of_model(self.own, attributes))
        if not self.maps:
            return found
        codes = coded(self.rules, attributes)
        row = np.concatenate([[1.0], *(np.eye(self.widths[n])[c] for n, c in codes.items())])
        values = {n: np.tensordot(row, v, 1).astype(np.float32) for n, v in self.maps.items()}
        return replace(found, values=values)

    def start(self, past: Past) -> None:
        """There is no state beside the values."""

    def grown(self, state: None, past: Past) -> None:
        """See `start`."""

    def scores(self, state: None, past: Past) -> Scores:
        """Return the scores of all items, float32 [I]."""
        return self.own.scored(self.values, past)

    def shares(self, state: None, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return the score itself: nothing of the history is in it."""
        told = self.scores(state, past)[items]
        return Shares(np.zeros((len(items), len(past))), {("start", ""): told}, EXACT)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Personal parameters fitted to what is revealed, from a beginning on.

    Attributes:
        own: the model.
        begin: where they begin; what is not named where the model begins.
    """

    own: Fitting
    begin: Vectors

    how = "personal parameters are fitted to the history, with the shared part frozen"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those that the model reads."""
        return self.own.attributes

    def of_user(self, attributes: Mapping[str, Any]) -> Self:
        """Return the same for a user of these attributes."""
        return replace(self, own=of_model(self.own, attributes))

    def start(self, past: Past) -> dict[str, NDArray]:
        """Return the personal parameters of a past."""
        return self.own.fitted(past, self.begin) if len(past) else dict(self.begin)

    def grown(self, state: dict[str, NDArray], past: Past) -> dict[str, NDArray]:
        """As `start`: a history leads to one state, however it came."""
        return self.start(past)

    def scores(self, state: dict[str, NDArray], past: Past) -> Scores:
        """Return the scores of all items, float32 [I]."""
        return self.own.scored(state, past)

    def shares(self, state: dict[str, NDArray], past: Past, items: NDArray[np.int64]) -> Shares:
        """Return what the scores lose without an item of the history."""
        return left_out(self, state, past, items)


@dataclass(frozen=True, eq=False)
class NearPrototype(Fitted):
    """The nearest prototype of taste, and the user's own vector as more is revealed.

    Attributes:
        vectors: float64 [P, D], the prototypes.
        shapes: name -> shape of the personal parameters that they are made of, in order.
        prior: interactions that the nearest prototype counts for.
    """

    vectors: NDArray[np.float64]
    shapes: Mapping[str, tuple[int, ...]]
    prior: float

    how = "the nearest prototype of taste, and the own vector more and more with each event"

    def start(self, past: Past) -> dict[str, NDArray]:
        """Return ``(n own + m nearest) / (n + m)`` of n events; without any the mean prototype."""
        if not len(past):
            return dict(self.begin)
        own = self._own(past)
        near, shown = self.vectors[self._nearest(own)], len(past)
        return parts((shown * own + self.prior * near) / (shown + self.prior), self.shapes)

    def _own(self, past: Past) -> NDArray[np.float32]:
        found = self.own.fitted(past, self.begin)
        return np.concatenate([np.ravel(found[name]) for name in self.shapes]).astype(np.float32)

    def _nearest(self, own: NDArray) -> int:
        return int(nearest_prototype(own[None], self.vectors)[0])

    def about(self, state: dict[str, NDArray], past: Past) -> dict[str, Any]:
        """Return which prototype is nearest, and how much it counts; none without a history."""
        if not len(past):
            return {"prototypes": len(self.vectors)}
        weight = self.prior / (len(past) + self.prior)
        return {
            "prototypes": len(self.vectors),
            "prototype": self._nearest(self._own(past)),
            "weight": round(weight, 3),
        }


@dataclass(frozen=True, eq=False)
class OrCounts:
    """A model that reads the history, and popularity as long as there is none.

    Attributes:
        own: the model.
        counts: float [I].
    """

    own: Adaptation
    counts: NDArray

    @property
    def how(self) -> str:
        """In words."""
        return self.own.how

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those that the model reads."""
        return self.own.attributes

    def of_user(self, attributes: Mapping[str, Any]) -> OrCounts:
        """Return the same for a user of these attributes."""
        return replace(self, own=of_model(self.own, attributes))

    def start(self, past: Past) -> Any:
        """Return the state of the model."""
        return self.own.start(past)

    def grown(self, state: Any, past: Past) -> Any:
        """Return the state of the model after one more event."""
        return self.own.grown(state, past)

    def scores(self, state: Any, past: Past) -> Scores:
        """Return the scores of all items, float32 [I]."""
        if not len(past):
            return np.asarray(self.counts, np.float32)
        return self.own.scores(state, past)

    def shares(self, state: Any, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return the model's shares, or the counts."""
        if not len(past):
            return Counted(self.counts).shares(None, past, items)
        return self.own.shares(state, past, items)


def of_model(own: Any, attributes: Mapping[str, Any]) -> Any:
    """Return a model for a user of those attributes that it reads."""
    read = {name: attributes[name] for name in own.attributes if name in attributes}
    return own.of_user(read) if own.attributes else own


def coded(rules: Rules, attributes: Mapping[str, Any]) -> dict[str, int]:
    """Return the code of each attribute of a user, 0 where it is unknown."""
    return {name: code_of(name, rule, attributes.get(name)) for name, rule in rules.items()}


def parts(joined: NDArray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray]:
    """Return a vector [D] as the named parameters that it is made of."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
    cut = np.split(np.asarray(joined, np.float32), ends)
    return {n: part.reshape(shapes[n]) for n, part in zip(shapes, cut, strict=True)}


def near_prototype(own: Fitting, kept: Kept) -> NearPrototype:
    """Return the strategy of prototypes from what a run has kept of them."""
    shapes = {name: tuple(shape) for name, shape in kept.facts["shapes"].items()}
    vectors = kept.arrays["vectors"]
    mean = mean_prototype(vectors, kept.arrays["counts"])
    return NearPrototype(own, parts(mean, shapes), vectors, shapes, float(kept.facts["prior"]))


def left_out(adaptation: Adaptation, state: Any, past: Past, items: NDArray[np.int64]) -> Shares:
    """Return what scores lose without each of the latest items of the history."""
    told = np.zeros((len(items), len(past)))
    whole = adaptation.scores(state, past)[items]
    for at in range(max(0, len(past) - MOST), len(past)):
        less = without(past, at)
        told[:, at] = whole - adaptation.scores(adaptation.start(less), less)[items]
    return Shares(told, {}, LEFT_OUT)


def without(past: Past, at: int) -> Past:
    """Return a past without one of its events."""
    kept = np.arange(len(past)) != at
    return Past(past.items[kept], past.labels[kept], past.levels[kept])
