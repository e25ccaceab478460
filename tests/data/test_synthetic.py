from __future__ import annotations

import numpy as np
import pytest

from fedrec.data.clean import Rules, clean
from fedrec.data.load import load_dataset
from fedrec.data.split import split
from fedrec.data.synthetic import make_marketplace
from tests.data.small_data import config


@pytest.fixture(scope="module")
def market():
    return make_marketplace(600, 300, 4, 40.0, seed=0)


def test_it_is_seeded(market):
    again = make_marketplace(600, 300, 4, 40.0, seed=0)
    for name, column in market.interactions.columns().items():
        assert (again.interactions.columns()[name] == column).all()
    assert not np.array_equal(
        make_marketplace(600, 300, 4, 40.0, seed=1).truth.item_bias, market.truth.item_bias
    )


def test_it_has_the_size_asked_for(market):
    assert (market.num_users, market.num_items, len(market.merchants)) == (600, 300, 4)
    assert len(market.interactions) / 600 == pytest.approx(40, rel=0.15)
    assert set(market.items.attributes) == {"department", "category", "brand", "price", "title"}
    assert set(market.users.attributes) == {"age", "gender", "region"}


def test_the_category_tree_is_a_tree(market):
    department = market.items.attributes["department"]
    category = market.items.attributes["category"]
    for d, c in zip(department.values, category.values, strict=True):
        assert category.vocabulary[c].split("/")[0] == department.vocabulary[d]


def test_carts_follow_views_and_purchases_follow_carts(market):
    rows = market.interactions
    assert (np.diff(rows.timestamp) >= 0).all()
    first: dict = {}
    for row in range(len(rows)):
        pair = (rows.user[row], rows.item[row])
        seen = first.setdefault(pair, [])
        assert rows.event[row] == len(seen)  # view 0, then cart 1, then purchase 2
        seen.append(rows.timestamp[row])
        assert seen == sorted(seen)
    events = np.bincount(rows.event)
    assert events[0] > events[1] > events[2] > 0


def test_popularity_is_skewed_and_merchants_overlap(market):
    rows = market.interactions
    popularity = np.sort(np.bincount(rows.item))[::-1]
    assert popularity[:30].sum() > 0.25 * popularity.sum()
    shops_of_user = np.zeros((600, 4), dtype=bool)
    shops_of_user[rows.user, rows.merchant] = True
    assert (shops_of_user.sum(axis=1) >= 2).mean() > 0.2
    items_of_shop = np.zeros((300, 4), dtype=bool)
    items_of_shop[rows.item, rows.merchant] = True
    assert (items_of_shop.sum(axis=1) >= 2).mean() > 0.2


def test_a_user_does_not_depend_on_how_users_are_grouped(market, monkeypatch):
    monkeypatch.setattr("fedrec.data.synthetic._BLOCK_CELLS", 300 * 7)
    again = make_marketplace(600, 300, 4, 40.0, seed=0)
    assert (again.interactions.item == market.interactions.item).all()


def test_the_oracle_ranking_beats_popularity(market):
    done = split(clean(market, Rules()), config())
    data, test = done.dataset, done.part("test")
    history = data.interactions.take(np.concatenate([done.train, done.valid]))
    popularity = np.bincount(history.item, minlength=data.num_items).astype(np.float64)
    truth = data.truth
    oracle = truth.user_vectors @ truth.item_vectors.T + truth.item_bias

    def hit_rate(scores):
        scores = scores.copy()
        scores[history.user, history.item] = -np.inf
        own = scores[test.user, test.item]
        return ((scores[test.user] > own[:, None]).sum(axis=1) < 10).mean()

    assert hit_rate(oracle) > 1.3 * hit_rate(np.tile(popularity, (data.num_users, 1)))


def test_one_merchant_sells_everything():
    market = make_marketplace(20, 10, 1, 5.0)
    assert len(market.merchants) == 1
    assert len(market.interactions)


def test_it_is_a_registered_data_set():
    data = load_dataset(
        config(data__name="marketplace", data__users=50, data__items=40, data__merchants=2)
    )
    assert data.name == "marketplace"
    assert data.num_users == 50
    assert data.account[0].startswith("generated: ")


def test_merchants_can_be_made_to_sell_most_of_the_catalogue():
    def sold(data):
        rows = data.interactions
        return [len(np.unique(rows.item[rows.merchant == m])) for m in range(4)]

    usual = make_marketplace(400, 60, 4, 40.0)
    assert (make_marketplace(400, 60, 4, 40.0, 0, 0.0).interactions.item
            == usual.interactions.item).all()  # fmt: skip
    full = make_marketplace(400, 60, 4, 40.0, assortment=1.0)
    assert min(sold(full)) > 50
    assert min(sold(usual)) < 40


def test_own_prices_of_merchants(monkeypatch):
    """A price counts times the range of the shop; without a spread nothing changes."""
    usual = make_marketplace(400, 100, 4, 40.0)
    none = make_marketplace(400, 100, 4, 40.0, price_spread=0.0)
    assert (none.interactions.item == usual.interactions.item).all()
    assert "log_price" not in none.items.attributes
    own = make_marketplace(400, 100, 4, 40.0, price_spread=1.0)
    assert not np.array_equal(own.interactions.item, usual.interactions.item)
    assert np.allclose(
        own.items.attributes["log_price"].values, np.log(own.items.attributes["price"].values)
    )
    told = own.merchants.attributes
    assert set(told) == {"speciality", "region", "price_level", "price_range"}
    monkeypatch.setattr("fedrec.data.synthetic._BLOCK_CELLS", 400 * 7)
    again = make_marketplace(400, 100, 4, 40.0, price_spread=1.0)
    for name, column in own.interactions.columns().items():
        assert (again.interactions.columns()[name] == column).all()


def test_customers_react_more_where_prices_lie_further_apart():
    market = make_marketplace(4000, 200, 4, 60.0, price_spread=1.0, assortment=1.0)
    rows, truth = market.interactions, market.truth
    fit = truth.user_vectors[rows.user, 0] * truth.item_vectors[rows.item, 0]
    own = [float(fit[rows.merchant == m].mean()) for m in range(4)]
    ranges = market.merchants.attributes["price_range"].values
    assert np.array_equal(np.argsort(own), np.argsort(ranges))
