"""The systems that can be put side by side, each trained by the part that owns it.

Whatever trains a system, it leaves the same three files in a directory of its
own: `system.json` (an element of result.json's `systems`), `rounds.jsonl` and
`test_sums.npz` (evaluation sums with bootstrap replicates, for paired tests).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.coldstart.after import tell_cold_start
from fedrec.config import Config, Scalar
from fedrec.config_collab import TARGET_ONLY, VERTICAL
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_personal import OWN_TABLES
from fedrec.config_sums import SUMMED
from fedrec.errors import ConfigError, nearest
from fedrec.evaluation.summary import TRAINED, nest, summarise, system_name
from fedrec.evaluation.sums import EvaluationSums, from_arrays, means, to_arrays
from fedrec.machine import peak_memory_mib
from fedrec.privacy.collaboration import VERTICAL_SETTING, vertical_statement
from fedrec.storage import RunDirectory, replace_file
from fedrec.training.baselines import BASELINES, fit_baseline
from fedrec.training.central import Trained, train_central
from fedrec.training.local_only import train_local_only
from fedrec.training.node import Setup, evaluate_scorer, prepare
from fedrec.training.rating_baselines import RATING_BASELINES

OnEvent = Callable[[dict[str, Any]], None]
DETERMINISTIC = frozenset({*BASELINES, *RATING_BASELINES} - {"random", "ials"})
"""Baselines that no seed can change; they are fitted once."""

STATEMENTS = {
    "centralised": "not private: all interactions are pooled on one machine",
    "local-only": "nothing leaves a client",
    "baseline": "not private: all interactions are pooled on one machine",
}


def names_of(config: Config) -> list[str]:
    """Return the systems that a configuration compares, each once, in their order."""
    return list(dict.fromkeys(config.compare.systems.replace(",", " ").split()))


def check_systems(names: list[str], config: Config) -> None:
    """Refuse systems that do not exist or do not fit the feedback.

    Raises:
        ConfigError: naming the nearest system.
    """
    explicit = config.data.feedback == "explicit"
    fitting = [*TRAINED, TARGET_ONLY, VERTICAL, *(RATING_BASELINES if explicit else BASELINES)]
    for name in names:
        if name in fitting:
            continue
        if name in (*BASELINES, *RATING_BASELINES):
            what = "predicts no ratings" if explicit else "is for ratings only"
            raise ConfigError(
                f"system {name!r} {what}; with data.feedback = {config.data.feedback!r} choose "
                f"from: {', '.join(fitting)}"
            )
        raise ConfigError(f"unknown system {name!r}.{nearest(name, fitting)}")
    method = config.train.method
    if method in SUMMED and {"centralised", "local-only"} & set(names):
        raise ConfigError(
            f"train.method = {method!r} has no training to centralise or to do alone: its "
            f"centralised twin is the baseline {method!r}. Set compare.systems = 'federated "
            f"{method}'"
        )
    if method in SUMS_FIRST and "local-only" in names:
        raise ConfigError(
            f"train.method = {method!r} propagates along the graph of all clients, which a client "
            "alone does not have: leave 'local-only' out of compare.systems"
        )
    if config.model.anchor and "local-only" in names:
        raise ConfigError(
            f"model.anchor = {config.model.anchor:g} is a pull to what a net of the server learns "
            "from all clients, which a client alone does not have: leave 'local-only' out of "
            "compare.systems"
        )
    model, pooled = config.model.name, {"centralised", "local-only"} & set(names)
    if model in OWN_TABLES and pooled:
        raise ConfigError(
            f"model.name = {model!r} gives each client a table of its own beside the shared one: "
            "with all data in one place, or with none but its own, there is nothing to tell the "
            f"two apart. Leave {' and '.join(sorted(pooled))} out, or set model.name = 'head'"
        )
    if config.coldstart.items != "off" and pooled:
        raise ConfigError(
            f"coldstart.items = {config.coldstart.items!r} fills the item table of the server of "
            f"the federated system: leave {' and '.join(sorted(pooled))} out of compare.systems"
        )
    if not names:
        raise ConfigError(f"compare.systems is empty; choose from: {', '.join(fitting)}")


def seeds_of(name: str, seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Return the seeds that a system is trained with."""
    return seeds[:1] if name in DETERMINISTIC else seeds


