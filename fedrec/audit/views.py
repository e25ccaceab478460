"""What the server really sees of a round, under a protection.

A view is a list of rows: one block [I, D] for each client if single updates are
visible, or one for everybody if the server sees a sum only.  Noise is in a view
only if it is there before the server looks: noise that the server adds itself to a
sum protects what it publishes, not what it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedrec.audit.rounds import Updates
from fedrec.rng import Purpose, generator

BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Protection:
    """How updates are protected before the server sees them.

    Attributes:
        name: in tables.
        secure: whether the server sees the sum alone.
        threshold: rows with fewer contributors than this never reach the sum; 0: all do.
        noise: standard deviation of Gaussian noise on every entry, over the clip norm:
            of each client's update, or of the whole sum if `secure`; 0: no clipping.
    """

    name: str
    secure: bool
    threshold: int = 0
    noise: float = 0.0


def protections(threshold: int, noise: float) -> tuple[Protection, ...]:
    """Return the protections that are put side by side, from none to all."""
    return (
        Protection("off", secure=False),
        Protection("clipping, noise on each client", secure=False, noise=noise),
        Protection("secure sum", secure=True),
        Protection(f"secure sum, threshold {threshold}", secure=True, threshold=threshold),
        Protection("secure sum, clipping, noise", secure=True, noise=noise),
        Protection(
            f"secure sum, threshold {threshold}, clipping, noise",
            secure=True,
            threshold=threshold,
            noise=noise,
        ),
    )


@dataclass(frozen=True, eq=False)
class View:
    """What the server sees.

    Attributes:
        protection: under which.
        updates: single updates (clipped if the protection clips); None if secure.
        total: float64 [I, D], the sum with its noise; None unless secure.
        hidden: bool [I], rows that the threshold has removed.
        deviation: standard deviation of the noise on an entry; the server knows it.
        seed: of the noise.
        round_number: of the noise.
    """

    protection: Protection
    updates: Updates | None
    total: NDArray[np.float64] | None
    hidden: NDArray[np.bool_]
    deviation: float
    seed: int
    round_number: int

    @property
    def floor(self) -> float:
        """Norm that a row of noise alone exceeds for one item on average."""
        if self.deviation == 0:
            return 0.0
        num_items, width = len(self.hidden), self.width
        return float(self.deviation * np.sqrt(chi2.ppf(1.0 - 1.0 / num_items, width)))

    @property
    def width(self) -> int:
        """Columns of a row, D."""
        rows = self.total if self.updates is None else self.updates.rows
        return 0 if rows is None else int(rows.shape[1])

    def about(self, place: NDArray[np.int64]) -> View:
        """Return the view of some of the clients; a sum is everybody's and stays as it is.

        Args:
            place: int64, positions among the clients of the round, ascending.
        """
        if self.updates is None:
            return self
        return replace(self, updates=self.updates.take(place))

    def blocks(self) -> Iterator[tuple[slice, NDArray]]:
        """Yield clients and what is visible of them, float [b, I, D]; a sum is [1, I, D]."""
        if self.total is not None:
            yield slice(None), self.total[None]
        if self.updates is None:
            return
        updates, count = self.updates, len(self.updates.clients)
        step = max(1, BLOCK_BYTES // (4 * updates.num_items * max(1, self.width)))
        for begin in range(0, count, step):
            end = min(begin + step, count)
            rows = updates.dense(begin, end)
            if self.deviation:
                for position, client in enumerate(updates.clients[begin:end]):
                    noise = generator(self.seed, self.round_number, int(client), Purpose.AUDIT)
                    rows[position] += self.deviation * noise.standard_normal(rows[position].shape)
            yield slice(begin, end), rows


def clip(updates: Updates, norm: float) -> Updates:
    """Scale down each client's whole update to an L2 norm of at most `norm`."""
    return updates.scaled(np.minimum(1.0, norm / np.maximum(updates.norms, 1e-30)))


def see(
    updates: Updates, protection: Protection, *, clip_norm: float, seed: int, round_number: int
) -> View:
    """Return what the server sees of a round.

    Args:
        updates: of the clients of the round.
        protection: in force.
        clip_norm: bound of a client's update where there is noise.
        seed: of the noise.
        round_number: of the noise.

    Returns:
        The view.
    """
    counts = updates.counts
    hidden = (counts < protection.threshold) & (counts > 0)
    if protection.noise:
        updates = clip(updates, clip_norm)
    deviation = protection.noise * clip_norm if protection.noise else 0.0
    if not protection.secure:
        return View(protection, updates, None, hidden, deviation, seed, round_number)
    total = updates.total()
    total[hidden] = 0.0
    if deviation:
        noise = generator(seed, round_number, len(updates.clients), Purpose.AUDIT)
        total += deviation * noise.standard_normal(total.shape)
    return View(protection, None, total, hidden, deviation, seed, round_number)
