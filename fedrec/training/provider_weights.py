"""A floor under the exposure of groups of items, kept by weights in training.

Biega et al. (SIGIR 2018) ask that providers be exposed in proportion to what they merit, and
Singh and Joachims (KDD 2018) make it a constraint.  Here the constraint is held by its
Lagrangian: minimise the loss so that, for each group g of items (`evaluate.item_group`), the
share e_g of the exposure in lists is at least t m_g, with m_g the share that g merits and t =
server.exposure.  The multiplier of a group rises while the group falls short of the floor and
sinks towards 0 while it does not (dual ascent): after each validation

    lambda_g <- lambda_g + server.exposure_lr (t m_g - e_g) / m_g

and interactions with an item weigh exp(lambda), lambda the mean over the item's groups.  Only
ratios of weights matter, so multipliers are kept at 0 and above, the least at 0, and at most
`MOST`; and weights are divided by their mean, so that learning rates keep their meaning.

Exposure is what nodes measure of the lists that they make on validation, which is told anyway:
no list depends on a held-out item, and with secure aggregation only its sum is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.population import Population
from fedrec.evaluation.providers import LEAST
from fedrec.params import Shared

TABLE = "exposure"
"""Name in `Shared.fixed`: float32 [I, 1], logarithms of the weights of items."""

MOST = 5.0
"""Largest multiplier: an interaction weighs at most exp(5), 148 times another."""


def merits(
    groups: Mapping[str, NDArray[np.float64]], population: Population, by: str
) -> NDArray[np.float64]:
    """Return the share of the exposure that each group merits, float64 [G], in sum at most 1.

    Args:
        groups: name -> float64 [I], the part of each item that counts for the group.
        population: training counts of items.
        by: "interactions", the group's share of the training interactions, or "items", its
            share of the items.
    """
    counts = population.item_counts if by == "interactions" else np.ones(population.num_items)
    shares = np.array([float(counts @ part) for part in groups.values()])
    return shares / max(float(shares.sum()), 1e-12)


def begun(shared: Shared, num_items: int) -> Shared:
    """Return the parameters with equal weights of items."""
    table = np.zeros((num_items, 1), np.float32)
    return replace(shared, fixed={**shared.fixed, TABLE: table})


def stepped(
    log_weights: NDArray[np.float32],
    parts: NDArray[np.float64],
    shown: NDArray[np.float64],
    merit: NDArray[np.float64],
    floor: float,
    rate: float,
) -> NDArray[np.float32]:
    """Return the weights of items after a step of dual ascent.

    Groups that merit less than `LEAST` of the exposure are left alone: what they get is noise.

    Args:
        log_weights: float32 [I, 1], before.
        parts: float64 [G, I], the part of each item that counts for a group.
        shown: float64 [G], share of each group in the exposure.
        merit: float64 [G].
        floor: t, in (0, 1].
        rate: of the step.

    Returns:
        float32 [I, 1], logarithms whose exponentials have the mean 1 over items.
    """
    large = merit >= LEAST
    short = np.where(large, floor - shown / np.maximum(merit, LEAST), 0.0)
    whole = np.maximum(parts.sum(0), 1e-12)
    step = rate * (short @ parts) / whole
    multiplier = log_weights[:, 0].astype(np.float64)
    multiplier = np.maximum(multiplier - multiplier.min(initial=np.inf) + step, 0.0)
    multiplier = np.minimum(multiplier - multiplier.min(initial=np.inf), MOST)
    mean = float(np.exp(multiplier).mean())
    return (multiplier - np.log(mean)).astype(np.float32)[:, None]


def weighted(samples: Samples, shared: Shared) -> Samples:
    """Return samples whose interactions weigh what the server has sent; others stay.

    Args:
        samples: with the field "item", labels above 0 being interactions.
        shared: what the server sent.
    """
    table = shared.fixed.get(TABLE)
    if table is None:
        return samples
    factor = np.exp(table[samples.fields["item"], 0])
    weight = np.where(samples.label > 0, samples.weight * factor, samples.weight)
    return replace(samples, weight=weight.astype(samples.weight.dtype))
