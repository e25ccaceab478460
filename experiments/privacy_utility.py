"""What do privacy, few clients a round and few bytes cost in accuracy?

    python experiments/privacy_utility.py [--quick] [--data NAME] [--panel NAME] [--out DIRECTORY]

The same federation (experiments/privacy_utility.toml) on MovieLens-100K and on a generated
marketplace of 100,000 users, against epsilon, clients a round and bytes a client sends.
Every point is a file of its own; a second start skips the points that are there and still
belong to their configuration.  Then all are put together in `privacy_utility.json`, and
drawn.  `--quick` is a grid of seconds on a small marketplace, for a look at the machinery.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedrec import __version__
from fedrec.config import Config, Scalar, load_config
from fedrec.evaluation.sums import EvaluationSums, intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.report.tradeoff import Panel, Series, draw_tradeoff
from fedrec.run import describe_data
from fedrec.systems import read_sums, train_system
from fedrec.training.node import evaluate_scorer, prepare

HERE = Path(__file__).resolve().parent
EXPERIMENT = HERE / "privacy_utility.toml"
NAME = "privacy_utility"
METRICS = ("ndcg@10", "hr@10")
INFINITE = float("inf")
LEVELS = ("random", "popularity", "ease")
Overrides = Mapping[str, Scalar]
Lines = Mapping[str, tuple[Overrides, ...]]
Sizes = tuple[int, ...]
Json = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One configuration, and where it stands in the plots.

    Attributes:
        panel: "epsilon", "clients" or "bytes".
        series: the line.
        x: its place; None: the bytes that a client sends in a round, as measured.
        overrides: dotted key -> value, on top of the data set's.
    """

    panel: str
    series: str
    x: float | None
    overrides: Overrides


@dataclass(frozen=True)
class DataSet:
    """One data set with its grid.

    Attributes:
        name: in file names and titles.
        seeds: of training; accuracy is the mean over them.
        overrides: on top of the experiment file.
        private: keys of every clipped point; the noise is added to them.
        epsilons: budgets of the first panel.
        per_round: expected clients a round, of the second panel.
        spent: budgets of the second panel's lines.
        sent: bytes panel: series -> settings, one point each.
    """

    name: str
    seeds: tuple[int, ...]
    overrides: Overrides
    private: Overrides
    epsilons: tuple[float, ...]
    per_round: tuple[int, ...]
    spent: tuple[float, ...]
    sent: Lines = field(default_factory=dict)

    def points(self) -> Iterator[Point]:
        """Yield the grid; a configuration may stand in several panels."""
        for epsilon in (*self.epsilons, INFINITE):
            yield Point("epsilon", "clipped, noise", epsilon, self.noisy(epsilon))
        for epsilon in (INFINITE, *self.spent):
            protection = {} if epsilon == INFINITE else self.noisy(epsilon)
            name = "not private" if epsilon == INFINITE else f"ε = {epsilon:g}"
            for number in self.per_round:
                yield Point("clients", name, number, {"clients.per_round": number, **protection})
        for name, settings in self.sent.items():
            for own in settings:
                yield Point("bytes", name, None, own)

    def noisy(self, epsilon: float) -> Overrides:
        """Return the keys of a budget; infinite: clipped, without noise."""
        return self.private if epsilon == INFINITE else {**self.private, "privacy.epsilon": epsilon}

    def changed(self, overrides: Overrides) -> Overrides:
        """Return the keys that differ from the data set's: equal points are one file."""
        plain = self.config({}, self.seeds[0]).flat()
        return {key: value for key, value in overrides.items() if plain[key] != value}

    def config(self, overrides: Overrides, seed: int) -> Config:
        """Return the full configuration of a point, or of a baseline."""
        return load_config(EXPERIMENT, {**self.overrides, **overrides, "run.seed": seed})


def _sent(per_round: int, bits: Sizes, rank: Sizes, rows: Sizes, dim: Sizes) -> Lines:
    """Return the bytes panel; every line begins with whole float32 updates."""
    whole: Overrides = {"clients.per_round": per_round}
    keys = {
        "bits of an element": ("compress.bits", bits),
        "random subspace": ("compress.rank", rank),
        "largest rows": ("compress.rows", rows),
        "smaller d": ("model.dim", dim),
    }
    return {
        name: (whole, *({**whole, key: value} for value in values))
        for name, (key, values) in keys.items()
    }


