"""Run the apps on an engine; what comes out lies in the output directory."""

from __future__ import annotations

from pathlib import Path

from fedrec.config import Config
from fedrec.engine.apps import app_dir, check_app, load_app
from fedrec.engine.follow import OnEvent, followed
from fedrec.errors import ConfigError, EngineError, nearest
from fedrec.output import output_directory
from fedrec.storage import RunDirectory

ENGINES = ("in-process", "ray", "superlink", "deployed")


def execute(
    config: Config,
    *,
    engine: str = "in-process",
    app: Path | None = None,
    link: Path | None = None,
    on_event: OnEvent | None = None,
) -> None:
    """Run one federation to its end, or continue it from its checkpoint.

    Args:
        config: of the run.  If `run.out` holds a checkpoint of the same
            configuration, the run goes on from there.
        engine: "in-process" (nodes in this process), "ray" (Flower's simulation),
            "superlink" (a SuperLink and SuperNodes on this machine), or "deployed" (a
            SuperLink that is there, with the merchants' SuperNodes).
        app: an app directory; None for the one that belongs to this fedrec.
        link: "deployed": the server's folder that `fedrec deploy init` made.
        on_event: called with {"event": "round", ...} as rounds are finished.

    Raises:
        ConfigError: for an unknown engine, or if only one of "deployed" and link is given.
        FedrecError: whatever stops the run.
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine {engine!r}.{nearest(engine, ENGINES)}")
    if (engine == "deployed") != (link is not None):
        raise ConfigError(
            "engine 'deployed' and the folder of a server go together: --engine deployed --link "
            "DIR/server, as 'fedrec deploy init DIR' makes it"
        )
    directory = app_dir() if app is None else check_app(app)
    files = RunDirectory(output_directory(config))
    config = config.with_({"run.out": str(files.path)})
    files.system.unlink(missing_ok=True)
    with followed(files, on_event):
        if engine == "in-process":
            from fedrec.engine.in_process import run_in_process

            run_in_process(config, *load_app(directory))
        elif link is not None:
            from fedrec.engine.deployed import run_on_deployment

            run_on_deployment(config, directory, link)
        else:
            from fedrec.engine.flower import run_on_flower

            run_on_flower(config, directory, simulation=engine == "ray")
    if not files.system.is_file():
        raise EngineError(f"the run ended without a result in {files.path}")
