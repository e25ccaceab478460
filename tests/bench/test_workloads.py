"""The workloads, and their arrays against training client by client in float64."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.bench.export import export_workload, read_export
from fedrec.bench.workloads import WORKLOADS, Workload, clients_workload, find_workload
from fedrec.errors import ConfigError

SMALL = (
    ("data.name", "zipf"),
    ("data.users", 60),
    ("data.items", 90),
    ("data.events_per_user", 12.0),
    ("model.dim", 4),
    ("model.init", 0.5),
    ("train.batch", 16),
    ("clients.sampling", "fixed"),
    ("clients.per_round", 20),
)
MLP = (("model.name", "keras"), ("model.source", "fedrec.bench.workloads:build_mlp"))


def sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-x))


def train_alone(arrays: dict, hyper: dict, k: int) -> tuple[NDArray, NDArray]:
    """One client's epoch, as the docstring of `export_workload` tells a stranger to do it."""
    table, user = arrays["table"].astype(np.float64), arrays["user"][k].astype(np.float64)
    start, end = arrays["sample_indptr"][k : k + 2]
    for at in range(start, end, hyper["batch"]):
        batch = slice(at, min(at + hyper["batch"], end))
        item, label = arrays["sample_item"][batch], arrays["sample_label"][batch]
        error = (sigmoid(table[item] @ user) - label) / len(item)
        rows = error[:, None] * user
        user = user - hyper["lr"] * (error @ table[item])
        np.subtract.at(table, item, hyper["lr"] * rows)
    return table - arrays["table"], user - arrays["user"][k]


def relative(found: NDArray, expected: NDArray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_a_stranger_who_trains_on_the_arrays_gets_the_same_update(tmp_path: Path) -> None:
    export_workload(Workload("small", "", SMALL), tmp_path / "small.npz", rounds=3)
    arrays, hyper = read_export(tmp_path / "small.npz")
    chosen = arrays["chosen"][0]
    weight = np.diff(arrays["sample_indptr"])[chosen]
    assert weight.max() > 3 * hyper["batch"]  # several batches: their order matters
    changes = [train_alone(arrays, hyper, k) for k in chosen]
    mean = np.tensordot(weight / weight.sum(), np.stack([c[0] for c in changes]), 1)
    found = np.zeros_like(mean)
    found[arrays["update_ids"]] = arrays["update_rows"]
    assert relative(found, mean) < 1e-5
    assert relative(arrays["update_user"], np.stack([c[1] for c in changes])) < 1e-5


def test_the_arrays_belong_together(tmp_path: Path) -> None:
    export_workload(Workload("small", "", SMALL), tmp_path / "small.npz", rounds=3)
    arrays, hyper = read_export(tmp_path / "small.npz")
    assert arrays["chosen"].shape == (3, 20)
    assert hyper["num_users"] == 60
    for k in range(len(arrays["clients"])):
        items = arrays["items"][slice(*arrays["indptr"][k : k + 2])]
        negatives = arrays["negatives"][slice(*arrays["indptr"][k : k + 2])]
        samples = slice(*arrays["sample_indptr"][k : k + 2])
        assert not set(items) & set(negatives.ravel())
        label = arrays["sample_label"][samples] > 0
        np.testing.assert_array_equal(
            np.sort(arrays["sample_item"][samples][label]), np.sort(items)
        )
        np.testing.assert_array_equal(
            np.sort(arrays["sample_item"][samples][~label]), np.sort(negatives.ravel())
        )


def test_an_mlp_is_exported_with_its_weights(tmp_path: Path) -> None:
    export_workload(Workload("small", "", (*SMALL, *MLP)), tmp_path / "small.npz", rounds=1)
    arrays, _ = read_export(tmp_path / "small.npz")
    assert arrays["weights/mlp_0/kernel"].shape == (8, 64)
    assert arrays["weights/head/kernel"].shape == (16, 1)
    kernel = arrays["update_weights/mlp_1/kernel"]
    assert kernel.shape == (64, 32)
    assert np.abs(kernel).max() > 0


def test_workloads_are_as_published() -> None:
    assert list(WORKLOADS) == ["W1", "W2", "W3", "W4", "W5"]
    for workload in WORKLOADS.values():
        config = workload.config
        assert (config.train.method, config.train.optimizer) == ("fedavg", "sgd")
        assert (config.train.lr, config.train.batch, config.train.negatives) == (0.1, 256, 4)
        assert (config.server.rows, config.server.weighting) == ("mean", "samples")
    million = find_workload("w4").config
    assert (million.data.users, million.data.items, million.model.dim) == (1_000_000, 100_000, 64)
    assert million.clients.per_round == 10_000
    assert find_workload("W5").config.clients.sampling == "all"
    assert clients_workload(250).config.clients.per_round == 250


def test_an_unknown_workload_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown workload 'W9'.*Did you mean"):
        find_workload("W9")
