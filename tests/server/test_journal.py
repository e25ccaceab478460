"""rounds.jsonl: appended, and taken back to a checkpoint."""

from pathlib import Path

import pytest

from server.journal import Journal, Stopwatch


def test_lines_are_appended(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rounds.jsonl")
    journal.begin(None)
    assert journal.lines() == []
    journal.append({"round": 1})
    journal.append({"round": 2})
    assert [line["round"] for line in journal.lines()] == [1, 2]


@pytest.mark.parametrize("written", [1, 2, 3, 5])
def test_a_resume_goes_back_to_the_checkpoint(tmp_path: Path, written: int) -> None:
    journal = Journal(tmp_path / "rounds.jsonl")
    for number in range(1, written + 1):
        journal.append({"round": number, "run": "first"})
    with open(tmp_path / "rounds.jsonl", "a") as file:
        file.write('{"round": 9, "lo')  # killed while writing
    journal.begin({"round": 2, "run": "checkpoint"})
    kept = [line["run"] for line in journal.lines() if line["round"] < 2]
    assert kept == ["first"]
    assert journal.lines()[-1] == {"round": 2, "run": "checkpoint"}
    assert len(journal.lines()) == 2


def test_a_stopwatch_adds_up_phases() -> None:
    clock = Stopwatch()
    for _ in range(2):
        with clock.phase("train"):
            pass
    stamp = clock.stamp()
    assert set(stamp["phases"]) == {"sample", "train", "aggregate", "evaluate", "checkpoint"}
    assert stamp["seconds"] == pytest.approx(stamp["phases"]["train"], abs=1e-6)
