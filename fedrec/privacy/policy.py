"""The privacy policy of a run: one object bounds, adds noise, and says what it costs.

The client half (`on_update`, `on_cohort`) and the server half (`on_sum`) read the
same clip norm and the same noise multiplier that `event` hands to the accountant,
so what is done cannot drift from what is accounted.

Central noise is DP-FedAvg (McMahan et al., ICLR 2018): every client's whole update is
clipped, the server adds Gaussian noise to the sum, to all rows of all tables and to
all weights, touched or not, and divides by the expected, not the actual, number of
clients.  The clip norm may follow a quantile of the norms (Andrew et al.,
"Differentially private learning with adaptive clipping", NeurIPS 2021).  With local
noise every client adds noise of the same size to its own update.  With distributed noise
every client adds a share of it inside the secure sum (see `fedrec.privacy.ring`).

Whose update is bounded is `privacy.unit`: a client, or a customer of a merchant.  A merchant
bounds each customer's update before it adds them up (`on_customers`), and the sum that it
sends is then no longer bounded: noise of the same size hides a customer, not the merchant.  A
person who is a customer of m merchants moves the sum by up to m times the norm, so that noise
of z times the norm counts as z / m.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_protection import CUSTOMER
from fedrec.errors import ConfigError
from fedrec.params import PartialSum, Shared
from fedrec.privacy.calibrate import default_delta, noise_for
from fedrec.privacy.dense import WITHIN as WITHIN
from fedrec.privacy.dense import add_noise, dense, nothing, released
from fedrec.privacy.ledger import Event, Kind, Ledger
from fedrec.privacy.noise import derive, digest, gaussian, seeded_key
from fedrec.privacy.stages import add_pseudo_items, clip_clients, clip_rows
from fedrec.training.aggregate import ROW_ID_BYTES
from fedrec.training.cohort import CohortUpdate
from fedrec.training.subspace import bases, within

WHOLE_BITS = 32
"""compress.bits of a float32."""


@dataclass(frozen=True)
class At:
    """What the policy needs to know about a moment.

    Attributes:
        round_number: the round, from 1.
        clip: the clip norm in force.
        key: secret of whoever draws, 32 bytes.
    """

    round_number: int
    clip: float
    key: bytes


@dataclass(frozen=True)
class PrivacyPolicy:
    """Both halves of a mechanism, and its cost.

    Attributes:
        config: of the run.
        num_clients: all clients of the data set; public.
    """

    config: Config
    num_clients: int

    @property
    def private(self) -> bool:
        """Whether updates are bounded, for noise to hide them."""
        return self.config.privacy.mechanism != "off"

    @property
    def distributed(self) -> bool:
        """Whether clients add shares of the noise inside the secure sum."""
        return self.config.privacy.mechanism == "distributed"

    @property
    def by_customer(self) -> bool:
        """Whether a customer of a merchant is protected, not the merchant."""
        return self.private and self.config.privacy.unit == CUSTOMER

    @property
    def num_units(self) -> int:
        """How many are protected, about; public."""
        return self.config.privacy.customers if self.by_customer else self.num_clients

    @property
    def adaptive(self) -> bool:
        """Whether the clip norm changes from round to round."""
        return self.config.privacy.clip_mode == "adaptive"

    @property
    def delta(self) -> float:
        """The delta of the guarantee."""
        return self.config.privacy.delta or default_delta(self.num_units)

    @property
    def cohort(self) -> float:
        """Expected number of clients that train in a round: public."""
        section = self.config.clients
        chosen = min(float(section.per_round), float(self.num_clients))
        if section.sampling == "all":
            chosen = float(self.num_clients)
        return chosen * section.availability * (1.0 - section.dropout)

    @property
    def divisor(self) -> float:
        """What the mean of a round is divided by: the expected number of units; public."""
        return self.cohort * self.num_units / max(self.num_clients, 1)

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of all the noise of a round over the clip norm.

        Raises:
            ConfigError: if the budget cannot be kept.
            MissingExtraError: if it is to be calibrated without dp-accounting.
        """
        section = self.config.privacy
        if section.noise_multiplier or not section.epsilon:
            return section.noise_multiplier
        rounds = self.config.train.rounds
        return noise_for(self._event(1.0, self.num_clients), rounds, section.epsilon, self.delta)

    @property
    def count_noise(self) -> float:
        """Adaptive clipping: standard deviation of the noise on the count of clients within."""
        noise = self.noise_multiplier
        if noise == 0:
            return 0.0
        return self.config.privacy.count_noise or max(self.cohort / 20.0, noise)

    @property
    def sum_noise(self) -> float:
        """Standard deviation of the noise on the sum over the clip norm.

        With adaptive clipping a part of the budget goes to the count (Andrew et al.,
        theorem 1): z_sum = (z ** -2 - (2 sigma_count) ** -2) ** -1/2.

        Raises:
            ConfigError: if the count alone spends more than the whole.
        """
        noise = self.noise_multiplier
        if not self.adaptive or noise == 0:
            return noise
        left = noise**-2 - (2.0 * self.count_noise) ** -2
        if left <= 0:
            raise ConfigError(
                f"privacy.count_noise = {self.count_noise:g} spends more than the whole noise of "
                f"{noise:g} allows: raise it above {noise / 2:g}, or set it to 0"
            )
        return float(left**-0.5)

    @property
    def steps(self) -> float:
        """Distributed noise: the clip norm in steps of the grid of secure aggregation."""
        section = self.config.secure
        return self.config.privacy.clip * (2**section.bits - 1) / (2.0 * section.clip)

    @property
    def share_variance(self) -> float:
        """Distributed noise: variance of one client's share, in squared steps.

        As many shares as `server.min_clients` make the whole noise of a round.
        """
        least = self.config.server.min_clients
        return (self.noise_multiplier * self.steps) ** 2 / least

    def at(self, round_number: int, clip: float | None = None, key: bytes = b"") -> At:
        """Return a moment; without a key, draws follow from the seed of the run.

        Args:
            round_number: the round.
            clip: the norm that the server named; used only if it is adaptive.
            key: secret of 32 bytes.
        """
        own = self.config.privacy.clip
        norm = own if clip is None or not self.adaptive else clip
        return At(round_number, norm, key or seeded_key(self.config.run.seed))

    # The client

    def on_update(self, update: CohortUpdate, clients: NDArray[np.int64], at: At) -> CohortUpdate:
        """Bound each client's update, before anything is summed.

        Args:
            update: of C clients.
            clients: int64 [C], their numbers.
            at: the moment.

        Returns:
            The updates; each has at most norm `at.clip`.

        Raises:
            ConfigError: if it is customers whose updates are bounded.
        """
        section = self.config.privacy
        if self.by_customer:
            raise ConfigError(
                "privacy.unit = 'customer' bounds customers inside a merchant, and this bounds "
                "whole clients: set privacy.unit = 'client'"
            )
        if section.pseudo_items:
            seed = int.from_bytes(derive(at.key, "pseudo items")[:7], "big")
            update = add_pseudo_items(update, clients, section.pseudo_items, seed, at.round_number)
        if section.row_clip:
            update = clip_rows(update, section.row_clip)
        if not self.private:
            return update
        update, _, within = clip_clients(update, at.clip)
        return replace(update, metrics={**update.metrics, WITHIN: within.astype(np.float64)})

    def on_customers(self, update: CohortUpdate, at: At) -> CohortUpdate:
        """Bound the update of each customer, before its merchant adds them up.

        Args:
            update: of some customers, on the axis C.
            at: the moment.

        Returns:
            The updates; each has at most norm `at.clip`.
        """
        if self.config.privacy.row_clip:
            update = clip_rows(update, self.config.privacy.row_clip)
        update, _, within = clip_clients(update, at.clip)
        return replace(update, metrics={**update.metrics, WITHIN: within.astype(np.float64)})

    def within(self, update: CohortUpdate, at: At) -> CohortUpdate:
        """Return what is sent in a few bits within the clip norm, which rounding may exceed.

        One factor for a whole update: it travels with the scale of the roundings.
        """
        if not self.private or self.config.compress.bits == WHOLE_BITS:
            return update
        return clip_clients(update, at.clip)[0]

    def on_cohort(
        self, total: PartialSum, shared: Shared, clients: NDArray[np.int64], at: At
    ) -> PartialSum:
        """Local mechanism: add every chosen client's own noise to the sum of a node.

        A client without samples sends noise alone.  Draws are addressed by client, so
        the sum does not depend on how clients are spread; repeating a round with the
        same parameters repeats its noise, secret noise on other parameters is another.

        Args:
            total: the sum of the bounded updates.
            shared: what the server sent.
            clients: int64 [C], chosen clients.
            at: the moment.

        Returns:
            The sum; unchanged for other mechanisms.
        """
        if self.config.privacy.mechanism != "local":
            return total
        state = self._bound([*shared.tables.values(), *shared.weights.values()])
        noisy = dense(total, shared)
        scale = self.noise_multiplier * at.clip
        for client in clients if scale else ():
            own = derive(at.key, "local", at.round_number, int(client), state)
            add_noise(noisy, own, scale)
        row = ROW_ID_BYTES + sum(4 * v[0].size for v in shared.tables.values() if len(v))
        size = row * max((len(v) for v in shared.tables.values()), default=0)
        size += sum(4 * v.size for v in shared.weights.values())
        metrics = {**noisy.metrics, "bytes_up": float(size * len(clients))}
        return replace(noisy, metrics=metrics, weight=float(len(clients)), num_clients=len(clients))

    # The server

    def on_sum(self, total: PartialSum | None, shared: Shared, at: At) -> PartialSum:
        """Central mechanism: add noise to the sum of a round, and fix its divisor.

        Secret noise is keyed by the sum itself, as deterministic signatures are by
        their message: repeating a round exactly, after a crash, repeats its noise and
        reveals nothing new; another sum (a node was lost in between) never meets the
        same noise.  Seeded noise depends on the round alone, so that it is the same on
        every engine, where sums differ in their last bits.

        Args:
            total: the sum of all bounded updates; None if no client trained, which
                must look like any other round.
            shared: the parameters, for their shapes.
            at: the moment.

        Low-rank updates lie in a subspace that is public and that clipping is no longer in:
        noise outside it is taken off again, which is post-processing.  What remains is noise
        of the same deviation on each of the r elements of a row that clients have sent.

        Returns:
            The sum with noise on every entry, and the expected number of clients as its
            weight; unchanged for other mechanisms.
        """
        if total is not None and self.config.privacy.mechanism != "central":
            if not self.by_customer:
                return total
            return replace(total, weight=total.weight * self.divisor / self.cohort)
        full = dense(total or nothing(shared), shared)
        if self.config.privacy.mechanism != "central":
            return full
        scale = self.sum_noise * at.clip
        if scale:
            add_noise(full, self._key_of(full, at, "sum"), scale)
            shapes = {name: value.shape for name, value in shared.tables.items()}
            full = within(full, bases(self.config, shapes, at.round_number))
        return replace(full, weight=self.divisor)

    def next_clip(self, total: PartialSum | None, shared: Shared, at: At) -> float:
        """Return the clip norm of the next round (Andrew et al., section 2).

        The count of clients within the bound, each as plus or minus a half, gets its
        noise; the norm moves geometrically towards the wanted quantile.
        """
        if not self.adaptive:
            return at.clip
        full = dense(total or nothing(shared), shared)
        count = full.metrics.get(WITHIN, 0.0) - full.num_clients / 2.0
        if self.count_noise:
            draw = gaussian(self._key_of(full, at, "count"), (1,))
            count += self.count_noise * float(draw[0])
        share = count / self.cohort + 0.5
        section = self.config.privacy
        step = section.clip_rate * (share - section.clip_quantile)
        return at.clip * math.exp(-min(max(step, -1.0), 1.0))

    def digest_of(self, total: PartialSum | None, shared: Shared, at: At) -> str:
        """Return a digest of all that a round's release follows from, hexadecimal."""
        full = dense(total or nothing(shared), shared)
        return digest([*released(full, at.clip), np.array([at.round_number])]).hex()

    def _key_of(self, total: PartialSum, at: At, purpose: str) -> bytes:
        """Return the key for noise on this very sum."""
        return derive(at.key, purpose, at.round_number, self._bound(released(total, at.clip)))

    def _bound(self, arrays: Sequence[NDArray]) -> bytes:
        """Return what binds noise to the values that it hides; nothing for seeded draws."""
        return digest(arrays) if self.config.privacy.draws == "secret" else b""

    # The accountant

    def event(self, present: int) -> Event:
        """Return what one round costs.

        Simulated unreachable and failing clients lower the chance to take part; that
        is not credited.  Local noise gets no credit for sampling either, and every
        round is counted for every client.  A person at m merchants adds up to m clip norms.

        Args:
            present: clients that connected nodes host.
        """
        return self._event(self.noise_multiplier, present)

    def at_merchants(self, number: int, ledger: Ledger) -> Ledger:
        """Return what a ledger of customers would be for a person at so many merchants."""
        factor = self.config.privacy.merchants_each / number
        events = (
            (replace(e, noise_multiplier=e.noise_multiplier * factor, steps=e.steps / factor), n)
            for e, n in ledger.entries
        )
        return Ledger(tuple(events))

    def _event(self, noise: float, present: int) -> Event:
        section, times = self.config.clients, self.config.privacy.merchants_each
        if self.by_customer and not self.distributed:  # all merchants train in every round
            return Event("gaussian", noise / times, self.num_units, self.num_units)
        if self.config.privacy.mechanism == "local":
            return Event("replace", noise, 1, 1)
        if self.distributed:
            population = present if section.sampling == "fixed" else self.num_clients
            drawn = population if section.sampling == "all" else section.per_round
            steps = self.steps * times
            return Event("skellam", noise / times, population, min(drawn, population), steps)
        kinds: dict[str, Kind] = {"all": "gaussian", "poisson": "poisson", "fixed": "fixed"}
        if section.sampling == "all":
            return Event("gaussian", noise, self.num_clients, self.num_clients)
        population = self.num_clients if section.sampling == "poisson" else present
        drawn = min(section.per_round, population)
        return Event(kinds[section.sampling], noise, population, drawn)


@lru_cache(maxsize=16)
def build_policy(config: Config, num_clients: int) -> PrivacyPolicy:
    """Return the policy of a run (cached).

    Args:
        config: of the run.
        num_clients: all clients of the data set.
    """
    return PrivacyPolicy(config, num_clients)
