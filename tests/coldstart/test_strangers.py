"""Held-out users laid out as a population, and that nothing of them reaches training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fedrec.coldstart import kmeans
from fedrec.coldstart.strangers import facing, strangers
from fedrec.coldstart.users import STRATEGIES, Warm, build
from fedrec.config import Config, from_flat
from fedrec.config_coldstart import WHOLE
from fedrec.data.batches import draw_samples
from fedrec.data.interactions import Attribute, Catalogue, Dataset, Interactions
from fedrec.data.partition import partition
from fedrec.data.population import build_population
from fedrec.data.split import split
from fedrec.errors import DataError
from fedrec.secure.quantise import encode
from fedrec.training.methods import build_method
from fedrec.training.node import Setup, init_personal, init_shared, prepare, train_node

USERS, ITEMS = 30, 25


def config(**overrides) -> Config:
    values = {
        "data.name": "marketplace",
        "data.users": 60,
        "data.items": 40,
        "data.merchants": 2,
        "data.events_per_user": 20.0,
        "split.protocol": "cold-users",
        "split.fraction": 0.2,
        "model.dim": 4,
        "model.loss": "squared",
        "train.method": "ials",
        "train.rounds": 2,
        "coldstart.test_items": 2,
        "coldstart.segment_users": 2,
        "coldstart.prototypes": 3,
        "coldstart.prototype_rounds": 3,
        "coldstart.prototype_users": 2,
        "baseline.ease_l2": 5.0,
        "baseline.ease_window": 4.0,
        "evaluate.k": "5 10",
        "evaluate.sampled": 0,
        "evaluate.bootstrap": 20,
    }
    return from_flat({**values, **{k.replace("__", "."): v for k, v in overrides.items()}})


def made(rows: list[tuple[int, int, float]], cfg: Config) -> Setup:
    """A setup over (user, item, time) rows of 30 users with an attribute each."""
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    letters = Attribute("category", (np.arange(USERS) % 3).astype(np.int32), ("a", "b", "c"))
    data = Dataset(
        "made",
        Interactions(
            user.astype(np.int32), item.astype(np.int32), timestamp=time.astype(np.float64)
        ),
        Catalogue(np.array([f"i{n}" for n in range(ITEMS)], object)),
        Catalogue(np.array([f"u{n}" for n in range(USERS)], object), {"letter": letters}),
    )
    parts = partition(data, cfg)
    population = build_population(parts, split(parts.dataset, cfg), explicit=False)
    return replace(prepare(cfg), population=population, method=build_method(cfg))


def drawn(seed: int, users: np.ndarray) -> list[tuple[int, int, float]]:
    """Draw 4 to 9 distinct items for each of some users, in a random order of time."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in users:
        items = rng.permutation(ITEMS)[: rng.integers(4, 10)]
        rows += [(int(user), int(item), 1e9 + 86_400.0 * rng.integers(100)) for item in items]
    return rows


@pytest.fixture(scope="module")
def setup() -> Setup:
    return made(drawn(0, np.arange(USERS)), config())


def in_time(setup: Setup, user: int) -> list[int]:
    rows = setup.population.split.part("test")
    mine = np.flatnonzero(rows.user == user)
    return rows.item[mine[np.argsort(rows.timestamp[mine], kind="stable")]].tolist()


@pytest.mark.parametrize("k", [0, 1, 3, 100, WHOLE])
@pytest.mark.parametrize("reveal", ["latest", "first"])
def test_what_is_revealed_and_what_is_to_be_found(setup, k, reveal):
    found = strangers(setup, "test", k, reveal)
    held_out = found.test
    assert len(held_out.users) == 6
    for place, user in enumerate(held_out.users):
        own = in_time(setup, user)
        history, asked = own[:-2], own[-2:]
        shown = history if k == WHOLE else history[:k] if reveal == "first" else history[-k:]
        shown = [] if k == 0 else shown
        assert found.items[found.indptr[user] : found.indptr[user + 1]].tolist() == shown
        assert held_out.items[held_out.indptr[place] : held_out.indptr[place + 1]].tolist() == asked
        seen = held_out.seen_items[held_out.seen_indptr[user] : held_out.seen_indptr[user + 1]]
        assert sorted(seen.tolist()) == sorted(history)  # whatever k is
    assert len(found.items) == found.indptr[-1]
    assert not len(found.valid.users)
    others = np.setdiff1d(np.arange(USERS), held_out.users)
    assert (np.diff(found.indptr)[others] == 0).all()


