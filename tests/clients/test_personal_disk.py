"""Mapped personal parameters: the same rows as in memory, whatever is lost in between."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import personal as memory
from clients import store
from clients.personal_disk import DiskStore, MappedPersonal
from clients.store import scatter
from fedrec.config import from_flat
from fedrec.engine.apps import app_dir
from fedrec.errors import CheckpointError, EngineError, OutputError
from fedrec.params import Personal
from fedrec.wire import NO_ROUND, Moment, PersonalState, store_state

USERS = 7


def initial(index: np.ndarray) -> Personal:
    return Personal(
        {
            "user": (index[:, None] + np.array([0.25, 0.5])).astype(np.float32),
            "bias": np.zeros((len(index), 1), np.float32),
        }
    )


def fresh() -> Personal:
    return initial(np.arange(USERS))


def learnt(index: np.ndarray, number: int, start: Personal) -> Personal:
    """Return what a round makes of some rows: it depends on what they were."""
    return Personal({n: v + np.float32(number) for n, v in start.values.items()})


class InMemory:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def train(self, state: RecordDict, moment: Moment, chosen: np.ndarray, number: int) -> Personal:
        start = memory.begin_round(state, moment, self.folder, fresh)
        seen = start.personal.take(np.arange(USERS))
        if len(chosen):
            new = learnt(chosen, number, start.personal.take(chosen))
            after = PersonalState(number, scatter(start.personal, new, chosen))
            store_state(state, "current", after)
        memory.end_round(state, moment, self.folder)
        return seen

    def look(self, state: RecordDict, number: int) -> Personal:
        return memory.at_round(state, Moment("s", number), self.folder, fresh)


class OnDisk:
    def __init__(self, folder: Path) -> None:
        self.store = DiskStore(folder / "s", USERS, initial)

    def train(self, state: RecordDict, moment: Moment, chosen: np.ndarray, number: int) -> Personal:
        start = self.store.begin_round(state, moment)
        seen = start.personal.take(np.arange(USERS))
        if len(chosen):
            new = learnt(chosen, number, start.personal.take(chosen))
            after = PersonalState(number, scatter(start.personal, new, chosen))
            self.store.keep(state, after)
        self.store.end_round(state, moment)
        return seen

    def look(self, state: RecordDict, number: int) -> Personal:
        return self.store.at_round(state, Moment("s", number)).take(np.arange(USERS))


def same(a: Personal, b: Personal) -> bool:
    return all(a.values[n].tobytes() == b.values[n].tobytes() for n in ("user", "bias"))


Round = namedtuple("Round", "chosen improves crashes")
ROUNDS = st.lists(
    st.builds(Round, st.sets(st.integers(0, USERS - 1), max_size=4), st.booleans(), st.booleans()),
    min_size=6,
    max_size=6,
)


@given(rounds=ROUNDS, every=st.integers(1, 3))
@settings(max_examples=25)
def test_both_stores_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[Round], every: int
) -> None:
    """Rounds with crashes that lose the node's memory; the server goes back to its checkpoint."""

    def play(kind: Any) -> list[Personal]:
        folder = tmp_path_factory.mktemp("node")
        node, state, seen = kind(folder), RecordDict(), []
        number, selected, saved = 1, NO_ROUND, (1, NO_ROUND)
        left = [r.crashes for r in rounds]
        while number <= len(rounds):
            now = rounds[number - 1]
            save = number % every == 0
            moment = Moment("s", number - 1, selected, number if save else NO_ROUND)
            seen.append(node.train(state, moment, np.array(sorted(now.chosen), np.int64), number))
            seen.append(node.look(state, number))
            if left[number - 1]:
                left[number - 1] = False
                state, (number, selected) = RecordDict(), saved
                continue
            selected = number if now.improves else selected
            number += 1
            saved = (number, selected) if save else saved
        if selected != NO_ROUND:
            seen.append(node.look(state, selected))
        shutil.rmtree(folder)
        return seen

    mapped, held = play(OnDisk), play(InMemory)
    assert len(mapped) == len(held)
    assert all(same(a, b) for a, b in zip(mapped, held, strict=True))


def mapped(folder: Path) -> MappedPersonal:
    found = DiskStore(folder, USERS, initial).begin_round(RecordDict(), Moment("s", 0))
    assert isinstance(found.personal, MappedPersonal)
    return found.personal


@given(puts=st.lists(st.sets(st.integers(0, USERS - 1), min_size=1), max_size=4), data=st.data())
@settings(max_examples=20)
def test_rows_are_gathered_and_scattered_as_from_an_array(
    tmp_path_factory: pytest.TempPathFactory, puts: list[set[int]], data: st.DataObject
) -> None:
    mine, whole = mapped(tmp_path_factory.mktemp("m")), fresh()
    for number, chosen in enumerate(puts):
        index = np.array(sorted(chosen), np.int64)
        some = learnt(index, number, whole.take(index))
        mine.put(index, some)
        whole = scatter(whole, some, index)
    index = np.array(data.draw(st.lists(st.integers(0, USERS - 1), max_size=9)), np.int64)
    assert same(mine.take(index), whole.take(index))


