"""One federated run: the call behind ``fedrec run``."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrec import __version__
from fedrec.coldstart.after import check_users, tell_cold_start
from fedrec.config import Config, load_config, to_toml
from fedrec.data.item_graph import graph_notes
from fedrec.data.load import load_dataset
from fedrec.errors import CheckpointError
from fedrec.evaluation.selection import selection_metric
from fedrec.evaluation.summary import system_name
from fedrec.machine import describe_machine
from fedrec.models.pretrained import overlap_notes
from fedrec.output import (
    delete_run,
    discarded_if_empty,
    output_directory,
    ready_output,
    write_atomically,
)
from fedrec.results import Result, SystemResult, save_result
from fedrec.robust.checks import check_robust_run
from fedrec.storage import RunDirectory
from fedrec.training.device import device_name
from fedrec.training.node import init_shared, load_population, prepare

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
    link: Path | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> RunResult:
    """Train one federated system.

    Args:
        config: the configuration; may be left out when resuming.
        engine: "in-process", "ray", "superlink" or "deployed".
        app: your own app directory; None for fedrec's.
        link: "deployed": the folder of the server, from `fedrec deploy init`.
        out: output directory; None: run.out, else runs/<run.name>.
        resume: the output directory of an interrupted run, to be continued.
        overwrite: replace a run that lies in the output directory.
        on_event: called with progress.

    Returns:
        The result, as also written to result.json.

    Raises:
        FedrecError: whatever stops the run, with one clear message.
    """
    from fedrec.engine.deployed import as_deployed
    from fedrec.engine.run_engine import execute

    tell = on_event or (lambda event: None)
    start = time.perf_counter()
    if resume is not None:
        directory = Path(resume).absolute()
        config = resumed_config(directory, config)
    else:
        config = config or Config()
        config = config if link is None else as_deployed(config, link)
        directory = start_output(config, out, overwrite=overwrite)
    name, seed, rounds = system_name(config), config.run.seed, config.train.rounds
    tell({"event": "system-start", "system": name, "seed": seed, "rounds": rounds})
    placed = config.with_({"run.out": str(directory)})
    execute(placed, engine=engine, app=app, link=link, on_event=on_event)
    tell_cold_start(placed, directory)
    system = read_system(directory)
    tell(done_event(system, system.cost.get("total_s", 0.0)))
    if system.privacy.get("stopped"):
        tell({"event": "note", "text": system.privacy["stopped"]})
    command = reproducing_command("run", engine, app)
    seconds = None if resume else time.perf_counter() - start
    result = make_result(config, (system,), command=command, seconds=seconds)
    save_result(result, directory)
    return RunResult(result, directory)


def start_output(config: Config, out: str | Path | None, *, overwrite: bool) -> Path:
    """Make an output directory ready for a new run and write its config.toml.

    What an earlier run left is deleted only once the data of the new one are there.

    Args:
        config: of the new run.
        out: output directory; None: run.out, else runs/<run.name>.
        overwrite: replace a run that lies there.

    Returns:
        The absolute directory.

    Raises:
        OutputError: if it cannot be used.
        DataError: if the data cannot be had.
        ModelError: if the model cannot be built, or the earlier one that it begins with
            cannot be read.
        ConfigError: if an attack or a defence does not fit these data.
    """
    directory = ready_output(output_directory(config, out), overwrite=overwrite)
    with discarded_if_empty(directory):
        setup = prepare(config)
        check_users(setup)
        check_robust_run(config, setup.population)
        graph_notes(config, setup.population.split.dataset.items)  # reads the file of edges
        if config.model.pretrained:
            init_shared(setup)  # reads the earlier model
    delete_run(directory)
    # The file may be moved and run elsewhere: it does not say where this run lies.
    write_atomically(directory / "config.toml", to_toml(config.with_({"run.out": ""})))
    return directory


def resumed_config(directory: Path, config: Config | None = None) -> Config:
    """Return the configuration of an interrupted run.

    Args:
        directory: its output directory.
        config: what the caller believes it to be, or None.

    Raises:
        CheckpointError: if the directory holds no run, or one of another configuration.
    """
    file = directory / "config.toml"
    if not file.is_file():
        raise CheckpointError(
            f"cannot resume {directory}: there is no config.toml in it. "
            "Expected the output directory of an interrupted run"
        )
    saved = load_config(file)
    if config is not None and config.config_hash() != saved.config_hash():
        raise CheckpointError(
            f"cannot resume {directory} with another configuration ({config.config_hash()}) than "
            f"it was started with ({saved.config_hash()}): leave the configuration out, or start "
            "a new run in another directory"
        )
    return config or saved


def reproducing_command(command: str, engine: str, app: Path | None = None) -> str:
    """Return what a reader of a result types to get it again, wherever they are."""
    words = ["fedrec", command, "config.toml"]
    words += [] if engine == "in-process" else ["--engine", engine]
    words += ["--link", "server"] if engine == "deployed" else []
    words += [] if app is None else ["--app", Path(app).name]
    return " ".join(words) + "  # config.toml lies beside result.json"


def done_event(system: SystemResult, seconds: float) -> dict[str, Any]:
    """Return the event of a system that is trained and tested."""
    return {
        "event": "system-done",
        "system": system.name,
        "seed": system.seed,
        "seconds": seconds,
        "metrics": system.flat_metrics(),
    }


def read_system(directory: Path, prefix: str = "") -> SystemResult:
    """Read the system.json of a directory.

    Args:
        directory: of the system.
        prefix: put before the names of its files, so that they are relative to the
            directory of result.json.

    Raises:
        CheckpointError: if the file is damaged.
    """
    file = RunDirectory(directory).system
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{file} is damaged ({error}): delete it, and resume to train this system again"
        ) from None
    for key in ("history", "bootstrap"):
        if data.get(key):
            data[key] = prefix + data[key]
    return SystemResult.from_json(data)


def make_result(
    config: Config,
    systems: tuple[SystemResult, ...],
    *,
    command: str,
    seconds: float | None,
    **more: Any,
) -> Result:
    """Put systems, data and circumstances together.

    Args:
        config: of the run.
        systems: trained and tested.
        command: what to type to get the result again.
        seconds: wall-clock time of everything; None if it was interrupted.
        more: further fields of the result.
    """
    now = datetime.datetime.now(datetime.UTC)
    population = load_population(config)
    items = population.split.dataset.items
    told = (*graph_notes(config, items), *overlap_notes(config, items))
    return Result(
        name=config.run.name,
        fedrec=__version__,
        config_hash=config.config_hash(),
        data=describe_data(config),
        systems=systems,
        machine={
            **describe_machine(),
            "device": device_name(config),
            "precision": config.train.precision,
        },
        command=command,
        created=now.isoformat(timespec="seconds"),
        account=population.split.dataset.account,
        notes=(*population.split.notes, *told),
        config=config.with_({"run.out": ""}).flat(),
        extra={} if seconds is None else {"seconds": round(seconds, 1)},
        **more,
    )


def describe_data(config: Config) -> dict[str, Any]:
    """Return the entry `data` of result.json: sizes, clients, split and its hash.

    A customer of several merchants is one of "users", and one of "evaluated_users"
    for each merchant where merchants are the clients.
    """
    population, dataset = load_population(config), load_dataset(config)
    return {
        "name": dataset.name,
        "users": dataset.num_users,
        "items": dataset.num_items,
        "interactions": len(dataset.interactions),
        "clients": population.num_clients,
        "split_hash": population.split.split_hash,
        "protocol": population.split.protocol,
        "negatives": config.train.negatives_from,
        "selected_by": selection_metric(config),
        "evaluated_users": {p: len(population.held_out(p).users) for p in ("valid", "test")},
    }
