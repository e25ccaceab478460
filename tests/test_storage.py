"""Sealed files are whole or refused."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.errors import CheckpointError, OutputError
from fedrec.storage import read_arrays, replace_file, write_arrays


def test_arrays_and_facts_survive_bit_by_bit(tmp_path: Path) -> None:
    arrays = {"a/b.c": np.array([np.nan, -0.0, 1e-40], np.float32), "n": np.array(3, np.int64)}
    write_arrays(tmp_path / "new" / "x.ckpt", arrays, {"round": 3, "best": None})
    back, meta = read_arrays(tmp_path / "new" / "x.ckpt")
    assert meta == {"round": 3, "best": None}
    assert {n: (a.dtype, a.tobytes()) for n, a in back.items()} == {
        n: (a.dtype, a.tobytes()) for n, a in arrays.items()
    }


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "x.ckpt"
    write_arrays(file, {"a": np.zeros(100)}, {})
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    damaged = {"flip": bytes(content), "cut": content[:-1], "empty": b"", "other": b"PK\x03"}
    file.write_bytes(damaged[damage])
    with pytest.raises(CheckpointError, match="is corrupted.*--overwrite"):
        read_arrays(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read .*x.ckpt: No such file"):
        read_arrays(tmp_path / "x.ckpt")


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    replace_file(tmp_path / "x", b"old")
    replace_file(tmp_path / "x", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        replace_file(tmp_path / "file" / "x", b"")
