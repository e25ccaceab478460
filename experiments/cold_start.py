"""Measure how strategies serve users whom no training has seen, against what these reveal.

    python experiments/cold_start.py [--data NAME ...] [--seeds 0 1 2] [--json FILE] [--keep DIR]

The committed figures come from --json experiments/results/cold_start/users.json, a run of all
data sets and seeds.  Each method is trained once a seed, as a federated run, and serves all
its strategies; a seed also draws who is held out, anew.  Hyper-parameters of strategies that
are solved afterwards, and the weights of the mixture, are chosen on validation strangers of the
same seed.  Test strangers of all seeds are joined; a user drawn twice keeps its weight in the
bootstrap, so that intervals are over users.  Figures that stand in FILE are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import fedrec
from experiments.cold_start_joined import ORACLE, claims, join, told
from fedrec.coldstart.curves import Curves, curves, rank_strangers
from fedrec.coldstart.measure import label, told_strategy, told_weights
from fedrec.coldstart.mixture import MIXTURE, learn, mixture
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.strategy import Strategy, Warm
from fedrec.coldstart.users import build
from fedrec.config import Config
from fedrec.config_coldstart import revealed
from fedrec.data.population import Population
from fedrec.evaluation.sums import from_arrays, means, to_arrays
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.output import write_atomically
from fedrec.training.node import Setup, prepare
from fedrec.training.scorer import Scorer

FILE = Path(__file__).parent / "cold_start.toml"
Keys = dict[str, Any]

DATA: dict[str, Keys] = {
    "ml-100k": {},
    "complete-journey": {"data.name": "complete-journey", "data.level": "type"},
    "marketplace": {"data.name": "marketplace", "data.users": 1000, "data.items": 500},
}
LIGHTER: dict[str, dict[str, Keys]] = {
    "complete-journey": {
        "reptile": {"clients.sampling": "fixed", "clients.per_round": 400},
        "fomaml": {"clients.sampling": "fixed", "clients.per_round": 400},
        "gru4rec": {"clients.per_round": 100},
    }
}
"""Fewer clients a round of the largest data set: data -> training -> keys."""

STEPS: Keys = {
    "model.loss": "logistic", "model.init": 0.1, "train.rounds": 30, "train.support": 0.5,
    "train.batch": 0, "train.epochs": 1, "train.negatives": 4, "train.optimizer": "sgd",
    "train.reduction": "mean", "train.personal_steps": 20, "train.personal_lr": 10.0,
    "train.lr": 1.0, "train.l2": 0.01, "server.table_optimizer": "adam", "server.table_lr": 0.05,
}  # fmt: skip
TRAININGS: dict[str, tuple[Keys, tuple[str, ...]]] = {
    "ials": (
        {},
        (
            "popularity", "recent-popularity", "segment-popularity", "mean-vector",
            "attribute-tower", "reconstruction", "prototypes", "ease", "near-ease", "item-knn",
        ),
    ),
    "gru4rec": (
        {
            "model.name": "gru4rec", "model.loss": "softmax", "model.history": 20,
            "model.ahead": 1, "model.init": 0.1, "train.method": "fedavg", "train.rounds": 80,
            "train.batch": 0, "train.negatives": 2, "train.optimizer": "sgd", "train.lr": 1.0,
            "train.reduction": "mean", "train.l2": 0.0, "clients.sampling": "fixed",
            "clients.per_round": 200, "server.rows": "mean", "server.table_optimizer": "adam",
            "server.table_lr": 0.02, "server.weight_optimizer": "adam", "server.weight_lr": 0.005,
        },
        ("sequence",),
    ),
    "reptile": (
        {**STEPS, "train.method": "reptile", "server.weight_optimizer": "sgd",
         "server.weight_lr": 1.0},
        ("reptile",),
    ),
    "fomaml": (
        {**STEPS, "train.method": "fomaml", "server.weight_optimizer": "adam",
         "server.weight_lr": 0.05},
        ("fomaml",),
    ),
}  # fmt: skip
"""Training -> its keys, and the strategies that it serves."""

GRID: dict[str, list[Keys]] = {
    "ease": [{"baseline.ease_l2": l2} for l2 in (100.0, 300.0, 1000.0)],
    "near-ease": [
        {"baseline.ease_l2": l2, "baseline.ease_window": 20.0, "baseline.ease_decay": decay}
        for l2, decay in ((30.0, 30.0), (300.0, 30.0))
    ],
    "item-knn": [{"baseline.knn_k": k} for k in (10, 50)],
}
"""What is chosen on validation strangers, by NDCG@10 averaged over k >= 1."""

REVEALS, PARTS = ("latest", "first"), ("valid", "test")


@dataclass(frozen=True)
class Cell:
    """One data set with one seed.

    Attributes:
        about: plain data: strategies, settings, trainings, mixture, sizes.
        sums: "valid" or "test" -> reveal -> strategy -> k -> sums.
    """

    about: Keys
    sums: Mapping[str, Mapping[str, Curves]]


def config_of(data: str, training: str, seed: int) -> Config:
    """Return the configuration of one training."""
    own = {**TRAININGS[training][0], **LIGHTER.get(data, {}).get(training, {})}
    keys = {**DATA[data], **own, "run.seed": seed, "split.seed": seed}
    last = keys.get("train.rounds", fedrec.load_config(FILE).train.rounds)
    alone: Keys = {"coldstart.users": "off", "compare.systems": Config().compare.systems}
    return fedrec.load_config(FILE, {**keys, **alone, "evaluate.every": last})


def train(config: Config, out: Path) -> tuple[Warm, Keys]:
    """Train, unless `out` holds that run, and return those who trained and what it cost."""
    if not _trained(config, out):
        fedrec.run(config, out=out, overwrite=True)
    system = json.loads((out / "system.json").read_text())
    cost = system["cost"]
    spent = {
        "config_hash": config.config_hash(),
        "rounds": config.train.rounds,
        "bytes_up_per_client": cost["bytes_up_per_client"] * config.train.rounds,
        "bytes_down_per_client": cost["bytes_down_per_client"] * config.train.rounds,
        "seconds": round(cost["total_s"], 1),
    }
    shared = load_model(out / "model").shared
    return Warm(prepare(config), shared, config.train.rounds), spent


def _trained(config: Config, out: Path) -> bool:
    """Return whether a run of this configuration lies there."""
    if not (out / "result.json").is_file():
        return False
    return fedrec.load_config(out / "config.toml").config_hash() == config.config_hash()


def tuned(warm: Warm, names: Sequence[str]) -> tuple[dict[str, Strategy], Keys]:
    """Return strategies with the settings that serve validation strangers best, and these."""
    built, chosen = {}, {}
    for name in names:
        tried = []
        for keys in GRID.get(name, [{}]):
            config = warm.setup.config.with_(keys)
            own = replace(warm, setup=replace(warm.setup, config=config))
            strategy = build(own, [name])[name]
            tried.append((_valid(warm.setup, strategy) if name in GRID else 0.0, strategy, keys))
        value, built[name], keys = max(tried, key=lambda one: one[0])
        if name in GRID:
            chosen[name] = {**keys, "tried": len(tried), "valid_ndcg@10": round(value, 4)}
    return built, chosen


def _valid(setup: Setup, strategy: Strategy) -> float:
    ks = [k for k in revealed(setup.config) if k != 0]
    found = curves(setup, {"it": strategy}, "valid", ks)["it"]
    return float(np.mean([means(sums)["full.ndcg@10"] for sums in found.values()]))


def oracle(setup: Setup) -> Strategy:
    """Return the ranking by the true preferences of the marketplace's generator."""
    truth = setup.population.split.dataset.truth
    if truth is None:
        raise SystemExit("only generated data have true preferences")

    def start(population: Population) -> Scorer:
        return lambda users: np.asarray(
            truth.user_vectors[users] @ truth.item_vectors.T + truth.item_bias, np.float32
        )

    return Strategy(ORACLE, "not a recommender: the generator's own preferences", 0, start)


