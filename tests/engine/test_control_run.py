"""Whole runs with SCAFFOLD: nodes, secure sums, noise, interruptions, missing merchants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.models.export import load_model
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.control import CONTROL, TABLE
from tests.engine.test_engines import TOLERANCE, relative_difference
from tests.engine.test_engines import run as run_change
from tests.engine.test_resume import outcome, run_until_killed
from tests.engine.test_secure_run import PLAIN, SECURE, run, system, within_bound

Make = Callable[..., Config]
KEYS: dict[str, Any] = {
    "train__method": "scaffold",
    "clients__unit": "merchant",
    "data__merchants": 4,
    "train__reduction": "mean",
    "train__lr": 0.5,
    "train__epochs": 2,
    "train__batch": 32,
    "server__rows": "mean",
    "server__weight_optimizer": "sgd",
    "server__weight_lr": 1.0,
}
SHARED = "shared/weight."


def controls(config: Config) -> tuple[dict[str, NDArray], list[dict[str, NDArray]]]:
    """c of the server, and c_i of each node, by name, after the last checkpoint."""
    files = RunDirectory(Path(config.run.out))
    saved = read_arrays(files.checkpoint)[0]
    server = {n.removeprefix(SHARED): v for n, v in saved.items() if n.startswith(SHARED + CONTROL)}
    nodes = []
    for folder in sorted(files.clients.iterdir()):
        held = read_arrays(max(folder.rglob("round-*.ckpt"), key=lambda file: file.name))[0]
        start = "current.client/"
        nodes.append({n.removeprefix(start): v for n, v in held.items() if n.startswith(start)})
    return server, nodes


@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_nodes_do_not_matter(small_run: Make, model: str) -> None:
    keys = {**KEYS, "model__name": model, "model__mlp": "4", "train__lr": 0.1}
    one = run_change(small_run, "in-process", 1, **keys)
    assert relative_difference(run_change(small_run, "in-process", 4, **keys), one) <= TOLERANCE
    plain = run_change(small_run, "in-process", 2, **{**keys, "train__method": "fedavg"})
    assert relative_difference(plain, one) > 1e-3


@pytest.mark.parametrize("keys", [{}, {"clients__sampling": "fixed", "clients__per_round": 2}])
def test_c_stays_the_mean_of_all_merchants(small_run: Make, keys: dict[str, Any]) -> None:
    config = small_run("run", **{**KEYS, **keys, "train__rounds": 4, "engine__nodes": 4})
    execute(config)
    server, nodes = controls(config)
    assert list(server) == [TABLE + "item"]
    own = np.concatenate([node[TABLE + "item"] for node in nodes])
    assert own.shape == (4, *server[TABLE + "item"].shape)
    assert np.abs(own).max() > 1e-3
    assert np.allclose(own.mean(0), server[TABLE + "item"], atol=1e-6)


def test_c_is_the_mean_of_the_merchants_that_train_together(small_run: Make) -> None:
    some = {"merchants__only": "0 2", "train__rounds": 2, "engine__nodes": 4}
    config = small_run("run", **{**KEYS, **some})
    execute(config)
    server, nodes = controls(config)
    own = np.concatenate([node[TABLE + "item"] for node in nodes])
    assert np.abs(own).max(axis=(1, 2)).astype(bool).tolist() == [True, False, True, False]
    assert np.allclose(own[[0, 2]].mean(0), server[TABLE + "item"], atol=1e-6)


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_secure_run_is_the_plain_one(small_run: Make, rounds: int) -> None:
    keys = {"model__name": "ncf", "model__mlp": "4", "train__rounds": rounds}
    config = small_run("secure", **{**SECURE, **KEYS, **keys})
    plain = small_run("plain", **{**PLAIN, **KEYS, **keys})
    found, expected = run(config), run(plain)
    if rounds == 1:
        assert within_bound(config, found, expected)
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < 1e-4, name
    masked, clear = controls(config)[0], controls(plain)[0]
    for name, value in clear.items():
        assert np.abs(masked[name] - value).max() < 1e-4, name
    assert system(config)["privacy"]["secure_aggregation"] == "semi-honest, dense"


def test_noise_covers_the_control_variates(small_run: Make) -> None:
    noise = {
        "privacy__mechanism": "central",
        "privacy__clip": 0.5,
        "privacy__noise_multiplier": 1.0,
    }
    config = small_run("noise", **{**KEYS, **noise, "privacy__draws": "seeded", "train__rounds": 1})
    execute(config)
    c = controls(config)[0][TABLE + "item"]
    assert np.std(c) == pytest.approx(0.5 / 4, rel=0.2)  # noise of the clip norm, over four
    assert system(config)["privacy"]["epsilon"] > 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_control_variates_survive_a_kill(small_run: Make, after: bool) -> None:
    keys = {**KEYS, "engine__nodes": 2, "train__rounds": 5, "server__checkpoint_every": 2,
            "clients__sampling": "fixed", "clients__per_round": 3, "evaluate__sampled": 0}  # fmt: skip
    calm = small_run("calm", **keys)
    execute(calm)
    for deliveries in (5, 8):
        config = small_run(f"killed-{deliveries}", **keys)
        assert run_until_killed(config, deliveries, after=after)
        execute(config)
        assert outcome(config) == outcome(calm), f"killed at message {deliveries}"
        for mine, other in zip(controls(config)[1], controls(calm)[1], strict=True):
            assert {n: v.tobytes() for n, v in mine.items()} == {
                n: v.tobytes() for n, v in other.items()
            }


def test_the_model_is_exported_without_them(small_run: Make) -> None:
    config = small_run("run", **KEYS)
    execute(config)
    files = RunDirectory(Path(config.run.out))
    assert not any(CONTROL in name for name in load_model(files.model).shared.weights)
    line = json.loads(files.rounds.read_text().splitlines()[0])
    size = read_arrays(files.checkpoint)[0]["shared/table.item"].nbytes
    assert line["bytes_down"] == 4 * 2 * size, "c goes along, to each of four"


def test_merchants_that_count_by_their_samples(small_run: Make) -> None:
    config = small_run("run", **{**KEYS, "server__weighting": "samples", "engine__nodes": 4})
    execute(config)
    server, nodes = controls(config)
    own = np.stack([node[TABLE + "item"][0] for node in nodes])
    plain, weighted = own.mean(0), server[TABLE + "item"]
    assert np.abs(plain - weighted).max() > 1e-4
    shares = np.linalg.lstsq(own.reshape(4, -1).T, weighted.ravel(), rcond=None)[0]
    assert shares.sum() == pytest.approx(1.0, abs=0.05)
    assert (shares > 0).all()
