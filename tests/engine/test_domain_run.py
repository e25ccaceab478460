"""Runs over domains of the same users: one domain alone against all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedrec.compare import compare
from fedrec.config import from_flat
from fedrec.systems import read_sums

KEYS = {
    "data.name": "marketplace",
    "data.users": 150,
    "data.items": 80,
    "data.merchants": 3,
    "domain.by": "department",
    "domain.target": "toys",
    "evaluate.sampled": 0,
    "evaluate.bootstrap": 50,
    "evaluate.every": 2,
    "train.rounds": 4,
    "model.dim": 8,
    "compare.seeds": "0",
    "compare.systems": "federated target-only popularity ease",
}


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ({}, "same users, different items"),
        ({"domain.by": "merchant", "domain.target": "shop-1"}, "users and items overlap"),
    ],
)
def test_a_domain_alone_and_together(tmp_path: Path, more: dict, setting: str) -> None:
    config = from_flat({**KEYS, **more})
    found = compare(config, out=tmp_path / "out")
    by_name = {system.name: system for system in found.result.systems}
    assert set(by_name) == {"federated-mf", "target-only-mf", "popularity", "ease"}
    together, alone = by_name["federated-mf"].privacy, by_name["target-only-mf"].privacy
    assert together["setting"] == setting
    assert "meets on the user's own device" in together["statement"]
    assert "setting" not in alone
    pairs = {pair.b for pair in found.result.comparisons}
    assert "target-only-mf" in pairs
    sums = [
        read_sums(tmp_path / "out" / str(by_name[n].bootstrap))
        for n in ("federated-mf", "target-only-mf")
    ]
    np.testing.assert_array_equal(
        sums[0].replicate_counts["full"], sums[1].replicate_counts["full"]
    )
    guard = found.result.leak_guard
    assert guard is not None
    assert guard["passed"]


def test_merchant_runs_name_their_setting(tmp_path: Path) -> None:
    flat = {k: v for k, v in KEYS.items() if not k.startswith("domain.")}
    keys = {**flat, "clients.unit": "merchant", "compare.systems": "federated"}
    config = from_flat({**keys, "compare.leak_guard": False, "train.rounds": 2})
    (system,) = compare(config, out=tmp_path / "out").result.systems
    assert system.privacy["setting"] == "same items, different users"
    assert system.privacy["statement"].endswith("what the other's customers like")
