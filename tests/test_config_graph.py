"""What a configuration of a graph model must satisfy."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.bench.estimate import known_estimate
from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.systems import check_systems
from fedrec.training.methods import build_method

GRAPH: dict[str, Any] = {
    "model.name": "lightgcn",
    "model.loss": "bpr",
    "train.method": "lightgcn",
}


def test_the_graph_comes_first_and_then_the_phases() -> None:
    config = Config().with_({**GRAPH, "train.graph_rounds": 2, "model.layers": 3})
    method = build_method(config, pairwise=True)
    for number, block in ((1, 0), (2, 1)):
        now = method.at(number)
        assert [phase.solver for phase in now.phases] == ["statistics"]
        assert now.statistics is not None
        assert (now.statistics.block, now.statistics.hops) == (block, 3)  # type: ignore[attr-defined]
        assert now.sampling.negatives == 0
        assert now.at(number) == now
    later = method.at(3)
    assert later.statistics is None
    assert [phase.solver for phase in later.phases] == ["neighbours", "gradient"]
    assert later.at(3) is later


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.name": "mf"}, "do not go together"),
        ({"train.method": "fedavg"}, "do not go together"),
        ({"model.loss": "logistic"}, "needs model.loss = 'bpr', not 'logistic'"),
        ({"data.feedback": "explicit"}, "learns from who met what"),
        ({"train.reduction": "mean"}, "set train.reduction = 'sum', not 'mean'"),
        ({"model.pretrained": "somewhere"}, "leave out model.pretrained"),
        ({"clients.unit": "merchant"}, "is for clients.unit = 'user', not 'merchant'"),
        ({"clients.sampling": "fixed"}, "needs clients.sampling = 'all', not 'fixed'"),
        ({"train.rounds": 2, "train.graph_rounds": 2}, "set train.rounds above that, not to 2"),
        ({"train.graph_rounds": 6}, "raise evaluate.every = 5 to 6 or more"),
        ({"privacy.mechanism": "central", "privacy.clip": 1.0}, "noise on every pair of items"),
        ({"server.rows": "mean"}, "solves from a plain sum"),
        ({"compress.rows": 3}, "solves from an exact sum"),
        ({"secure.mode": "semi-honest", "secure.rows": "union"}, "Set secure.rows = 'dense'"),
        ({"robust.attack": "random"}, "is not offered with robust.attack"),
        ({"privacy.pseudo_items": 3}, "pseudo items falsify counts"),
    ],
)
def test_what_does_not_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().with_({**GRAPH, **keys})


def test_a_client_alone_has_no_graph() -> None:
    config = Config().with_(GRAPH)
    with pytest.raises(ConfigError, match="leave 'local-only' out of compare.systems"):
        check_systems(["federated", "local-only"], config)
    check_systems(["federated", "centralised", "ease"], config)


def test_a_run_whose_rounds_are_unlike_is_not_estimated_from_one() -> None:
    long = {"train.rounds": 100_000, "data.name": "marketplace"}
    assert known_estimate(Config().with_({**GRAPH, **long})) is None
