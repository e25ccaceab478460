from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.cache import load, save
from fedrec.data.directory import cache_directory, make_directory
from fedrec.errors import DataError
from tests.data.small_data import dataset


def full():
    attributes = {
        "kind": to_category(["a", None]),
        "price": to_number([1, np.nan]),
        "tags": to_tags([["x"], []]),
        "title": to_text(["Così\nfan tutte", None]),
    }
    data = dataset(
        [(0, 0), (1, 1)], time=[1, 2], rating=[3, 4], merchant=[0, 1], event=[0, 2],
        attributes=attributes,
    )  # fmt: skip
    return replace(data, account=("said",))


def test_what_is_saved_comes_back(tmp_path):
    data = full()
    save(tmp_path / "deep" / "d.npz", data)
    back = load(tmp_path / "deep" / "d.npz")
    assert (back.name, back.account) == ("small", ("said",))
    for name, column in data.interactions.columns().items():
        found = back.interactions.columns()[name]
        assert found.dtype == column.dtype
        assert (found == column).all()
    for kind in ("items", "users", "merchants"):
        assert getattr(back, kind).ids.tolist() == getattr(data, kind).ids.tolist()
    for name, attribute in data.items.attributes.items():
        found = back.items.attributes[name]
        assert (found.kind, found.vocabulary) == (attribute.kind, attribute.vocabulary)
        np.testing.assert_array_equal(found.values, attribute.values)
    assert list(tmp_path.glob("**/*.part")) == []


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_damage_is_noticed(tmp_path, damage):
    path = tmp_path / "d.npz"
    save(path, full())
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[200] ^= 0xFF
    else:
        content = bytearray(b"nothing of the kind")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"the cached data set .*d.npz is damaged"):
        load(path)


def test_the_directory_is_configured_or_of_the_environment_or_at_home(monkeypatch):
    monkeypatch.setenv("FEDREC_CACHE", "/somewhere")
    assert cache_directory("") == Path("/somewhere")
    assert cache_directory("/else") == Path("/else")
    monkeypatch.delenv("FEDREC_CACHE")
    assert cache_directory("") == Path.home() / ".cache" / "fedrec"


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the cache directory .*FEDREC_CACHE"):
        make_directory(tmp_path / "file" / "below")
