"""Run the apps on an engine; what comes out lies in the output directory."""

from __future__ import annotations

from pathlib import Path

from fedrec.config import Config
from fedrec.engine.apps import app_dir, check_app, load_app
from fedrec.engine.follow import OnEvent, followed
from fedrec.errors import ConfigError, EngineError, nearest
from fedrec.output import output_directory
from fedrec.storage import RunDirectory

ENGINES = ("in-process", "ray", "superlink")


def execute(
    config: Config,
    *,
    engine: str = "in-process",
    app: Path | None = None,
    on_event: OnEvent | None = None,
) -> None:
    """Run one federation to its end, or continue it from its checkpoint.

    Args:
        config: of the run.  If `run.out` holds a checkpoint of the same
            configuration, the run goes on from there.
        engine: "in-process" (nodes in this process), "ray" (Flower's simulation),
            or "superlink" (a SuperLink and SuperNodes on this machine).
        app: an app directory; None for the one that belongs to this fedrec.
        on_event: called with {"event": "round", ...} as rounds are finished.

    Raises:
        ConfigError: for an unknown engine.
        FedrecError: whatever stops the run.
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine {engine!r}.{nearest(engine, ENGINES)}")
    directory = app_dir() if app is None else check_app(app)
    files = RunDirectory(output_directory(config))
    config = config.with_({"run.out": str(files.path)})
    files.system.unlink(missing_ok=True)
    with followed(files, on_event):
        if engine == "in-process":
            from fedrec.engine.in_process import run_in_process

            run_in_process(config, *load_app(directory))
        else:
            from fedrec.engine.flower import run_on_flower

            run_on_flower(config, directory, simulation=engine == "ray")
    if not files.system.is_file():
        raise EngineError(f"the run ended without a result in {files.path}")
