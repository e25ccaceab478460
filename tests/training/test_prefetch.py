"""Preparing ahead: one block, in order, with its errors where they belong, and the same bits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.training import node
from fedrec.training.prefetch import Ahead

Make = Callable[..., Config]
BLOCKS = [np.arange(3 * n, 3 * n + 3) for n in range(4)]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("fedrec-prefetch")]


def test_blocks_come_in_order_prepared_in_another_thread() -> None:
    where: list[str] = []

    def prepare(block: np.ndarray) -> int:
        where.append(threading.current_thread().name)
        return int(block.sum())

    ahead = Ahead(prepare)
    taken = [(block, ahead.take(block)) for block in ahead.over(BLOCKS)]
    assert [block[0] for block, _ in taken] == [0, 3, 6, 9]
    assert [value for _, value in taken] == [3, 12, 21, 30]
    assert len(where) == 4
    assert set(where) == {"fedrec-prefetch_0"}
    assert threads() == []


def test_it_is_one_block_ahead_and_no_more() -> None:
    done, both = [], threading.Event()

    def prepare(block: np.ndarray) -> None:
        done.append(int(block[0]))
        if len(done) == 2:
            both.set()

    ahead = Ahead(prepare)
    blocks = ahead.over(BLOCKS)
    ahead.take(next(blocks))
    assert both.wait(10)  # the second is prepared while the first "trains"
    assert done == [0, 3]
    blocks.close()
    assert threads() == []


def test_an_error_is_raised_with_the_block_it_belongs_to() -> None:
    def prepare(block: np.ndarray) -> int:
        if block[0] == 3:
            raise ValueError("block 1")
        return 1

    ahead = Ahead(prepare)
    blocks = ahead.over(BLOCKS)
    assert ahead.take(next(blocks)) == 1
    block = next(blocks)
    with pytest.raises(ValueError, match="block 1"):
        ahead.take(block)
    blocks.close()
    assert threads() == []


def test_parts_of_a_block_are_prepared_anew() -> None:
    """A block that did not fit into memory comes in halves; an equal view is the block."""
    ahead = Ahead(lambda block: block.tolist())
    blocks = ahead.over(BLOCKS)
    block = next(blocks)
    assert ahead.take(block[:1]) == [0]
    assert ahead.take(block[1:]) == [1, 2]
    block = next(blocks)
    assert ahead.take(block[:]) == [3, 4, 5]
    blocks.close()


def test_no_blocks() -> None:
    assert list(Ahead(lambda block: block).over([])) == []


@pytest.mark.parametrize("resample", ["round", "once"])
def test_a_round_is_the_same_bit_by_bit(
    small_run: Make, monkeypatch: pytest.MonkeyPatch, resample: str
) -> None:
    def cut(setup: node.Setup, clients: np.ndarray) -> Iterator[np.ndarray]:
        yield from np.array_split(clients, 5)

    monkeypatch.setattr(node, "training_blocks", cut)
    found = []
    for prefetch in (False, True):
        config = small_run(train__prefetch=prefetch, train__resample=resample)
        setup, clients = node.prepare(config), np.arange(40)
        personal = node.init_personal(setup, clients)
        shared = node.init_shared(setup)
        total, after = node.train_node(setup, shared, personal, clients, 3)
        rows = total.tables["item"].rows
        found.append((rows.tobytes(), after.values["user"].tobytes(), len(rows)))
    assert found[0] == found[1]
    assert found[0][2] > 10
    assert threads() == []


def test_an_error_of_drawing_is_the_rounds(
    small_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no samples")

    monkeypatch.setattr(node, "block_samples", fail)
    setup, clients = node.prepare(small_run(train__prefetch=True)), np.arange(10)
    with pytest.raises(RuntimeError, match="no samples"):
        node.train_node(
            setup, node.init_shared(setup), node.init_personal(setup, clients), clients, 1
        )
    assert threads() == []
