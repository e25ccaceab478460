"""What a model's directory says of its items, and what it must not say."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.interactions import Catalogue
from fedrec.errors import CheckpointError
from fedrec.models.export_items import (
    read_catalogue,
    read_counts,
    reveals_counts,
    title_of,
    write_items,
)

IDS = np.array(["a", "b"], dtype=object)
SUMS: dict[str, str | int] = {"server.weighting": "equal", "server.rows": "sum", "train.rounds": 1}
EASE: dict[str, str | int] = {**SUMS, "model.name": "item-item", "train.method": "ease"}


def test_attributes_are_written_as_people_read_them(tmp_path: Path) -> None:
    known = {
        "title": to_text(["Tea", ""]),
        "kind": to_category([None, "food"]),
        "price": to_number([2.5, np.nan]),
        "tags": to_tags([["x", "y"], []]),
    }
    write_items(tmp_path, Catalogue(IDS, known), np.array([3, 4]))
    assert read_catalogue(tmp_path) == [
        {"title": "Tea", "price": 2.5, "tags": ["x", "y"]},
        {"kind": "food"},
    ]
    counts = read_counts(tmp_path)
    assert counts is not None
    assert counts.tolist() == [3, 4]


def test_without_attributes_and_counts_there_is_nothing(tmp_path: Path) -> None:
    write_items(tmp_path, Catalogue(IDS), None)
    assert list(tmp_path.iterdir()) == []
    assert read_catalogue(tmp_path) == []
    assert read_counts(tmp_path) is None


def test_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "catalogue.jsonl").write_text("{broken")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_catalogue(tmp_path)


def test_counts_are_told_where_the_run_has_told_them() -> None:
    assert reveals_counts(from_flat({**EASE}))
    assert reveals_counts(from_flat({**EASE, "train.method": "item-knn"}))
    assert reveals_counts(from_flat({"train.propensity": 0.5}))
    assert reveals_counts(from_flat({"evaluate.item_group": "popularity"}))
    assert not reveals_counts(from_flat({}))
    assert not reveals_counts(
        from_flat({**EASE, "privacy.mechanism": "central", "privacy.clip": 6.0})
    )


def test_titles() -> None:
    assert title_of({"title": "Fargo", "year": 1996.0}) == "Fargo (1996)"
    assert title_of({"name": "Tea"}) == "Tea"
    assert title_of({"brand": "x", "year": 1996.0}) == ""
