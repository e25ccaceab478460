"""Distributed noise: every client adds its share inside the ring, before it masks.

The noise of a round is calibrated to the fewest clients with whom it is accepted
(`server.min_clients`, n): each adds Skellam noise of variance (z C / step)^2 / n in steps
of the grid, so that n of them bring a standard deviation of z C, and more of them more.
The server never sees a sum without it.

The ring wraps around.  That costs no privacy, as it happens after the noise, but would
spoil the sum: so the ring is made wide enough that the sum of the most clients, noise
included, leaves it with a probability below `OVERFLOW` in a round.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.privacy.noise import derive, fresh_key
from fedrec.privacy.policy import At, PrivacyPolicy
from fedrec.privacy.skellam import MAX_DEVIATION, reach, skellam

OVERFLOW = 1e-12
"""Largest probability that any element of a round's sum wraps around."""

_WIDEST = 64


@dataclass(frozen=True)
class RingNoise:
    """The noise of a client, and the ring that holds the sum of all.

    Attributes:
        variance: of an element of one client, in squared steps.
        width: bits of the ring.
    """

    variance: float
    width: int

    def add(self, integers: NDArray[np.uint64], key: bytes) -> NDArray[np.uint64]:
        """Return a client's vector with its noise, reduced into the ring.

        Args:
            integers: uint64 [m].
            key: 32 bytes, for this vector only.
        """
        noisy = integers + skellam(self.variance, key, len(integers)).view(np.uint64)
        return noisy & np.uint64(2**self.width - 1)

    def centred(self, total: NDArray, middle: int) -> NDArray[np.int64]:
        """Return a sum's distance from where it would be without updates and noise.

        Args:
            total: unsigned integers [m], a sum in the ring.
            middle: the sum of the clients' zeros.

        Returns:
            int64 [m], of the representatives nearest to zero.
        """
        away = total.astype(np.uint64) - np.uint64(middle % 2**_WIDEST)
        left = np.uint64(_WIDEST - self.width)
        signed: NDArray[np.int64] = (away << left).view(np.int64) >> np.int64(left)
        return signed


def ring_noise(policy: PrivacyPolicy, most: int, elements: int, bits: int) -> RingNoise | None:
    """Return the noise that each client adds; None if the mechanism is another.

    Args:
        policy: of the run.
        most: clients in a sum, at most.
        elements: in a client's vectors.
        bits: of an element before noise.

    Raises:
        ConfigError: if the noise cannot be drawn, or its sum does not fit into 64 bits.
    """
    if not policy.distributed:
        return None
    variance = policy.share_variance
    deviation = math.sqrt(variance)
    if deviation > MAX_DEVIATION:
        fewer = math.ceil(math.log2(deviation / MAX_DEVIATION))
        raise ConfigError(
            f"the noise of a client has a standard deviation of {deviation:.3g} steps, and up to "
            f"{MAX_DEVIATION} can be drawn: set secure.bits = {max(bits - fewer, 2)} or fewer, "
            "which rounds more coarsely and costs nothing next to such noise"
        )
    nats = math.log(2.0 * max(elements, 1) / OVERFLOW)
    noise = reach(variance * most, nats) if variance else 0
    width = (most * 2 ** (bits - 1) + noise).bit_length() + 1
    if width > _WIDEST:
        raise ConfigError(
            f"the sum of {most} clients of {bits} bits with noise up to {noise:.3g} does not fit "
            f"into {_WIDEST} bits: lower secure.bits"
        )
    return RingNoise(variance, width)


def noise_key(config: Config, at: At, client: int, vector: str) -> bytes:
    """Return the key of a client's noise on one vector.

    Secret noise is fresh whenever it is drawn: a round that is repeated, perhaps with
    other survivors, never meets the same noise, as the difference of two such sums would
    lay a client bare.  So a repeated round costs again (see `server.privacy`).

    Args:
        config: of the run.
        at: the moment.
        client: its number.
        vector: name of the vector.
    """
    if config.privacy.draws == "secret":
        return fresh_key()
    return derive(at.key, "ring", at.round_number, client, vector)


def rounding(config: Config, at: At, client: int) -> Callable[[int], bytes]:
    """Return the source of the keys of a client's roundings, as `os.urandom`.

    Args:
        config: of the run.
        at: the moment.
        client: its number.
    """
    if config.privacy.mechanism == "off" or config.privacy.draws == "secret":
        return os.urandom
    call = count()
    return lambda size: derive(at.key, "rounding", at.round_number, client, next(call))[:size]
