"""To whom an item should be shown: counts by hand, and nothing but counts leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.coldstart.audience import UNKNOWN, Audience, Reach, ask_audience, local_ranks
from fedrec.config import from_flat
from fedrec.data.attributes import to_category, to_number, to_text
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.data.partition import partition
from fedrec.data.population import Population, build_population
from fedrec.data.split import split
from fedrec.errors import ConfigError, DataError
from fedrec.secure.frames import SERVER
from fedrec.training.scorer import Scorer

USERS, ITEMS, ITEM = 12, 8, 7


def made(met: bool = True) -> Population:
    """Users 0..11; user u has met items u % 7 and (u + 1) % 7, and users 0..3 item 7, too."""
    pairs = [(u, (u + step) % 7, step) for u in range(USERS) for step in range(4)]
    pairs += [(u, ITEM, -1) for u in range(4 if met else 0)]
    user, item, time = (np.array(column) for column in zip(*pairs, strict=True))
    rows = Interactions(user.astype(np.int32), item.astype(np.int32),
                        timestamp=time.astype(np.float64))  # fmt: skip
    profile = {
        "region": to_category(["north"] * 6 + ["south"] * 5 + ["west"]),
        "age": to_number([*range(20, 31), np.nan]),
        "name": to_text([f"u{n}" for n in range(USERS)]),
    }
    items = Catalogue(np.array([f"i{n}" for n in range(ITEMS)], object))
    users = Catalogue(np.array([f"u{n}" for n in range(USERS)], object), profile)
    config = from_flat({})
    parts = partition(Dataset("made", rows, items, users), config)
    return build_population(parts, split(parts.dataset, config), explicit=False)


def scorer(shift: int = 0) -> Scorer:
    """Item i scores -i for everybody, but item 7, which user u places at (u + shift) % 8."""

    def score(users: np.ndarray) -> np.ndarray:
        scores = np.tile(-np.arange(ITEMS, dtype=np.float32), (len(users), 1))
        scores[:, ITEM] = 0.5 - (users + shift) % ITEMS
        return scores

    return score


def test_ranks_leave_out_what_a_client_has_met_and_put_the_item_last_of_equals() -> None:
    population, users = made(), np.arange(USERS)
    found = local_ranks(population, scorer(), ITEM, users)
    for user in users:
        met = set(population.items[population.indptr[user] : population.indptr[user + 1]])
        above = [i for i in range(ITEM) if i not in met and -i > 0.5 - user % ITEMS]
        assert found[user] == 1 + len(above)
    flat: Scorer = lambda users: np.zeros((len(users), ITEMS), np.float32)  # noqa: E731
    assert local_ranks(population, flat, ITEM, users[4:5]).tolist() == [6]  # five others left


def test_counts_by_hand() -> None:
    population = made()
    ranks = local_ranks(population, scorer(), ITEM, np.arange(USERS))
    new = np.arange(USERS) >= 4
    found = ask_audience(population, scorer(), ITEM, ranks=(1, 3), by=("region", "age:25"),
                         fewest=3)  # fmt: skip
    steps = lambda mask: int(mask.sum()) // 3 * 3  # noqa: E731
    assert (found.asked, found.met, found.step) == (12, 3, 3)
    assert found.everyone == Reach(6, (steps(new & (ranks <= 1)), steps(new & (ranks <= 3))))
    region = np.array([0] * 6 + [1] * 5 + [2])
    assert list(found.segments["region"]) == [UNKNOWN, "north", "south"]  # one user in the west
    for code, name in enumerate(("north", "south")):
        mine = new & (region == code)
        assert found.segments["region"][name] == Reach(
            steps(mine), (steps(mine & (ranks <= 1)), steps(mine & (ranks <= 3)))
        )
    assert found.segments["region"][UNKNOWN].clients == 0  # one, rounded down
    assert list(found.segments["age"]) == [UNKNOWN, "below 25", "from 25"]
    assert found.segments["age"]["from 25"].clients == 6


def test_the_rank_for_a_number_of_users() -> None:
    found = Audience("i", (10, 20, 50), 100, 0, Reach(100, (0, 40, 90)), {}, 10, ())
    assert [found.rank_for(n) for n in (5, 9, 48, 49, 98, 99)] == [None, 10, 10, 20, 20, 50]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**20))
def test_nothing_but_sums_leaves_the_devices(seed: int) -> None:
    """Two worlds in which other users hold the ranks: the server sees the same sums.

    And no masked message tells which of the two it is: no device's vector is in it.
    """
    population = made(met=False)
    order = np.random.default_rng(seed).permutation(USERS)
    kept = replace(population, items=np.tile(population.items[:2], USERS))  # all alike
    one = ask_audience(kept, scorer(), ITEM, ranks=(1, 2, 4), fewest=3)
    turned: Scorer = lambda users: scorer()(order[users])  # noqa: E731
    other = ask_audience(kept, turned, ITEM, ranks=(1, 2, 4), fewest=3)
    assert one.everyone == other.everyone
    for session in (*one.sessions, *other.sessions):
        to_server = [s for s in session.transcript if s.receiver == SERVER]
        assert {s.stage for s in to_server} == {"advertise", "share", "mask", "unmask"}
        plain = np.eye(5, dtype=np.uint32)
        masked = [s.message for s in to_server if s.stage == "mask"]
        assert len(masked) == USERS
        assert not any(row.tobytes() in (m or b"") for m in masked for row in plain)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"ranks": (3, 1)}, ConfigError, "ascending"),
        ({"ranks": ()}, ConfigError, "ascending"),
        ({"fewest": 2}, ConfigError, "below 3 are never told"),
        ({"mode": "off"}, ConfigError, "'semi-honest' or 'malicious-server'"),
        ({"by": ("regoin",)}, DataError, "Did you mean 'region'"),
        ({"by": ("age",)}, ConfigError, "expected age:30,50"),
        ({"by": ("age:50,30",)}, ConfigError, "ascending numbers, got '50,30'"),
        ({"by": ("name",)}, DataError, "no category or number"),
    ],
)
def test_what_cannot_be_asked(keys: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask_audience(made(), scorer(), ITEM, **{"ranks": (1, 3), "fewest": 3, **keys})


def test_a_sample_of_devices() -> None:
    found = ask_audience(made(), scorer(), ITEM, ranks=(1,), fewest=3, sample=5, seed=1)
    assert found.asked == 5
