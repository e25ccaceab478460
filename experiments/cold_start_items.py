"""Compare strategies for items that nobody has met, ranked among new items and among all.

    python experiments/cold_start_items.py [--base NAME ...] [--seeds 0 1 2] [--work DIR]
                                           [--have] [--json FILE] [--keep]

The committed figures come from --json experiments/results/cold_start/items.json, a run of all
bases and seeds.  A seed decides which items are held out, and every draw of training.  Each
base is trained once a seed on the other items (`cold_start_items.toml` with its keys), its
round chosen by validation; then every strategy fills the rows of the new items, with the
keys of `GRID` that are best on NDCG@20 of the validation items.  The test items are ranked
once, among themselves and among all items that a user has not met.  Intervals are bootstrap
intervals over users, of the mean over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import fedrec
from fedrec.coldstart.devices import device_scorer, stored_personal
from fedrec.coldstart.items import fill_rows, item_strategy
from fedrec.coldstart.strategy import history_rows
from fedrec.config import Config
from fedrec.evaluation.bootstrap import paired
from fedrec.evaluation.sums import (
    EvaluationSums,
    from_arrays,
    intervals,
    means,
    merge,
    ratios,
    to_arrays,
)
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.params import Shared
from fedrec.storage import read_arrays, write_arrays
from fedrec.training.baselines import fit_baseline
from fedrec.training.node import Setup, evaluate_scorer, init_personal, prepare
from fedrec.training.scorer import Scorer

FILE = Path(__file__).parent / "cold_start_items.toml"
METRICS = ("ndcg@20", "hr@20", "recall@20")
CHOSEN_BY, AMONG = "full.ndcg@20", ("new", "all")
CHANCE, CATEGORY = "random", "ials, category-mean"
PLAIN = {
    "popularity": "counts of training interactions, which new items have none of",
    CHANCE: "nothing is needed",
}
Keys = dict[str, Any]

STEPS: Keys = {
    "model.loss": "logistic", "train.method": "alternating", "train.rounds": 20,
    "train.optimizer": "adam", "train.personal_steps": 15, "train.personal_lr": 0.05,
    "train.reduction": "sum", "train.l2": 0.01, "evaluate.every": 4,
    "clients.sampling": "fixed", "clients.per_round": 400, "model.tower": "32",
}  # fmt: skip
"""Found on the validation items of seed 0; the vector of a client that is drawn every sixth round
needs more steps than one that is drawn in each."""
ROWS = ("random", "mean", "category-mean", "nearest", "ridge", "attribute-net")
BASES: dict[str, tuple[Keys, tuple[str, ...]]] = {
    "ials": ({}, ROWS),
    "ease": (
        {
            "model.name": "item-item",
            "model.loss": "logistic",
            "train.method": "ease",
            "train.rounds": 1,
        },
        ("category-mean", "nearest", "ridge"),
    ),
    "two-tower": (
        {
            **STEPS,
            "model.name": "two-tower",
            "model.id_rows": False,
            "server.weight_lr": 0.005,
        },
        ("content-tower",),
    ),
    "ifedrec": (
        {**STEPS, "model.anchor": 0.3, "train.rounds": 64, "server.table_lr": 0.2},
        ("ifedrec",),
    ),
}
GRID: dict[str, dict[str, tuple[Any, ...]]] = {
    "category-mean": {"level_shrink": (1.0, 3.0, 10.0, 30.0)},
    "nearest": {"neighbours": (5, 10, 20, 40)},
    "ridge": {"item_ridge": (1.0, 3.0, 10.0, 30.0)},
    "attribute-net": {"net_steps": (50, 100, 200, 400)},
}


def configured(keys: Keys, seed: int) -> Config:
    """Return the configuration of a base with a seed."""
    return fedrec.load_config(FILE, {**keys, "run.seed": seed, "split.seed": seed})


def trained(config: Config, out: Path) -> tuple[Setup, Shared, Any]:
    """Train, and return the setup, the shared parameters and what devices hold."""
    run = fedrec.run(config, out=out).directory
    setup, shared = prepare(config), load_model(run / "model").shared
    at = int(json.loads((run / "system.json").read_text())["selected_round"])
    personal = stored_personal(run, setup, at)
    if personal is None:
        personal = init_personal(setup, np.arange(setup.population.num_clients))
    return setup, shared, (personal, at)


def measured(setup: Setup, scorer: Scorer, part: str, among: str) -> EvaluationSums:
    """Rank the held-out items of a part among the new ones, or among all."""
    section = setup.config.evaluate.model_copy(update={"candidates": among})
    there = replace(setup, config=setup.config.model_copy(update={"evaluate": section}))
    users = setup.population.held_out(part).users
    replicates = setup.config.evaluate.bootstrap if part == "test" else 0
    return evaluate_scorer(there, scorer, users, part, bootstrap=replicates)


def with_keys(setup: Setup, keys: Keys) -> Setup:
    """Return a setup with other keys of the section `coldstart`."""
    section = setup.config.coldstart.model_copy(update=keys)
    return replace(setup, config=setup.config.model_copy(update={"coldstart": section}))


def choices(name: str) -> Iterator[Keys]:
    """Yield the keys that a strategy may be given."""
    space = GRID.get(name, {})
    for values in product(*space.values()):
        yield dict(zip(space, values, strict=True))


def fill(name: str, setup: Setup, shared: Shared, held: Any, keys: Keys) -> Scorer:
    """Return the scorer of the clients with the rows of a strategy."""
    told = with_keys(setup, keys)
    filled = fill_rows(item_strategy(name), told, shared, setup.population.catalogue)
    return device_scorer(told, filled, *held)


def strategy_of(name: str, setup: Setup, shared: Shared, held: Any) -> tuple[Keys, Keys, Scorer]:
    """Return the keys that validation prefers, how good each was, and the scorer."""
    found: Keys = {}
    best: tuple[float, Keys, Scorer] | None = None
    for keys in choices(name):
        scorer = fill(name, setup, shared, held, keys)
        value = means(measured(setup, scorer, "valid", "new"))[CHOSEN_BY]
        found[" ".join(f"{n}={v}" for n, v in keys.items())] = round(value, 4)
        if best is None or value > best[0]:
            best = value, keys, scorer
    assert best is not None  # noqa: S101  (there is a choice for every strategy)
    return best[1], found, best[2]


def systems(
    base: str, setup: Setup, shared: Shared, held: Any
) -> Iterator[tuple[str, Keys, Scorer]]:
    """Yield what is compared: its name, its facts, its scorer."""
    if base == "ials":
        rows = history_rows(setup.population)
        for name in PLAIN:
            scorer = fit_baseline(name, rows, setup.config, setup.config.run.seed)
            yield name, {"privacy": PLAIN[name], "bytes_per_item": 0}, scorer
    for name in BASES[base][1]:
        strategy = item_strategy(name)
        keys, tried, scorer = strategy_of(name, setup, shared, held)
        facts = {
            "what": strategy.what,
            "privacy": strategy.privacy,
            "bytes_per_item": strategy.bytes_per_item(setup.model, shared),
            "chosen": keys,
            "validation": tried,
        }
        yield f"{base}, {name}", facts, scorer


def run_base(base: str, seed: int, work: Path) -> tuple[dict[str, Keys], dict[str, EvaluationSums]]:
    """Train a base and measure its systems; what lies in `work` is not measured again.

    Returns:
        name -> facts, and "name|new" or "name|all" -> sums of the test.
    """
    file = work / f"{base}-{seed}.ckpt"
    if file.is_file():
        arrays, facts = read_arrays(file)
        return facts, {name: _sums(arrays, name) for name in _places(facts)}
    with tempfile.TemporaryDirectory() as place:
        setup, shared, held = trained(configured(BASES[base][0], seed), Path(place) / "run")
    facts, sums = {}, dict[str, EvaluationSums]()
    for name, fact, scorer in systems(base, setup, shared, held):
        facts[name] = {**fact, "split_hash": setup.population.split.split_hash}
        sums |= {f"{name}|{among}": measured(setup, scorer, "test", among) for among in AMONG}
        print(f"  seed {seed}: {name} {fact.get('validation', '')}", flush=True)
    flat = {f"{n}|{part}": a for n, s in sums.items() for part, a in to_arrays(s).items()}
    write_arrays(file, flat, facts)
    return facts, sums


def _places(names: Iterable[str]) -> list[str]:
    return [f"{name}|{among}" for name in names for among in AMONG]


def _sums(arrays: Mapping[str, Any], name: str) -> EvaluationSums:
    start = f"{name}|"
    return from_arrays({n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)})


@dataclass(frozen=True, eq=False)
class Measured:
    """All runs.

    Attributes:
        runs: seed, name -> facts, and "name|new" or "name|all" -> sums of the test.
    """

    runs: list[tuple[int, dict[str, Keys], dict[str, EvaluationSums]]]

    def seeds(self, name: str) -> list[int]:
        """Return the seeds with which a system was measured."""
        return [seed for seed, facts, _ in self.runs if name in facts]

    def sums(self, name: str, among: str, seeds: list[int]) -> EvaluationSums:
        """Return the sums of a system over some seeds; each holds other items out."""
        place = f"{name}|{among}"
        return merge([s[place] for seed, _, s in self.runs if seed in seeds and place in s])

    def facts(self, name: str) -> list[Keys]:
        """Return the facts of a system, seed by seed."""
        return [facts[name] for _, facts, _ in self.runs if name in facts]


def row_of(name: str, measured: Measured) -> Keys:
    """Return a system's figures: means, intervals, and how many times those of chance."""
    found: Keys = {"system": name, "seeds": measured.facts(name)}
    seeds = measured.seeds(name)
    for among in AMONG:
        own, chance = (measured.sums(n, among, seeds) for n in (name, CHANCE))
        mean, ci = means(own), intervals(own)
        found[among] = {m: [round(x, 4) for x in (mean[f"full.{m}"], *ci[f"full.{m}"])]
                        for m in METRICS}  # fmt: skip
        found[among]["times_random"] = times(own, chance)
    return found


