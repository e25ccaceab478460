"""What does not fit methods that sum and solve is refused, with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.auditing import check as check_audit
from fedrec.bench.estimate import known_estimate
from fedrec.config import from_flat
from fedrec.errors import ConfigError
from fedrec.evaluation.summary import system_name
from fedrec.systems import check_systems

EASE: dict[str, Any] = {"model.name": "item-item", "train.method": "ease", "train.rounds": 1}
IALS: dict[str, Any] = {"train.method": "ials", "model.loss": "squared"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.name": "mf"}, "solved by train.method = 'ease' or 'item-knn'"),
        ({"train.method": "fedavg"}, "solved by train.method = 'ease' or 'item-knn'"),
        ({"data.feedback": "explicit"}, "data.feedback = 'implicit'"),
        ({"server.weighting": "samples"}, "server.weighting = 'equal'"),
        ({"server.rows": "mean"}, "server.rows = 'sum'"),
        ({"secure.mode": "semi-honest", "secure.rows": "union"}, "Set secure.rows = 'dense'"),
        ({"secure.mode": "semi-honest", "secure.clip": 0.5}, "cuts them off"),
        ({"server.schedule": "cosine"}, "solves, and makes no steps"),
        ({"compress.bits": 8}, "solves from an exact sum"),
        ({"compress.rows": 5}, "solves from an exact sum"),
        ({"privacy.pseudo_items": 3}, "pseudo items falsify counts"),
        ({"robust.attack": "random"}, "not statistics"),
        ({"robust.defence": "median"}, "not statistics"),
        ({"train.rounds": 0}, "train.rounds of at least 1"),
        ({"train.rounds": 9}, "raise evaluate.every = 5 to 9"),
        ({"train.rounds": 2, "clients.sampling": "fixed"}, "would be of other clients"),
        (
            {"train.rounds": 2, "privacy.mechanism": "central", "privacy.clip": 1.0},
            "one release costs least",
        ),
    ],
)
def test_what_spoils_a_gram_matrix_is_refused(keys: dict[str, Any], message: str) -> None:
    from_flat(EASE)
    with pytest.raises(ConfigError, match=message):
        from_flat({**EASE, **keys})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.loss": "logistic"}, "needs model.name = 'mf', model.loss = 'squared'"),
        ({"clients.unit": "merchant"}, "'ials' is for clients.unit = 'user', not 'merchant'"),
        ({"clients.sampling": "poisson"}, "would lose its vector"),
        ({"privacy.mechanism": "local", "privacy.clip": 1.0}, "have no useful solution"),
        ({"model.recent": 3}, "model.recent = 3 is for model.name = 'item-item'"),
    ],
)
def test_what_spoils_normal_equations_is_refused(keys: dict[str, Any], message: str) -> None:
    from_flat(IALS)
    with pytest.raises(ConfigError, match=message):
        from_flat({**IALS, **keys})


def test_they_are_called_like_their_twin() -> None:
    assert system_name(from_flat(EASE)) == "federated-ease"
    assert system_name(from_flat(IALS)) == "federated-ials"


@pytest.mark.parametrize("name", ["centralised", "local-only"])
def test_there_is_no_training_to_centralise(name: str) -> None:
    check_systems(["federated", "ease"], from_flat(EASE))
    with pytest.raises(ConfigError, match="its centralised twin is the baseline 'ease'"):
        check_systems(["federated", name], from_flat(EASE))


def test_statistics_are_not_audited() -> None:
    with pytest.raises(ConfigError, match="sends statistics"):
        check_audit(from_flat(EASE))


def test_nothing_is_foretold_of_them() -> None:
    assert known_estimate(from_flat(EASE)) is None
