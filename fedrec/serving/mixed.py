"""A mixture of strategies on one device, which moves with each event that is observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.on_device import standard, weights_place
from fedrec.serving.past import Past
from fedrec.serving.reasons import LEFT_OUT, Shares
from fedrec.serving.session import Adaptation
from fedrec.serving.starts import MOST, Scores, of_model, without


@dataclass(frozen=True, eq=False)
class Mixed:
    """The weighted sum of standardised scores (`fedrec.coldstart.mixture`).

    Attributes:
        parts: strategy -> how it serves this user.
        ends: numbers of events that weights were learnt for, ascending.
        weights: strategy -> weight, for each of these, and last for more events.
    """

    parts: Mapping[str, Adaptation]
    ends: Sequence[int]
    weights: Sequence[Mapping[str, float]]

    how = "scores of several strategies, weighted by how much is known of the user"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those that any of the strategies reads."""
        return tuple(dict.fromkeys(n for part in self.parts.values() for n in part.attributes))

    def of_user(self, attributes: Mapping[str, Any]) -> Mixed:
        """Return the same for a user of these attributes."""
        return replace(self, parts={n: of_model(p, attributes) for n, p in self.parts.items()})

    def _used(self, past: Past) -> dict[str, float]:
        place = int(weights_place(self.ends, np.array([len(past)]))[0])
        return {name: w for name, w in self.weights[place].items() if w}

    def start(self, past: Past) -> dict[str, Any]:
        """Return the states of the strategies that count at this number of events."""
        return {name: self.parts[name].start(past) for name in self._used(past)}

    def grown(self, state: dict[str, Any], past: Past) -> dict[str, Any]:
        """Return the states after one more event; who counts anew starts from the whole past."""
        return {
            name: self.parts[name].grown(state[name], past)
            if name in state
            else self.parts[name].start(past)
            for name in self._used(past)
        }

    def scores(self, state: dict[str, Any], past: Past) -> Scores:
        """Return the scores of all items, float32 [I]."""
        return self._mixed(state, past, self._used(past))

    def _mixed(self, state: Mapping[str, Any], past: Past, used: Mapping[str, float]) -> Scores:
        own = {n: standard(self.parts[n].scores(state[n], past)[None])[0] for n in used}
        return np.asarray(sum(np.float32(w) * own[n] for n, w in used.items()), np.float32)

    def shares(self, state: dict[str, Any], past: Past, items: NDArray[np.int64]) -> Shares:
        """Return what the scores lose without an item of the history, the weights unchanged."""
        used, told = self._used(past), np.zeros((len(items), len(past)))
        whole = self._mixed(state, past, used)[items]
        for at in range(max(0, len(past) - MOST), len(past)):
            less = without(past, at)
            states = {name: self.parts[name].start(less) for name in used}
            told[:, at] = whole - self._mixed(states, less, used)[items]
        return Shares(told, {}, LEFT_OUT)

    def about(self, state: dict[str, Any], past: Past) -> dict[str, Any]:
        """Return the weights at this number of events, the largest first."""
        order = sorted(self._used(past).items(), key=lambda one: -one[1])
        return {"events": len(past), "weights": {name: round(w, 3) for name, w in order}}
