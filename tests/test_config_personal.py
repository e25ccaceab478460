"""What personalised methods refuse, and why."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.config import from_flat
from fedrec.errors import ConfigError
from fedrec.systems import check_systems

GRAPH = {"train.method": "gpfedrec", "model.name": "head"}
RAP = {"train.method": "fedrap", "model.name": "additive"}
NOISE = {"privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}


@pytest.mark.parametrize("keys", [GRAPH, RAP, {**RAP, "secure.mode": "semi-honest"}])
def test_these_fit(keys: dict[str, Any]) -> None:
    assert from_flat(keys).train.method == keys["train.method"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {**GRAPH, "secure.mode": "semi-honest"},
            r"'gpfedrec' compares the updates of single clients, and secure.mode = 'semi-honest' "
            "shows the server their sum alone: set secure.mode = 'off', or train.method = 'pfedrec'",
        ),
        (
            {**GRAPH, "privacy.mechanism": "central", **NOISE},
            "'gpfedrec' with privacy.mechanism = 'central' is not accounted",
        ),
        (
            {**GRAPH, "privacy.mechanism": "local", **NOISE},
            "'gpfedrec' with privacy.mechanism = 'local' is not accounted",
        ),
        (
            {**GRAPH, "robust.defence": "median"},
            "weighs clients by its graph, and robust.defence = 'median' would take its place",
        ),
        (
            {**GRAPH, "server.weighting": "samples"},
            "'gpfedrec' needs server.weighting = 'equal', not 'samples'",
        ),
        (
            {"train.method": "reptile", "model.name": "additive"},
            "model.name = 'additive' needs a method whose clients train their own table",
        ),
        (
            {"train.method": "fomaml", "model.name": "mmoe"},
            "'fomaml' learns where personal parameters start: it needs clients.unit = 'user' and "
            "model.name = 'mf' or 'ncf' or 'head' or 'keras', not 'user' and 'mmoe'",
        ),
        (
            {"train.method": "reptile", "clients.unit": "merchant", "data.name": "marketplace"},
            "it needs clients.unit = 'user' and .*, not 'merchant' and 'mf'",
        ),
        ({**GRAPH, "model.name": "ncf"}, "it needs model.name = 'head' or 'mf', not 'ncf'"),
        ({**GRAPH, "server.fairness": 1.0}, "not by its loss: set server.fairness = 0"),
        (
            {**GRAPH, "clients.unit": "merchant", "data.name": "marketplace"},
            "train.method = 'gpfedrec' is for clients.unit = 'user', not 'merchant'",
        ),
        (
            {**RAP, "clients.unit": "dirichlet"},
            "model.name = 'additive' is for clients.unit = 'user', not 'dirichlet'",
        ),
        (
            {**RAP, "model.name": "head"},
            "'fedrap' drives a client's own table from the shared one: it needs model.name = "
            "'additive', not 'head'",
        ),
        (
            {**RAP, "train.method": "fedrecon"},
            "'additive' needs a method whose clients train their own table and the shared one "
            "together: train.method = 'fedavg' or 'fedprox' or 'fedrap', not 'fedrecon'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat(keys)


def test_a_table_for_each_client_has_no_twin() -> None:
    config = from_flat(RAP)
    check_systems(["federated", "popularity"], config)
    with pytest.raises(ConfigError, match="Leave centralised and local-only out"):
        check_systems(["federated", "local-only", "centralised"], config)
    check_systems(["centralised", "local-only"], from_flat({**RAP, **GRAPH}))