CENTRAL: Overrides = {"privacy.mechanism": "central", "privacy.draws": "seeded"}
ML_100K = DataSet(
    name="ml-100k",
    seeds=(0, 1),
    overrides={
        "data.name": "ml-100k",
        "clients.per_round": 300,
        "train.ridge": 3.0,
        "server.table_lr": 0.1,
    },
    private={**CENTRAL, "privacy.clip": 1.0},
    epsilons=(1, 2, 4, 8, 16, 64),
    per_round=(30, 100, 300, 600),
    spent=(8,),
    sent=_sent(100, bits=(8, 4, 2), rank=(4, 2), rows=(400, 100), dim=(4, 2)),
)
MARKETPLACE = DataSet(
    name="marketplace",
    seeds=(0,),
    overrides={},
    private={**CENTRAL, "privacy.clip": 3.0},
    epsilons=(0.25, 0.5, 1, 2, 4, 8),
    per_round=(500, 1000, 2000, 4000),
    spent=(4,),
    sent=_sent(500, bits=(4,), rank=(2,), rows=(25,), dim=(2,)),
)
QUICK = DataSet(
    name="quick",
    seeds=(0, 1),
    overrides={
        "data.users": 200,
        "data.items": 60,
        "train.rounds": 3,
        "model.dim": 4,
        "clients.per_round": 50,
        "evaluate.bootstrap": 50,
    },
    private={**CENTRAL, "privacy.clip": 1.0},
    epsilons=(8,),
    per_round=(50, 100),
    spent=(8,),
    sent={"smaller d": ({}, {"model.dim": 2})},
)
FULL = (ML_100K, MARKETPLACE)


def slug(data: DataSet, overrides: Overrides) -> str:
    """Return the name of a point's file: what it changes, "ml-100k_epsilon-4"."""
    plain = {"privacy.mechanism", "privacy.draws", "secure.mode"}
    parts = [
        f"{key.split('.')[-1].replace('_', '-')}-{value}"
        for key, value in sorted(overrides.items())
        if key not in plain
    ]
    return "_".join([data.name, *(parts or ["plain"])])


def measured(data: DataSet, overrides: Overrides) -> Json:
    """Train a point with all its seeds, and return the content of its file."""
    systems, sums, hashes = [], [], []
    start = time.perf_counter()
    for seed in data.seeds:
        config = data.config(overrides, seed)
        hashes.append(config.config_hash())
        with tempfile.TemporaryDirectory() as place:
            train_system("federated", config, Path(place), "in-process", lambda event: None)
            systems.append(json.loads((Path(place) / "system.json").read_text(encoding="utf-8")))
            sums.append(read_sums(Path(place) / "test_sums.npz"))
    privacy, about = systems[0]["privacy"], describe_data(config)
    return {
        "data": data.name,
        "overrides": dict(overrides),
        "seeds": list(data.seeds),
        "config_hashes": hashes,
        "split_hash": about["split_hash"],
        "rounds": config.train.rounds,
        "epsilon": privacy["epsilon"],
        "delta": privacy["delta"],
        "noise_multiplier": privacy.get("noise_multiplier"),
        "metrics": accuracies(sums),
        "bytes_up_per_client": _mean(s["cost"]["bytes_up_per_client"] for s in systems),
        "bytes_down_per_client": _mean(s["cost"]["bytes_down_per_client"] for s in systems),
        "seconds": round(time.perf_counter() - start, 1),
        "machine": describe_machine(),
        "fedrec": __version__,
    }


def _mean(values: Iterator[float]) -> float:
    return statistics.fmean(list(values))


def accuracies(sums: list[EvaluationSums]) -> Json:
    """Return the test accuracy of some seeds.

    Args:
        sums: of each seed, over the same users.

    Returns:
        Metric -> "mean", and "low" and "high" of its 95% interval over users for the
        mean over seeds; "by_seed" shows what seeds (and their noise) change.
    """
    merged = merge(sums)
    middle, ends = means(merged), intervals(merged)
    found = {}
    for metric in METRICS:
        name = f"full.{metric}"
        low, high = ends[name]
        by_seed = [round(means(s)[name], 6) for s in sums]
        found[metric] = {"mean": middle[name], "low": low, "high": high, "by_seed": by_seed}
    return found


def levels(data: DataSet) -> Json:
    """Return the accuracy of systems that are not federated; the oracle where one is known."""
    config = data.config({}, data.seeds[0])
    setup, found = prepare(config), {}
    for name in LEVELS:
        with tempfile.TemporaryDirectory() as place:
            train_system(name, config, Path(place), "in-process", lambda event: None)
            found[name] = accuracies([read_sums(Path(place) / "test_sums.npz")])
    truth = setup.population.split.dataset.truth
    if truth is not None:
        users, boots = np.arange(setup.population.num_users), config.evaluate.bootstrap
        vectors, items, bias = truth.user_vectors, truth.item_vectors, truth.item_bias
        best = evaluate_scorer(
            setup, lambda u: vectors[u] @ items.T + bias, users, "test", bootstrap=boots
        )
        found["oracle"] = accuracies([best])
    return {
        "data": data.name,
        "about": describe_data(config),
        "config_hashes": [config.config_hash()],
        "levels": found,
    }