def test_untouched_rows_take_no_space(tmp_path: Path) -> None:
    store_ = DiskStore(tmp_path, 1_000_000, initial)
    personal = store_.begin_round(RecordDict(), Moment("s", 0)).personal
    assert personal.values["user"].shape == (1_000_000, 2)
    blocks = sum(f.stat().st_blocks * 512 for f in tmp_path.rglob("*") if f.is_file())
    assert blocks < 200_000


def test_only_two_checkpoints_are_kept_and_hold_written_rows(tmp_path: Path) -> None:
    node, state = OnDisk(tmp_path), RecordDict()
    for number in range(1, 5):
        node.train(state, Moment("s", number - 1, NO_ROUND, number), np.array([2, 5]), number)
    kept = sorted((tmp_path / "s").glob("round-*"))
    assert [k.name for k in kept] == ["round-000003.rows", "round-000004.rows"]
    assert np.load(kept[0] / "current" / "ids.npy").tolist() == [2, 5]


def test_a_changed_checkpoint_is_refused(tmp_path: Path) -> None:
    node = OnDisk(tmp_path)
    node.train(RecordDict(), Moment("s", 0, NO_ROUND, 1), np.array([2]), 1)
    file = tmp_path / "s" / "round-000001.rows" / "current" / "user.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"user\.npy is corrupted"):
        node.train(RecordDict(), Moment("s", 1), np.array([2]), 2)
    (file.parent.parent / "meta.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"cannot read .*meta\.json"):
        node.train(RecordDict(), Moment("s", 1), np.array([2]), 2)


def test_a_lost_state_is_an_error(tmp_path: Path) -> None:
    node, state = OnDisk(tmp_path), RecordDict()
    node.train(state, Moment("s", 8), np.array([1]), 9)
    with pytest.raises(EngineError, match="round 5 are lost on this node: the oldest left .* 9"):
        node.look(state, 5)


def test_a_full_disk_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = namedtuple("full", "total used free")(10, 9, 1)
    monkeypatch.setattr("clients.personal_disk.shutil.disk_usage", lambda path: full)
    with pytest.raises(OutputError, match="personal parameters of 7 users may grow .* run.out"):
        mapped(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mapped").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write .*mapped"):
        mapped(tmp_path)


def here(folder: Path, kind: str) -> Any:
    from clients.hosting import Host
    from fedrec.training.node import prepare

    keys = {"data.name": "zipf", "data.users": 20, "data.items": 30, "data.events_per_user": 5.0}
    config = from_flat({**keys, "train.personal_store": kind})
    return Host(prepare(config), np.arange(20), folder, "0-of-1")


def test_auto_looks_at_the_machines_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, moment = here(tmp_path, "auto"), Moment("s", 0)
    assert store._disk(node, moment) is None
    need = 20 * 32 * 4 * store.MEMORY_SHARE / 2**30
    monkeypatch.setattr("clients.store.memory_gib", lambda: need * 1.01)
    assert store._disk(node, moment) is None
    monkeypatch.setattr("clients.store.memory_gib", lambda: need * 0.99)
    assert store._disk(node, moment) is not None
    monkeypatch.setattr("clients.store.memory_gib", lambda: 0.0)  # the system does not say
    assert store._disk(node, moment) is None


def test_a_run_does_not_change_its_store(tmp_path: Path) -> None:
    (tmp_path / "s" / "round-000001.ckpt").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="in memory, .* train.personal_store = 'memory'"):
        store.begin_round(here(tmp_path, "disk"), RecordDict(), Moment("s", 1))
    (tmp_path / "s" / "round-000001.ckpt").rename(tmp_path / "s" / "round-000001.rows")
    with pytest.raises(CheckpointError, match="in disk, .* train.personal_store = 'disk'"):
        store.begin_round(here(tmp_path, "memory"), RecordDict(), Moment("s", 1))


CHILD = """
import sys
from pathlib import Path
import numpy as np
from flwr.app import RecordDict
from clients.personal_disk import DiskStore
from fedrec.machine import peak_memory_mib
from fedrec.models.recommender import initial_vectors
from fedrec.params import Personal
from fedrec.wire import Moment, PersonalState

users, state = 3_000_000, RecordDict()
store = DiskStore(
    Path(sys.argv[1]), users, lambda i: Personal({"user": initial_vectors(0, i, 64, 0.01)})
)
before = peak_memory_mib()
for number in (1, 2, 3):
    personal = store.begin_round(state, Moment("s", number - 1)).personal
    index = np.sort(np.random.default_rng(number).choice(users, 5_000, replace=False))
    personal.put(index, Personal({"user": personal.take(index).values["user"] + 1}))
    store.keep(state, PersonalState(number, personal))
    store.end_round(state, Moment("s", number - 1, -1, number))
print(peak_memory_mib() - before, personal.values["user"].nbytes / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts mapped pages as Linux does")
def test_memory_follows_the_cohort_not_the_population(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=app_dir(), check=True)
    grown, whole = map(float, done.stdout.split())
    assert whole > 700
    assert grown < whole / 3
