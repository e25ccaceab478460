"""Batches in tiles: each sample once an epoch, next to no padding, alone as together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.batches import Samples
from fedrec.data.tiles import Tiles, few_sizes, lay_out

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def numbered(counts: list[int]) -> Samples:
    """Samples whose item is their own number; each weighs 2."""
    client = np.repeat(np.arange(len(counts)), counts)
    size = len(client)
    order = np.random.default_rng(0).integers(0, 2**63, size).astype(np.uint64)
    ones = np.ones(size, np.float32)
    return Samples(client, {"item": np.arange(size)}, ones, ones * 2, order, len(counts))


def batches_of(laid: Tiles, client: int) -> list[list[int]]:
    """The samples of each batch of a client, in the order of its steps."""
    out = []
    for number in np.flatnonzero(laid.client == client):
        tiles = laid.batch == number
        out.append(laid.source[tiles][laid.weight[tiles] > 0].tolist())
    return out


@given(COUNTS, st.integers(0, 11), st.integers(1, 3), st.integers(1, 7))
def test_every_sample_is_seen_once_in_each_epoch(
    counts: list[int], batch: int, epochs: int, tile: int
) -> None:
    samples = numbered(counts)
    laid = lay_out(samples, batch, epochs, tile)
    assert laid.source.shape == laid.weight.shape
    assert laid.source.shape[1] <= tile
    assert (np.diff(laid.batch) >= 0).all()
    assert np.allclose(np.bincount(laid.batch, laid.weight.sum(1), len(laid.client)), laid.samples)
    for client, count in enumerate(counts):
        mine = np.flatnonzero(samples.client == client).tolist()
        batches = batches_of(laid, client)
        assert len(batches) == epochs * -(-count // (batch or max(count, 1)))
        seen = [n for one in batches for n in one]
        for epoch in range(epochs):
            assert sorted(seen[epoch * count : (epoch + 1) * count]) == mine
    padding = laid.weight == 0
    assert (laid.source == laid.source[:, :1])[padding].all()  # touches no further row


@given(COUNTS, st.integers(0, 11), st.integers(1, 3), st.integers(1, 7))
def test_only_the_last_tiles_of_a_batch_are_padded(
    counts: list[int], batch: int, epochs: int, tile: int
) -> None:
    laid = lay_out(numbered(counts), batch, epochs, tile)
    filled = np.count_nonzero(laid.weight, axis=1)
    empty = filled == 0
    inner = (laid.batch[:-1] == laid.batch[1:]) & ~empty[1:]
    assert (filled[:-1][inner] == laid.weight.shape[1]).all()
    in_step = np.bincount(laid.tile_step, ~empty, laid.num_steps).astype(int)
    assert (few_sizes(in_step) == np.diff(laid.tile_start)).all()


@given(COUNTS, st.integers(1, 5), st.integers(1, 2))
def test_steps_in_their_order_and_clients_ascending_within(
    counts: list[int], batch: int, epochs: int
) -> None:
    laid = lay_out(numbered(counts), batch, epochs, 3)
    steps = np.repeat(np.arange(laid.num_steps), np.diff(laid.batch_start))
    assert laid.batch_start[-1] == len(laid.client)
    assert laid.tile_start[-1] == len(laid.batch)
    assert (laid.tile_step == steps[laid.batch]).all()
    for step in range(laid.num_steps):
        clients = laid.client[steps == step]
        assert (np.diff(clients) > 0).all()
        assert set(clients) == {
            c for c, n in enumerate(counts) if epochs * -(-n // min(batch, max(counts))) > step
        }


def test_batches_without_weight_are_left_out() -> None:
    samples = numbered([4, 2])
    weight = samples.weight.copy()
    weight[4:] = 0
    laid = lay_out(replace(samples, weight=weight), 2, 1, 8)
    assert laid.client.tolist() == [0, 0]
    assert sorted(laid.source.ravel().tolist()) == [0, 1, 2, 3]
    none = lay_out(replace(samples, weight=weight * 0), 2, 1, 8)
    assert (none.num_steps, len(none.batch)) == (0, 0)


def test_epochs_are_shuffled_anew() -> None:
    epochs = lay_out(numbered([64]), 16, 3, 16).source.reshape(3, 64)
    assert [sorted(e) for e in epochs.tolist()] == [list(range(64))] * 3
    assert all((epochs[a] != epochs[b]).mean() > 0.8 for a, b in ((0, 1), (0, 2), (1, 2)))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(1, 12))
def test_batches_do_not_depend_on_the_block(counts: list[int], batch: int) -> None:
    samples = numbered(counts)
    together = lay_out(samples, batch, 2, 4)
    for client in range(len(counts)):
        mine = np.flatnonzero(samples.client == client)
        alone = replace(
            samples,
            client=np.zeros(len(mine), np.int64),
            label=samples.label[mine],
            weight=samples.weight[mine],
            order=samples.order[mine],
            num_clients=1,
        )
        batches = batches_of(lay_out(alone, batch, 2, 4), 0)
        moved = [sorted(mine[one].tolist()) for one in batches]
        assert moved == [sorted(one) for one in batches_of(together, client)]


def test_steps_come_in_few_sizes() -> None:
    number = np.arange(1, 5_000)
    rounded = few_sizes(number)
    assert rounded[:16].tolist() == list(range(1, 17))
    assert few_sizes(np.array([17, 18, 31, 33, 300, 1025])).tolist() == [18, 18, 32, 36, 320, 1152]
    assert (rounded >= number).all()
    assert (rounded <= number * 1.125).all()
    assert len(np.unique(rounded)) <= 8 * 11