def measure(data: str, seed: int, runs: Path) -> Cell:
    """Train all methods on one data set with one seed, and measure every strategy."""
    strategies: dict[str, Strategy] = {}
    about: Keys = {"trainings": {}, "settings": {}, "served_by": {}}
    first: Warm | None = None
    for name, (_, serves) in TRAININGS.items():
        warm, cost = train(config_of(data, name, seed), runs / f"{data}-{name}-{seed}")
        first = first or warm
        built, chosen = tuned(warm, serves)
        strategies |= built
        about["settings"] |= chosen
        about["trainings"][name] = cost
        about["served_by"] |= dict.fromkeys(serves, name)
    if first is None:
        raise SystemExit("TRAININGS names no training: there are no users to measure")
    setup = first.setup
    sums: dict[str, dict[str, Curves]] = {"valid": {}, "test": {}}
    about["mixture"] = {}
    for reveal in REVEALS:
        weights = learn(setup, strategies, reveal)
        about["mixture"][reveal] = told_weights(weights)
        every = strategies | {MIXTURE: mixture(strategies, weights)}
        if setup.population.split.dataset.truth is not None:
            every[ORACLE] = oracle(setup)
        about["strategies"] = {name: told_strategy(own) for name, own in every.items()}
        for part in sums:
            sums[part][reveal] = curves(setup, every, part, revealed(setup.config), reveal)
    about |= sizes(setup)
    return Cell(about, sums)


