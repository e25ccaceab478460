"""An own file's population on the disk is the one in memory, number for number."""

from __future__ import annotations

import gzip
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.config import Config, load_config
from fedrec.data import chunks, external, file_store
from fedrec.data.load import load_dataset
from fedrec.data.population import Population
from fedrec.data.populations import load_population
from fedrec.data.split import time_of
from fedrec.errors import ConfigError, DataError

TIMED = {"data.time_column": "when"}
RATED = {"data.rating_column": "stars", **TIMED}


def config(path: Path, store: str = "disk", **keys: Any) -> Config:
    told = {"data.name": "file", "data.path": str(path), "data.store": store,
            "data.cache": str(path.parent / "cache")}  # fmt: skip
    return load_config(None, {**told, **keys})


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 7)
    monkeypatch.setattr(external, "BLOCK_ROWS", 9)


def same(one: np.ndarray, other: np.ndarray, what: str) -> None:
    np.testing.assert_array_equal(one, other, err_msg=what)
    assert np.asarray(one).dtype == np.asarray(other).dtype, what


def equal(disk: Population, memory: Population) -> None:
    for name in ("num_items", "num_users", "num_clients"):
        assert getattr(disk, name) == getattr(memory, name)
    for name in ("indptr", "items", "labels", "client_of_user"):
        same(getattr(disk, name), getattr(memory, name), name)
    for part in ("valid", "test"):
        for name in ("users", "indptr", "items", "labels", "seen_indptr", "seen_items"):
            mine, theirs = disk.held_out(part), memory.held_out(part)
            same(getattr(mine, name), getattr(theirs, name), f"{part}.{name}")
    mine, theirs = disk.split, memory.split
    assert (mine.split_hash, mine.notes, mine.protocol) == (
        theirs.split_hash, theirs.notes, theirs.protocol)  # fmt: skip
    assert mine.dataset.account == theirs.dataset.account
    assert mine.dataset.name == theirs.dataset.name
    rows = theirs.dataset.interactions
    order = np.lexsort((time_of(rows), rows.user))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    assert set(mine.dataset.interactions.columns()) == set(rows.columns())
    for name, column in rows.columns().items():
        same(mine.dataset.interactions.columns()[name], column[order], name)
    for part in ("train", "valid", "test"):
        same(getattr(mine, part), np.sort(place[getattr(theirs, part)]), part)
    for kind in ("users", "items", "merchants"):
        entities, others = getattr(mine.dataset, kind), getattr(theirs.dataset, kind)
        if others is None:
            assert entities is None
            continue
        assert list(entities.ids) == list(others.ids)
        assert list(entities.attributes) == list(others.attributes)
        for name, attribute in others.attributes.items():
            assert entities.attributes[name].kind == attribute.kind
            assert entities.attributes[name].vocabulary == attribute.vocabulary
            same(entities.attributes[name].values, attribute.values, name)


def both(path: Path, **keys: Any) -> Population:
    """Compare both stores: equal arrays, or the same refusal."""
    try:
        memory = load_population(config(path, "memory", **keys))
    except DataError as refused:
        with pytest.raises(DataError, match=re.escape(str(refused).split("\n")[0][:60])):
            load_population(config(path, **keys))
        raise
    disk = load_population(config(path, **keys))
    equal(disk, memory)
    return disk


def random_rows(seed: int, rows: int = 120) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": draw.integers(5, 17, rows),
            "item": draw.integers(90, 120, rows),
            "stars": draw.integers(1, 6, rows).astype(float),
            "when": draw.integers(0, 12, rows),
        }
    )


USERS = ["1", "2", "10", "007", " 2", "2.0", "2.5", "a", "b c", "True", "-3", ""]
ITEMS = [str(n) for n in range(9)] + ["x", "07", ""]
STARS = ["1", "2.5", "3", "4", "5", "5", "9", ""]
TIMES = (["3"], ["0", "1", "2", "3", "4.5", "-1", ""], ["7", "1e3", "9", "1e12"],
         ["2024-05-31", "2024-06-01 12:00:00", "2024-06-01", "2024", ""])  # fmt: skip
RATINGS: list[dict[str, Any]] = [
    {}, {"data.feedback": "explicit", "model.loss": "squared"}, {"data.min_rating": 2.0}
]  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_small_file_is_the_same_from_both_stores(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 999)))
    users = USERS[data.draw(st.integers(0, 8)) :][: data.draw(st.integers(1, 4))]
    pools = users, ITEMS, STARS, data.draw(st.sampled_from(TIMES))
    rows = data.draw(st.integers(20, 60))
    lines = zip(*(draw.choice(pool, rows) for pool in pools), strict=True)
    keys: dict[str, Any] = dict(data.draw(st.sampled_from([{}, TIMED, RATED])))
    keys["data.user_core"] = data.draw(st.sampled_from([0, 2, 4]))
    keys["data.item_core"] = data.draw(st.sampled_from([0, 2]))
    keys["data.max_events_per_day"] = data.draw(st.sampled_from([0, 20]))
    if "data.rating_column" in keys:
        keys |= data.draw(st.sampled_from(RATINGS))
    path = tmp_path_factory.mktemp("own") / "own.csv"
    path.write_text("user,item,stars,when\n" + "".join(",".join(x) + "\n" for x in lines))
    with suppress(DataError):  # refused by both
        both(path, **keys)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.parquet"])
