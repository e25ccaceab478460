"""What goes into local training and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.models.recommender import Recommender
from fedrec.params import Personal
from fedrec.training.rows import Factors, RowIndex, Touched
from fedrec.training.steps import Moments, State

Slots = tuple[int, Moments]  # steps taken, moments


@dataclass(frozen=True, eq=False)
class CohortUpdate:
    """The updates of C clients, each still its own.

    Attributes:
        rows: table name -> float32 [T, d], row deltas, client by client; a
            `FactoredRows` writes them out where they are asked for, a `Pulled` trains for them.
        index: table name -> which client and row each delta belongs to.
        weights: name -> float32 [C, ...], dense deltas.
        personal: the new personal parameters, stacked [C, ...].
        samples: float64 [C], weighted samples of each client.
        loss: float64 [C], mean loss over the samples of the last phase.
        slots: optimiser state of the last phase, for a caller that goes on (centralised).
        metrics: name -> float64 [C], more numbers of each client that are to be summed.
        sent: float64 [C], bytes that a compressed update takes; None: row ids and float32.
        steps: int64 [C], steps of each client in the last phase; None if there was none.
    """

    rows: Mapping[str, NDArray[np.float32]]
    index: dict[str, RowIndex]
    weights: Mapping[str, NDArray[np.float32]]
    personal: Personal
    samples: NDArray[np.float64]
    loss: NDArray[np.float64]
    slots: Slots
    metrics: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    sent: NDArray[np.float64] | None = None
    steps: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Cohort:
    """What all phases of a call share: the model, what was received, and the samples."""

    model: Recommender
    start: State
    samples: Samples
    touched: Mapping[str, Touched]
    reduction: str


@dataclass(frozen=True, eq=False)
class Result:
    """What a phase leaves.

    Attributes:
        state: changes since the start.
        slots: steps taken, and moments.
        samples: float64 [C], summed weights of one pass.
        loss: float64 [C], mean over the samples of the phase.
        factors: table name -> changes of its rows, if they are factored.
        steps: int64 [C].
    """

    state: State
    slots: Slots
    samples: NDArray[np.float64]
    loss: NDArray[np.float64]
    factors: dict[str, list[Factors]] | None = None
    steps: NDArray[np.int64] | None = None
