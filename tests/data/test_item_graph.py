"""Edges between items from a file: what counts, what is left out and said, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedrec.data.interactions import Catalogue
from fedrec.data.item_graph import read_edges
from fedrec.errors import DataError

ITEMS = Catalogue(np.array(["10", "11", "12"], object))


def file(folder: Path, text: str) -> Path:
    path = folder / "edges.csv"
    path.write_text(text)
    return path


def test_both_directions_are_one_edge_and_strangers_are_counted(tmp_path: Path) -> None:
    text = "a,b,weight\n10,11,1\n11,10,0.5\n12,11,2\n12,12,9\n99,10,1\n,10,1\n"
    found = read_edges(file(tmp_path, text), ITEMS)
    assert found.first.tolist() == [0, 1]
    assert found.second.tolist() == [1, 2]
    assert found.weight.tolist() == [1.5, 2.0]
    assert found.note == (
        "item graph edges.csv: 2 edges from 6 lines; left out 2 with unknown ids and 1 of an item "
        "with itself"
    )


def test_without_weights_an_edge_weighs_one(tmp_path: Path) -> None:
    assert read_edges(file(tmp_path, "a,b\n10,12\n"), ITEMS).weight.tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n10\n", "edges.csv has 1 columns; expected two of item ids"),
        ("a,b\nx,y\n10,10\n", r"no line of edges.csv joins two items; the first ids are \['x'"),
        ("a,b,w\n10,11,-1\n10,12,1\n", "1 weights in edges.csv are no positive numbers.*'-1'"),
        ("a,b,w\n10,11,heavy\n", "no positive numbers, the first is 'heavy'"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_edges(file(tmp_path, text), ITEMS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_edges(tmp_path / "edges.csv", ITEMS)
