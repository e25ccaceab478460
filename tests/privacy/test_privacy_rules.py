"""What a configuration may not promise: every refusal says what to change."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.config import from_flat
from fedrec.errors import ConfigError

CENTRAL = {"privacy.mechanism": "central", "privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"privacy.clip": 0.0}, "needs privacy.clip above 0: noise hides a client only if"),
        ({"server.weighting": "samples"}, "needs server.weighting = 'equal'"),
        ({"server.rows": "touching"}, "needs server.rows = 'sum' or 'mean', not 'touching'"),
        ({"server.checkpoint_every": 5}, "needs server.checkpoint_every = 1"),
        (
            {"clients.sampling": "fixed", "clients.availability": 0.5},
            "Use clients.sampling = 'poisson'",
        ),
        ({"clients.sampling": "poisson", "server.min_clients": 3}, "needs server.min_clients = 1"),
        ({"clients.availability": 0.9, "server.min_clients": 3}, "needs server.min_clients = 1"),
        (
            {"privacy.mechanism": "local", "privacy.clip_mode": "adaptive"},
            "'adaptive' needs privacy.mechanism = 'central'",
        ),
        ({"privacy.mechanism": "off"}, "has no effect with privacy.mechanism = 'off'"),
        ({"privacy.delta": 1.0}, "privacy.delta = 1.0"),
        ({"privacy.noise_multiplier": -1.0}, "privacy.noise_multiplier"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({**CENTRAL, **keys})


@pytest.mark.parametrize("key", ["clip", "row_clip", "epsilon", "noise_multiplier"])
def test_protection_that_is_off_is_not_asked_for_in_vain(key: str) -> None:
    with pytest.raises(ConfigError, match=f"privacy.{key} has no effect"):
        from_flat({f"privacy.{key}": 1.0})


@pytest.mark.parametrize(
    "keys",
    [
        {"clients.sampling": "fixed", "server.min_clients": 3, "clients.dropout": 0.2},
        {"server.rows": "mean"},
        {"privacy.noise_multiplier": 0.0},
        {"privacy.mechanism": "local", "clients.sampling": "fixed", "clients.availability": 0.5},
    ],
)
def test_what_is_allowed(keys: dict[str, Any]) -> None:
    from_flat({**CENTRAL, **keys})


def test_pseudo_items_need_no_mechanism() -> None:
    assert from_flat({"privacy.pseudo_items": 5}).privacy.pseudo_items == 5


DISTRIBUTED = {
    "privacy.mechanism": "distributed",
    "privacy.clip": 1.0,
    "privacy.noise_multiplier": 1.0,
    "secure.mode": "semi-honest",
    "clients.sampling": "fixed",
    "clients.per_round": 10,
    "server.min_clients": 8,
}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"secure.mode": "off"}, "needs secure.mode = 'semi-honest' or 'malicious-server'"),
        ({"server.min_clients": 1}, "needs server.min_clients of 3 or more, not 1"),
        ({"server.min_clients": 11}, "is above clients.per_round = 10: every round would"),
        ({"privacy.clip_mode": "adaptive"}, "'adaptive' needs privacy.mechanism = 'central'"),
        ({"privacy.clip": 0.0}, "needs privacy.clip above 0"),
        ({"server.weighting": "samples"}, "needs server.weighting = 'equal'"),
        ({"server.checkpoint_every": 2}, "needs server.checkpoint_every = 1"),
        ({"secure.rows": "threshold"}, "secure.rows = 'dense'"),
        ({"robust.defence": "median"}, "compares single updates"),
    ],
)
def test_refusals_of_distributed_noise(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({**DISTRIBUTED, **keys})


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"clients.sampling": "poisson", "clients.availability": 0.9},
        {"clients.sampling": "all", "server.min_clients": 500},
        {"secure.mode": "malicious-server", "privacy.draws": "seeded"},
    ],
)
def test_distributed_noise_that_is_allowed(keys: dict[str, Any]) -> None:
    from_flat({**DISTRIBUTED, **keys})
