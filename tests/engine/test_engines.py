"""One design, every engine: the same change of the shared parameters.

Compared is the *change* over three rounds: comparing the tables themselves would
pass a run that changes nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.node import init_shared, prepare
from fedrec.wire import flatten_shared

TOLERANCE = 1e-5
ROUNDS = 3
Make = Callable[..., Config]


def slow(case: str) -> Any:
    return pytest.param(case, marks=pytest.mark.slow)


def change(config: Config) -> dict[str, NDArray]:
    """Return the total change of all shared parameters of a finished run."""
    arrays, meta = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)
    assert meta["round"] == config.train.rounds
    before = flatten_shared(init_shared(prepare(config)))
    return {n: arrays[f"shared/{n}"].astype(np.float64) - b for n, b in before.items()}


def relative_difference(a: Mapping[str, NDArray], b: Mapping[str, NDArray]) -> float:
    """Return the largest relative difference of a table or weight."""
    return max(float(np.linalg.norm(a[n] - b[n]) / np.linalg.norm(b[n])) for n in b)


def run(make: Make, engine: str, nodes: int, **keys: str | int | float) -> dict[str, NDArray]:
    config = make(
        f"{engine}-{nodes}",
        **{"engine__nodes": nodes, "train__rounds": ROUNDS, "evaluate__every": ROUNDS, **keys},
    )
    execute(config, engine=engine)
    return change(config)


CASES = {
    "mf": {},
    "mf, sampled clients that drop out": {
        "clients__sampling": "fixed", "clients__per_round": 20, "clients__dropout": 0.2,
    },
    "mf, server adam": {"server__table_optimizer": "adam", "server__table_lr": 0.01},
    "mf, alternating, server adam on sums": {
        "train__method": "alternating", "train__optimizer": "adam", "train__reduction": "sum",
        "server__rows": "sum", "server__table_optimizer": "adam", "server__table_lr": 0.05,
    },
    "ncf": {"model__name": "ncf", "model__mlp": "8 4", "train__lr": 0.1},
    "fcf": {
        "train__method": "fcf", "model__loss": "squared", "train__lr": 0.01, "train__negatives": 0,
    },
    "pfedrec": {
        "train__method": "pfedrec", "model__name": "head", "train__row_lr": 20.0,
        "train__reduction": "mean", "server__rows": "mean", "evaluate__table": "personalised",
    },
    "fedrecon": {"train__method": "fedrecon", "server__weighting": "samples"},
    "reptile": {"train__method": "reptile", "server__weighting": "samples"},
    "fomaml": {"train__method": "fomaml", "model__name": "head"},
    "gpfedrec": {
        "train__method": "gpfedrec", "model__name": "head", "train__row_lr": 20.0,
        "train__reduction": "mean", "server__rows": "mean", "train__prox_mu": 0.02,
        "server__weighting": "equal", "evaluate__table": "personalised",
    },
    "fedrap": {
        "train__method": "fedrap", "model__name": "additive", "train__row_lr": 20.0,
        "train__reduction": "mean", "server__rows": "mean", "train__ramp": 1.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nodes_do_not_matter(small_run: Make, case: str) -> None:
    one = run(small_run, "in-process", 1, **CASES[case])
    assert max(np.abs(moved).max() for moved in one.values()) > 1e-3
    assert relative_difference(run(small_run, "in-process", 7, **CASES[case]), one) <= TOLERANCE


def test_one_client_a_node(small_run: Make) -> None:
    one = run(small_run, "in-process", 1)
    assert relative_difference(run(small_run, "in-process", 50), one) <= TOLERANCE


def test_merchants_as_clients(small_run: Make) -> None:
    keys = {"clients__unit": "merchant", "data__merchants": 4}
    one = run(small_run, "in-process", 1, **keys)
    assert relative_difference(run(small_run, "in-process", 4, **keys), one) <= TOLERANCE


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
@pytest.mark.parametrize(
    "case",
    ["mf", slow("pfedrec"), slow("fedrecon"), slow("reptile"), slow("gpfedrec"), slow("fedrap")],
)
def test_ray(small_run: Make, case: str) -> None:
    one = run(small_run, "in-process", 1, **CASES[case])
    assert relative_difference(run(small_run, "ray", 2, **CASES[case]), one) <= TOLERANCE


@pytest.mark.slow
def test_superlink(small_run: Make) -> None:
    one = run(small_run, "in-process", 1)
    assert relative_difference(run(small_run, "superlink", 2), one) <= TOLERANCE
