"""Rows of new items by hand, and what they may not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.coldstart import items_rows as rows
from fedrec.config import Config, from_flat
from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError

ALL: dict[str, Callable[[Config, Catalogue, Any], Any]] = {
    "random": rows.random_rows,
    "mean": rows.mean_rows,
    "category": rows.category_rows,
    "nearest": rows.nearest_rows,
    "ridge": rows.ridge_rows,
    "net": rows.net_rows,
}
KNOWN = np.array([1, 1, 1, 1, 0, 0, 0], bool)
TRAINED = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 8.0], [0.0, 4.0]], np.float32)


def settings(**keys: Any) -> Config:
    return from_flat({f"coldstart.{name}": value for name, value in keys.items()})


def shop(known: Any = KNOWN, **attributes: Any) -> Catalogue:
    return Catalogue(np.array([f"i{n}" for n in range(len(known))], object), attributes, known)


def test_a_category_is_the_mean_of_its_items_and_of_what_is_coarser() -> None:
    department = to_category(["food", "food", "tools", "tools", "food", "tools", None])
    brand = to_category(["a", "b", "c", "c", "b", "new", "c"])
    items = shop(brand=brand, department=department)
    found = rows.category_rows(
        settings(levels="department brand", level_shrink=2.0), items, TRAINED
    )
    mean = np.array([1.0, 3.0])
    food, tools = (np.array([4.0, 0.0]) + 2 * mean) / 4, (np.array([0.0, 12.0]) + 2 * mean) / 4
    b, c = (np.array([3.0, 0.0]) + 2 * food) / 3, (np.array([0.0, 12.0]) + 2 * mean) / 4
    assert found == pytest.approx(np.array([b, tools, c]))
    by_size = rows.category_rows(settings(level_shrink=2.0), items, TRAINED)
    assert by_size == pytest.approx(found)  # departments have fewer values than brands


def test_an_item_of_several_tags_gets_the_mean_of_their_means() -> None:
    tags = to_tags([["x"], ["x"], ["y"], ["y"], ["x", "y"], [], ["x"]])
    found = rows.category_rows(settings(level_shrink=1e-9), shop(tags=tags), TRAINED)
    assert found == pytest.approx(np.array([[1.0, 3.0], [1.0, 3.0], [2.0, 0.0]]), abs=1e-6)


def test_the_nearest_items_are_those_of_alike_attributes() -> None:
    options = settings(neighbours=2)
    title = to_text(["red shoe", "red shoe", "blue hat", "blue hat", "blue hat", "red shoe", ""])
    found = rows.nearest_rows(options, shop(title=title), TRAINED)
    assert found == pytest.approx(np.array([[0.0, 6.0], [2.0, 0.0], [1.0, 3.0]]), abs=1e-5)


def test_a_ridge_finds_a_linear_map_and_falls_back_on_the_mean() -> None:
    price = to_number([0.0, 1.0, 2.0, 3.0, 4.0, -1.0, np.nan])
    slope = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0], [3.0, 7.0]], np.float32)
    exact = rows.ridge_rows(settings(item_ridge=1e-9), shop(price=price), slope)
    assert exact[:2] == pytest.approx(np.array([[4.0, 9.0], [-1.0, -1.0]]), abs=1e-4)
    flat = rows.ridge_rows(settings(item_ridge=1e9), shop(price=price), slope)
    assert flat == pytest.approx(np.tile([1.5, 4.0], (3, 1)), abs=1e-4)


def test_a_net_learns_the_rows_of_kinds_at_any_scale() -> None:
    known = np.arange(12) < 9
    kind = to_category([f"k{n % 3}" for n in range(12)])
    targets = np.array([[5.0, 0.0], [0.0, 3.0], [-4.0, -2.0]], np.float32)
    trained = targets[np.arange(9) % 3]
    for scale in (1.0, 1000.0):
        found = rows.net_rows(settings(net_steps=200), shop(known, kind=kind), scale * trained)
        assert found == pytest.approx(scale * targets, abs=0.05 * scale)


def test_random_rows_are_trained_ones_and_follow_the_seed() -> None:
    items = shop(np.arange(40) < 4)
    first, again = (rows.random_rows(Config(), items, TRAINED) for _ in range(2))
    other = rows.random_rows(from_flat({"run.seed": 1}), items, TRAINED)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert {tuple(r) for r in first.tolist()} == {tuple(r) for r in TRAINED.tolist()}


@given(st.sampled_from(sorted(set(ALL) - {"net"})), st.integers(0, 2**31), st.integers(1, 20))
def test_the_attributes_of_one_new_item_say_nothing_of_another(
    name: str, seed: int, new: int
) -> None:
    draws = np.random.default_rng(seed)
    number = 6 + new
    known = np.arange(number) < 6
    trained = draws.normal(size=(6, 3)).astype(np.float32)
    price, words = draws.normal(size=number), [f"w{n}" for n in draws.integers(0, 3, number)]
    tags = [[f"t{n}"] for n in draws.integers(0, 2, number)]

    def of(price: Any, words: Any) -> Catalogue:
        return shop(known, price=to_number(price), kind=to_category(words), tags=to_tags(tags))

    # a vocabulary holds the words of all items, in order of appearance: the last may not be new
    one = ALL[name](Config(), of(price, words), trained)
    price[-1], words[-1] = 1e6, words[0]
    two = ALL[name](Config(), of(price, words), trained)
    assert np.allclose(one[:-1], two[:-1], atol=1e-5)
    assert np.isfinite(two).all()
    assert two.shape == (new, 3)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ModelError, match="needs categories or tags of items: 'ml-100k' has none"):
        rows.category_rows(Config(), shop(price=to_number(np.ones(7))), TRAINED)
    kind = to_category(["p"] * 7)
    with pytest.raises(ModelError, match="coldstart.levels names 'knd'.*Did you mean 'kind'"):
        rows.category_rows(settings(levels="knd"), shop(kind=kind), TRAINED)
    for name in ("nearest", "ridge", "net"):
        with pytest.raises(ModelError, match="is made of attributes, and the items of 'ml-100k'"):
            ALL[name](Config(), shop(), TRAINED)
