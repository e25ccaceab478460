"""A run on a population in mapped files is the run on the same population in memory."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.data.zipf_store import folder_of
from fedrec.engine.run_engine import execute
from fedrec.storage import RunDirectory, read_arrays

Make = Callable[..., Config]


def settings(folder: Path, store: str) -> dict[str, str | int | float | bool]:
    return {
        "data__name": "zipf",
        "data__users": 90,
        "data__cache": str(folder / "cache"),
        "data__store": store,
        "train__personal_store": store,
        "clients__sampling": "fixed",
        "clients__per_round": 20,
        "clients__dropout": 0.1,
    }


def outcome(config: Config) -> dict[str, object]:
    """Return the shared parameters and the figures of a finished run."""
    files = RunDirectory(Path(config.run.out))
    arrays, _ = read_arrays(files.checkpoint)
    system = json.loads(files.system.read_text())
    return {
        "arrays": {name: a.tobytes() for name, a in arrays.items()},
        "system": {k: system[k] for k in ("selected_round", "metrics", "ci95")},
        "sums": files.bootstrap.read_bytes(),
    }


@pytest.mark.parametrize("nodes", [1, 3])
def test_runs_from_disk_and_from_memory_are_the_same(
    small_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: int
) -> None:
    monkeypatch.setattr("clients.evaluation.AT_ONCE", 25)  # the last block is a short one
    memory = small_run("memory", engine__nodes=nodes, **settings(tmp_path, "memory"))
    disk = small_run("disk", engine__nodes=nodes, **settings(tmp_path, "disk"))
    execute(memory)
    assert not folder_of(disk.data).exists()
    execute(disk)
    assert folder_of(disk.data).exists()
    assert outcome(disk) == outcome(memory)


def test_evaluation_in_blocks_gives_the_figures_of_one_block(
    small_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, blocks = (small_run(n, **settings(tmp_path, "disk")) for n in ("whole", "blocks"))
    execute(whole)
    monkeypatch.setattr("clients.evaluation.AT_ONCE", 7)
    execute(blocks)
    one, other = outcome(whole), outcome(blocks)
    assert one["arrays"] == other["arrays"]
    for name in ("metrics", "ci95"):
        first, second = _flat(one["system"], name), _flat(other["system"], name)
        assert first.keys() == second.keys()
        np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=1e-12)


def _flat(system: object, name: str) -> dict[str, list[float]]:
    assert isinstance(system, dict)
    out: dict[str, list[float]] = {}

    def walk(at: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{at}.{key}", inner)
        else:
            out[at] = list(np.resize(np.asarray(value, float), 2))

    walk("", system[name])
    assert out
    return out
