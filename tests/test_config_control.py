"""What SCAFFOLD does not go with is refused, with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.config import from_flat
from fedrec.errors import ConfigError

GOOD: dict[str, Any] = {
    "data.name": "marketplace",
    "clients.unit": "merchant",
    "train.method": "scaffold",
    "train.optimizer": "sgd",
}
NOISE = {"privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"clients.unit": "dirichlet"},
        {"secure.mode": "semi-honest"},
        {"privacy.mechanism": "central", **NOISE},
        {"privacy.mechanism": "local", **NOISE},
        {"robust.defence": "norm-bound", "robust.norm": 1.0},
        {"compress.download_bits": 8},
        {"server.graph_l2": 0.1},
        {"model.name": "sasrec", "model.loss": "softmax"},
    ],
)
def test_what_goes_with_it(keys: dict[str, Any]) -> None:
    assert from_flat({**GOOD, **keys}).train.method == "scaffold"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clients.unit": "user"}, "clients that host many users"),
        ({"train.optimizer": "adam"}, "steps of plain SGD"),
        ({"secure.mode": "semi-honest", "secure.rows": "union"}, "secure.rows = 'union' changes"),
        ({"compress.rows": 5}, "compress.rows = 5 changes single rows"),
        ({"compress.rank": 2}, "compress.rank = 2"),
        ({"compress.bits": 8}, "compress.bits = 8"),
        ({"privacy.pseudo_items": 3}, "privacy.pseudo_items = 3"),
        ({"privacy.row_clip": 1.0}, "privacy.row_clip = 1"),
        ({"robust.defence": "row-clip", "robust.norm": 1.0}, "'row-clip' changes single rows"),
        ({"robust.defence": "median"}, "takes another"),
        ({"robust.attack": "noise"}, "without control variates"),
        ({"server.fairness": 1.0}, "server.fairness = 1 shortens"),
        ({"model.anchor": 0.1, "data.name": "complete-journey"}, "model.anchor"),
        ({"train.personal_store": "disk"}, "in memory"),
    ],
)
def test_what_does_not_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({**GOOD, **keys})
