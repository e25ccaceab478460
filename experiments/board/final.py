"""The final runs of a method: chosen settings, three seeds, the test part read once.

Every system and seed has a directory of its own below runs/leaderboard, named after its
configuration, so that an interrupted run is continued and a finished one is kept.
"""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.board.entries import Entry
from experiments.board.search import Trial, best, settings_tried
from fedrec import __version__
from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.evaluation.sums import EvaluationSums, intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.run import describe_data
from fedrec.systems import read_sums, seeds_of, train_system, write_sums

Json = dict[str, Any]

METRICS = (
    "full.ndcg@10",
    "full.hr@10",
    "full.recall@20",
    "full.mrr@10",
    "sampled99.ndcg@10",
    "sampled99.hr@10",
)
PAIRED = ("full.ndcg@10", "full.hr@10")
"""Metrics whose bootstrap replicates are kept, for paired differences between files."""
SEEDS = (0, 1, 2)


def finish(
    entry: Entry,
    data: str,
    trials: Mapping[str, Sequence[Trial]],
    folder: Path,
    work: Path,
    seeds: Sequence[int] = SEEDS,
    tell: Callable[[str], None] = print,
) -> Json:
    """Train every system of an entry with its chosen settings, and write its result.

    A system of an earlier result is kept if neither its file nor its settings have changed.

    Args:
        entry: the method.
        data: a key of `entries.DATA`.
        trials: system -> its trials.
        folder: where `<method>.json` and `<method>.<system>.npz` go.
        work: where the runs go.
        seeds: of training.
        tell: called with a line for each system and seed.

    Returns:
        The content of `<method>.json`.
    """
    found = {}
    for system, made in trials.items():
        config = entry.config(data, best(list(made)).settings)
        kept = _kept(entry, data, system, best(list(made)), folder, seeds)
        if kept is not None:
            found[system] = kept
            continue
        told, sums = _trained(entry, data, system, config, work, seeds, tell)
        searched = {
            "trials": settings_tried(list(made)),
            "trials_in_full": sum(t.share == 1 for t in made),
            "search_s": round(sum(t.seconds for t in made), 1),
            "settings": best(list(made)).settings,
            "valid": best(list(made)).value,
        }
        found[system] = {"fingerprint": entry.fingerprint(data, system), **searched, **told}
        folder.mkdir(parents=True, exist_ok=True)
        write_sums(folder / f"{entry.name}.{system}.npz", small(sums))
    result: Json = {
        "method": entry.name,
        "data": data,
        "leaky": entry.leaky,
        "about": entry.about,
        "described": describe_data(config),
        "systems": found,
        "machine": describe_machine(),
        "fedrec": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    write_atomically(
        folder / f"{entry.name}.json", json.dumps(result, indent=1, allow_nan=False) + "\n"
    )
    return result


def _kept(
    entry: Entry, data: str, system: str, trial: Trial, folder: Path, seeds: Sequence[int]
) -> Json | None:
    """Return the result of a system that an earlier start has left, if it still holds."""
    file, sums = folder / f"{entry.name}.json", folder / f"{entry.name}.{system}.npz"
    if not file.is_file() or not sums.is_file():
        return None
    before: Json = json.loads(file.read_text(encoding="utf-8"))["systems"].get(system, {})
    now = (entry.fingerprint(data, system), trial.settings, list(seeds_of(system, tuple(seeds))))
    same = tuple(before.get(name) for name in ("fingerprint", "settings", "seeds")) == now
    return before if same else None


def current(entry: Entry, data: str, folder: Path) -> Json | None:
    """Return an entry's result, if it belongs to what its file says now."""
    file = folder / f"{entry.name}.json"
    if not file.is_file():
        return None
    found: Json = json.loads(file.read_text(encoding="utf-8"))
    marks = {name: system["fingerprint"] for name, system in found["systems"].items()}
    return found if marks == {s: entry.fingerprint(data, s) for s in entry.systems()} else None


def chosen(found: Json, trials: Mapping[str, Sequence[Trial]]) -> bool:
    """Return whether a result was trained with the settings that are the best now."""
    return all(
        system in found["systems"]
        and found["systems"][system]["settings"] == best(list(made)).settings
        for system, made in trials.items()
    )


def _trained(
    entry: Entry,
    data: str,
    system: str,
    config: Config,
    work: Path,
    seeds: Sequence[int],
    tell: Callable[[str], None],
) -> tuple[Json, list[EvaluationSums]]:
    """Train one system with all its seeds; return its entry, and the test sums of each seed."""
    left, sums, hashes, rounds = [], [], [], []
    for seed in seeds_of(system, tuple(seeds)):
        own = config.with_({"run.seed": seed})
        place = work / data / entry.name / f"{system}-{own.config_hash()}"
        if not (place / "system.json").is_file():
            train_system(system, own, place, "in-process", lambda event: None)
        left.append(json.loads((place / "system.json").read_text(encoding="utf-8")))
        sums.append(read_sums(place / "test_sums.npz"))
        hashes.append(own.config_hash())
        rounds.append(_traffic(place / "rounds.jsonl"))
        tell(f"{data} {entry.name} {system} seed {seed}: {left[-1]['cost']['total_s']:.0f} s")
    told = {
        "name": left[0]["name"],
        "kind": left[0]["kind"],
        "seeds": [s["seed"] for s in left],
        "config_hashes": hashes,
        "selected_rounds": [s["selected_round"] for s in left],
        "valid_by_seed": [s["metrics"]["valid"]["full"]["ndcg@10"] for s in left],
        "metrics": summary(sums),
        "cost": _cost([s["cost"] for s in left], rounds),
        "privacy": {k: left[0]["privacy"].get(k) for k in ("statement", "epsilon", "delta")},
    }
    if system == "federated":
        told["rounds"] = config.train.rounds
        told["secure"] = secure_offer(config)
    return told, sums


def summary(sums: Sequence[EvaluationSums]) -> Json:
    """Return metric -> mean over seeds, its 95% interval over users, and each seed's value.

    Args:
        sums: test sums of each seed, over the same users.
    """
    merged = merge(list(sums))
    middle, ends = means(merged), intervals(merged)
    by_seed = [means(s) for s in sums]
    return {
        name: {
            "mean": round(middle[name], 6),
            "low": round(ends[name][0], 6),
            "high": round(ends[name][1], 6),
            "by_seed": [round(values[name], 6) for values in by_seed],
        }
        for name in METRICS
        if name in middle
    }


def small(sums: Sequence[EvaluationSums]) -> EvaluationSums:
    """Return what paired differences need: sums over seeds of two metrics."""
    merged = merge(list(sums))

    def kept(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        return {name: values[name] for name in names}

    return replace(
        EvaluationSums(),
        values=kept(merged.values, PAIRED),
        counts=kept(merged.counts, ("full",)),
        replicates=kept(merged.replicates, PAIRED),
        replicate_counts=kept(merged.replicate_counts, ("full",)),
    )


def secure_offer(config: Config) -> str:
    """Return "offered" if secure aggregation goes with a configuration, else the reason."""
    asked = {"secure.mode": "semi-honest"}
    if config.server.rows == "touching":
        return "not with server.rows = 'touching'"
    try:
        config.with_(asked)
    except ConfigError as error:
        return str(error)
    return "offered"


def _traffic(file: Path) -> tuple[int, int]:
    """Return all bytes up and down of a run; of a system without messages none."""
    if not file.is_file():
        return 0, 0
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    up = sum(int(line.get("bytes_up") or 0) for line in lines)
    return up, sum(int(line.get("bytes_down") or 0) for line in lines)


def _cost(costs: Sequence[Json], traffic: Sequence[tuple[int, int]]) -> Json:
    """Return means over seeds: bytes of a client and round, of all, seconds."""

    def mean(name: str) -> float | None:
        values = [cost.get(name) for cost in costs]
        known = [float(value) for value in values if value is not None]
        return round(statistics.fmean(known), 4) if known else None

    names = ("bytes_up_per_client", "bytes_down_per_client", "round_s_median", "total_s")
    found: Json = {name: mean(name) for name in names}
    found["peak_rss_mib"] = max(float(cost.get("peak_rss_mib") or 0) for cost in costs)
    found["bytes_up"] = round(statistics.fmean(up for up, _ in traffic))
    found["bytes_down"] = round(statistics.fmean(down for _, down in traffic))
    return found
