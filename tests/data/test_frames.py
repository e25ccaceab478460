from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedrec.data.clean import Rules
from fedrec.data.load import dataset_from_frame
from fedrec.errors import DataError
from tests.data.small_data import rows_of


def frame(**more):
    return pd.DataFrame({"user": ["a", "a", "b"], "item": [7, 8, 7], **more})


def test_a_frame_becomes_a_data_set():
    data = dataset_from_frame(
        frame(stars=[5, 4, 3], when=["2024-01-02", "2024-01-01", "2024-01-03"], shop=["x", "y", "x"],
              what=["view", "buy", "cart"]),
        rating="stars", time="when", merchant="shop", event="what", name="mine",
    )  # fmt: skip
    assert data.name == "mine"
    assert rows_of(data) == [("a", "7"), ("a", "8"), ("b", "7")]
    assert data.interactions.rating.tolist() == [5, 4, 3]
    assert data.interactions.timestamp[0] - data.interactions.timestamp[1] == 86_400
    assert data.merchants.ids[data.interactions.merchant].tolist() == ["x", "y", "x"]
    assert data.interactions.event.tolist() == [0, 2, 1]
    assert "read: 3 rows" in data.account


def test_attributes_are_matched_by_id_whatever_their_order_and_type():
    items = pd.DataFrame(
        {"item": ["8", "7", "9"], "price": [2.0, 1.0, 3.0], "kind": ["k", "l", "k"]}
    )
    users = pd.DataFrame({"name": ["b"], "town": ["Rome"]})
    data = dataset_from_frame(frame(), items=items, users=users)
    assert data.items.ids.tolist() == ["7", "8"]
    assert data.items.attributes["price"].values.tolist() == [1, 2]
    kind = data.items.attributes["kind"]
    assert [kind.vocabulary[code] for code in kind.values] == ["l", "k"]
    assert data.users.attributes["town"].values.tolist() == [-1, 0]
    assert any(
        line.startswith("attributes of users: 1 of 2 users have none") for line in data.account
    )


def test_repeated_attribute_rows_keep_the_first_and_are_counted():
    items = pd.DataFrame({"item": [7, 7, None, 8], "price": [1, 2, 3, 4]})
    data = dataset_from_frame(frame(), items=items)
    assert data.items.attributes["price"].values.tolist() == [1, 4]
    assert any("2 rows without or with a repeated id ignored" in line for line in data.account)


def test_missing_ids_are_counted():
    data = dataset_from_frame(pd.DataFrame({"user": ["a", None, "b"], "item": [1, 2, np.nan]}))
    assert rows_of(data) == [("a", "1")]
    assert "missing user or item: 2 rows dropped" in data.account


def test_rules_are_applied():
    data = dataset_from_frame(
        frame(stars=[5, np.nan, 9]), rating="stars", rules=Rules(explicit=True)
    )
    assert rows_of(data) == [("a", "7")]


@pytest.mark.parametrize(
    ("table", "arguments", "words"),
    [
        (frame(), {"user": "usr"}, r"no column 'usr' for the user; .* user, item. Did you mean 'user'\?"),
        (frame(), {"rating": "stars"}, r"no column 'stars' for the rating.*argument rating="),
        (frame(), {"time": "item"}, "column 'item' is named for item and time"),
        (frame()[:0], {}, "columns but no rows"),
        (pd.DataFrame(), {}, "its columns are none"),
        (frame(r=["1", "x", "2"]), {"rating": "r"}, "row 2 holds 'x'"),
        (frame(t=["x", "y", "z"]), {"time": "t"}, "no readable time"),
        (frame(e=["view", "look", "view"]), {"event": "e"}, "holds the event 'look'"),
        (frame(), {"items": pd.DataFrame({"item": ["x"], "p": [1]})}, r"\(items\): none of its ids"),
        (frame(), {"users": pd.DataFrame({"user": []})}, r"\(users\): the attribute table is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_the_reason(table, arguments, words):
    with pytest.raises(DataError, match=words):
        dataset_from_frame(table, **arguments)


def test_doubled_column_names_are_refused():
    with pytest.raises(DataError, match="2 columns are named 'item'"):
        dataset_from_frame(frame().set_axis(["item", "item"], axis=1), user="item")


def test_numbered_columns_are_named_by_their_number():
    data = dataset_from_frame(pd.DataFrame([["a", 2], ["b", 4]]), user="0", item="1")
    assert rows_of(data) == [("a", "2"), ("b", "4")]
