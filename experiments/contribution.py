"""Measure how well updates tell what merchants contribute, against retraining all subsets.

    python experiments/contribution.py [--json FILE] [--seed N]

Each seed is a marketplace of its own (experiments/contribution.toml), with noise in the
training interactions of some merchants.  Seeds that stand in FILE already, with the same
configuration, are kept.  For groups of secure aggregation it also measures what the changing
groupings open: how well the items of a merchant are guessed from the sums.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

import fedrec
from fedrec.config import Config, integers
from fedrec.contribution.estimates import (
    exact,
    from_groups,
    from_rounds,
    from_updates,
    of_round,
    retrained,
)
from fedrec.contribution.federation import Round, play
from fedrec.contribution.game import Values, leave_one_out
from fedrec.contribution.groups import cut, measured, parts_of
from fedrec.contribution.rebuilt import Opened, guess
from fedrec.engine.server_side import AppServer
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.results import plain_numbers
from fedrec.robust.updates import as_partial_sum
from fedrec.training.node import Setup, prepare

HERE = Path(__file__).resolve().parent
NOISE = (0.5, 0.0, 0.2, 0.0, 0.9, 1.0)
"""Part of each merchant's training interactions whose item is replaced by chance."""
GROUPS, DRAWS = 2, 3
"""Groups of a round, and how many series of groupings are drawn."""
LONGER = (2, 4)
"""How many times as many rounds, of so many times smaller steps, longer federations have."""
BY_ROUND = 3
"""Orders of merchants drawn in each round for values by round."""
Figures = dict[str, Any]


def market(base: Config, seed: int) -> Setup:
    """Return the marketplace of a seed, with noise in training and nowhere else."""
    config = base.with_({"run.seed": seed, "data.data_seed": seed})
    setup = prepare(config)
    population = setup.population
    owner = np.repeat(population.client_of_user, np.diff(population.indptr))
    rng = np.random.default_rng(seed)
    hit = rng.random(len(owner)) < np.array(NOISE)[owner]
    items = population.items.copy()
    items[hit] = rng.integers(0, population.num_items, int(hit.sum()))
    return replace(setup, population=replace(population, items=items))


def measure(setup: Setup) -> Figures:
    """Return all figures of one seed."""
    start, players = time.perf_counter(), setup.population.num_clients
    rounds = play(setup, AppServer)
    memory = retrained(setup, AppServer)
    truth = exact(memory, players).values
    seconds = {"retrained": time.perf_counter() - start}
    found = {}
    for name, estimate in (("shapley-updates", from_updates), ("shapley-rounds", from_rounds)):
        start = time.perf_counter()
        orders = {"contribution.permutations": BY_ROUND} if estimate is from_rounds else {}
        values = estimate(replace(setup, config=setup.config.with_(orders)), rounds)
        found[name] = _told(values, truth)
        seconds[name] = time.perf_counter() - start
    lost = Values(leave_one_out(memory.total, players), np.zeros(players), players + 1)
    found["leave-one-out"] = _told(lost, truth)
    return {
        "seed": setup.config.run.seed,
        "config_hash": setup.config.config_hash(),
        "split_hash": setup.population.split.split_hash,
        "interactions": setup.population.samples_of_client,
        "rounds": len(rounds),
        "utility": {"all": memory.total(frozenset(range(players))),
                    "none": memory.total(frozenset())},
        "exact": truth,
        "estimates": found,
        "groups": [_grouped(setup, rounds, truth, draw) for draw in range(DRAWS)],
        "longer": _longer(setup, truth),
        "seconds": seconds,
    }  # fmt: skip


def _told(values: Values, truth: NDArray[np.float64]) -> Figures:
    return {
        "values": values.values,
        "errors": values.errors,
        "evaluations": values.evaluations,
        "spearman": spearmanr(values.values, truth)[0],
    }


