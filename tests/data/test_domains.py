"""Domains of one user: which rows are whose, what is held out, and what is ranked."""

from __future__ import annotations

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.attributes import to_category
from fedrec.data.domains import domain_items, in_domain
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.data.load import load_dataset
from fedrec.data.partition import partition
from fedrec.data.populations import load_population
from fedrec.data.split import split
from fedrec.errors import ConfigError, DataError

BASE = {"domain.by": "kind", "domain.target": "tea", "evaluate.sampled": 0}
KINDS = ["tea", "tea", "tea", "tea", "cup", "cup"]


def config(**more):
    return from_flat({**BASE, **{key.replace("__", "."): v for key, v in more.items()}})


def ids(number):
    return Catalogue(np.array([f"n{n}" for n in range(number)], dtype=object))


def data(rows):
    """Rows are (user, item, time[, merchant])."""
    user, item, time, *rest = (np.array(column) for column in zip(*rows, strict=True))
    shop = rest[0].astype(np.int32) if rest else None
    items = Catalogue(ids(len(KINDS)).ids, {"kind": to_category(KINDS)})
    number = int(user.max()) + 1
    columns = (user.astype(np.int32), item.astype(np.int32), None, time.astype(float), shop)
    return Dataset("toy", Interactions(*columns), items, ids(number), ids(3) if rest else None)


ROWS = [
    *[(0, 0, 1), (0, 4, 2), (0, 1, 3), (0, 2, 4), (0, 5, 5), (0, 3, 6)],  # tea at 1 3 4 6
    *[(1, 4, 1), (1, 5, 2), (1, 0, 3)],  # too little tea to be evaluated
]


def parts(found):
    rows = found.dataset.interactions
    names = found.dataset.items.ids
    return [
        sorted((int(rows.user[n]), names[rows.item[n]]) for n in getattr(found, part))
        for part in ("train", "valid", "test")
    ]


def split_of(rows, settings):
    whole = in_domain(data(rows), settings.domain)
    return split(partition(whole, settings).dataset, settings)


def test_only_the_target_is_held_out_and_nothing_later_is_trained_on():
    train, valid, test = parts(split_of(ROWS, config()))
    assert valid == [(0, "n2")]
    assert test == [(0, "n3")]
    # the cup at time 5 lies after the first held-out tea: in no part
    assert train == [(0, "n0"), (0, "n1"), (0, "n4"), (1, "n0"), (1, "n4"), (1, "n5")]


def test_alone_the_same_is_held_out_of_the_target_and_its_items():
    found = split_of(ROWS, config(domain__train="target"))
    train, valid, test = parts(found)
    assert (valid, test) == ([(0, "n2")], [(0, "n3")])
    assert train == [(0, "n0"), (0, "n1"), (1, "n0")]
    assert found.dataset.num_items == 4
    assert found.dataset.num_users == 2  # who has no tea keeps a number


def test_the_items_of_a_domain_are_ranked():
    settings = config()
    assert domain_items(data(ROWS), settings.domain).tolist() == [0, 1, 2, 3]
    shops = config(domain__by="merchant", domain__target="n1")
    assert domain_items(data([(0, 3, 1, 1), (0, 4, 1, 0)]), shops.domain).tolist() == [3]


def test_what_was_bought_at_the_target_is_known_from_nowhere_else():
    """Item 0 was bought at shop 0 first and at the target later; item 4 at two others."""
    rows = [(0, 0, 1, 0), (0, 0, 5, 1), (0, 4, 2, 0), (0, 4, 3, 2), (0, 1, 4, 1)]
    found = in_domain(data(rows), config(domain__by="merchant", domain__target="n1").domain)
    kept = found.interactions
    told = sorted(zip(kept.item.tolist(), kept.merchant.tolist(), kept.timestamp, strict=True))
    assert told == [(0, 1, 5.0), (1, 1, 4.0), (4, 2, 3.0)]
    assert "bought at several merchants: 2 rows dropped" in found.account


def test_the_basket_of_a_held_out_item_tells_nothing_in_other_domains():
    """At time 5 a cup and a tea are bought together; the tea is held out."""
    rows = [(0, 0, 1), (0, 4, 4), (0, 1, 5), (0, 5, 5), (0, 2, 5), (0, 3, 6)]
    train, valid, test = parts(split_of(rows, config()))
    assert (valid, test) == ([(0, "n2")], [(0, "n3")])
    assert train == [(0, "n0"), (0, "n1"), (0, "n4")]
    alone = parts(split_of(rows, config(domain__train="target")))
    assert alone == [[(0, "n0"), (0, "n1")], valid, test]


@pytest.mark.parametrize("by", ["department", "merchant"])
def test_alone_and_together_have_the_same_held_out_items(by):
    target = {"department": "toys", "merchant": "shop-2"}[by]
    flat = {"data.name": "marketplace", "data.users": 120, "data.items": 90, "data.merchants": 3}
    told = []
    for train in ("all", "target"):
        keys = {"domain.by": by, "domain.target": target, "domain.train": train}
        population = load_population(from_flat({**flat, **keys, "evaluate.sampled": 0}))
        dataset = population.split.dataset
        names, users = dataset.items.ids, dataset.users.ids
        for part in (population.valid, population.test):
            told.append([(users[u], names[i]) for u, i in zip(part.users, part.items, strict=True)])
    assert told[0] == told[2]
    assert told[1] == told[3]
    assert len(told[1]) > 10


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"domain.by": "", "domain.target": "x"}, "need domain.by"),
        ({"domain.target": ""}, "needs domain.target"),
        ({"clients.unit": "merchant"}, "needs clients.unit = 'user'"),
        ({"split.protocol": "cold-users"}, "needs split.protocol"),
        ({"evaluate.sampled": 99}, "needs evaluate.sampled = 0"),
        ({"data.store": "disk"}, "needs data.store"),
        ({"domain.by": "", "domain.target": "", "compare.systems": "target-only"}, "'target-only'"),
    ],
)
def test_settings_that_would_mean_something_else(more, message):
    with pytest.raises(ConfigError, match=message):
        from_flat({**BASE, **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"domain.by": "colour"}, "no such attribute of categories"),
        ({"domain.by": "departmnet"}, "Did you mean 'department'"),
        ({"domain.target": "gros"}, "no such department"),
        ({"domain.by": "merchant", "domain.target": "shop-9"}, "no such merchant"),
        ({"data.name": "ml-100k", "domain.by": "merchant"}, "names no merchants"),
    ],
)
def test_domains_that_do_not_exist(more, message):
    flat = {"data.name": "marketplace", "data.users": 30, "data.items": 40}
    keys = {"domain.by": "department", "domain.target": "toys", "evaluate.sampled": 0}
    with pytest.raises(DataError, match=message):
        load_dataset(from_flat({**flat, **keys, **more}))
