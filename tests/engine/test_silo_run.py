"""Merchants that keep their rows: nodes with one file each do what a joined file does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.engine._flower import RUN_ID
from fedrec.engine.apps import app_dir, load_app
from fedrec.engine.in_process import InProcessGrid
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError
from fedrec.storage import RunDirectory, read_arrays
from tests.silo_files import silo_config, write_merchants, write_node_files

SECURE = {"secure__mode": "malicious-server", "secure__bits": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("silos")
    write_merchants(place)
    write_node_files(place)
    return place


def shared(config: Config) -> dict[str, NDArray]:
    arrays, _ = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)
    return {name: a for name, a in arrays.items() if name.startswith("shared/")}


def system(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RunDirectory(Path(config.run.out)).system.read_text())
    return found


def on_nodes(config: Config, folder: Path, names: list[str]) -> None:
    """Run with a server that has no rows and nodes that have those of one merchant each."""
    config = config.with_({"data.path": "", "silo.holds": "none"})
    server_app, client_app = load_app(app_dir())
    grid = InProcessGrid(client_app, config, len(names))
    for context, name in zip(grid._contexts.values(), names, strict=True):
        state = folder / "state" / Path(config.run.out).name
        context.node_config = {
            "merchant-file": str(folder / "nodes" / name / "node.toml"),
            "state-dir": str(state),
        }
    values = dict(config.flat())
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), values))


@pytest.mark.parametrize("more", [{}, SECURE], ids=["plain", "secure"])
def test_nodes_with_one_file_each_do_what_the_joined_file_does(
    folder: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    joined = silo_config(folder, tmp_path / "joined", **more)
    execute(joined)
    apart = silo_config(folder, tmp_path / "apart", **more)
    on_nodes(apart, folder, ["web", "north", "south"])
    for name, value in shared(joined).items():
        assert np.abs(value).max() > 0.1
        np.testing.assert_allclose(shared(apart)[name], value, rtol=0, atol=1e-5)
    one, other = system(joined), system(apart)
    assert other["selected_round"] == one["selected_round"]
    for protocol in ("full", "sampled99"):
        found, wanted = (s["metrics"]["test"][protocol] for s in (other, one))
        assert found == pytest.approx(wanted, abs=1e-3)


def test_a_run_without_the_merchant_is_refused(folder: Path, tmp_path: Path) -> None:
    config = silo_config(folder, tmp_path / "out", silo__merchants="north south east")
    with pytest.raises(EngineError, match="'web' and takes part only in runs whose"):
        on_nodes(config, folder, ["web"])


def test_another_item_list_is_refused(folder: Path, tmp_path: Path) -> None:
    config = silo_config(folder, tmp_path / "out")
    other = tmp_path / "items.jsonl"
    other.write_text('{"id": "i001"}\n')
    config = config.with_({"silo.items": str(other), "silo.items_hash": "0" * 64})
    from fedrec.data.item_list import list_hash

    config = config.with_({"silo.items_hash": list_hash(other)})
    with pytest.raises(EngineError, match="is not the one of this run"):
        on_nodes(config, folder, ["web"])
