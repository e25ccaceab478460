"""Progress is read from the file, once for each round."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.engine.follow import followed
from fedrec.storage import RunDirectory, replace_file, write_arrays


def write(files: RunDirectory, *rounds: int) -> None:
    text = "".join(json.dumps({"round": r}) + "\n" for r in rounds)
    replace_file(files.rounds, text.encode())


def test_rounds_come_once_and_in_order(tmp_path: Path) -> None:
    files, events = RunDirectory(tmp_path), list[dict[str, Any]]()
    with followed(files, events.append):
        write(files, 1)
        with open(files.rounds, "a") as file:
            file.write('{"round": 2}\n{"round": 3')
    assert events == [{"event": "round", "round": 1}, {"event": "round", "round": 2}]


def test_a_resume_reports_only_what_is_new(tmp_path: Path) -> None:
    files, events = RunDirectory(tmp_path), list[dict[str, Any]]()
    write(files, 1, 2, 3, 4)  # rounds 3 and 4 came after the checkpoint
    write_arrays(files.checkpoint, {"x": np.zeros(1)}, {"round": 2})
    with followed(files, events.append):
        write(files, 1, 2, 3)
    assert [event["round"] for event in events] == [3]


def test_a_run_that_never_begins_reports_nothing(tmp_path: Path) -> None:
    files, events = RunDirectory(tmp_path), list[dict[str, Any]]()
    write(files, 1, 2)
    with followed(files, events.append):
        pass
    assert events == []


def test_an_error_of_the_listener_is_raised_after_the_run(tmp_path: Path) -> None:
    finished = []

    def listener(event: dict[str, Any]) -> None:
        raise ValueError("display is gone")

    def run() -> None:
        with followed(RunDirectory(tmp_path), listener):
            write(RunDirectory(tmp_path), 1, 2)
            finished.append(True)

    with pytest.raises(ValueError, match="display is gone"):
        run()
    assert finished


def test_the_error_of_the_run_goes_first(tmp_path: Path) -> None:
    files = RunDirectory(tmp_path)
    with pytest.raises(KeyError, match="run"), followed(files, lambda event: None):
        raise KeyError("run")


def test_nobody_listens(tmp_path: Path) -> None:
    with followed(RunDirectory(tmp_path), None):
        assert list(tmp_path.iterdir()) == []
