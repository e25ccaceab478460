"""What a configuration with a graph of items must satisfy."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.evaluation.summary import system_name


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train.method": "ease", "model.name": "item-item", "train.rounds": 1}, "solves without one"),
        ({"train.method": "ials", "model.loss": "squared"}, "solves without one"),
        ({"train.method": "lightgcn", "model.name": "lightgcn", "model.loss": "bpr"},
         "propagated along a graph as it is"),
        ({"server.lazy_rows": True}, "server.lazy_rows = true moves only"),
        ({"model.freeze": True, "model.pretrained": "x"}, "model.adapter_rank freeze them"),
        ({"server.graph_attributes": " "}, "set server.graph_attributes = 'all'"),
        ({"server.graph": "file"}, "do not go together: server.graph = 'file' reads"),
        ({"data.item_graph": "edges.csv"}, "do not go together"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().with_({"server.graph_l2": 0.1, **keys})


def test_the_name_of_a_system_says_so() -> None:
    config = Config().with_({"server.graph_l2": 0.1})
    assert system_name(config) == "federated-mf-graph"
    assert system_name(config, "centralised") == "centralised-mf"
