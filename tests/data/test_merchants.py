from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.batches import Sampling, draw_samples
from fedrec.data.clean import Rules, clean
from fedrec.data.load import load_dataset
from fedrec.data.merchants import customers_of, keep_common, keep_largest, sold_by
from fedrec.data.populations import load_population
from fedrec.errors import ConfigError, DataError
from fedrec.training.central import one_client
from tests.data.small_data import dataset

#   merchant 0: users 0, 1;  merchant 1: user 0, thrice;  merchant 2: users 0, 1, 2
ROWS = [(0, 0), (1, 1), (0, 0), (0, 1), (0, 2), (0, 1), (1, 1), (2, 3)]
SHOPS = [0, 0, 1, 1, 1, 2, 2, 2]


def test_customers_are_counted_once():
    data = dataset(ROWS, merchant=SHOPS)
    assert customers_of(data.interactions, 3).tolist() == [2, 1, 3]


def test_the_largest_have_most_customers_not_most_rows():
    kept = keep_largest(dataset(ROWS, merchant=SHOPS), 2)
    assert sorted(set(kept.interactions.merchant.tolist())) == [0, 2]
    assert "the 2 with most customers (2 to 3) of 3 kept, with 5 of 8 rows" in kept.account[-1]
    assert clean(kept, Rules(per_merchant=True)).merchants.ids.tolist() == ["m0", "m2"]


def test_too_few_merchants_and_none():
    with pytest.raises(DataError, match="has only 3 merchants"):
        keep_largest(dataset(ROWS, merchant=SHOPS), 4)
    with pytest.raises(DataError, match="needs data with merchants"):
        keep_largest(dataset(ROWS), 1)


def test_common_items_are_sold_by_all():
    data = clean(dataset(ROWS, merchant=SHOPS), Rules(per_merchant=True))
    common = keep_common(data)
    assert common.items.ids.tolist() == ["i1"]
    assert len(common.interactions) == 4
    apart = clean(dataset([(0, 0), (1, 1)], merchant=[0, 1]), Rules(per_merchant=True))
    with pytest.raises(ConfigError, match="no item is sold by all 2 merchants"):
        keep_common(apart)


def test_what_a_merchant_sells():
    sells = sold_by(np.array([0, 1, 1]), np.array([2, 0, 0], np.int32), 2, 3)
    assert sells.tolist() == [[False, False, True], [True, False, False]]


MARKET = {
    "data.name": "marketplace",
    "data.users": 80,
    "data.items": 60,
    "data.merchants": 4,
    "clients.unit": "merchant",
}


def test_keys_choose_merchants_and_items():
    whole = load_dataset(from_flat(MARKET))
    few = load_dataset(from_flat({**MARKET, "merchants.largest": 2}))
    counts = customers_of(whole.interactions, 4)
    names = whole.merchants.ids[np.argsort(-counts, kind="stable")[:2]]
    assert set(few.merchants.ids) == set(names)
    common = load_dataset(from_flat({**MARKET, "merchants.catalogue": "intersection"}))
    rows = common.interactions
    assert sold_by(rows.merchant.astype(np.int64), rows.item, 4, common.num_items).all()
    population = load_population(from_flat({**MARKET, "merchants.largest": 2}))
    assert population.num_clients == 2


def test_keys_that_choose_need_merchants_as_clients():
    with pytest.raises(ConfigError, match=r"need clients.unit = 'merchant'"):
        from_flat({"merchants.largest": 2})


def test_the_last_days_are_the_test_for_merchants():
    keys = {**MARKET, "split.protocol": "time", "split.days": 28.0}
    split = load_population(from_flat(keys)).split
    time = split.dataset.interactions.timestamp
    last = time.max()
    assert time[split.test].min() > last - 28 * 86_400
    assert time[split.valid].max() <= last - 28 * 86_400
    assert time[split.valid].min() > last - 56 * 86_400
    assert time[split.train].max() <= last - 56 * 86_400
    with pytest.raises(ConfigError, match=r"set split.protocol = 'time'"):
        from_flat({**MARKET, "split.days": 28.0})


def test_a_merchant_touches_its_part_of_the_catalogue_alone():
    keys = {**MARKET, "split.protocol": "time", "split.days": 28.0, "data.repeats": "first"}
    population = load_population(from_flat(keys))
    everyone = np.arange(4)
    spec = Sampling(negatives=3, pooled=True, own=True)
    samples = draw_samples(population, everyone, 0, 1, spec)
    assert population.sold.shape == (4, population.num_items)
    assert population.sold[samples.client, samples.fields["item"]].all()
    whole = draw_samples(population, everyone, 0, 1, replace(spec, own=False))
    assert not population.sold[whole.client, whole.fields["item"]].all()
    # pooled, a customer is still that of its merchant: the very same negatives
    pooled = draw_samples(one_client(population), np.array([0]), 0, 1, spec)
    pairs = [set(zip(s.fields["user"].tolist(), s.fields["item"].tolist(), strict=True))
             for s in (samples, pooled)]  # fmt: skip
    assert pairs[0] == pairs[1]