def _grouped(
    setup: Setup, rounds: tuple[Round, ...], truth: NDArray[np.float64], draw: int
) -> Figures:
    """Return what one series of groupings tells of contributions, and what of single updates."""
    players = setup.population.num_clients
    cuts = [cut(1000 * draw + setup.config.run.seed, r.number, players, GROUPS) for r in rounds]
    opened = [measured(of_round(setup, one), c) for one, c in zip(rounds, cuts, strict=True)]
    parts = parts_of(opened, players)
    sums = [Opened(one.number, groups, tuple(as_partial_sum(one.updates.take(g)) for g in groups))
            for one, groups in zip(rounds, cuts, strict=True)]  # fmt: skip
    rebuilt = from_groups(setup, rounds, sums)
    size = rounds[0].updates.total().size  # the table comes first
    guesses = guess(sums, players, rounds[0].before).updates[:, :, :size].mean(0)
    single = np.array([[r.updates.take(np.array([i])).total().ravel() for r in rounds]
                       for i in range(players)]).mean(1)  # fmt: skip
    whole = np.tile(single.sum(0), (players, 1))
    seen = {"all": whole, "groups": guesses, "single": single}
    return {
        "values": parts.values,
        "errors": parts.errors,
        "spearman": spearmanr(parts.values, truth)[0],
        "rebuilt": _told(rebuilt, truth),
        "items_auc": {name: items_auc(setup, update) for name, update in seen.items()},
        "cosine": {name: float(np.mean([_cosine(a, b) for a, b in zip(u, single, strict=True)]))
                   for name, u in seen.items()},
    }  # fmt: skip


def _longer(setup: Setup, truth: NDArray[np.float64]) -> Figures:
    """Return the same of federations of more and smaller rounds."""
    found, section = {}, setup.config.server
    for times in LONGER:
        keys = {"train.rounds": times * setup.config.train.rounds,
                "server.table_lr": section.table_lr / times}  # fmt: skip
        long = replace(setup, config=setup.config.with_(keys))
        rounds = play(long, AppServer)
        series = [_grouped(long, rounds, truth, draw) for draw in range(DRAWS)]
        found[str(keys["train.rounds"])] = series
    return found


def items_auc(setup: Setup, updates: NDArray[np.float64]) -> float:
    """Return how well the norm of its rows tells which items a merchant's customers have met.

    Args:
        setup: of the federation.
        updates: float64 [n, I * D], what an observer holds for each merchant's mean update.

    Returns:
        The area under the curve, mean over merchants.
    """
    population = setup.population
    owner = np.repeat(population.client_of_user, np.diff(population.indptr))
    norms = np.linalg.norm(updates.reshape(len(updates), population.num_items, -1), axis=2)
    areas = []
    for i, row in enumerate(norms):
        met = np.isin(np.arange(population.num_items), population.items[owner == i])
        ranks = rankdata(row)
        good, bad = int(met.sum()), int((~met).sum())
        if good and bad:
            areas.append((ranks[met].sum() - good * (good + 1) / 2) / (good * bad))
    return float(np.mean(areas))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


def main() -> None:
    """Measure all seeds, print the figures, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--seed", type=int, help="measure this seed alone")
    options = parser.parse_args()
    base, known, runs = fedrec.load_config(HERE / "contribution.toml"), {}, list[Figures]()
    if options.json is not None and options.json.is_file():
        before = json.loads(options.json.read_text(encoding="utf-8"))["runs"]
        known = {run["config_hash"]: run for run in before}
    seeds = integers(base, "compare.seeds") if options.seed is None else (options.seed,)
    for seed in seeds:
        setup = market(base, seed)
        run = known.get(setup.config.config_hash()) or plain_numbers(measure(setup))
        runs.append(run)
        shown = {name: f"{found['spearman']:.2f}" for name, found in run["estimates"].items()}
        groups = [f"{g['spearman']:.2f} {g['rebuilt']['spearman']:.2f}" for g in run["groups"]]
        print(f"seed {seed}: Spearman {shown}, groups {'; '.join(groups)}", flush=True)
        if options.json is not None:
            about = {"noise": NOISE, "groups": GROUPS, "by_round": BY_ROUND}
            figures = {"config": base.flat(), **about, "runs": runs, "machine": describe_machine()}
            write_atomically(options.json, json.dumps(plain_numbers(figures), indent=1) + "\n")


if __name__ == "__main__":
    main()