def times(own: EvaluationSums, other: EvaluationSums) -> list[float]:
    """Return the ratio of two means of NDCG@20, and its interval over users."""
    a, b = (ratios(s.replicates, s.replicate_counts)[CHOSEN_BY] for s in (own, other))
    mean = means(own)[CHOSEN_BY] / means(other)[CHOSEN_BY]
    return [round(float(x), 2) for x in (mean, *np.percentile(a / b, [2.5, 97.5]))]


def against(reference: str, rows: list[Keys], measured: Measured) -> list[Keys]:
    """Return every other system minus the reference, on NDCG@20 among new items."""
    found = []
    for name in (r["system"] for r in rows if r["system"] != reference):
        seeds = measured.seeds(name)
        gap = paired(*(measured.sums(n, "new", seeds) for n in (name, reference)), CHOSEN_BY)
        told = (round(x, 4) for x in (gap.difference, gap.low, gap.high, gap.p_value))
        found.append({"system": name, **dict(zip(("gap", "low", "high", "p"), told, strict=True))})
    return found


def kept(figures: Keys, before: Keys) -> None:
    """Add to figures what an earlier file has of systems that were not measured anew."""
    new = {row["system"] for row in figures["systems"]}
    for part in ("systems", "against_category_mean"):
        figures[part] += [row for row in before[part] if row["system"] not in new]


