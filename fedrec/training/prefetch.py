"""The next block prepared while one trains: one thread, one block ahead.

Drawing samples is NumPy, training is TensorFlow, and for long stretches neither holds
the interpreter.  Preparing ahead is allowed because every draw is addressed by (seed,
round, client, purpose): when it happens, and in which thread, changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Prepared = TypeVar("Prepared")
Block = NDArray[np.int64]


class Ahead(Generic[Prepared]):
    """Prepares the block after the one that was handed out last.

    Args:
        prepare: called in another thread, for one block at a time.
        on: whether to; if not, each block is prepared when it is taken.
    """

    def __init__(self, prepare: Callable[[Block], Prepared], *, on: bool = True) -> None:
        self._prepare, self._on = prepare, on
        self._now: tuple[Block, Future[Prepared]] | None = None

    def over(self, blocks: Iterable[Block]) -> Generator[Block, None, None]:
        """Yield the blocks; each is ready, or being prepared, when it is handed out.

        The thread ends with the last block, or when the iterator is closed.
        """
        if not self._on:
            yield from blocks
            return
        with ThreadPoolExecutor(1, "fedrec-prefetch") as pool:
            waiting: tuple[Block, Future[Prepared]] | None = None
            try:
                for block in blocks:
                    following = (block, pool.submit(self._prepare, block))
                    if waiting is not None:
                        self._now = waiting
                        yield waiting[0]
                    waiting = following
                if waiting is not None:
                    self._now = waiting
                    yield waiting[0]
            finally:
                self._now = None
                pool.shutdown(wait=True, cancel_futures=True)

    def take(self, block: Block) -> Prepared:
        """Return what was prepared for a block, once; for any other (a half, where the
        whole did not fit into memory) it is prepared now.

        Raises:
            Exception: what preparing this block raised.
        """
        now, self._now = self._now, None
        if now is None or not np.array_equal(now[0], block):
            return self._prepare(block)
        return now[1].result()
