"""Devices: what is refused, how much is taken at once, and what happens when that is too much.

Most tests here raise TensorFlow's error for want of memory themselves.  One lets TensorFlow
raise it, in the middle of a compiled round: its allocator for the processor then waits for
10 s whether memory comes free, once for each halving, but takes no processor time meanwhile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fedrec.training.device as device
from fedrec.config import Scalar, load_config
from fedrec.errors import ConfigError, EngineError
from fedrec.training.node import (
    init_personal,
    init_shared,
    prepare,
    train_node,
    training_blocks,
)

GPU = SimpleNamespace(name="/physical_device:GPU:0", device_type="GPU")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A GPU of 5,000 MiB as TensorFlow would describe it, and what is asked of it."""
    state: dict[str, Any] = {
        "limit_mib": None, "used": 0, "grows": [], "visible": [GPU], "busy": False,
        "capability": (7, 5),
    }  # fmt: skip

    def hide(devices: list[Any], kind: str) -> None:
        if state["busy"]:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        state["visible"] = devices

    def limits(one: Any) -> list[Any] | None:
        limit = state["limit_mib"]
        return None if limit is None else [SimpleNamespace(memory_limit=limit)]

    about = {"device_name": "Test 9000"}
    fakes = {
        "list_physical_devices": lambda kind: [GPU],
        "get_visible_devices": lambda kind: state["visible"],
        "set_visible_devices": hide,
        "get_logical_device_configuration": limits,
        "experimental.set_memory_growth": lambda one, grow: state["grows"].append(one),
        "experimental.get_memory_info": lambda name: {"current": state["used"]},
        "experimental.enable_tensor_float_32_execution": lambda wanted: None,
        "experimental.get_device_details": lambda one: {
            **about, "compute_capability": state["capability"],
        },
    }  # fmt: skip
    for name, fake in fakes.items():
        *inner, last = name.split(".")
        monkeypatch.setattr(tf.config.experimental if inner else tf.config, last, fake)
    monkeypatch.setattr(device, "_gpu_limit", lambda: 5000 << 20)
    return state


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


def test_a_block_takes_a_quarter_of_what_is_free_on_a_gpu(gpu: dict[str, Any]) -> None:
    gpu["used"] = 1000 << 20
    assert device.block_bytes(load_config(None)) == 1000 << 20
    gpu["limit_mib"] = 2000  # by the caller, in TensorFlow's own way
    assert device.block_bytes(load_config(None)) == 250 << 20
    gpu["used"] = 3000 << 20
    assert device.block_bytes(load_config(None)) == 1 << 20


def test_memory_of_a_gpu_grows_unless_it_is_limited(gpu: dict[str, Any]) -> None:
    device.ready_device(load_config(None))
    assert gpu["grows"] == [GPU]
    gpu["grows"], gpu["limit_mib"] = [], 2000
    device.ready_device(load_config(None))
    assert gpu["grows"] == []


def test_a_gpu_is_hidden_from_a_run_on_the_processor(gpu: dict[str, Any]) -> None:
    device.ready_device(load_config(None, {"train.device": "cpu"}))
    assert gpu["visible"] == gpu["grows"] == []
    gpu["visible"], gpu["busy"] = [GPU], True
    with pytest.raises(EngineError, match="this process has used a GPU before"):
        device.ready_device(load_config(None, {"train.device": "cpu"}))


def test_the_gpu_is_named(gpu: dict[str, Any]) -> None:
    assert device.device_name(load_config(None)) == "GPU Test 9000"
    assert device.list_gpus() == ["Test 9000 (compute capability 7.5)"]


