"""Whole runs whose merchants keep layers of their own (FedPer)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.coldstart.devices import stored_personal
from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import ModelError
from fedrec.models.export import load_model
from fedrec.serving.load import load_recommender
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.node import prepare
from tests.engine.test_engines import TOLERANCE, relative_difference
from tests.engine.test_engines import run as run_change
from tests.engine.test_resume import outcome, run_until_killed
from tests.engine.test_secure_run import PLAIN, SECURE, run, within_bound

Make = Callable[..., Config]
KEYS: dict[str, Any] = {
    "model__name": "ncf",
    "model__mlp": "4",
    "model__local_layers": "head",
    "clients__unit": "merchant",
    "data__merchants": 4,
    "train__reduction": "mean",
    "train__lr": 0.1,
    "train__personal_lr": 0.1,
    "server__weight_optimizer": "sgd",
    "server__weight_lr": 1.0,
}


def heads(config: Config) -> np.ndarray:
    """The heads in the newest checkpoints of the nodes, by merchant [4, ...]."""
    folders = sorted(RunDirectory(Path(config.run.out)).clients.iterdir())
    files = [max(f.rglob("round-*.ckpt"), key=lambda file: file.name) for f in folders]
    return np.concatenate([read_arrays(f)[0]["current.client/head/kernel"] for f in files])


def test_nodes_do_not_matter_and_each_merchant_has_one_head(small_run: Make) -> None:
    one = run_change(small_run, "in-process", 1, **KEYS)
    assert relative_difference(run_change(small_run, "in-process", 4, **KEYS), one) <= TOLERANCE
    assert not any("head" in name for name in one)
    config = small_run("in-process-4")
    found = heads(config)
    assert len(found) == 4
    assert not any(np.array_equal(found[0], other) for other in found[1:])


def test_with_control_variates_in_secret(small_run: Make) -> None:
    keys = {**KEYS, "train__method": "scaffold"}
    config = small_run("secure", **{**SECURE, **keys})
    assert within_bound(config, run(config), run(small_run("plain", **{**PLAIN, **keys})))


def test_layers_survive_a_kill_and_are_found_again(small_run: Make) -> None:
    keys = {**KEYS, "engine__nodes": 2, "train__rounds": 4, "server__checkpoint_every": 2,
            "evaluate__sampled": 0}  # fmt: skip
    calm = small_run("calm", **keys)
    execute(calm)
    config = small_run("killed", **keys)
    assert run_until_killed(config, 6, after=True)
    execute(config)
    assert outcome(config) == outcome(calm)
    assert np.array_equal(heads(config), heads(calm))
    setup = prepare(config)
    held = stored_personal(Path(calm.run.out), setup, 4)
    assert held is not None
    owner = setup.population.client_of_user
    first = [held.values["head/kernel"][np.flatnonzero(owner == m)] for m in range(4)]
    assert all((each == each[:1]).all() for each in first)


def test_the_exported_model_lacks_them_and_is_not_served(small_run: Make) -> None:
    config = small_run("run", **KEYS)
    execute(config)
    files = RunDirectory(Path(config.run.out))
    assert not any("head" in name for name in load_model(files.model).shared.weights)
    with pytest.raises(ModelError, match="stayed with the clients"):
        load_recommender(Path(config.run.out)).session(history=[])
