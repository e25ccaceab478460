"""What an attacker sees of a round, under a protection.

A view is a list of rows: one block [I, D] for each client if single updates are
visible, or one for everybody if only the sum is.  Noise is that of the run's privacy
policy, so a noisy sum is what leaves the mechanism: with distributed noise the server
sees no more, with central noise everybody else does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedrec.config import Scalar
from fedrec.params import Shared
from fedrec.privacy.policy import At, PrivacyPolicy
from fedrec.robust.rules import clip
from fedrec.robust.updates import Updates, as_partial_sum, nothing, sum_of_rows
from fedrec.training.node import Setup

BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Protection:
    """How updates are protected before they are seen.

    Attributes:
        name: in tables.
        secure: whether the sum alone is seen.
        threshold: rows with fewer contributors than this never reach the sum; 0: all do.
        noisy: whether updates are clipped and noise is added: to each client's update,
            or to the whole sum if `secure`.
    """

    name: str
    secure: bool
    threshold: int = 0
    noisy: bool = False


def protections(threshold: int) -> tuple[Protection, ...]:
    """Return the protections that are put side by side, from none to all."""
    return (
        Protection("off", secure=False),
        Protection("clipping, noise on each client", secure=False, noisy=True),
        Protection("secure sum", secure=True),
        Protection(f"secure sum, threshold {threshold}", secure=True, threshold=threshold),
        Protection("secure sum, clipping, noise", secure=True, noisy=True),
        Protection(
            f"secure sum, threshold {threshold}, clipping, noise",
            secure=True,
            threshold=threshold,
            noisy=True,
        ),
    )


@dataclass(frozen=True, eq=False)
class Noise:
    """The run's privacy policy, as the noisy views of a round apply it.

    Attributes:
        central: adds noise to a sum.
        local: adds noise to single updates.
        shared: the server's parameters before the round.
        at: the moment: round, clip norm and key.
    """

    central: PrivacyPolicy
    local: PrivacyPolicy
    shared: Shared
    at: At

    def deviation(self, *, secure: bool) -> float:
        """Return the standard deviation of the noise on an entry; it is public."""
        multiplier = self.central.sum_noise if secure else self.local.noise_multiplier
        return multiplier * self.at.clip

    def of_sum(self, updates: Updates) -> NDArray[np.float64]:
        """Return the noise on the sum of clipped updates, float64 [I, D]."""
        total = as_partial_sum(updates)
        noisy = self.central.on_sum(total, self.shared, self.at)
        rows = [noisy.tables[n].rows - t.dense(len(noisy.tables[n].ids))
                for n, t in total.tables.items()]  # fmt: skip
        return np.concatenate([r.reshape(len(r), -1) for r in rows], 1)

    def of_client(self, client: int) -> NDArray[np.float64]:
        """Return the noise that one client adds to its update, float64 [I, D]."""
        none = nothing(self.shared)
        empty = sum_of_rows(
            none,
            np.zeros((none.num_items, sum(none.widths.values()))),
            np.zeros(none.num_items),
            {name: np.zeros(value.shape) for name, value in self.shared.weights.items()},
        )
        noisy = self.local.on_cohort(empty, self.shared, np.array([client]), self.at)
        return np.concatenate([t.rows.reshape(len(t.rows), -1) for t in noisy.tables.values()], 1)


def noise_of(setup: Setup, shared: Shared, median: float, round_number: int) -> Noise:
    """Return the noise of noisy views.

    Args:
        setup: of the run.
        shared: the server's parameters before the round.
        median: norm of the median client of the round: the clip norm, with
            `audit.noise`, of a run that has no privacy policy of its own.
        round_number: the round.
    """
    config, count = setup.config, setup.population.num_clients
    own = PrivacyPolicy(config, count)
    same: dict[str, Scalar] = {"secure.mode": "off", "server.min_clients": 1}
    multiplier = own.noise_multiplier
    if not own.private:
        multiplier = config.audit.noise
        rows = config.server.rows
        same |= {
            "privacy.clip": max(median, 1e-12),
            "privacy.clip_mode": "fixed",
            "clients.sampling": "all",
            "clients.availability": 1.0,
            "clients.dropout": 0.0,
            "server.weighting": "equal",
            "server.rows": "mean" if rows == "touching" else rows,
            "server.checkpoint_every": 1,
        }
    shares = own.cohort if config.privacy.mechanism == "local" else 1.0

    def policy(kind: str, noise: float) -> PrivacyPolicy:
        keys: dict[str, Scalar] = {
            "privacy.mechanism": kind,
            "privacy.noise_multiplier": noise,
            "privacy.epsilon": 0.0,
        }
        if kind == "local":
            keys["privacy.clip_mode"] = "fixed"
        return PrivacyPolicy(config.with_({**same, **keys}), count)

    central = policy("central", multiplier * shares**0.5)  # local shares add up
    return Noise(central, policy("local", multiplier), shared, central.at(round_number))


@dataclass(frozen=True, eq=False)
class View:
    """What is seen.

    Attributes:
        protection: under which.
        updates: of the clients whom the view is about, clipped if the protection clips.
        total: float64 [I, D], the sum over all clients without its noise; None unless
            secure.
        counts: int64 [I], clients in the round that touch each item.
        noise: float64 [I, D] on the sum; None without.
        deviation: standard deviation of the noise on an entry.
        source: of the noise on single updates; None without.
        absent: whether each client of `updates` has been taken out of the sum that is
            attacked about it: what would be seen had it not been in the round.
    """

    protection: Protection
    updates: Updates
    total: NDArray[np.float64] | None
    counts: NDArray[np.int64]
    noise: NDArray[np.float64] | None = None
    deviation: float = 0.0
    source: Noise | None = None
    absent: bool = False

    @property
    def floor(self) -> float:
        """Norm that a row of noise alone exceeds for one item on average."""
        if self.deviation == 0:
            return 0.0
        num_items, width = len(self.counts), self.updates.rows.shape[1]
        return float(self.deviation * np.sqrt(chi2.ppf(1.0 - 1.0 / num_items, width)))

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """Rows that the threshold has removed, bool [I]."""
        return (self.counts < self.protection.threshold) & (self.counts > 0)

    @property
    def one_for_all(self) -> bool:
        """Whether the very same rows are seen of every client."""
        return self.protection.secure and not self.absent

    def about(self, place: NDArray[np.int64]) -> View:
        """Return the view of some of the clients, int64 positions, ascending."""
        return replace(self, updates=self.updates.take(place))

    def without(self) -> View:
        """Return what would be seen of a sum had the client not been in the round."""
        return replace(self, absent=True)

    def blocks(self) -> Iterator[tuple[slice, NDArray]]:
        """Yield clients and what is visible of them, float [b, I, D]; a sum is [1, I, D]."""
        if self.total is not None and not self.absent:
            yield slice(None), self._published(self.total[None], self.counts[None])
            return
        count, width = len(self.updates.clients), max(1, self.updates.rows.shape[1])
        step = max(1, BLOCK_BYTES // (8 * self.updates.num_items * width))
        for begin in range(0, count, step):
            where = slice(begin, min(begin + step, count))
            rows = self.updates.dense(where.start, where.stop)
            if self.total is not None:
                yield where, self._rest(self.total, where, rows)
                continue
            if self.source is not None:
                clients = self.updates.clients[where]
                rows = rows + np.stack([self.source.of_client(int(c)) for c in clients])
            yield where, rows

    def _rest(self, total: NDArray[np.float64], where: slice, rows: NDArray) -> NDArray[np.float64]:
        """Return the sum without each of some clients, float64 [b, I, D]."""
        here = self.updates.take(np.arange(where.start, where.stop))
        others = total - here.weight[:, None, None] * rows
        return self._published(others, self.counts - here.touched())

    def _published(self, total: NDArray, counts: NDArray) -> NDArray[np.float64]:
        """Return what the threshold leaves of sums [b, I, D], with their noise."""
        few = counts < max(1, self.protection.threshold)
        shown = np.where(few[..., None], 0.0, total)
        return shown if self.noise is None else shown + self.noise


def see(updates: Updates, protection: Protection, noise: Noise) -> View:
    """Return what is seen of a round.

    Args:
        updates: of the clients of the round.
        protection: in force.
        noise: of noisy protections.
    """
    if protection.noisy:
        bounded = clip(updates, noise.at.clip)
        updates = replace(bounded, weight=np.ones_like(bounded.weight))
    counts, secure = updates.counts, protection.secure
    deviation = noise.deviation(secure=secure) if protection.noisy else 0.0
    if not secure:
        return View(
            protection,
            updates,
            None,
            counts,
            deviation=deviation,
            source=noise if protection.noisy else None,
        )
    added = noise.of_sum(updates) if protection.noisy else None
    return View(protection, updates, updates.total(), counts, added, deviation)
