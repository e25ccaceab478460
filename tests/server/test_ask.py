"""Replies come early, late, or never."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from server.ask import LATE_S, SOON_S, ask


class Slow:
    """A grid on which message n is answered at look number answered[n]; None: never."""

    def __init__(self, answered: list[int | None], refused: int = 0) -> None:
        self.answered, self.refused = answered, refused
        self.looks: list[set[str]] = []

    def push_messages(self, messages: Iterable[Any]) -> list[str]:
        sent = [str(n) for n, _ in enumerate(messages)]
        return [*sent[: len(sent) - self.refused], *[""] * self.refused]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Any]:
        self.looks.append(set(message_ids))
        ready = [i for i in self.looks[-1] if self.answered[int(i)] == len(self.looks)]
        return [SimpleNamespace(metadata=SimpleNamespace(reply_to_message_id=i)) for i in ready]


def answers(grid: Slow, patience: float | None) -> list[int]:
    replies = ask(grid, range(len(grid.answered)), patience)  # type: ignore[arg-type]
    return [int(reply.metadata.reply_to_message_id) for reply in replies]


def test_each_reply_is_waited_for_and_fetched_once() -> None:
    grid = Slow([3, 1, 2])
    assert answers(grid, None) == [1, 2, 0]
    assert grid.looks == [{"0", "1", "2"}, {"0", "2"}, {"0"}]


def test_what_is_there_at_once_costs_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it slept"))
    for patience in (None, 0.0):
        assert sorted(answers(Slow([1, 1]), patience)) == [0, 1]


def test_who_is_silent_is_given_up_in_time() -> None:
    begin = time.monotonic()
    assert answers(Slow([None, 1]), 0.2) == [1]
    assert 0.2 <= time.monotonic() - begin < 2


def test_what_flower_refuses_to_send_is_not_waited_for() -> None:
    assert answers(Slow([1, 1], refused=1), None) == [0]


def test_pauses_grow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    answers(Slow([40]), None)
    assert (slept[0], slept[-1], len(slept)) == (SOON_S, LATE_S, 39)
    assert slept == sorted(slept)
