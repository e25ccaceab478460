"""Whole runs with fewer rows, fewer elements and fewer bits, masked and in clear."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.training.node import init_shared, prepare
from tests.engine.test_secure_run import PLAIN, SECURE, Keys, lines, run, system, within_bound

Make = Callable[..., Config]
FEW: Keys = {"clients__sampling": "fixed", "clients__per_round": 6}
UNION: Keys = {**SECURE, **FEW, "secure__rows": "union"}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"secure__mode": "malicious-server", "engine__nodes": 3},
        {"model__name": "ncf", "model__mlp": "8 4"},
        {"clients__dropout": 0.2, "clients__per_round": 20},
    ],
    ids=["mf", "malicious, three nodes", "ncf", "losses"],
)
def test_the_union_gives_the_plain_result(small_run: Make, keys: Keys) -> None:
    config = small_run("union", **{**UNION, "secure__drop_stage": "mask", **keys})
    secure = run(config)
    plain = {n: v for n, v in {**UNION, **keys}.items() if not n.startswith("secure__")}
    assert within_bound(config, secure, run(small_run("plain", **plain)))
    (line,) = lines(config)
    assert line["skipped"] is None


def test_a_union_costs_fewer_bytes_and_says_what_it_shows(small_run: Make) -> None:
    keys = {"data__items": 400, "clients__per_round": 3, "model__dim": 32}
    union = small_run("union", **{**UNION, **keys})
    dense = small_run("dense", **{**UNION, **keys, "secure__rows": "dense"})
    run(union)
    run(dense)
    (mine,), (other,) = lines(union), lines(dense)
    assert mine["bytes_up"] < other["bytes_up"]
    privacy = system(union)["privacy"]
    assert privacy["secure_aggregation"] == "semi-honest, union"
    assert "which rows anyone touched, not how many clients did" in privacy["statement"]
    assert privacy["exposure"] == system(dense)["privacy"]["exposure"]  # singletons stay
    assert privacy["exposure"]["rows"] > 0


def test_low_rank_moves_rows_inside_the_subspace_of_the_round(small_run: Make) -> None:
    config = small_run("rank", **{**SECURE, "secure__rows": "low-rank", "secure__rank": 2})
    plain = small_run("clear", **{**PLAIN, "compress__rank": 2, "server__rows": "mean"})
    secure, clear = run(config), run(plain)
    before = init_shared(prepare(config)).tables["item"].astype(np.float64)
    moved = secure["table.item"] - before
    values = np.linalg.svd(moved, compute_uv=False)
    assert values[1] > 1e-3
    assert values[2:].max() < 1e-5  # 4 elements a row, of rank 2
    assert np.abs(secure["table.item"] - clear["table.item"]).max() < 1e-4
    (line,), (other,) = lines(config), lines(plain)
    assert line["bytes_down"] > other["bytes_down"] > 0
    assert "2 elements of each row" in system(config)["privacy"]["statement"]


@pytest.mark.parametrize("rows", ["dense", "union", "threshold"])
def test_top_rows_are_all_that_is_summed(small_run: Make, rows: str) -> None:
    keys = {**FEW, "compress__rows": 2, "secure__tau": 2}
    config = small_run("top", **{**SECURE, **keys, "secure__rows": rows})
    clear = small_run("clear", **{**PLAIN, **FEW, "compress__rows": 2})
    secure, plain = run(config)["table.item"], run(clear)["table.item"]
    before = init_shared(prepare(config)).tables["item"].astype(np.float64)
    moved, could = ((new != before).any(axis=1) for new in (secure, plain))
    assert 0 < could.sum() <= 6 * 2
    assert moved.sum() < could.sum() if rows == "threshold" else (moved == could).all()
    assert np.abs(secure - plain)[moved].max() < 1e-5
    privacy = system(config)["privacy"]
    assert "the 2 rows that it changed most" in privacy["statement"]
    assert (privacy["exposure"]["rows"] == 0) == (rows == "threshold")


def test_few_bits_in_clear_are_close_and_small(small_run: Make) -> None:
    few = small_run("few", **{**PLAIN, "compress__bits": 12})
    whole = small_run("whole", **PLAIN)
    close, exact = run(few)["table.item"], run(whole)["table.item"]
    assert 0 < np.abs(close - exact).max() < 1e-3
    (mine,), (other,) = lines(few), lines(whole)
    assert mine["bytes_up"] < 0.7 * other["bytes_up"]
    spread = small_run("spread", **{**PLAIN, "compress__bits": 12, "engine__nodes": 3})
    assert np.abs(run(spread)["table.item"] - close).max() < 1e-5
    assert lines(spread)[0]["bytes_up"] == mine["bytes_up"]


def test_few_bits_in_clear_keep_the_clip_norm(small_run: Make) -> None:
    pytest.importorskip("dp_accounting")
    private = {
        "privacy__mechanism": "central",
        "privacy__clip": 0.5,
        "privacy__noise_multiplier": 1.0,
        "privacy__draws": "seeded",
        "compress__rank": 2,
    }
    few = run(small_run("few", **{**PLAIN, **private, "compress__bits": 12}))
    whole = run(small_run("whole", **{**PLAIN, **private}))
    assert np.abs(few["table.item"] - whole["table.item"]).max() < 1e-3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"secure__rows": "union", "privacy__pseudo_items": 3}, "pseudo items falsify it"),
        (
            {"secure__rows": "union", "privacy__mechanism": "central", "privacy__clip": 1.0},
            "publishes the set of touched rows without noise",
        ),
    ],
)
def test_unions_that_would_mislead_are_refused(small_run: Make, keys: Keys, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_run(**{**SECURE, **keys})


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_ray(small_run: Make) -> None:
    config = small_run("union", **{**UNION, "engine__nodes": 2})
    assert within_bound(config, run(config, "ray"), run(small_run("plain", **{**PLAIN, **FEW})))


@pytest.mark.slow
def test_superlink(small_run: Make) -> None:
    config = small_run("union", **{**UNION, "engine__nodes": 2, "compress__rows": 5})
    plain = small_run("plain", **{**PLAIN, **FEW, "compress__rows": 5})
    assert within_bound(config, run(config, "superlink"), run(plain))
