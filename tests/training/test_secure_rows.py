"""Which rows a secure sum is to have: unions, counts, and the rows that clients choose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.secure import simulate
from fedrec.training.exposure import exposure
from fedrec.training.node import init_personal, init_shared, prepare
from fedrec.training.secure_node import secure_vectors
from fedrec.training.secure_rows import chosen_rows, indicator_vector, indicators, touched
from fedrec.training.secure_update import INDICATORS

Make = Callable[..., Config]
CLIENTS = np.array([2, 5, 11, 30])
BASE = {"secure__mode": "semi-honest", "server__rows": "sum"}


def flags(config: Config, **options: object) -> np.ndarray:
    setup = prepare(config)
    personal = init_personal(setup, CLIENTS)
    found = indicators(setup, init_shared(setup), personal, CLIENTS, 1, **options)
    return np.stack([own[INDICATORS] for _, own in found])


def test_counts_and_the_union_by_the_protocol(small_run: Make) -> None:
    counted = small_run(**BASE, secure__rows="threshold", secure__tau=2)
    setup, shared = prepare(counted), init_shared(prepare(counted))
    ones = flags(counted)
    vector = indicator_vector(setup, shared, len(CLIENTS))
    items = setup.population.num_items
    assert (vector.length, vector.width, vector.bound) == (items, 3, 1)  # 0 to 4 in 3 bits
    total = simulate(ones, width=vector.width).total
    assert np.array_equal(total, ones.sum(axis=0))
    rows = chosen_rows(setup, shared, total)["item"]
    assert np.array_equal(rows, np.flatnonzero(ones.sum(axis=0) >= 2))

    united = small_run(**BASE, secure__rows="union")
    vector = indicator_vector(prepare(united), shared, len(CLIENTS))
    assert (vector.length, vector.width, vector.modular) == (items, 32, True)
    total = simulate(flags(united), width=32, modular=True).total
    rows = chosen_rows(prepare(united), shared, total)["item"]
    assert np.array_equal(rows, np.flatnonzero(ones.any(axis=0)))
    assert 0 < len(rows) < items


def test_the_union_does_not_tell_how_many_touch_a_row(small_run: Make) -> None:
    """Sums of one and of four elements follow the same, uniform, law."""
    config = small_run(**BASE, secure__rows="union")
    ones = flags(small_run(**BASE, secure__rows="threshold")).sum(axis=0)
    sums = [(flags(config).sum(axis=0) % 2**32) / 2**32 for _ in range(150)]
    for number in np.unique(ones[ones > 0]):
        drawn = np.array(sums)[:, ones == number].ravel()
        spread = 5 / np.sqrt(12 * len(drawn))
        assert abs(drawn.mean() - 0.5) < spread
        assert abs((drawn**2).mean() - 1 / 3) < spread
    assert not np.array(sums)[:, ones == 0].any()


def test_elements_of_the_union_are_drawn_anew_and_from_the_given_source(small_run: Make) -> None:
    config = small_run(**BASE, secure__rows="union")
    assert not np.array_equal(flags(config), flags(config))
    fixed = flags(config, entropy=lambda size: b"\x07\0\0\0" * (size // 4))
    assert set(np.unique(fixed)) == {0, 7}
    wide = flags(config, entropy=lambda size: b"\xff" * size)
    assert set(np.unique(wide)) == {0, 2**32 - 1}


def test_an_element_that_is_zero_leaves_the_row_out(small_run: Make) -> None:
    """It happens with a probability of 2**-32; what is sent on such a row is not summed."""
    config = small_run(**BASE, secure__rows="union")
    setup, shared = prepare(config), init_shared(prepare(config))
    total = flags(config, entropy=bytes).sum(axis=0)
    assert len(chosen_rows(setup, shared, total)["item"]) == 0


def test_announced_rows_are_those_that_are_sent(small_run: Make) -> None:
    keys = {"secure__rows": "threshold", "compress__rows": 3, "train__lr": 0.1}
    config = small_run(**BASE, **keys)
    setup, shared = prepare(config), init_shared(prepare(config))
    personal = init_personal(setup, CLIENTS)
    told = dict(touched(setup, shared, personal, CLIENTS, 1))
    assert sorted(told) == CLIENTS.tolist()
    vectors, _ = secure_vectors(setup, shared, personal, CLIENTS, 1, None, None)
    middle = 2 ** (config.secure.bits - 1)
    for client, own in vectors:
        moved = (own["tables"].reshape(len(told[client]), -1) != middle).any(axis=1)
        assert np.array_equal(moved, told[client])
        assert moved.sum() == 3


def test_exposure_goes_over_the_rows_of_the_sum(small_run: Make) -> None:
    """Singletons stay in a union and are gone from what a threshold leaves."""
    config = small_run(**BASE, secure__rows="union")
    setup, shared = prepare(config), init_shared(prepare(config))
    ones = flags(small_run(**BASE, secure__rows="threshold"))
    counts = ones.sum(axis=0)
    dense = exposure(setup, shared, CLIENTS, 1)
    assert dense.rows == pytest.approx((counts == 1).sum() / (counts > 0).sum())
    alone = (ones.astype(bool) & (counts == 1)).any(axis=1)
    assert dense.exposed_clients == alone.mean()
    union = exposure(setup, shared, CLIENTS, 1, {"item": np.flatnonzero(counts)})
    assert union == dense
    often = exposure(setup, shared, CLIENTS, 1, {"item": np.flatnonzero(counts >= 2)})
    assert (often.rows, often.exposed_clients, often.interactions) == (0, 0, 0)


def test_exposure_of_top_rows_follows_from_training(small_run: Make) -> None:
    config = small_run(**BASE, compress__rows=2, train__lr=0.1)
    setup, shared = prepare(config), init_shared(prepare(config))
    personal = init_personal(setup, CLIENTS)
    told = dict(touched(setup, shared, personal, CLIENTS, 1))
    rows = np.stack([told[client] for client in CLIENTS.tolist()])
    assert rows.sum(axis=1).tolist() == [2] * 4
    counts = rows.sum(axis=0)
    found = exposure(setup, shared, CLIENTS, 1, None, personal)
    assert found.rows == pytest.approx((counts == 1).sum() / (counts > 0).sum())
    mine = [setup.population.items[slice(*setup.population.indptr[c : c + 2])] for c in CLIENTS]
    shown = sum((r & (counts == 1))[items].sum() for r, items in zip(rows, mine, strict=True))
    assert found.interactions == pytest.approx(shown / sum(len(items) for items in mine))
