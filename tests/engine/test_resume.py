"""A run that is killed and resumed ends bit by bit like one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict

from fedrec.config import Config, to_toml
from fedrec.engine.apps import app_dir, load_app
from fedrec.engine.in_process import InProcessGrid
from fedrec.engine.run_engine import execute
from fedrec.errors import CheckpointError
from fedrec.storage import RunDirectory, read_arrays

Make = Callable[..., Config]

SETTINGS = {
    "engine__nodes": 2,
    "train__rounds": 7,
    "evaluate__every": 2,
    "evaluate__sampled": 0,
    "clients__sampling": "fixed",
    "clients__per_round": 3,  # so that often a node has nothing to do
    "clients__dropout": 0.1,
    "server__checkpoint_every": 3,
    "server__table_optimizer": "adam",
    "server__table_lr": 0.05,
    "server__schedule": "cosine",
}


def outcome(config: Config) -> dict[str, Any]:
    """Return all of a finished run that must not depend on interruptions."""
    files = RunDirectory(Path(config.run.out))
    arrays, meta = read_arrays(files.checkpoint)
    lines = [json.loads(text) for text in files.rounds.read_text().splitlines()]
    system = json.loads(files.system.read_text())
    return {
        "arrays": {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()},
        "best": meta["best"],
        "lines": [
            {k: v for k, v in line.items() if k not in ("seconds", "phases")} for line in lines
        ],
        "system": {k: system[k] for k in ("selected_round", "metrics", "ci95", "seed")},
        "sums": files.bootstrap.read_bytes(),
        "model": (files.model / "shared.ckpt").read_bytes(),
    }


class Killed(BaseException):
    """Stands for a SIGKILL at a chosen moment."""


class MortalGrid(InProcessGrid):
    """Dies instead of delivering its n-th message, or right after delivering it."""

    def __init__(self, *arguments: Any, deliveries: int, after: bool) -> None:
        super().__init__(*arguments)
        self._left, self._after = deliveries, after

    def _deliver(self, message: Message) -> Message:
        if self._left == 0 and not self._after:
            raise Killed
        reply = super()._deliver(message)
        if self._left == 0:
            raise Killed
        self._left -= 1
        return reply


def run_until_killed(config: Config, deliveries: int, *, after: bool) -> bool:
    """Run or resume; return whether it was killed."""
    server_app, client_app = load_app(app_dir())
    nodes = config.engine.nodes
    grid = MortalGrid(client_app, config, nodes, deliveries=deliveries, after=after)
    try:
        server_app(grid, Context(1, 0, {}, RecordDict(), dict(config.flat())))
    except Killed:
        return True
    return False


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_death_at_every_message(small_run: Make, after: bool) -> None:
    calm = small_run("calm", **SETTINGS)
    execute(calm)
    expected = outcome(calm)
    for deliveries in range(2, 100):
        config = small_run(f"killed-{deliveries}", **SETTINGS)
        if not run_until_killed(config, deliveries, after=after):
            break
        run_until_killed(config, 5, after=after)  # dies again soon after the resume
        execute(config)
        assert outcome(config) == expected, f"killed at message {deliveries}"
    assert deliveries > 20


def test_sigkill(small_run: Make) -> None:
    keys = {**SETTINGS, "train__rounds": 40, "server__checkpoint_every": 2}
    calm, killed = small_run("calm", **keys), small_run("killed", **keys)
    files = RunDirectory(Path(killed.run.out))
    for pause in (0.0, 0.013):
        kill_after_progress(killed, files, pause)
    assert not files.system.exists()
    execute(killed)
    execute(calm)
    assert outcome(killed) == outcome(calm)


def kill_after_progress(config: Config, files: RunDirectory, pause: float) -> None:
    """Start or resume a run in a process of its own and SIGKILL it in a later round."""
    files.path.mkdir(exist_ok=True)
    experiment = files.path.with_suffix(".toml")
    experiment.write_text(to_toml(config))
    code = (
        "from fedrec.config import load_config; from fedrec.engine.run_engine import execute; "
        f"execute(load_config({str(experiment)!r}))"
    )
    before = count_lines(files)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=app_dir())
    try:
        deadline = time.monotonic() + 120
        while count_lines(files) < before + 5:
            assert child.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(pause)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    finally:
        child.kill()
        child.wait()


def count_lines(files: RunDirectory) -> int:
    return files.rounds.read_text().count("\n") if files.rounds.exists() else 0


def test_a_finished_run_is_only_tested_again(small_run: Make) -> None:
    config = small_run()
    execute(config)
    expected = outcome(config)
    rounds: list[int] = []
    execute(config, on_event=lambda event: rounds.append(event["round"]))
    assert rounds == []
    assert outcome(config) == expected


def test_a_corrupted_checkpoint_stops_the_run(small_run: Make) -> None:
    config = small_run()
    execute(config)
    checkpoint = RunDirectory(Path(config.run.out)).checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="is corrupted"):
        execute(config)


def test_another_configuration_or_spread_is_refused(small_run: Make) -> None:
    execute(small_run())
    with pytest.raises(CheckpointError, match="another configuration"):
        execute(small_run(train__lr=0.5))
    with pytest.raises(CheckpointError, match="resume with the same engine.nodes"):
        execute(small_run(engine__nodes=2))


def test_death_with_personal_parameters_on_the_disk(small_run: Make) -> None:
    """They are those of a run in memory, bit by bit, killed and resumed or not."""
    calm = small_run("calm", **SETTINGS)
    execute(calm)
    for deliveries in (6, 11, 17):
        keys = {**SETTINGS, "train__personal_store": "disk"}
        config = small_run(f"killed-{deliveries}", **keys)
        assert run_until_killed(config, deliveries, after=True)
        execute(config)
        assert outcome(config) == outcome(calm), f"killed at message {deliveries}"
    assert list(RunDirectory(Path(config.run.out)).clients.rglob("mapped/current/user.npy"))
