"""A floor under the exposure of groups of items, by hand and in runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Config
from fedrec.data.batches import Samples
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError
from fedrec.evaluation.providers import LEAST
from fedrec.params import Shared
from fedrec.training.node import block_samples, init_personal, init_shared, prepare, train_block
from fedrec.training.provider_weights import MOST, TABLE, begun, merits, stepped, weighted
from tests.engine.test_in_process import lines

Make = Callable[..., Config]
PARTS = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.5]])
EQUAL = np.zeros((4, 1), np.float32)
KEYS: dict[str, Any] = {
    "evaluate__item_group": "popularity", "server__exposure": 0.9, "evaluate__every": 1,
}  # fmt: skip


def test_what_a_group_merits() -> None:
    groups = {"a": PARTS[0], "b": PARTS[1] + PARTS[2]}
    population: Any = SimpleNamespace(item_counts=np.array([6, 1, 2, 1]), num_items=4)
    assert merits(groups, population, "interactions") == pytest.approx([0.7, 0.3])
    assert merits(groups, population, "items") == pytest.approx([0.5, 0.5])


def test_a_step_by_hand() -> None:
    shown, merit = np.array([0.8, 0.2, 0.0]), np.array([0.5, 0.4, 0.1])
    # short of the floor .5: -1.1, 0, .5; the last item is half of either group
    found = stepped(EQUAL, PARTS, shown, merit, floor=0.5, rate=2.0)[:, 0]
    wanted = np.array([0.0, 0.0, 0.0, 0.5])
    assert found == pytest.approx(wanted - np.log(np.exp(wanted).mean()), abs=1e-6)
    again = stepped(found[:, None], PARTS, shown, merit, floor=0.5, rate=2.0)[:, 0]
    assert again - again[0] == pytest.approx([0.0, 0.0, 0.0, 1.0], abs=1e-6)


def test_a_group_that_merits_nearly_nothing_is_left_alone() -> None:
    merit = np.array([1 - LEAST / 2, 0.0, LEAST / 2])
    found = stepped(EQUAL, PARTS, np.array([1.0, 0.0, 0.0]), merit, 0.9, 1.0)
    assert found == pytest.approx(EQUAL)


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.floats(0.1, 1.0), st.floats(0.01, 50.0), st.integers(1, 6),
)  # fmt: skip
def test_weights_stay_bounded_with_the_mean_one(
    shown: list[float], floor: float, rate: float, steps: int
) -> None:
    table, merit = EQUAL, np.array([0.6, 0.3, 0.1])
    for _ in range(steps):
        table = stepped(table, PARTS, np.array(shown), merit, floor, rate)
        assert np.exp(table).mean() == pytest.approx(1.0, rel=1e-4)
        assert np.ptp(table) <= MOST + 1e-5


def test_interactions_weigh_and_negatives_do_not() -> None:
    shared = begun(Shared({}), 3)
    shared = replace(shared, fixed={TABLE: np.log(np.array([[2.0], [0.5], [1.0]], np.float32))})
    samples = Samples(
        np.zeros(3, np.int64),
        {"item": np.array([0, 1, 1])},
        np.array([1.0, 1.0, 0.0], np.float32),
        np.array([1.0, 3.0, 3.0], np.float32),
        np.zeros(3, np.uint64),
        1,
    )
    found = weighted(samples, shared)
    assert found.weight.tolist() == pytest.approx([2.0, 1.5, 3.0])
    assert found.weight.dtype == np.float32
    assert samples.weight.tolist() == [1.0, 3.0, 3.0]  # they may be kept for the next round
    assert weighted(samples, Shared({})) is samples


def test_equal_weights_change_nothing_and_others_do(small_run: Make) -> None:
    plain, setup = prepare(small_run()), prepare(small_run(**KEYS))
    clients = np.arange(6)
    samples = block_samples(setup, clients, 1)

    def trained(shared: Shared) -> Any:
        own = init_personal(setup, clients)
        return train_block(setup, shared, own, clients, 1, samples=samples)[0]

    begin = init_shared(setup)
    before = trained(init_shared(plain))
    same = trained(begin)
    tilted = replace(begin, fixed={TABLE: np.linspace(-1, 1, 60, dtype=np.float32)[:, None]})
    for name, rows in before.rows.items():
        assert (same.rows[name] == rows).all()
        assert not np.allclose(trained(tilted).rows[name], rows)


def test_exposure_comes_closer_to_what_groups_merit_in_a_run(small_run: Make) -> None:
    keys = {"train__rounds": 15, "train__lr": 2.0, "evaluate__k": "5"}
    least = {}
    for floor in (0.01, 0.9):  # a low floor is measured, and changes next to nothing
        config = small_run(f"floor{floor}", **{**KEYS, **keys, "server__exposure": floor})
        execute(config)
        found = [line["valid"] for line in lines(config)[-5:]]
        shares = [[v for name, v in f.items() if name.startswith("exposure.")] for f in found]
        least[floor] = np.mean(shares, 0).min()  # each third merits about a third
    assert least[0.9] > 1.2 * least[0.01]
    plain = small_run("plain", train__rounds=1, evaluate__item_group="popularity")
    execute(plain)
    assert not any(name.startswith("exposure.") for name in lines(plain)[-1]["valid"])


def test_a_secure_run_may_go_by_items(small_run: Make) -> None:
    keys = {
        **KEYS, "evaluate__item_group": "department", "server__exposure_by": "items",
        "server__rows": "sum", "secure__mode": "semi-honest", "train__rounds": 2,
    }  # fmt: skip
    config = small_run(**keys)
    execute(config)
    assert any(name.startswith("exposure.") for name in lines(config)[0]["valid"])
    with pytest.raises(ConfigError, match=r"set server.exposure_by = 'items'"):
        small_run(**{**keys, "server__exposure_by": "interactions"})


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"evaluate__item_group": ""}, "evaluate.item_group names none"),
        ({"train__method": "fcf", "model__loss": "squared"}, "solves without"),
        ({"model__name": "gru4rec", "model__loss": "softmax"}, "places of sequences"),
        ({"privacy__mechanism": "central", "server__weighting": "equal"}, "nothing exact"),
        ({"server__weighting": "samples"}, "set server.weighting = 'equal'"),
    ],
)
def test_what_would_have_no_effect_or_say_too_much_is_refused(
    small_run: Make, keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        small_run(**{**KEYS, **keys})
