from __future__ import annotations

import numpy as np
import pytest

from fedrec.merchants.chosen import Candidate, choose
from fedrec.merchants.groups import found_items, head_items, new_customers
from fedrec.merchants.mixed import by_merchant, mixture, mixtures
from fedrec.merchants.ranked import field_of
from fedrec.merchants.trained import pulled_candidates
from fedrec.training.node import init_personal, init_shared, prepare
from fedrec.training.scoring import make_scorer
from tests.merchants.markets import EASE, MF, field, market


def scorer(table):
    scores = np.array(table, np.float32)
    return lambda users: scores[users]


# two shops; shop 0 sells items 0-2, shop 1 items 1-3
SHOPS = field(
    merchant=[0, 0, 1, 1],
    sells=[[1, 1, 1, 0], [0, 1, 1, 1]],
    valid=[(0, 0), (1, 2), (2, 1), (3, 3)],
    test=[(0, 2), (1, 1), (2, 3), (2, 1), (3, 3)],
    train=[(0, 1), (0, 0), (1, 1), (1, 2), (2, 3), (3, 3), (3, 2), (3, 1)],
)
UP = scorer([[0, 1, 2, 9]] * 4)  # item 3 before 2 before 1 before 0
DOWN = scorer([[9, 2, 1, 0]] * 4)


def test_only_what_the_merchant_sells_is_ranked():
    # shop 0: item 2 first, 1 second (3 is not sold); shop 1: 3 first, then 2, 1
    assert SHOPS.part("test").items.tolist() == [2, 1, 3, 1, 3]
    assert SHOPS.rank(UP, "test").tolist() == [1, 2, 1, 3, 1]


def test_each_merchant_or_all_together_choose_on_validation():
    # validation: UP ranks shop 0's items 0 and 2 at 3 and 1, shop 1's 1 and 3 at 3 and 1;
    # DOWN ranks them 1 and 3, and 1 and 3: the same; a third scorer suits shop 1 alone
    third = scorer([[0, 9, 1, 0], [0, 9, 1, 0], [0, 9, 0, 8], [0, 9, 0, 8]])
    candidates = [Candidate("up", UP), Candidate("third", third)]
    each = choose(SHOPS, candidates, "each")
    assert each.labels == ("up", "third")
    assert each.ranks.tolist() == [
        *SHOPS.rank(UP, "test")[:2].tolist(),
        *SHOPS.rank(third, "test")[2:].tolist(),
    ]
    together = choose(SHOPS, candidates, "together")
    assert len(set(together.labels)) == 1
    assert each.valid >= together.valid


def test_head_items_make_up_the_share():
    head = head_items(SHOPS, 0.5)
    # shop 0: item 1 twice of 4 rows; shop 1: item 3 twice of 4 rows
    assert head.tolist() == [[False, True, False, False], [False, False, False, True]]


def test_found_items_are_counted_by_customer():
    ranks = {"a": [np.array([1, 2, 30, 1, 1])], "b": [np.array([30] * 5), np.array([1] * 5)]}
    told = found_items(SHOPS, ranks, np.ones(5, bool))
    assert told.counts.tolist() == [1, 1, 2, 1]
    assert told.sums["a"].tolist() == [1, 1, 1, 1]
    assert told.sums["b"].tolist() == [0.5, 0.5, 1, 0.5]


def test_new_customers_have_few_items():
    assert new_customers(SHOPS, 1).tolist() == [False, False, True, False]


def test_the_field_of_a_market():
    setup = prepare(market(EASE))
    found = field_of(setup)
    population = setup.population
    assert found.names == ("shop-1", "shop-2", "shop-3")
    ids = population.split.dataset.users.ids
    same = found.person[:, None] == found.person
    names = np.array([str(i).split("@")[0] for i in ids])
    assert (same == (names[:, None] == names)).all()
    for shop in range(3):  # told by training rows alone
        mine = np.flatnonzero(found.merchant == shop)
        rows = [population.items[population.indptr[u] : population.indptr[u + 1]] for u in mine]
        assert set(np.flatnonzero(found.sells[shop])) == set(np.concatenate(rows).tolist())
    held = found.part("test")
    owner = np.repeat(held.users, np.diff(held.indptr))
    assert found.sells[found.merchant[owner], held.items].all()
    assert 0 < len(held.items) <= len(population.test.items)
    assert (np.diff(held.indptr) > 0).all()
    assert held.indptr[-1] == len(held.items)


def test_a_held_out_item_that_is_no_candidate_is_an_error():
    from fedrec.errors import DataError

    broken = field([0], [[1, 0]], [(0, 0)], [(0, 1)])
    with pytest.raises(DataError):
        broken.rank(scorer([[1, 2]]), "test")


def test_mixtures_by_hand():
    own, federated = scorer([[0.0, 2.0, 4.0]]), scorer([[10.0, 10.0, 40.0]])
    users = np.array([0])
    a = np.array([-1.0, 0.0, 1.0]) * np.sqrt(1.5)
    b = np.array([-1.0, -1.0, 2.0]) / np.sqrt(2.0)
    assert mixture(own, federated, 1.0)(users)[0] == pytest.approx(a, rel=1e-5)
    assert mixture(own, federated, 0.0)(users)[0] == pytest.approx(b, rel=1e-5)
    assert mixture(own, federated, 0.25)(users)[0] == pytest.approx(0.25 * a + 0.75 * b, rel=1e-5)
    assert [c.label for c in mixtures(own, federated, (0.0, 0.5))] == ["0% own", "50% own"]
    flat = scorer([[3.0, 3.0, 3.0]])  # says nothing, and divides by nothing
    assert mixture(flat, flat, 0.5)(users).tolist() == [[0.0, 0.0, 0.0]]


def test_each_merchant_scores_with_what_it_has_chosen():
    mixed = by_merchant(SHOPS, [Candidate("up", UP), Candidate("down", DOWN)], np.array([1, 0]))
    assert mixed(np.array([0, 2])).tolist() == [[9, 2, 1, 0], [0, 1, 2, 9]]


def test_the_pull_of_ditto_keeps_a_copy_near_the_federated_tables():
    keys = {"local__optimizer": "sgd", "local__lr": 0.3, "merchants__pulls": "0.01 1 3"}
    found = field_of(prepare(market(MF, **keys)))
    setup = found.setup
    shared, everyone = init_shared(setup), np.arange(setup.population.num_clients)
    personal = init_personal(setup, everyone)
    users = np.arange(setup.population.num_users)
    federated = make_scorer(setup.model, shared, personal, users, setup.population)
    as_it_is, *pulled = pulled_candidates(found, federated, shared, personal)
    far = [np.abs(c.scorer(users) - as_it_is.scorer(users)).mean() for c in pulled]
    assert far[0] > far[1] > far[2] > 0
    assert [c.label for c in pulled] == ["pull 0.01", "pull 1", "pull 3"]
