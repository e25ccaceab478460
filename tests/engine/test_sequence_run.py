"""Runs of sequence models: nodes do not matter, and secure sums are those of plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedrec.config import Config
from tests.engine.test_engines import TOLERANCE, relative_difference
from tests.engine.test_engines import run as run_change
from tests.engine.test_secure_run import PLAIN, SECURE, run, within_bound

Make = Callable[..., Config]
NAMES = ("gru4rec", "sasrec", "nextitnet")
KEYS: dict[str, Any] = {
    "model__loss": "softmax",
    "model__history": 5,
    "train__lr": 0.3,
    "train__batch": 0,
    "server__weight_optimizer": "sgd",
    "server__weight_lr": 1.0,
}


@pytest.mark.parametrize("name", NAMES)
def test_nodes_do_not_matter(small_run: Make, name: str) -> None:
    keys = {**KEYS, "model__name": name}
    one = run_change(small_run, "in-process", 1, **keys)
    assert relative_difference(run_change(small_run, "in-process", 7, **keys), one) <= TOLERANCE


def test_nodes_do_not_matter_to_views_of_windows(small_run: Make) -> None:
    keys = {**KEYS, "model__name": "nextitnet", "model__contrast": 0.5}
    one = run_change(small_run, "in-process", 1, **keys)
    assert relative_difference(run_change(small_run, "in-process", 7, **keys), one) <= TOLERANCE
    without = run_change(small_run, "in-process", 2, **{**keys, "model__contrast": 0.0})
    assert relative_difference(without, one) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_secure_run_is_the_plain_one(small_run: Make, name: str) -> None:
    keys = {**KEYS, "train__lr": 0.1, "model__name": name}
    secure = small_run("secure", **{**SECURE, **keys})
    plain = run(small_run("plain", **{**PLAIN, **keys}))
    assert within_bound(secure, run(secure), plain)
