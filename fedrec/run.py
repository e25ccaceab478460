"""One federated run: the call behind ``fedrec run``."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrec import __version__
from fedrec.config import Config, load_config, to_toml
from fedrec.errors import CheckpointError
from fedrec.machine import describe_machine
from fedrec.output import output_directory, ready_output, write_atomically
from fedrec.results import Result, SystemResult, save_result
from fedrec.storage import RunDirectory
from fedrec.training.node import load_population

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        result: the content of result.json.
        directory: where the run's files lie.
    """

    result: Result
    directory: Path


def run(
    config: Config | None = None,
    *,
    engine: str = "in-process",
    app: Path | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> RunResult:
    """Train one federated system.

    Args:
        config: the configuration; may be left out when resuming.
        engine: "in-process", "ray" or "superlink".
        app: your own app directory; None for fedrec's.
        out: output directory; None: run.out, else runs/<run.name>.
        resume: the output directory of an interrupted run, to be continued.
        overwrite: replace a run that lies in the output directory.
        on_event: called with progress.

    Returns:
        The result, as also written to result.json.

    Raises:
        FedrecError: whatever stops the run, with one clear message.
    """
    tell = on_event or (lambda event: None)
    if resume is not None:
        directory = Path(resume).absolute()
        config = config or saved_config(directory)
    else:
        config = config or Config()
        directory = ready_output(output_directory(config, out), overwrite=overwrite)
        population = load_population(config)  # before anything is written: it may not be had
        del population
        clear(directory)
        write_atomically(directory / "config.toml", to_toml(config))
    tell({"event": "system-start", "system": "federated", "seed": config.run.seed,
          "rounds": config.train.rounds})
    from fedrec.engine.run_engine import execute

    execute(config.with_({"run.out": str(directory)}), engine=engine, app=app, on_event=on_event)
    system = read_system(directory)
    tell({"event": "system-done", "system": system.name, "seed": system.seed,
          "seconds": system.cost.get("total_s", 0.0), "metrics": system.flat_metrics()})
    command = f"fedrec run {directory / 'config.toml'}" + (
        "" if engine == "in-process" else f" --engine {engine}"
    )
    result = make_result(config, (system,), command=command)
    save_result(result, directory)
    return RunResult(result, directory)


def saved_config(directory: Path) -> Config:
    """Read the configuration of an interrupted run.

    Raises:
        CheckpointError: if the directory holds none.
    """
    file = directory / "config.toml"
    if not file.is_file():
        raise CheckpointError(
            f"cannot resume {directory}: there is no config.toml in it. "
            "Expected the output directory of an interrupted run"
        )
    return load_config(file)


def clear(directory: Path) -> None:
    """Remove what an earlier run left in an output directory that may be replaced."""
    files = RunDirectory(directory)
    for path in (files.checkpoint.parent, files.clients, files.model, directory / "systems",
                 directory / "tensorboard"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (files.rounds, files.system, files.bootstrap, directory / "result.json",
                 directory / "report.html"):
        path.unlink(missing_ok=True)


def read_system(directory: Path, prefix: str = "") -> SystemResult:
    """Read the system.json of a directory.

    Args:
        directory: of the system.
        prefix: put before the names of its files, so that they are relative to the
            directory of result.json.
    """
    data = json.loads(RunDirectory(directory).system.read_text())
    for key in ("history", "bootstrap"):
        if data.get(key):
            data[key] = prefix + data[key]
    return SystemResult.from_json(data)


def make_result(
    config: Config, systems: tuple[SystemResult, ...], *, command: str, **more: Any
) -> Result:
    """Put systems, data and circumstances together."""
    population = load_population(config)
    dataset = population.split.dataset
    data = {
        "name": dataset.name,
        "users": dataset.num_users,
        "items": dataset.num_items,
        "interactions": len(dataset.interactions),
        "clients": population.num_clients,
        "split_hash": population.split.split_hash,
        "protocol": population.split.protocol,
        "negatives": config.train.negatives_from,
        "evaluated_users": {p: len(population.held_out(p).users) for p in ("valid", "test")},
    }
    now = datetime.datetime.now(datetime.UTC)
    return Result(
        name=config.run.name,
        fedrec=__version__,
        config_hash=config.config_hash(),
        data=data,
        systems=systems,
        machine=describe_machine(),
        command=command,
        created=now.isoformat(timespec="seconds"),
        account=dataset.account,
        notes=population.split.notes,
        config=config.flat(),
        **more,
    )
