"""Phases of personal parameters: trained over what items bring, they end where they would have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.models.frozen import form_of
from fedrec.params import Personal, Shared
from fedrec.training.cohort import CohortUpdate
from fedrec.training.node import Setup, init_personal, init_shared, prepare, train_block

Make = Callable[..., Config]
TOWERS = {"model__name": "two-tower", "model__tower": "8"}
MACHINE = {"model__name": "deepfm", "model__tower": "8 5"}
CASES: dict[str, dict[str, str | int | float]] = {
    "two-tower": {**TOWERS, "train__l2": 0.01},
    "two-tower bpr": {**TOWERS, "model__loss": "bpr"},
    "two-tower hinge, no rows": {
        **TOWERS,
        "model__loss": "hinge",
        "model__spread": 0.3,
        "model__id_rows": "false",
    },
    "two-tower, no users": {**TOWERS, "model__user_attributes": ""},
    "deepfm": {**MACHINE, "train__l2": 0.01},
    "deepfm adam": {**MACHINE, "train__optimizer": "adam"},
    "deepfm bpr, one layer": {**MACHINE, "model__loss": "bpr", "model__tower": "6"},
    "deepfm, no users": {**MACHINE, "model__user_attributes": ""},
    "ncf": {"model__name": "ncf", "model__mlp": "8 4"},
    "fedrecon": {**TOWERS, "train__method": "fedrecon"},
}
STEPS = {"train__method": "alternating", "train__optimizer": "sgd", "train__personal_steps": 3,
         "train__personal_lr": 0.02, "train__batch": 0}  # fmt: skip


def start(setup: Setup) -> tuple[Shared, Personal]:
    """Shared parameters that are not near zero, and what the clients begin with."""
    begun, drawn = init_shared(setup), np.random.default_rng(3)
    groups = (
        {n: drawn.normal(0.0, 0.3, v.shape).astype(np.float32) for n, v in group.items()}
        for group in (begun.tables, begun.weights)
    )
    return Shared(*groups), init_personal(setup, np.arange(setup.population.num_clients))


def without_form(model: Any) -> Any:
    """The same model, of a class that has no form."""

    class Plain(type(model)):  # type: ignore[misc]
        """The same."""

    return Plain(**{f.name: getattr(model, f.name) for f in fields(cast("Any", model))})


def trained(setup: Setup, shared: Shared, personal: Personal, clients: Any) -> CohortUpdate:
    return train_block(setup, shared, personal, clients, 1)[0]


@pytest.mark.parametrize("name", sorted(CASES))
def test_ends_where_the_model_itself_does(small_run: Make, name: str) -> None:
    setup = prepare(small_run("run", **{**STEPS, **CASES[name]}))
    clients = np.arange(setup.population.num_clients)
    plain = replace(setup, model=without_form(setup.model))
    assert form_of(setup.model) is not None
    assert form_of(plain.model) is None
    shared, personal = start(setup)
    found, wanted = (trained(one, shared, personal, clients) for one in (setup, plain))
    near = 2e-3 if "adam" in name else 2e-5  # Adam divides gradients near 0 by their size
    for vector, value in wanted.personal.values.items():
        assert found.personal.values[vector] == pytest.approx(value, abs=near, rel=1e-4), vector
    for table, rows in wanted.rows.items():
        size = max(1e-6, float(np.abs(rows).max()))
        assert np.asarray(found.rows[table]) == pytest.approx(np.asarray(rows), abs=2e-3 * size)
    for weight, change in wanted.weights.items():
        size = max(1e-6, float(np.abs(change).max()))
        assert found.weights[weight] == pytest.approx(change, abs=2e-3 * size), weight
    assert found.loss == pytest.approx(wanted.loss, rel=1e-4)
    assert found.samples == pytest.approx(wanted.samples)


def test_what_moves_is_the_users_vector_alone(small_run: Make) -> None:
    setup = prepare(small_run("run", **{**STEPS, **CASES["deepfm"]}))
    clients = np.arange(setup.population.num_clients)
    shared, personal = start(setup)
    found = trained(setup, shared, personal, clients).personal.values
    assert set(found) == set(personal.values)
    assert np.array_equal(found["profile"], personal.values["profile"])
    assert not np.allclose(found["user"], personal.values["user"])


def test_few_samples_are_asked_as_ever(small_run: Make) -> None:
    """A client of fewer samples than items does not work out all items: to the last bit."""
    setup = prepare(small_run("run", **{**STEPS, **CASES["deepfm"]}))
    population = setup.population
    sizes = np.diff(population.indptr) * (1 + setup.method.sampling.negatives)
    client = np.flatnonzero((sizes > 0) & (sizes < population.num_items))[:1]
    assert len(client)
    shared, personal = start(setup)
    own = personal.take(client)
    plain = replace(setup, model=without_form(setup.model))
    found, wanted = (trained(one, shared, own, client) for one in (setup, plain))
    assert np.array_equal(found.personal.values["user"], wanted.personal.values["user"])
