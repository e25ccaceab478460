from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from fedrec.data.load import load_dataset
from fedrec.errors import ConfigError, DataError
from tests.data.small_data import config, rows_of

TEXT = "user,item,stars,when\na,x,5,3\na,y,4,2\nb,x,3,1\n"
ROWS = [("a", "x"), ("a", "y"), ("b", "x")]


def load(path, **keys):
    return load_dataset(config(data__name="file", data__path=str(path), **keys))


def test_delimited_files(tmp_path):
    (tmp_path / "a.csv").write_text(TEXT)
    (tmp_path / "a.tsv").write_text(TEXT.replace(",", "\t"))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    for name in ("a.csv", "a.tsv", "a.csv.gz"):
        data = load(tmp_path / name, data__rating_column="stars", data__time_column="when")
        assert rows_of(data) == ROWS
        assert data.interactions.rating.tolist() == [5, 4, 3]
        assert data.name == name


def test_parquet(tmp_path):
    pd.DataFrame({"user": ["a"], "item": ["x"]}).to_parquet(tmp_path / "a.parquet")
    assert rows_of(load(tmp_path / "a.parquet")) == [("a", "x")]


def test_a_file_without_a_header(tmp_path):
    (tmp_path / "ratings.csv").write_text("A1,B1,5.0,1400000000\nA2,B1,4.0,1400000001\n")
    keys = {
        f"data__{role}_column": str(n) for n, role in enumerate(("user", "item", "rating", "time"))
    }
    assert rows_of(load(tmp_path / "ratings.csv", **keys)) == [("A1", "B1"), ("A2", "B1")]


def test_attribute_files(tmp_path):
    (tmp_path / "a.csv").write_text(TEXT)
    (tmp_path / "items.csv").write_text("id,tags,price\ny,s|t,2\nx,t,1\n")
    data = load(tmp_path / "a.csv", data__item_file=str(tmp_path / "items.csv"))
    assert data.items.attributes["price"].values.tolist() == [1, 2]
    assert data.items.attributes["tags"].values.tolist() == [[False, True], [True, True]]


def write_atomic(folder):
    (folder / "d.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\t10\t4\t5\nu2\t9\t3\t6\n"
    )
    (folder / "d.item").write_text(
        "item_id:token\ttitle:token\tclass:token_seq\tprice:float\tv:float_seq\n"
        '9\tSay "Hi"\tA B\t1.5\t1 2\n10\tTwo\tB\t\t3 4\n'
    )
    (folder / "d.user").write_text("user_id:token\tgender:token\nu2\tF\n")


def test_atomic_files_bring_their_attributes(tmp_path):
    write_atomic(tmp_path)
    data = load(tmp_path / "d.inter", data__rating_column="rating", data__time_column="timestamp")
    assert rows_of(data) == [("u1", "10"), ("u2", "9")]
    assert data.items.ids.tolist() == ["9", "10"]
    attributes = data.items.attributes
    assert attributes["class"].values.tolist() == [[True, True], [False, True]]
    assert attributes["title"].vocabulary == ('Say "Hi"', "Two")
    assert attributes["price"].values[0] == 1.5
    assert np.isnan(attributes["price"].values[1])
    assert "v" not in attributes
    assert data.users.attributes["gender"].values.tolist() == [-1, 0]


def test_atomic_files_of_the_usual_names_need_no_columns(tmp_path):
    write_atomic(tmp_path)
    data = load(tmp_path / "d.inter")
    assert data.interactions.rating.tolist() == [4, 3]
    assert data.interactions.timestamp.tolist() == [5, 6]


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(TEXT)
    first = load(path)
    assert load(path) is first
    path.write_text(TEXT + "b,y,1,9\n")
    assert len(load(path).interactions) == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"user,item\n", "no rows"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.csv", b"user;item\na;b\n", "no column 'user' for the user; its columns are user;item"),
        ("a.csv", b"user,item\na,\xff\n", "not a readable ',-?'?"),
        ("a.csv", b"user,item\na,b\nc,d,e\n", "not a readable"),
        ("a.csv.gz", b"no gzip", "not a readable"),
        ("a.parquet", b"no parquet", "not a readable parquet file"),
        ("a.json", b"{}", "unknown file type '.json'. Known: .csv"),
        ("a.inter", b"user_id\titem_id\n1\t2\n", "expected name:type"),
    ],
)
def test_unusable_files(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        load(tmp_path / name)


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match=r"a.csv does not exist \(looked in"):
        load(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is a directory"):
        load(tmp_path)


def test_a_path_that_would_be_ignored_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="data.path = 'x.csv' is set, but data.name = 'ml-100k'"):
        load_dataset(config(data__path="x.csv"))
