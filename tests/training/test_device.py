"""Devices: what is refused, how much is taken at once, and what happens when that is too much."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import fedrec.training.device as device
from fedrec.config import load_config
from fedrec.errors import EngineError
from fedrec.training.node import init_personal, init_shared, prepare, train_node


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(EngineError, match="sees no GPU here"):
        device.ready_device(load_config(None, {"train.device": "gpu"}))


def test_the_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.device_name(load_config(None, {"train.device": "cpu"})) == "CPU"


@pytest.mark.parametrize(("free", "expected"), [(None, 256 << 20), (400 << 20, 100 << 20)])
def test_a_block_takes_a_quarter_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: int | None, expected: int
) -> None:
    monkeypatch.setattr(device, "available_bytes", lambda: free)
    config = load_config(None, {"train.device": "cpu", "engine.block_mib": 256})
    assert device.block_bytes(config) == expected


def full(limit: int, seen: list[int]):
    """Training that has room for `limit` clients."""

    def train(part: np.ndarray) -> int:
        seen.append(len(part))
        if len(part) > limit:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory left")
        return int(part.sum())

    return train


def test_a_block_that_does_not_fit_is_halved(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    parts = list(device.train_in_parts(np.arange(10), full(3, seen)))
    assert np.array_equal(np.concatenate([part for part, _ in parts]), np.arange(10))
    assert sum(total for _, total in parts) == 45
    assert seen == [10, 5, 2, 3, 5, 2, 3]
    assert "out of memory with 10 clients" in caplog.text


def test_a_client_that_does_not_fit_alone_is_named() -> None:
    with pytest.raises(EngineError, match="client 7 alone does not fit"):
        list(device.train_in_parts(np.array([7]), full(0, [])))


def test_halving_changes_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"data.name": "marketplace", "data.users": 40, "data.items": 60, "data.merchants": 2}
    setup = prepare(load_config(None, small))
    clients = np.arange(40)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    whole, after = train_node(setup, shared, personal, clients, 1)
    import fedrec.training.node as node

    train_block = node.train_block

    def cramped(setup, shared, personal, block, number, **more):
        if len(block) > 6:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory left")
        return train_block(setup, shared, personal, block, number, **more)

    monkeypatch.setattr(node, "train_block", cramped)
    parts, halved = train_node(setup, shared, personal, clients, 1)
    ours, theirs = (t.tables["item"].dense(60) for t in (whole, parts))
    assert np.linalg.norm(theirs - ours) <= 1e-5 * np.linalg.norm(ours)
    for name, value in after.values.items():
        np.testing.assert_allclose(halved.values[name], value, atol=1e-5)