def main() -> None:
    """Run the chosen bases, print their figures, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", nargs="*", choices=BASES, default=list(BASES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--work", type=Path, help="keep what is measured here, and go on from it")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--have", action="store_true", help="only what lies in --work already")
    parser.add_argument("--keep", action="store_true", help="keep what the file has of others")
    options = parser.parse_args()
    bases = list(dict.fromkeys(("ials", *options.base)))  # the others are compared with its figures
    with tempfile.TemporaryDirectory() as place:
        work = options.work or Path(place)
        runs = [(seed, *run_base(base, seed, work)) for base in bases for seed in options.seeds
                if not options.have or (work / f"{base}-{seed}.ckpt").is_file()]  # fmt: skip
    measured = Measured(runs)
    names = list(dict.fromkeys(name for _, facts, _ in runs for name in facts))
    rows = [row_of(name, measured) for name in names]
    for row in rows:
        print(f"{row['system']:24} new {row['new']['ndcg@20']} {row['new']['times_random']} "
              f"all {row['all']['ndcg@20']}", flush=True)  # fmt: skip
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"data": "complete-journey", "seeds": options.seeds, "systems": rows}
        figures["against_category_mean"] = against(CATEGORY, rows, measured)
        if options.keep:
            kept(figures, json.loads(options.json.read_text(encoding="utf-8")))
        figures["machine"] = describe_machine()
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
