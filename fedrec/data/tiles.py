"""Samples cut into batches, laid out in tiles: ragged, with next to no padding.

A batch is one client's samples of one step.  Batches lie one after the other, step
by step, and each is cut into tiles of K samples, so that all tiles of a step form
one dense array [n, K] whatever the sizes of the clients; only the last tile of a
batch is padded.

TensorFlow's matrix products are prepared anew for each size that they meet, for
milliseconds each; so the number of tiles of a step is rounded up to one of few sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.rng import draw


@dataclass(frozen=True, eq=False)
class Tiles:
    """Batches of C clients over S steps, in tiles.

    Attributes:
        source: int64 [N, K], number of the sample in each cell; padding repeats the
            first sample of its tile, so that it touches no further row.
        weight: float32 [N, K], weight of the sample, 0 where padded.
        batch: int32 [N], batch of each tile, ascending.
        client: int32 [M], client of each batch, ascending within a step.
        samples: float64 [M], sum of the weights of each batch, positive.
        tile_start: int32 [S+1], the tiles of step s are tile_start[s]..tile_start[s+1].
        batch_start: int32 [S+1], its batches likewise.
    """

    source: NDArray[np.int64]
    weight: NDArray[np.float32]
    batch: NDArray[np.int32]
    client: NDArray[np.int32]
    samples: NDArray[np.float64]
    tile_start: NDArray[np.int32]
    batch_start: NDArray[np.int32]

    @property
    def num_steps(self) -> int:
        """S, the largest number of steps of a client."""
        return len(self.tile_start) - 1

    @property
    def tile_step(self) -> NDArray[np.int32]:
        """Return the step of each tile, int32 [N]."""
        return np.repeat(np.arange(self.num_steps, dtype=np.int32), np.diff(self.tile_start))


def lay_out(samples: Samples, batch: int, epochs: int, tile: int) -> Tiles:
    """Shuffle each client's samples, cut them into batches, and those into tiles.

    Each epoch is shuffled anew; the last batch of an epoch may be smaller.  A client
    with a single batch keeps its order, as order within a batch means nothing.
    Batches whose samples all weigh nothing are left out.  Samples that belong together
    (`Samples.window`) are shuffled as one, and each such run is a tile; a batch holds
    whole runs.

    Args:
        samples: samples of C clients.
        batch: B, samples a step; 0 for all samples of the client in one step.
        epochs: passes.
        tile: K, largest width of a tile; no wider than the longest batch.

    Returns:
        The tiles.
    """
    count = np.bincount(samples.client, minlength=samples.num_clients)
    longest = max(1, int(count.max(initial=1)))
    width = min(batch, longest) if batch else longest
    if samples.window > 1:
        tile, width = samples.window, -(-width // samples.window) * samples.window
    per_epoch = -(-count // width)
    client = np.repeat(np.arange(len(count)), per_epoch * epochs)
    step = _positions(per_epoch * epochs)
    by_step = np.argsort(step, kind="stable")
    client, step = client[by_step], step[by_step]
    epoch, within = np.divmod(step, np.maximum(per_epoch[client], 1))
    size = np.minimum(count[client] - within * width, width)
    first = (np.cumsum(count) - count)[client] + within * width
    order = _orders(samples, per_epoch, epochs)
    first += epoch * len(samples.client)
    source, weight, owner = _cut(samples, first, size, step, tile, order)
    return _tiles(source, weight, owner, client, step)


def _positions(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0..n-1 for each count n, one after the other."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def _cut(
    samples: Samples,
    first: NDArray[np.int64],
    size: NDArray[np.int64],
    step: NDArray[np.int64],
    tile: int,
    order: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Cut batches `first`..`first + size` of the ordered samples; returns also their owner."""
    tile = max(1, min(tile, int(size.max(initial=1))))
    number = _padded(-(-size // tile), step)
    owner = np.repeat(np.arange(len(size)), number)
    offset = _positions(number) * tile
    left = np.minimum(size[owner] - offset, tile)
    cell = np.arange(tile)
    real = cell < left[:, None]
    source = (first[owner] + np.where(left > 0, offset, 0))[:, None] + cell * real
    if order is not None:
        source = order[source]
    return source, samples.weight[source] * real, owner


def _padded(number: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the last batch of each step empty tiles, so that steps have few sizes."""
    if not len(number):
        return number
    tiles = np.bincount(step, number).astype(np.int64)
    last = np.searchsorted(step, np.arange(len(tiles)), "right") - 1
    number = number.copy()
    number[last] += few_sizes(tiles) - tiles
    return number


def few_sizes(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round up to one of eight sizes in each octave: at most an eighth more.

    Args:
        number: int64, positive.
    """
    grain = 1 << np.maximum(np.log2(number).astype(np.int64) - 3, 0)
    rounded: NDArray[np.int64] = -(-number // grain) * grain
    return rounded


def _tiles(
    source: NDArray[np.int64],
    weight: NDArray[np.float32],
    owner: NDArray[np.int64],
    client: NDArray[np.int64],
    step: NDArray[np.int64],
) -> Tiles:
    """Leave out batches without weight, and number what is left."""
    total = np.bincount(owner, weight.sum(1, dtype=np.float64), len(client)).astype(np.float64)
    kept = total > 0
    if not kept.all():
        number = np.cumsum(kept) - 1
        stays = kept[owner]
        source, weight, owner = source[stays], weight[stays], number[owner[stays]]
        client, step, total = client[kept], step[kept], total[kept]
    steps = np.arange(int(step.max(initial=-1)) + 2)
    batch_start = np.searchsorted(step, steps).astype(np.int32)
    return Tiles(
        source,
        weight,
        owner.astype(np.int32),
        client.astype(np.int32),
        total,
        np.searchsorted(owner, batch_start).astype(np.int32),
        batch_start,
    )


def _orders(
    samples: Samples, per_epoch: NDArray[np.int64], epochs: int
) -> NDArray[np.int64] | None:
    """Return the order of the samples in each epoch, [epochs * n]; None if there is no choice."""
    number = len(samples.client)
    chosen = np.flatnonzero((per_epoch > 1)[samples.client])
    if not len(chosen) and epochs == 1:
        return None
    client = samples.client[chosen].astype(np.uint64) << np.uint64(40)
    order = np.tile(np.arange(number), (epochs, 1))
    for epoch in range(epochs if len(chosen) else 0):
        words = samples.order[chosen]
        words = words if epoch == 0 else draw(words, epoch)
        key = client | (words >> np.uint64(24))
        if samples.window > 1:  # places of a run keep their order
            order[epoch, chosen] = chosen[np.argsort(key, kind="stable")]
        else:
            order[epoch, chosen] = chosen[np.argsort(key)]
    return order.ravel()
