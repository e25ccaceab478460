"""``fedrec run`` and ``fedrec compare``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.cli.quiet import import_tensorflow
from fedrec.config import Config, load_config, parse_override
from fedrec.errors import (
    CheckpointError,
    ConfigError,
    EngineError,
    MissingExtraError,
    OutputError,
)
from fedrec.output import (
    compares_merchants,
    discarded_if_empty,
    is_comparison,
    output_directory,
    ready_output,
    resume_command,
)

if TYPE_CHECKING:
    from fedrec.results import Result

OnEvent = Callable[[dict[str, Any]], None]


class Engine(StrEnum):
    """How the apps are executed."""

    in_process = "in-process"
    ray = "ray"
    superlink = "superlink"
    deployed = "deployed"


File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE]", help="Experiment (TOML). Default: the built-in defaults."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change, e.g. train.rounds=50."),
]
EngineOption = Annotated[Engine, typer.Option(help="How the client and server apps are executed.")]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Output directory. Default: runs/<run.name>.")
]
Resume = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Continue what was interrupted in DIR.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")]


def run(
    file: File = None,
    overrides: Overrides = None,
    engine: EngineOption = Engine.in_process,
    out: Out = None,
    app: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your copy of the apps (fedrec new DIR)."),
    ] = None,
    link: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Engine deployed: the server's folder (fedrec deploy)."),
    ] = None,
    resume: Resume = None,
    overwrite: Overwrite = False,
    estimate: Annotated[
        bool,
        typer.Option(help="Tell first what a long run will take (in-process; fedrec estimate)."),
    ] = True,
) -> None:
    """Train one federated system and report it.

    FILE is an experiment (TOML; without it, the defaults), and KEY=VALUE changes its
    keys: fedrec run my.toml train.rounds=50. All keys: fedrec config.
    """
    if resume is None:
        config = read_config(file, overrides)
        directory = ready_output(output_directory(config, out), overwrite=overwrite)
    else:
        config, directory = _resumed("run", resume, file, overrides or out)
    with _session(config, directory, "run") as on_event:
        from fedrec.run import run as execute

        if estimate and resume is None and engine is Engine.in_process:
            _foretell(config, on_event)
        done = execute(
            config,
            engine=engine.value,
            app=app,
            link=link,
            out=directory,
            resume=directory if resume is not None else None,
            overwrite=overwrite,
            on_event=on_event,
        )
    _conclude(done.result, done.directory)


def compare(
    file: File = None,
    overrides: Overrides = None,
    systems: Annotated[
        str | None,
        typer.Option(help="Systems, separated by spaces or commas. Default: compare.systems."),
    ] = None,
    engine: EngineOption = Engine.in_process,
    out: Out = None,
    resume: Resume = None,
    overwrite: Overwrite = False,
    merchants: Annotated[
        bool,
        typer.Option(
            "--merchants",
            help="For each merchant: alone, together, personalised, pooled; should it join?",
        ),
    ] = False,
) -> None:
    """Train several systems on the same split and put them side by side.

    FILE is an experiment (TOML; without it, the defaults), and KEY=VALUE changes its
    keys: fedrec compare my.toml compare.seeds=0. All keys: fedrec config.
    """
    if merchants:
        _compare_merchants(file, overrides, systems, engine, out, resume, overwrite)
        return
    names = systems.replace(",", " ").split() if systems is not None else None
    if names == []:
        raise ConfigError("--systems is empty: expected names such as 'federated centralised ease'")
    if resume is None:
        config = read_config(file, overrides)
        directory = ready_output(output_directory(config, out), overwrite=overwrite)
    else:
        config, directory = _resumed("compare", resume, file, overrides or out or names)
    with _session(config, directory, "compare") as on_event:
        from fedrec.compare import compare as execute

        done = execute(
            config,
            systems=names,
            engine=engine.value,
            out=directory,
            resume=directory if resume is not None else None,
            overwrite=overwrite,
            on_event=on_event,
        )
    _conclude(done.result, done.directory)


def _compare_merchants(
    file: str | None,
    overrides: list[str] | None,
    systems: str | None,
    engine: Engine,
    out: Path | None,
    resume: Path | None,
    overwrite: bool,
) -> None:
    """Compare merchants, and write the page that tells each whether to join."""
    if systems is not None:
        raise ConfigError("--merchants compares systems of its own: leave --systems out")
    command = "compare --merchants"
    if resume is None:
        config = read_config(file, overrides)
        directory = ready_output(output_directory(config, out), overwrite=overwrite)
    else:
        config, directory = _resumed(command, resume, file, overrides or out)
    with _session(config, directory, command) as on_event:
        from fedrec.compare_merchants import compare_merchants as execute

        done = execute(
            config,
            engine=engine.value,
            out=directory,
            resume=directory if resume is not None else None,
            overwrite=overwrite,
            on_event=on_event,
        )
    _conclude(done.result, done.directory)
    _conclude_merchants(done.result, done.directory)


def _conclude_merchants(result: Result, directory: Path) -> None:
    """Print what each merchant should do, and write the page for those who decide."""
    from fedrec.report.merchants_table import print_merchants

    print_merchants(result)
    try:
        from fedrec.report.merchants import PAGE, write_merchants

        typer.echo(f"\nfor those who decide: {write_merchants(directory, directory / PAGE)}")
    except MissingExtraError as error:
        typer.echo(f"no {directory / 'merchants.html'}: {error}")


def _foretell(config: Config, on_event: OnEvent) -> None:
    """Say in one line what a long run will take; what stops the estimate stops nothing else."""
    from fedrec.bench.estimate import known_estimate

    try:
        found = known_estimate(config)
    except (EngineError, OutputError) as error:
        on_event({"event": "note", "text": f"no estimate: {str(error).splitlines()[0]}"})
        return
    if found is not None:
        on_event({"event": "note", "text": found.line()})


def read_config(file: str | None, overrides: list[str] | None) -> Config:
    """Read the experiment and apply overrides; the file may be left out.

    Raises:
        ConfigError: for anything in the file or the overrides that is not usable.
    """
    words = list(overrides or [])
    if file is not None and "=" in file and not Path(file).exists():
        words.insert(0, file)
        file = None
    return load_config(file, dict(parse_override(word) for word in words))


def _resumed(
    command: str, directory: Path, file: str | None, others: object
) -> tuple[Config, Path]:
    """Return the configuration that a run was started with, and its directory."""
    if file is not None or others:
        raise ConfigError(
            "--resume DIR continues with the configuration in DIR/config.toml: "
            "it takes no file, no key=value, no --out and no --systems"
        )
    directory = directory.absolute()
    saved = directory / "config.toml"
    if not saved.is_file():
        raise CheckpointError(
            f"cannot resume {directory}: there is no config.toml in it. "
            f"Expected the output directory of an interrupted 'fedrec {command}'"
        )
    made_by = {
        "run": not (is_comparison(directory) or compares_merchants(directory)),
        "compare": is_comparison(directory) or not (directory / "rounds.jsonl").exists(),
        "compare --merchants": compares_merchants(directory),
    }
    other = command == "compare" and compares_merchants(directory)
    if other or not made_by[command]:
        raise CheckpointError(
            f"{directory} was not made by 'fedrec {command}'. "
            f"Continue it with: {resume_command(directory)}"
        )
    return load_config(saved), directory


@contextmanager
def _session(config: Config, directory: Path, command: str) -> Iterator[OnEvent]:
    """Show progress while a run goes on, and say how to continue after Ctrl-C."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    from fedrec.report.sinks import open_sinks

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        import_tensorflow()
        with discarded_if_empty(directory), open_sinks(config, directory) as on_event:
            yield on_event
    except KeyboardInterrupt:
        again = f"resume with: fedrec {command} --resume {directory}"
        typer.secho(f"\ninterrupted; {again}", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    """End as Ctrl-C does, so that the processes of a SuperLink end with this one."""
    raise KeyboardInterrupt


def _conclude(result: Result, directory: Path) -> None:
    """Print the table of systems and write the report, if its packages are there."""
    from fedrec.report.tables import print_result

    print_result(result)
    try:
        from fedrec.report.html import write_report

        typer.echo(f"\nreport: {write_report([directory], directory / 'report.html')}")
    except MissingExtraError as error:
        typer.echo(f"\nresult: {directory / 'result.json'}\nno report.html: {error}")