def test_users_without_a_history_are_left_out_and_counted():
    rows = drawn(0, np.arange(USERS))
    cfg = config()
    held = made(rows, cfg).population.test.users
    short = [row for row in rows if row[0] != held[0]] + [
        (int(held[0]), n, 1e9 + n) for n in (0, 1)
    ]
    found = strangers(made(short, cfg), "test", 3)
    assert found.test.users.tolist() == held[1:].tolist()
    assert "5 users of part 'test'" in found.split.notes[-1]
    assert "1 with no history before these are left out" in found.split.notes[-1]


def test_refusals(setup):
    with pytest.raises(DataError, match=r"no user of the part 'test' has more than 200"):
        strangers(replace(setup, config=config(coldstart__test_items=200)), "test", 1)
    other = prepare(config(split__protocol="leave-last-out"))
    with pytest.raises(DataError, match=r"the split is by 'leave-last-out'"):
        strangers(other, "test", 1)


def test_negatives_of_a_stranger_know_no_more_than_it_reveals(setup):
    sampling = replace(setup.method.sampling, leaky=True, known=True, propensity=(1.0, 2.0))
    told = replace(setup, method=replace(setup.method, sampling=sampling))
    there = facing(told, strangers(setup, "test", 1)).method.sampling
    assert not there.leaky
    assert not there.known
    assert there.propensity is None


@pytest.mark.parametrize("method", ["ials", "alternating"])
@settings(max_examples=2, phases=[Phase.generate])  # each compiles: no shrinking
@given(seed=st.integers(0, 2**20))
def test_nothing_of_strangers_reaches_training_counts_or_strategies(method, seed):
    loss = "squared" if method == "ials" else "logistic"
    cfg = config(train__method=method, model__loss=loss)
    rows = drawn(0, np.arange(USERS))
    before = made(rows, cfg)
    held = np.concatenate([before.population.valid.users, before.population.test.users])
    others = [row for row in rows if row[0] not in held]
    after = made(others + drawn(seed + 1, held), cfg)  # what strangers did is replaced
    assert (before.population.item_counts == after.population.item_counts).all()
    everyone = np.arange(USERS)
    one, two = (
        draw_samples(s.population, everyone, 0, 1, s.method.sampling) for s in (before, after)
    )
    assert (one.fields["item"] == two.fields["item"]).all()  # negatives among them
    sums = []
    for setup in (before, after):
        total, _ = train_node(
            setup, init_shared(setup), init_personal(setup, everyone), everyone, 1
        )
        sums.append(total)
    for name, value in sums[0].tables.items():
        assert value.ids.tobytes() == sums[1].tables[name].ids.tobytes()
        assert value.rows.tobytes() == sums[1].tables[name].rows.tobytes()
    assert sums[0].num_clients == sums[1].num_clients
    names = [name for name in STRATEGIES if name not in ("sequence", *NEEDS_MORE)]
    shown = strangers(before, "test", 3)
    with pytest.MonkeyPatch.context() as patch:  # roundings of sums are secret, but for this
        patch.setattr(kmeans, "encode", partial(encode, entropy=lambda size: bytes(size)))
        fitted = [build(Warm(s, init_shared(s)), names) for s in (before, after)]
    for name in names:
        a, b = (f[name].scorer(shown)(shown.test.users) for f in fitted)
        assert a.tobytes() == b.tobytes(), name


NEEDS_MORE: tuple[str, ...] = ("reptile", "fomaml")
"""Strategies of other modules that need more than a setup and its shared parameters."""