def planned_rounds(name: str, config: Config) -> int:
    """Return the number of the last round (or pass) that a system will report; 0 if none."""
    local = config.local
    return {
        "federated": config.train.rounds,
        TARGET_ONLY: config.train.rounds,
        "centralised": config.central.epochs,
        VERTICAL: config.central.epochs,
        "local-only": max(1, local.epochs // local.every) * local.every,
    }.get(name, 0)


def train_system(
    name: str, config: Config, directory: Path, engine: str, on_event: OnEvent
) -> None:
    """Train one system with one seed and leave its files in `directory`.

    Args:
        name: "federated", "target-only" (the same on the target domain alone),
            "vertical" (purchases with attributes of another party), "centralised",
            "local-only" or a baseline.
        config: with the seed.
        directory: of this system and seed; a federated run in it is continued.
        engine: engine of the federated system.
        on_event: progress.

    Raises:
        FedrecError: whatever stops it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if name in ("federated", TARGET_ONLY):
        from fedrec.engine.run_engine import execute

        keys: dict[str, Scalar] = {"domain.train": "target"} if name == TARGET_ONLY else {}
        config = config.with_({**keys, "run.out": str(directory)})
        execute(config, engine=engine, on_event=on_event)
        tell_cold_start(config, directory)
        return
    setup = prepare(config)
    files = RunDirectory(directory)
    start = time.perf_counter()
    if name == VERTICAL:
        from fedrec.collab.vertical import train_vertical

        trained, kind = train_vertical(setup, on_event), "federated"
    elif name in TRAINED:
        train = train_central if name == "centralised" else train_local_only
        trained, kind = train(setup, on_event), name
    else:
        trained, kind = _baseline(name, setup), "baseline"
    total = time.perf_counter() - start
    _leave(setup, files, system_name(config, name), kind, trained, total)


def _baseline(name: str, setup: Setup) -> Trained:
    from scipy.sparse import csr_matrix

    population, config = setup.population, setup.config
    shape = (population.num_users, population.num_items)
    train = csr_matrix((population.labels, population.items, population.indptr), shape)
    start = time.perf_counter()
    scorer = fit_baseline(name, train, config, config.run.seed)
    seconds = time.perf_counter() - start
    users = np.arange(population.num_users)
    valid = evaluate_scorer(setup, scorer, users, "valid", bootstrap=0)
    test = evaluate_scorer(setup, scorer, users, "test", bootstrap=config.evaluate.bootstrap)
    return Trained(0, valid, test, [], seconds)


def _leave(
    setup: Setup, files: RunDirectory, name: str, kind: str, trained: Trained, total: float
) -> None:
    """Write the three files of a system that was trained without a server."""
    config, population = setup.config, setup.population
    metrics, ci95 = summarise(config, population, trained.test, "test")
    trains = kind != "baseline"
    system = {
        "name": name,
        "kind": kind,
        "seed": config.run.seed,
        "selected_round": trained.selected if trains else None,
        "metrics": {"test": metrics, "valid": nest(means(trained.valid))},
        "ci95": ci95,
        "privacy": {
            "statement": vertical_statement(config) if kind == "federated" else STATEMENTS[kind],
            "unit": None,
            "epsilon": None,
            "delta": None,
            "secure_aggregation": "off",
            **({"setting": VERTICAL_SETTING} if kind == "federated" else {}),
        },
        "cost": {
            "round_s_median": trained.seconds if trains else None,
            "clients_per_s": None,
            "bytes_up_per_client": 0 if kind == "local-only" else None,
            "bytes_down_per_client": 0 if kind == "local-only" else None,
            "peak_rss_mib": round(peak_memory_mib(), 1),
            "total_s": total,
        },
        "history": files.rounds.name if trained.history else None,
        "bootstrap": files.bootstrap.name,
    }
    if trained.history:
        lines = "".join(json.dumps(line) + "\n" for line in trained.history)
        replace_file(files.rounds, lines.encode())
    write_sums(files.bootstrap, trained.test)
    replace_file(files.system, (json.dumps(system, indent=1) + "\n").encode())


def write_sums(path: Path, sums: EvaluationSums) -> None:
    """Write evaluation sums with their replicates, atomically."""
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **to_arrays(sums))
    replace_file(path, buffer.getvalue())


def read_sums(path: Path) -> EvaluationSums:
    """Read what `write_sums` has written."""
    with np.load(path, allow_pickle=False) as archive:
        return from_arrays({name: archive[name] for name in archive.files})
