"""Compare what serves a merchant that joins a federation trained in rounds, by weeks of its own.

    python experiments/cold_start_joins.py [--market NAME ...] [--work DIR] [--json FILE]

The committed figures come from --json experiments/results/cold_start/joins.json, a run of both
markets.  The model and its rates are those of cold_start_joining.toml.  In each run one merchant
is left out of the data entirely; when the others have trained it joins, and what its customers
buy for the first time in its last four weeks is to be found (`fedrec.coldstart.newcomer_trained`).
The marketplace is generated anew for each of three seeds, and three merchants join in each.  Of
Complete Journey, whose data are the same for all seeds, a run is one of the stores with most
customers, two for each seed: ten rounds, items are categories.  What is mixed, and how much better
something must be on a newcomer's own weeks, was set while looking at other merchants (0, 3 and 6
of marketplaces of the seeds 0 to 2; five of the nine largest stores), which are left out here.  No
marketplace measured here had been looked at; the stores had, with an earlier mixture.  The
marketplace is measured twice: among all items, which a newcomer of few weeks cannot tell from those
on its shelves, and among what it sells, which a shop knows.  Intervals are over people.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import fedrec
from experiments.cold_start_merchants import curve_of, gap_of, keep_sums, kept_sums
from fedrec.coldstart.newcomer import newcomer
from fedrec.coldstart.newcomer_trained import FEDERATED, MIXED, OWN, TUNED, trained_ways
from fedrec.coldstart.strategy import Warm
from fedrec.config_newcomer import own_weeks
from fedrec.evaluation.sums import EvaluationSums, merge
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.training.node import prepare

FILE = Path(__file__).parent / "cold_start_joining.toml"
Keys = dict[str, Any]
NAMES = (OWN, FEDERATED, TUNED, MIXED)
STORES = ("319", "412", "421", "32004", "296", "424")
JOURNEY: Keys = {"data.name": "complete-journey", "data.level": "category", "train.rounds": 10}
SEEDS = (3, 4, 5)
PLACES: list[Keys] = [
    {"run.seed": seed, "data.data_seed": seed, "coldstart.merchant": str(merchant)}
    for seed in SEEDS
    for merchant in (1, 4, 7)
]
MARKETS: dict[str, list[Keys]] = {
    "complete-journey": [
        {**JOURNEY, "run.seed": seed, "coldstart.merchant": store}
        for seed in SEEDS
        for store in STORES[seed % 3 :: 3]
    ],
    "marketplace": PLACES,
    "marketplace, on sale": [{**keys, "coldstart.merchant_items": "sold"} for keys in PLACES],
}


def joined(market: str, number: int, work: Path) -> tuple[dict[str, EvaluationSums], Keys]:
    """Train the others, let the merchant join, and keep "strategy|weeks" -> sums, and settings."""
    file = work / f"{market}-{number}.ckpt"
    if not file.is_file():
        keys, place = MARKETS[market][number], work / f"{market}-{number}"
        fedrec.run(fedrec.load_config(FILE, {**keys, "coldstart.weeks": "0"}), out=place)
        sums, told = measured(fedrec.load_config(FILE, keys), place)
        keep_sums(file, sums, told)
        shutil.rmtree(place)
    return kept_sums(file)


def measured(config: fedrec.Config, place: Path) -> tuple[dict[str, EvaluationSums], Keys]:
    """Rank with every strategy after every number of weeks."""
    new = newcomer(config)
    generated = config.data.name == "marketplace"  # people of two markets are not the same
    shift = 1_000_000 * config.run.seed if generated else 0
    ways = trained_ways(new, Warm(prepare(config), load_model(place / "model").shared))
    sums, told = dict[str, EvaluationSums](), Keys()
    for weeks in own_weeks(config):
        served = ways.served(weeks)
        told[str(weeks)] = dict(served.settings)
        for name in NAMES:
            found = new.ranked(served.scorers[name], shift)
            sums[f"{name}|{weeks}"] = replace(found, recommended=np.zeros(0, np.int64))
    print(f"  {config.data.name}: merchant {config.coldstart.merchant}", flush=True)
    return sums, {"merchant": config.coldstart.merchant, "settings": told}


def figures_of(market: str, runs: list[tuple[dict[str, EvaluationSums], Keys]]) -> Keys:
    """Return the curves of a market, and each strategy minus the merchant's own model."""
    total = {name: merge([sums[name] for sums, _ in runs]) for name in runs[0][0]}
    weeks = [int(name.split("|")[1]) for name in total if name.startswith(f"{OWN}|")]
    return {
        "market": market,
        "weeks": weeks,
        "customers": round(total[f"{OWN}|0"].counts["full"]),
        "curves": {name: curve_of(total, name, weeks) for name in NAMES},
        "against_own": {n: _against(total, n, weeks) for n in NAMES if n != OWN},
        "mixture_at_merchants": [
            {"merchant": told["merchant"], **point}
            for sums, told in runs
            for point in _against(sums, MIXED, weeks)
        ],
        "settings": [told for _, told in runs],
    }


def _against(total: Mapping[str, EvaluationSums], name: str, weeks: list[int]) -> list[Keys]:
    return [{"weeks": w, **gap_of(total[f"{name}|{w}"], total[f"{OWN}|{w}"])} for w in weeks]


def main() -> None:
    """Let merchants join both markets, print the curves, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--market", nargs="*", choices=MARKETS, default=list(MARKETS))
    parser.add_argument("--work", type=Path, help="keep finished runs here")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as place:
        work = options.work or Path(place)
        work.mkdir(parents=True, exist_ok=True)
        for market in options.market:
            runs = [joined(market, n, work) for n in range(len(MARKETS[market]))]
            found.append(figures_of(market, runs))
            print(json.dumps(found[-1]["curves"]), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"markets": found, "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
