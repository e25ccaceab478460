"""Own ids that get common names as they are read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedrec.config import from_flat
from fedrec.data.catalogue_map import CatalogueMap, read_map, write_map
from fedrec.data.load import load_dataset
from fedrec.errors import ConfigError, DataError

ROWS = "user,item,time\nu1,007,1\nu1,8,2\nu2,007,3\nu2,9,4\nu2,10,5\n"


def words(*values):
    return np.array(values, dtype=object)


def mapped(**more):
    values = {"confidence": np.array([1.0, 1.0, 0.6])} | more
    return CatalogueMap(words("007", "8", "9"), words("aa", "bb", "aa"), **values)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    write_map(tmp_path / "map.csv", mapped())
    flat = {
        "data.name": "file",
        "data.path": str(tmp_path / "rows.csv"),
        "data.time_column": "time",
        "data.catalogue_map": str(tmp_path / "map.csv"),
    }

    def make(**overrides):
        return from_flat({**flat, **{f"data.{k}": v for k, v in overrides.items()}})

    return make


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_map_is_read_as_it_was_written(tmp_path, suffix):
    path = tmp_path / f"map.{suffix}"
    write_map(path, mapped(merchants=words("n", "s", "n")))
    found = read_map(path)
    assert found.items.tolist() == ["007", "8", "9"]
    assert found.pseudonyms.tolist() == ["aa", "bb", "aa"]
    assert found.confidence.tolist() == [1.0, 1.0, 0.6]
    assert found.merchants.tolist() == ["n", "s", "n"]
    assert path.stat().st_mode & 0o077 == 0


def test_items_get_their_common_names_and_others_are_left_out(config):
    data = load_dataset(config())
    assert sorted(data.items.ids) == ["aa", "bb"]
    pairs = {
        (data.users.ids[u], data.items.ids[i])
        for u, i in zip(data.interactions.user, data.interactions.item, strict=True)
    }
    assert pairs == {("u1", "aa"), ("u1", "bb"), ("u2", "aa")}
    assert "not in the catalogue map: 1 rows dropped" in data.account[0]


def test_weak_links_are_left_out(config):
    data = load_dataset(config(catalogue_confidence=0.7))
    assert "below 0.7: 1 rows dropped" in data.account[0]
    assert len(data.interactions) == 3


def test_a_changed_map_is_read_again(config, tmp_path):
    assert load_dataset(config()).num_items == 2
    write_map(tmp_path / "map.csv", CatalogueMap(words("007"), words("cc"), np.ones(1)))
    assert load_dataset(config()).items.ids.tolist() == ["cc"]


def test_attributes_of_items_follow(config, tmp_path):
    (tmp_path / "items.csv").write_text("item,colour\n007,red\n9,blue\n8,green\n77,grey\n")
    data = load_dataset(config(item_file=str(tmp_path / "items.csv")))
    colour = data.items.attributes["colour"]
    shown = {i: colour.vocabulary[c] for i, c in zip(data.items.ids, colour.values, strict=True)}
    assert shown == {"aa": "red", "bb": "green"}


def test_a_map_by_merchant_tells_equal_ids_apart(config, tmp_path):
    (tmp_path / "rows.csv").write_text("user,item,time,shop\nu1,8,1,n\nu1,8,2,s\nu2,9,3,s\n")
    frame = pd.DataFrame(
        {"item": ["8", "8", "9"], "pseudonym": ["aa", "bb", "aa"], "merchant": ["n", "s", "s"]}
    )
    frame.to_csv(tmp_path / "map.csv", index=False)
    data = load_dataset(config(merchant_column="shop"))
    assert [data.items.ids[i] for i in data.interactions.item] == ["aa", "bb", "aa"]
    with pytest.raises(DataError, match="map is by merchant, and the data name none"):
        load_dataset(config())
    (tmp_path / "items.csv").write_text("item,colour\n8,red\n")
    with pytest.raises(DataError, match="does not say whose items"):
        load_dataset(config(merchant_column="shop", item_file=str(tmp_path / "items.csv")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,name\n1,a\n", "no column 'pseudonym'"),
        ("item,pseudonym\n1,a\n1,b\n", "names the item '1' twice"),
        ("item,pseudonym\n1,\n", "an item and a pseudonym in every line"),
        ("item,pseudonym\n", "an item and a pseudonym in every line"),
        ("item,pseudonym,confidence\n1,a,1.5\n", "confidence from 0 to 1"),
        ("item,pseudonym,confidence\n1,a,\n", "confidence from 0 to 1"),
        ("item,pseudonym\n77,a\n", "no row has an item of the catalogue map.*'007'.*'77'"),
    ],
)
def test_unusable_maps_are_refused(config, tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_dataset(config())


def test_other_formats_and_other_data_are_refused(config, tmp_path):
    with pytest.raises(DataError, match="a .csv or .parquet file"):
        write_map(tmp_path / "map.txt", mapped())
    with pytest.raises(ConfigError, match="catalogue_map is for own files"):
        load_dataset(config(name="marketplace", path=""))
    with pytest.raises(ConfigError, match="data.catalogue_map is set"):
        load_dataset(config(store="disk"))
