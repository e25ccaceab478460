"""The right personal parameters are used, whatever was lost in between."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.personal import at_round, begin_round, end_round
from fedrec.errors import CheckpointError, EngineError
from fedrec.params import Personal
from fedrec.wire import NO_ROUND, Moment, PersonalState, store_state


def of_round(number: int) -> Personal:
    return Personal({"user": np.full((2, 3), number, np.float32)})


def fresh() -> Personal:
    return of_round(0)


def train(
    state: RecordDict, folder: Path, number: int, selected: int = NO_ROUND, *, save: bool = False
) -> int:
    """Train a round; return the round of the state that it started from."""
    moment = Moment("s", number - 1, selected, number if save else NO_ROUND)
    start = begin_round(state, moment, folder, fresh)
    store_state(state, "current", PersonalState(number, of_round(number)))
    end_round(state, moment, folder)
    assert (start.personal.values["user"] == start.round_number).all()
    return start.round_number


def evaluate(state: RecordDict, folder: Path, number: int) -> float:
    return float(at_round(state, Moment("s", number), folder, fresh).values["user"][0, 0])


def test_a_node_starts_fresh_and_goes_on_from_its_last_round(tmp_path: Path) -> None:
    state = RecordDict()
    assert evaluate(state, tmp_path, 0) == 0
    assert train(state, tmp_path, 1) == 0
    assert train(state, tmp_path, 4) == 1  # was not chosen in rounds 2 and 3
    assert evaluate(state, tmp_path, 6) == 4
    assert list(tmp_path.iterdir()) == []  # nobody asked to save


def test_the_selected_round_is_put_aside(tmp_path: Path) -> None:
    state = RecordDict()
    for number, selected in [(1, NO_ROUND), (2, NO_ROUND), (3, 2), (4, 2), (5, 4), (6, 4)]:
        train(state, tmp_path, number, selected)
    assert evaluate(state, tmp_path, 4) == 4
    assert evaluate(state, tmp_path, 6) == 6


def test_a_node_that_missed_the_selected_round_keeps_what_it_had_then(tmp_path: Path) -> None:
    state = RecordDict()
    train(state, tmp_path, 1)
    train(state, tmp_path, 7, selected=5)  # last trained in round 1
    assert evaluate(state, tmp_path, 5) == 1


def test_a_node_that_was_lost_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    state = RecordDict()
    for number in (1, 2, 3, 4):
        train(state, tmp_path, number, 1 if number > 1 else NO_ROUND, save=number % 2 == 0)
    again = RecordDict()
    assert train(again, tmp_path, 5, 1) == 4
    assert evaluate(again, tmp_path, 1) == 1


def test_what_came_after_the_servers_checkpoint_is_forgotten(tmp_path: Path) -> None:
    state = RecordDict()
    train(state, tmp_path, 1, save=True)
    train(state, tmp_path, 2, save=True)  # the server was killed before it saved round 2
    again = RecordDict()
    assert train(again, tmp_path, 2, save=True) == 1
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "round-000001.ckpt",
        "round-000002.ckpt",
    ]
    assert train(state, tmp_path, 2) == 1  # also if its memory survived


def test_only_two_files_are_kept(tmp_path: Path) -> None:
    state = RecordDict()
    for number in range(1, 6):
        train(state, tmp_path, number, save=True)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "round-000004.ckpt",
        "round-000005.ckpt",
    ]


def test_another_run_in_the_same_directory_is_not_mixed_up(tmp_path: Path) -> None:
    train(RecordDict(), tmp_path, 1, save=True)
    moment = Moment("another", 1)
    assert begin_round(RecordDict(), moment, tmp_path, fresh).round_number == 0


def test_a_lost_selected_state_is_an_error_not_a_guess(tmp_path: Path) -> None:
    state = RecordDict()
    store_state(state, "current", PersonalState(9, of_round(9)))
    with pytest.raises(EngineError, match="round 5 are lost on this node: the oldest left .* 9"):
        evaluate(state, tmp_path, 5)


def test_a_corrupted_file_is_an_error(tmp_path: Path) -> None:
    train(RecordDict(), tmp_path, 1, save=True)
    next((tmp_path / "s").iterdir()).write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="is corrupted"):
        train(RecordDict(), tmp_path, 2)


@given(
    chosen=st.lists(st.booleans(), min_size=8, max_size=8),
    improves=st.lists(st.booleans(), min_size=8, max_size=8),
    crashes=st.lists(st.booleans(), min_size=8, max_size=8),
    every=st.integers(1, 3),
)
def test_crashes_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[bool], improves: list[bool], crashes: list[bool], every: int,
) -> None:  # fmt: skip
    """Run 8 rounds with and without crashes after rounds; the starts of training agree."""

    def simulate(folder: Path, fails: list[bool]) -> tuple[dict[int, int], float]:
        state, starts = RecordDict(), {}
        number, selected, saved = 1, NO_ROUND, (1, NO_ROUND)
        fails = list(fails)
        while number <= 8:
            save = number % every == 0 or number == 8
            if chosen[number - 1]:
                starts[number] = train(state, folder, number, selected, save=save)
            elif save:
                moment = Moment("s", number - 1, selected, number)
                begin_round(state, moment, folder, fresh)
                end_round(state, moment, folder)
            if fails[number - 1]:  # before the server saves
                fails[number - 1] = False
                state, (number, selected) = RecordDict(), saved
                continue
            if improves[number - 1]:
                selected = number
            number += 1
            if save:
                saved = (number, selected)
        return starts, evaluate(state, folder, selected) if selected != NO_ROUND else -1.0

    calm = simulate(tmp_path_factory.mktemp("calm"), [False] * 8)
    assert simulate(tmp_path_factory.mktemp("crashed"), crashes) == calm
