from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.clean import Rules, clean
from fedrec.data.interactions import Attribute
from fedrec.data.partition import dirichlet_groups, favourite_group, partition
from fedrec.data.split import split
from fedrec.data.synthetic import make_marketplace
from fedrec.errors import DataError
from tests.data.small_data import config, dataset, rows_of


def test_each_user_is_a_client():
    data = dataset([(0, 0), (1, 1)])
    parts = partition(data, config())
    assert parts.dataset is data
    assert parts.client_of_user.tolist() == [0, 1]
    assert (parts.num_clients, parts.names) == (2, ("u0", "u1"))


def test_merchants_make_local_users_by_hand():
    data = dataset([(1, 0), (0, 0), (0, 1), (1, 1)], merchant=[1, 0, 1, 1])
    parts = partition(data, config(clients__unit="merchant"))
    assert parts.dataset.users.ids.tolist() == ["u0@m0", "u0@m1", "u1@m1"]
    assert parts.client_of_user.tolist() == [0, 1, 1]
    assert rows_of(parts.dataset) == [
        ("u1@m1", "i0"), ("u0@m0", "i0"), ("u0@m1", "i1"), ("u1@m1", "i1"),
    ]  # fmt: skip
    assert parts.names == ("m0", "m1")


def test_merchants_keep_profiles_truth_and_can_be_split():
    data = clean(make_marketplace(50, 40, 3, 30.0), Rules(per_merchant=True))
    parts = partition(data, config(clients__unit="merchant"))
    rows = parts.dataset.interactions
    assert (parts.client_of_user[rows.user] == rows.merchant).all()
    shopper = np.array([name.split("@")[0] for name in parts.dataset.users.ids])
    original = np.searchsorted(data.users.ids.astype(str), shopper)
    ages = data.users.attributes["age"].values[original]
    assert (parts.dataset.users.attributes["age"].values == ages).all()
    assert (parts.dataset.truth.user_vectors == data.truth.user_vectors[original]).all()
    assert len(split(parts.dataset, config()).test) > 0


def test_merchants_are_needed():
    with pytest.raises(DataError, match="needs data with merchants, which 'small' does not have"):
        partition(dataset([(0, 0)]), config(clients__unit="merchant"))


def two_tastes(users: int):
    """Even users like even items (category a), odd users odd items (category b)."""
    rows = [(user, 2 * n + user % 2) for user in range(users) for n in range(4)]
    label = Attribute("category", np.arange(8, dtype=np.int32) % 2, ("a", "b"))
    return dataset(rows, attributes={"group": label})


def test_favourite_group_by_hand():
    assert favourite_group(two_tastes(4)).tolist() == [0, 1, 0, 1]


def test_favourite_group_ignores_what_leave_last_out_holds_out():
    data = two_tastes(6)
    held = data.interactions.item.copy()
    held[2::4] = 7  # the last two of each user's four
    held[3::4] = 6
    changed = replace(data, interactions=replace(data.interactions, item=held))
    assert (favourite_group(changed) == favourite_group(data)).all()


def test_small_alpha_makes_unlike_clients_and_large_alpha_like_ones():
    data = two_tastes(400)
    label = favourite_group(data)

    def unlike(alpha):
        groups = dirichlet_groups(data, 8, alpha, seed=0)
        share = np.array([label[groups == client].mean() for client in range(8)])
        return np.abs(share - 0.5).mean()

    assert unlike(0.05) > 0.3
    assert unlike(1000.0) < 0.2


def test_groups_need_enough_users():
    with pytest.raises(DataError, match=r"clients.num = 10 groups .* has 4"):
        partition(two_tastes(4), config(clients__unit="dirichlet"))


def test_without_attributes_groups_are_by_popularity():
    data = dataset([(user, item) for user in range(12) for item in range(user % 4 + 2)])
    parts = partition(data, config(clients__unit="dirichlet", clients__num=3))
    assert np.bincount(parts.client_of_user).tolist() == [4, 4, 4]


@given(st.integers(2, 9), st.floats(0.01, 100), st.integers(0, 5))
def test_groups_are_of_equal_size_and_cover_all_users(clients, alpha, seed):
    groups = dirichlet_groups(two_tastes(25), clients, alpha, seed)
    sizes = np.bincount(groups, minlength=clients)
    assert sizes.sum() == 25
    assert sizes.max() - sizes.min() <= 1
    assert (groups == dirichlet_groups(two_tastes(25), clients, alpha, seed)).all()
