"""Columns in mapped files: whole or not at all, and checked when they are opened again."""

import os
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedrec.data.mapped import Block, open_or_write
from fedrec.errors import DataError


def blocks() -> Iterator[Block]:
    yield {"a": np.arange(3, dtype=np.int32), "b": np.array([0.5]), "none": np.zeros(0, np.int64)}
    yield {
        "a": np.arange(7, 9, dtype=np.int32),
        "b": np.array([1.5]),
        "none": np.zeros(0, np.int64),
    }


def never() -> Iterator[Block]:
    raise AssertionError("written again")
    yield {}


def test_pieces_become_columns_that_are_written_once_and_cannot_be_changed(tmp_path: Path) -> None:
    for given in (blocks(), never()):
        columns = open_or_write(tmp_path / "x", given, size=1, scattered=("a",))
        assert columns["a"].tolist() == [0, 1, 2, 7, 8]
        assert columns["a"].dtype == np.int32
        assert columns["b"].tolist() == [0.5, 1.5]
        assert columns["none"].dtype == np.int64
        assert len(columns["none"]) == 0
        with pytest.raises(ValueError, match="read-only"):
            columns["a"][0] = 1


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> Iterator[Block]:
        yield from blocks()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_or_write(tmp_path / "x", stopped(), size=1)
    assert [p.name for p in tmp_path.iterdir()] == [".x.lock"]
    (tmp_path / ".x.part").mkdir()  # of a process that was killed
    (tmp_path / ".x.part" / "a").write_text("half")
    assert open_or_write(tmp_path / "x", blocks(), size=1)["b"].tolist() == [0.5, 1.5]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.lock", "x"]


@pytest.mark.parametrize("damage", ["shorter", "other", "gone", "no list", "list"])
def test_damaged_columns_are_written_again(tmp_path: Path, damage: str) -> None:
    open_or_write(tmp_path / "x", blocks(), size=1)
    file = tmp_path / "x" / ("columns.json" if "list" in damage else "a")
    if damage == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "list":
        file.write_text("[")
    elif damage == "other":
        content = bytearray(file.read_bytes())
        content[5] ^= 1
        file.write_bytes(bytes(content))
    else:
        file.unlink()
    assert open_or_write(tmp_path / "x", blocks(), size=1)["a"].tolist() == [0, 1, 2, 7, 8]


def test_a_copy_with_another_time_is_read_and_kept(tmp_path: Path) -> None:
    open_or_write(tmp_path / "x", blocks(), size=1)
    os.utime(tmp_path / "x" / "a", (1, 1))
    assert open_or_write(tmp_path / "x", never(), size=1)["a"].tolist() == [0, 1, 2, 7, 8]


def test_a_full_disk_and_a_locked_place_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".y.part").write_text("in the way")
    with pytest.raises(DataError, match="cannot write .*data.cache"):
        open_or_write(tmp_path / "y", blocks(), size=1)
    full = namedtuple("full", "total used free")(10, 9, 1)
    monkeypatch.setattr("fedrec.data.mapped.shutil.disk_usage", lambda path: full)
    with pytest.raises(DataError, match="about 3 MiB on the disk, .* has 0 MiB free.*data.cache"):
        open_or_write(tmp_path / "x", blocks(), size=3 << 20)