def kept(file: Path, hashes: list[str]) -> Json | None:
    """Return what an earlier start has left, if it belongs to these configurations."""
    if not file.is_file():
        return None
    try:
        found: Json = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # written by another hand: this script writes whole files only
        return None
    return found if found.get("config_hashes") == hashes else None


def run_grid(data: DataSet, folder: Path, panels_wanted: Sequence[str] = ()) -> Json:
    """Measure what is missing, and return all of a data set (or of some panels) for the summary."""
    file = folder / f"{data.name}_levels.json"
    beside = kept(file, [data.config({}, data.seeds[0]).config_hash()])
    if beside is None:
        beside = levels(data)
        write_atomically(file, json.dumps(beside, indent=1) + "\n")
    points, done = [], {}
    for point in data.points():
        if panels_wanted and point.panel not in panels_wanted:
            continue
        overrides = data.changed(point.overrides)
        name = slug(data, overrides)
        if name not in done:
            done[name] = _point(data, overrides, folder / f"{name}.json")
        entry = done[name]
        x = entry["bytes_up_per_client"] if point.x is None else point.x
        place = {"panel": point.panel, "series": point.series, "x": None if x == INFINITE else x}
        points.append({**place, "file": name, **{k: entry[k] for k in SHOWN}})
    seconds = sum(entry["seconds"] for entry in done.values())
    return {**beside, "seeds": list(data.seeds), "seconds": seconds, "points": points}


SHOWN = ("overrides", "rounds", "epsilon", "delta", "metrics", "bytes_up_per_client", "seconds")
"""Keys of a point's file that the summary repeats."""


def _point(data: DataSet, overrides: Overrides, file: Path) -> Json:
    entry = kept(file, [data.config(overrides, seed).config_hash() for seed in data.seeds])
    if entry is None:
        entry = measured(data, overrides)
        write_atomically(file, json.dumps(entry, indent=1) + "\n")
        accuracy = entry["metrics"]["ndcg@10"]["mean"]
        print(f"{file.stem}: NDCG@10 {accuracy:.4f}, {entry['seconds']:.0f} s", flush=True)
    return entry


PANELS = {"epsilon": "ε", "clients": "expected clients a round", "bytes": "bytes a client sends"}


def panels(found: Json, metric: str) -> list[Panel]:
    """Return the panels of a data set for one metric."""
    about = found["about"]
    title = f"{found['data']}, {about['clients']:,} clients"
    hidden = "ease" if "oracle" in found["levels"] else ""  # two lines at one height
    shown = {n: v[metric]["mean"] for n, v in found["levels"].items() if n != hidden}
    free = [p["metrics"][metric]["mean"] for p in found["points"] if not p["overrides"]]
    made = []
    for panel, label in PANELS.items():
        lines: dict[str, list[Json]] = {}
        for point in found["points"]:
            if point["panel"] == panel:
                lines.setdefault(point["series"], []).append(point)
        series = tuple(_series(name, points, metric) for name, points in lines.items())
        beside = {"not private": free[0]} if free and panel == "epsilon" else {}
        levels_shown = {**shown, **beside}
        made.append(Panel(title, label, f"{metric.upper()} (test)", series, levels_shown))
    return made


def _series(name: str, points: list[Json], metric: str) -> Series:
    placed = sorted((INFINITE if p["x"] is None else p["x"], p["metrics"][metric]) for p in points)
    columns = [tuple(value[key] for _, value in placed) for key in ("mean", "low", "high")]
    return Series(name, tuple(x for x, _ in placed), *columns)


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing of the grid, then write the summary and the plots."""
    parser = argparse.ArgumentParser(description="Accuracy against epsilon, clients and bytes.")
    parser.add_argument("--quick", action="store_true", help="a grid of seconds")
    parser.add_argument("--data", action="append", help="only this data set; may be repeated")
    parser.add_argument("--panel", action="append", choices=list(PANELS), help="only this panel")
    parser.add_argument("--out", type=Path, help="default: experiments/results")
    options = parser.parse_args(arguments)
    out = options.out or (Path("runs/privacy-utility") if options.quick else HERE / "results")
    chosen = [
        d for d in ((QUICK,) if options.quick else FULL) if d.name in (options.data or d.name)
    ]
    if not chosen:
        parser.error(f"--data must be one of {', '.join(d.name for d in FULL)}")
    (out / NAME).mkdir(parents=True, exist_ok=True)
    found = [run_grid(data, out / NAME, options.panel or ()) for data in chosen]
    if options.panel or (len(chosen) < len(FULL) and not options.quick):
        return 0  # the summary is of all
    command = "python experiments/privacy_utility.py" + (" --quick" if options.quick else "")
    summary = {"command": command, "machine": describe_machine(), "data": found}
    write_atomically(out / f"{NAME}.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    for metric in METRICS:
        ending = "" if metric == METRICS[0] else "_" + metric.split("@")[0]
        draw_tradeoff([panels(entry, metric) for entry in found], out / f"{NAME}{ending}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
