"""Customers of merchants are protected on a deployment as in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from tests.engine.test_silo_run import on_nodes, shared, system
from tests.privacy.test_customers import RUN, SECURE
from tests.silo_files import silo_config, write_merchants, write_node_files

Make = Callable[..., Config]
NOISY: dict[str, Any] = {
    **RUN,
    "privacy__clip": 0.5,
    "privacy__noise_multiplier": 0.5,
    "train__rounds": 2,
    "engine__nodes": 4,
}


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, SECURE], ids=["plain", "secure"])
def test_superlink(small_run: Make, more: dict[str, Any]) -> None:
    """A real SuperLink and SuperNodes: noise of the server, and of the merchants in masked sums."""
    keys = {**NOISY, **more, "train__rounds": 1, "engine__nodes": 4 if more else 2}
    there, here = small_run("superlink", **keys), small_run("here", **keys)
    execute(there, engine="superlink")
    execute(here)
    found, expected = shared(there), shared(here)
    moved = 0.0
    for name, value in expected.items():
        assert np.allclose(found[name], value, atol=1e-5), name
        moved = max(moved, float(np.abs(value).max()))
    assert moved > 0.05
    one, other = system(there), system(here)
    assert one["privacy"]["unit"] == "customer"
    assert one["privacy"]["epsilon"] == other["privacy"]["epsilon"] > 0
    assert one["metrics"]["test"]["full"] == pytest.approx(
        other["metrics"]["test"]["full"], abs=1e-5
    )


@pytest.mark.parametrize("more", [{}, SECURE], ids=["plain", "secure"])
def test_nodes_with_one_file_each(tmp_path: Path, more: dict[str, Any]) -> None:
    """The server has no rows, and every node has those of one merchant."""
    write_merchants(tmp_path)
    write_node_files(tmp_path)
    asked = {k: v for k, v in {**NOISY, **more}.items() if "data__" not in k}
    keys = {k.replace("__", "."): v for k, v in asked.items()} | {"engine.nodes": 3}
    joined = silo_config(tmp_path, tmp_path / "joined").with_(keys)
    execute(joined)
    apart = joined.with_({"run.out": str(tmp_path / "apart")})
    on_nodes(apart, tmp_path, ["south", "web", "north"])
    for name, value in shared(joined).items():
        assert np.allclose(shared(apart)[name], value, atol=1e-5), name
    privacy = system(apart)["privacy"]
    assert privacy["unit"] == "customer"
    assert privacy["epsilon"] == system(joined)["privacy"]["epsilon"] > 0