def test_every_format(tmp_path: Path, name: str) -> None:
    path, frame = tmp_path / name, random_rows(1)
    if name == "a.parquet":
        frame.to_parquet(path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    else:
        frame.to_csv(path, index=False, sep="\t" if name == "a.tsv" else ",")
    disk = both(path, **RATED, **{"data.user_core": 5, "data.min_rating": 2.0})
    assert disk.num_users > 5
    base: Any = disk.items
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


def test_atomic_files_with_attributes(tmp_path: Path) -> None:
    frame = random_rows(2)
    frame.columns = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    frame.to_csv(tmp_path / "d.inter", index=False, sep="\t")
    (tmp_path / "d.item").write_text(
        "item_id:token\ttitle:token_seq\tclass:token_seq\tprice:float\n"
        + "".join(f"{n}\tT{n}\t{'A B' if n % 2 else 'B'}\t{n / 2}\n" for n in range(95, 118))
    )
    both(tmp_path / "d.inter", **{"data.user_core": 4})


def test_text_attributes_merchants_and_dates(tmp_path: Path) -> None:
    frame = random_rows(3)
    frame["shop"] = [f"s{n % 3}" for n in range(len(frame))]
    frame["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["when"], unit="D")
    frame.loc[4, "user"] = None
    frame.to_parquet(tmp_path / "a.parquet")
    names = pd.DataFrame({"id": range(90, 118), "name": [f"Ärger {n}" for n in range(28)]})
    names.to_csv(tmp_path / "items.csv", index=False)
    keys = {"data.merchant_column": "shop", "data.item_file": str(tmp_path / "items.csv")}
    both(tmp_path / "a.parquet", **RATED, **keys)


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_units_of_time_are_told_over_all_pieces(tmp_path: Path, unit: int) -> None:
    frame = random_rows(4)
    frame["when"] = (1_400_000_000 + frame["when"]) * unit
    frame.loc[::5, "when"] = 3  # pieces alone would tell otherwise
    frame.to_parquet(tmp_path / "a.parquet")
    both(tmp_path / "a.parquet", **TIMED)


def test_what_is_laid_out_once_is_mapped_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    random_rows(5).to_csv(path, index=False)
    first = load_population(config(path))
    folder = file_store.folder_of(config(path).data)
    assert not list(folder.parent.glob(".*.work"))
    load_population.__globals__["_load_population"].cache_clear()
    monkeypatch.setattr(file_store, "written_columns", lambda *a: iter(()))
    equal_again = load_population(config(path))
    np.testing.assert_array_equal(equal_again.items, first.items)
    other = tmp_path / "sub" / "a.csv"
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    moved = config(other, **{"data.cache": str(tmp_path / "cache")})
    assert file_store.folder_of(moved.data) == folder  # the content counts, not the place
    folders = {folder}
    for keys in ({"data.user_core": 2}, {"data.time_column": "when"}, RATINGS[1]):
        folders.add(file_store.folder_of(config(path, **keys).data))
    assert len(folders) == 4
    path.write_text(path.read_text() + "5,91,1.0,3\n")
    assert file_store.folder_of(config(path).data) not in folders


def test_a_damaged_note_of_the_content_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    random_rows(6).to_csv(path, index=False)
    folder = file_store.folder_of(config(path).data)
    (note,) = (tmp_path / "cache" / "file").glob("content-*.json")
    note.write_text("{")
    assert file_store.folder_of(config(path).data) == folder


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"data.event_column": "event"}, "data.event_column is set"),
        ({"clients.unit": "dirichlet"}, "clients.unit is not 'user'"),
        ({"split.protocol": "time"}, "split.protocol is not 'leave-last-out'"),
    ],
)
def test_what_only_memory_can_hold_is_refused(
    tmp_path: Path, keys: dict[str, str], reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"cannot be, as {reason}. .*data.store = 'memory'"):
        load_population(config(tmp_path / "a.csv", **keys))
    with pytest.raises(ConfigError, match=reason):
        load_dataset(config(tmp_path / "a.csv", **keys))
    assert not file_store.on_disk(config(tmp_path / "a.csv", "auto", **keys))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("user,item\n", "no rows"),
        ("user,thing\na,b\n", "no column 'item' for the item"),
        ("user,item\na,b\nc,d,e\n", "not a readable ','-separated"),
        ("user,item\na,b\na,c\n", "no interaction is left for validation"),
    ],
)
def test_unusable_files_are_refused_as_in_memory(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        both(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b.csv does not exist"):
        load_population(config(tmp_path / "b.csv"))


def test_a_word_among_ratings_is_named_with_its_row(tmp_path: Path) -> None:
    frame = random_rows(7).astype({"stars": object})
    frame.loc[33, "stars"] = "many"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"must hold numbers, but row 34 holds 'many'"):
        both(tmp_path / "a.csv", **RATED)


def test_auto_looks_at_the_rows_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = random_rows(8, 2_000)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    assert chunks.expected_rows(tmp_path / "a.parquet") == 2_000
    assert chunks.expected_rows(tmp_path / "a.csv") == pytest.approx(2_000, rel=0.1)
    assert 500 < chunks.expected_rows(tmp_path / "a.csv.gz") < 4_000
    assert chunks.expected_rows(tmp_path / "none.csv") == 0
    section = config(tmp_path / "a.parquet", "auto")
    need = file_store.expected_bytes(section.data) * file_store.MEMORY_SHARE / 2**30
    for memory, expected in ((need * 1.01, False), (need * 0.99, True), (0.0, False)):
        monkeypatch.setattr(file_store, "memory_gib", lambda memory=memory: memory)
        assert file_store.on_disk(section) is expected