def sizes(setup: Setup) -> Keys:
    """Return how many users trained, and how many are strangers."""
    population = setup.population
    return {
        "items": population.num_items,
        "warm": int((np.diff(population.indptr) > 0).sum()),
        "strangers": {p: len(strangers(setup, p, 0).held_out(p).users) for p in ("valid", "test")},
        "split_hash": population.split.split_hash,
        "random": random_ndcg(setup),
    }


def random_ndcg(setup: Setup) -> float:
    """Return NDCG@10 of a scorer that scores all items alike, whose ties are drawn."""
    population = strangers(setup, "test", 0)
    alike = np.zeros(population.num_items, np.float32)
    values = rank_strangers(
        setup, lambda users: np.broadcast_to(alike, (len(users), len(alike))), population, "test"
    )
    return float(values.metrics["full.ndcg@10"].mean())


def save(cell: Cell, place: Path) -> None:
    """Keep a cell, so that an interrupted experiment goes on where it was."""
    place.mkdir(parents=True, exist_ok=True)
    for part, reveals in cell.sums.items():
        for reveal, found in reveals.items():
            arrays = {
                f"{name}/{k}/{field}": value
                for name, own in found.items()
                for k, sums in own.items()
                for field, value in to_arrays(sums).items()
            }
            np.savez_compressed(place / f"{part}-{reveal}.npz", allow_pickle=False, **arrays)
    write_atomically(place / "about.json", json.dumps(cell.about, indent=1) + "\n")


def load(place: Path) -> Cell:
    """Read what `save` has kept."""
    sums: dict[str, dict[str, Curves]] = {part: {} for part in PARTS}
    for part in PARTS:
        for reveal in REVEALS:
            with np.load(place / f"{part}-{reveal}.npz", allow_pickle=False) as archive:
                sums[part][reveal] = _curves({name: archive[name] for name in archive.files})
    return Cell(json.loads((place / "about.json").read_text()), sums)


def _curves(arrays: Mapping[str, np.ndarray]) -> Curves:
    apart: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    for address, value in arrays.items():
        name, k, field = address.split("/")
        apart.setdefault(name, {}).setdefault(int(k), {})[field] = value
    return {n: {k: from_arrays(own) for k, own in ks.items()} for n, ks in apart.items()}


def figures(data: str, cells: Mapping[int, Cell]) -> Keys:
    """Return the figures of one data set, its seeds joined."""
    first = next(iter(cells.values())).about
    shown: Keys = {}
    for reveal in REVEALS:
        valid, test = (join([c.sums[part][reveal] for c in cells.values()]) for part in PARTS)
        shown[reveal] = {
            "curves": told(test),
            "tests": claims(valid, test),
            "mixture": {str(seed): c.about["mixture"][reveal] for seed, c in cells.items()},
        }
    return {
        "config": {**DATA[data]},
        "items": first["items"],
        "seeds": {
            str(seed): {key: c.about[key] for key in ("warm", "strangers", "split_hash", "random",
                                                      "settings", "trainings")}
            for seed, c in cells.items()
        },
        "strategies": {
            name: {**own, "training": first["served_by"].get(name, "")}
            for name, own in first["strategies"].items()
        },
        "reveal": shown,
    }  # fmt: skip


def main() -> None:
    """Measure what is missing, and write the figures of all that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--keep", type=Path, help="keep trained models here, and go on from them")
    parser.add_argument("--kept", action="store_true", help="join what is kept, measure nothing")
    options = parser.parse_args()
    every: Keys = {}
    with tempfile.TemporaryDirectory() as temporary:
        keep = options.keep or Path(temporary)
        for data in options.data:
            cells = {}
            for seed in options.seeds:
                place, start = keep / f"{data}-{seed}", time.perf_counter()
                if not (place / "about.json").is_file():
                    if options.kept:
                        continue
                    save(measure(data, seed, keep), place)
                cells[seed] = load(place)
                print(f"{data}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
            if cells:
                every[data] = figures(data, cells)
                show(data, every[data])
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        base = fedrec.load_config(FILE)
        content = {
            "command": "python experiments/cold_start.py --json " + options.json.as_posix(),
            "k": [label(k) for k in revealed(base)],
            "test_items": base.coldstart.test_items,
            "fraction": base.split.fraction,
            "data": every,
            "machine": describe_machine(),
        }
        write_atomically(options.json, json.dumps(content, indent=1) + "\n")


def show(data: str, found: Keys) -> None:
    """Print NDCG@10 of every strategy at every k."""
    for reveal, own in found["reveal"].items():
        print(f"{data}, {reveal} interactions revealed: NDCG@10 at k = ", end="")
        print(" ".join(own["curves"]["popularity"]))
        for name, curve in own["curves"].items():
            print(f"  {name:20}", " ".join(f"{v['ndcg@10'][0]:.4f}" for v in curve.values()))


if __name__ == "__main__":
    main()
