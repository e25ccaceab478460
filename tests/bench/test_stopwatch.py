"""Seconds by phase of code that carries no clock."""

import threading

import pytest

import fedrec.bench.stopwatch
import fedrec.data.tiles
import fedrec.training.local
from fedrec.bench.stopwatch import PHASES, PROBES, Stopwatch, replaced, watched


class Clock:
    """A clock that only `wait` moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


CLOCK = Clock()


def wait(seconds: float) -> None:
    CLOCK.now += seconds


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedrec.bench.stopwatch, "time", CLOCK)


def test_a_phase_inside_another_counts_for_itself_alone() -> None:
    watch = Stopwatch()
    inner = watch.timed(lambda: wait(0.5), "gather")

    def both() -> None:
        wait(0.25)
        inner()
        wait(0.25)

    watch.timed(both, "train")()
    seconds = watch.take()
    assert seconds["gather"] == pytest.approx(0.5)
    assert seconds["train"] == pytest.approx(0.5)
    assert sum(watch.take().values()) == 0


def test_a_failure_closes_its_phase() -> None:
    watch = Stopwatch()

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        watch.timed(fail, "fold")()
    watch.timed(lambda: wait(0.75), "server")()
    seconds = watch.take()
    assert seconds["server"] == pytest.approx(0.75)
    assert seconds["fold"] == 0


def test_other_threads_are_not_counted() -> None:
    watch = Stopwatch()
    thread = threading.Thread(target=watch.timed(lambda: wait(0.5), "train"))
    thread.start()
    thread.join()
    assert watch.take()["train"] == 0


def test_a_function_is_replaced_wherever_it_is_imported_and_put_back() -> None:
    original = fedrec.data.tiles.lay_out

    def other() -> None: ...

    with replaced(original, other, "fedrec.data.tiles", "lay_out"):
        assert fedrec.data.tiles.lay_out is other
        assert fedrec.training.local.lay_out is other
    assert fedrec.data.tiles.lay_out is original
    assert fedrec.training.local.lay_out is original


def test_every_probe_exists_and_every_phase_has_one() -> None:
    with watched() as watch:
        assert list(watch.seconds) == list(PHASES)
    assert {phase for *_, phase in PROBES} == set(PHASES)