def test_a_gpu_without_matrix_units_for_bfloat16_is_told(
    gpu: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    mixed = load_config(None, {"train.precision": "mixed", "model.name": "ncf"})
    device.ready_device(load_config(None))
    gpu["capability"] = (8, 0)
    device.ready_device(mixed)
    assert caplog.text == ""
    gpu["capability"] = (7, 5)
    device.ready_device(mixed)
    assert "compute capability 7.5, 8.0 is needed" in caplog.text
    assert "on a processor" not in caplog.text


def test_mixed_precision_on_a_processor_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    keys: dict[str, Scalar] = {"model.name": "ncf"}
    device.ready_device(load_config(None, keys))
    assert caplog.text == ""
    device.ready_device(load_config(None, {**keys, "train.precision": "mixed"}))
    assert "on a processor without units for it (AMX) float32 is several times" in caplog.text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.device", "tpu", "train.device = 'tpu': Input should be 'auto', 'cpu' or 'gpu'"),
        ("engine.block_mib", 4, "engine.block_mib = 4: Input should be greater than or equal to 8"),
    ],
)
def test_values_that_cannot_be(key: str, value: Scalar, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(None, {key: value})


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
    parts = list(device.train_in_parts([np.arange(10)], full(3, seen)))
    assert np.array_equal(np.concatenate([part for part, _ in parts]), np.arange(10))
    assert sum(total for _, total in parts) == 45
    assert seen == [10, 5, 3, 2, 5, 3, 2]
    assert "out of memory with 10 clients" in caplog.text


def test_blocks_that_follow_begin_with_as_many_parts() -> None:
    seen: list[int] = []
    blocks = [np.arange(10), np.arange(10, 18), np.arange(18, 19)]
    parts = list(device.train_in_parts(blocks, full(3, seen)))
    assert np.array_equal(np.concatenate([part for part, _ in parts]), np.arange(19))
    assert seen == [10, 5, 3, 2, 5, 3, 2, 2, 2, 2, 2, 1]


def test_a_client_that_does_not_fit_alone_is_named() -> None:
    with pytest.raises(EngineError, match="client 7 alone does not fit"):
        list(device.train_in_parts([np.array([7])], full(0, [])))


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


@dataclass(frozen=True)
class Hungry:
    """A model that asks for 2^48 bytes in a step of more than `most` clients."""

    model: Any
    most: int

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    def gradients(self, weights: Any, personal: Any, rows: Any, batch: Any) -> Any:
        found = self.model.gradients(weights, personal, rows, batch)
        tiles = tf.shape(batch["weight"], tf.int64)[0]
        asked = tf.where(tiles > self.most, tf.constant(1 << 46, tf.int64), 1)
        zero = tf.reduce_sum(tf.fill([asked], 0.0 * found.losses[0]))
        return found._replace(losses=found.losses + zero)


def test_memory_that_runs_out_within_a_compiled_round(caplog: pytest.LogCaptureFixture) -> None:
    small = {"data.name": "marketplace", "data.users": 24, "data.items": 60, "data.merchants": 2,
             "data.events_per_user": 8.0, "train.batch": 8, "train.method": "fedavg",
             "train.prefetch": False, "train.device": "cpu", "train.optimizer": "sgd"}  # fmt: skip
    setup = prepare(load_config(None, small))
    clients = np.arange(24)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    assert len(list(training_blocks(setup, clients))) == 1
    whole, after = train_node(setup, shared, personal, clients, 1)
    assert "out of memory" not in caplog.text
    hungry = replace(setup, model=Hungry(setup.model, 12))
    parts, halved = train_node(hungry, shared, personal, clients, 1)
    assert caplog.text.count("out of memory with 24 clients in a block") == 1
    assert caplog.text.count("out of memory") == 1
    ours, theirs = (t.tables["item"].dense(60) for t in (whole, parts))
    assert np.linalg.norm(ours) > 0
    assert np.linalg.norm(theirs - ours) <= 1e-5 * np.linalg.norm(ours)
    for name, value in after.values.items():
        np.testing.assert_allclose(halved.values[name], value, atol=1e-5)


def test_little_memory_makes_small_blocks_and_the_same_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {"data.name": "marketplace", "data.users": 60, "data.items": 80, "data.merchants": 2,
             "model.dim": 64}  # fmt: skip
    setup = prepare(load_config(None, small))
    clients = np.arange(60)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    assert len(list(training_blocks(setup, clients))) == 1
    whole, _ = train_node(setup, shared, personal, clients, 1)
    monkeypatch.setattr(device, "available_bytes", lambda: 4 << 20)
    assert len(list(training_blocks(setup, clients))) > 3
    parts, _ = train_node(setup, shared, personal, clients, 1)
    ours, theirs = (t.tables["item"].dense(80) for t in (whole, parts))
    assert np.linalg.norm(theirs - ours) <= 1e-5 * np.linalg.norm(ours)
