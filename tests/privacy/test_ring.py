"""Shares of noise in the ring: variance, tails, headroom, keys, refusals."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest, norm

from fedrec.config import Config, from_flat
from fedrec.errors import ConfigError
from fedrec.privacy.ledger import Event
from fedrec.privacy.noise import fresh_key
from fedrec.privacy.policy import At, PrivacyPolicy
from fedrec.privacy.ring import OVERFLOW, RingNoise, noise_key, ring_noise, rounding
from fedrec.privacy.skellam import reach

DISTRIBUTED: dict[str, Any] = {
    "privacy.mechanism": "distributed",
    "privacy.clip": 1.0,
    "privacy.noise_multiplier": 2.0,
    "secure.mode": "semi-honest",
    "secure.bits": 12,
    "secure.clip": 2.0,
    "server.min_clients": 5,
}


def config(**keys: Any) -> Config:
    return from_flat({**DISTRIBUTED, **{k.replace("__", "."): v for k, v in keys.items()}})


def policy(population: int = 100, **keys: Any) -> PrivacyPolicy:
    return PrivacyPolicy(config(**keys), population)


def noise(most: int = 20, elements: int = 1000, **keys: Any) -> RingNoise:
    made = ring_noise(policy(**keys), most, elements, 12)
    assert made is not None
    return made


def test_a_share_by_hand() -> None:
    """step = 4 / 4095, C = 1023.75 steps, z C = 2047.5; a fifth of its square."""
    assert policy().steps == pytest.approx(1023.75)
    assert noise().variance == pytest.approx(2047.5**2 / 5)


@pytest.mark.parametrize("survivors", [5, 6, 9, 20])
def test_survivors_bring_the_noise_that_is_accounted_or_more(survivors: int) -> None:
    ring = noise()
    zero = np.zeros(20_000, np.uint64)
    total = np.sum([ring.add(zero, os.urandom(32)) for _ in range(survivors)], 0, np.uint64)
    drawn = ring.centred(total & np.uint64(2**ring.width - 1), 0) / 1023.75
    wanted = 2.0 * math.sqrt(survivors / 5)
    assert drawn.std() == pytest.approx(wanted, rel=5 / math.sqrt(2 * len(drawn)))
    assert kstest(drawn, norm(scale=wanted).cdf).pvalue > 1e-4
    assert wanted >= 2.0


def test_sums_come_back_from_the_ring_on_both_sides_of_zero() -> None:
    ring = RingNoise(0.0, 11)
    values = np.array([-1000, -1, 0, 1, 1000])
    total = ((values + 5 * 200) % 2**11).astype(np.uint64)
    assert ring.centred(total, 5 * 200).tolist() == values.tolist()
    wide = RingNoise(0.0, 64)
    assert wide.centred(np.array([2**64 - 3], np.uint64), 4).tolist() == [-7]


def test_the_ring_has_room_for_all_clients_and_their_noise() -> None:
    """width is the least with most * 2**(bits - 1) + tail < 2**(width - 1)."""
    ring = noise(most=20, elements=1000)
    tail = reach(ring.variance * 20, math.log(2 * 1000 / OVERFLOW))
    assert 2 ** (ring.width - 2) <= 20 * 2**11 + tail < 2 ** (ring.width - 1)
    deviation = math.sqrt(ring.variance * 20)
    assert 2 * 1000 * norm.sf(tail / deviation) < OVERFLOW  # the tail is as rare as is claimed
    assert tail < 9 * deviation  # and no wider than it needs to be
    assert noise(most=20, elements=10**6).width >= ring.width


def test_noise_stays_inside_the_ring() -> None:
    ring = noise(most=5, elements=10)
    own = np.full(100_000, 2**12 - 1, np.uint64)
    assert int(ring.add(own, fresh_key()).max()) < 2**ring.width


def test_other_mechanisms_add_nothing() -> None:
    central = from_flat({"privacy.mechanism": "central", "privacy.clip": 1.0})
    assert ring_noise(PrivacyPolicy(central, 100), 20, 10, 12) is None


def test_too_fine_a_grid_is_refused_and_the_right_one_named() -> None:
    """z C / step / sqrt(5) = 2 * 262143.75 / sqrt(5) = 234,468: 2 bits too many."""
    fine = policy(secure__bits=20)
    with pytest.raises(ConfigError, match=r"set secure\.bits = 18 or fewer"):
        ring_noise(fine, 20, 10, 20)
    assert ring_noise(policy(secure__bits=18), 20, 10, 18) is not None


def test_a_sum_that_no_ring_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not fit into 64 bits: lower secure.bits"):
        ring_noise(policy(), 2**53, 10, 12)


def test_secret_noise_is_never_drawn_twice() -> None:
    """Also not in a repeated round: with other survivors the difference would be one update."""
    at = At(1, 1.0, bytes(32))
    assert noise_key(config(), at, 3, "tables") != noise_key(config(), at, 3, "tables")
    assert rounding(config(), at, 3) is os.urandom


def test_seeded_noise_is_addressed_by_seed_round_client_and_vector() -> None:
    seeded = config(privacy__draws="seeded")
    at = policy(privacy__draws="seeded").at
    base = noise_key(seeded, at(1), 3, "tables")
    assert base == noise_key(seeded, at(1), 3, "tables")
    other_seed = PrivacyPolicy(config(privacy__draws="seeded", run__seed=1), 100).at(1)
    others = [
        noise_key(seeded, at(2), 3, "tables"),
        noise_key(seeded, at(1), 4, "tables"),
        noise_key(seeded, at(1), 3, "weights"),
        noise_key(seeded, other_seed, 3, "tables"),
    ]
    assert len({base, *others}) == 5
    source = rounding(seeded, at(1), 3)
    first, second = source(32), source(32)
    again = rounding(seeded, at(1), 3)
    assert (again(32), again(32)) == (first, second)
    assert len({first, second, base}) == 3


def test_events() -> None:
    drawn = {"clients__per_round": 10}
    steps = 1023.75
    assert policy().event(60) == Event("skellam", 2.0, 100, 100, steps)
    poisson = policy(clients__sampling="poisson", **drawn)
    assert poisson.event(60) == Event("skellam", 2.0, 100, 10, steps)
    assert policy(clients__sampling="fixed", **drawn).event(60) == Event(
        "skellam", 2.0, 60, 10, steps
    )
