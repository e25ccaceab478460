"""Compare what a merchant that joins can recommend, over weeks of its own data.

    python experiments/cold_start_merchants.py [--market NAME ...] [--work DIR] [--json FILE]

The committed figures come from --json experiments/results/cold_start/merchants.json, a run of
both markets, in both ways.  Each of ten merchants is held out entirely in turn; the others'
model is EASE of all that they have sold until the test begins, the newcomer's own data are its
last w weeks before it.  What its customers buy for the first time in the four weeks of the test
is ranked among items that they have not bought there.  The ridges, the pull of fine-tuning and the
weight of the mixture are chosen by NDCG@10 on the four weeks before: each of two other
merchants joins then, in a federation of which neither it nor the newcomer is a part.

Both markets are measured twice: among all items, which a newcomer of few weeks cannot tell from
those on its shelves, and among what the merchant sells, which a shop knows.

Complete Journey is measured in three periods of the year (its last four weeks, the four
before, and the four before these), a marketplace of ten merchants with three seeds.  There
the oracle knows the customers' preferences, and ranks what the merchant has on sale.
Intervals are over people, who may be customers of several merchants.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from experiments.cold_start_newcomers import BIGGEST, Keys, Moment, Newcomer
from fedrec.coldstart.merchants import MERCHANT_STRATEGIES
from fedrec.coldstart.weeks import among, month, trade_of
from fedrec.data.load import load_raw
from fedrec.evaluation.bootstrap import paired
from fedrec.evaluation.sums import (
    EvaluationSums,
    from_arrays,
    intervals,
    means,
    merge,
    to_arrays,
)
from fedrec.machine import describe_machine
from fedrec.storage import read_arrays, write_arrays

FILE = Path(__file__).parent / "cold_start_merchants.toml"
WEEKS = (0, 1, 2, 4, 8, 16)
L2, PULLS, EXTRA = (300.0, 1000.0), (30.0, 100.0, 300.0, 1000.0, 3000.0), (0.0, 2.0)
SHARES = tuple(n / 10 for n in range(11))
METRICS, CHOSEN_BY = ("ndcg@10", "hr@10"), "full.ndcg@10"
DEFAULT = "complete-journey"
PLACE: Keys = {"data.name": "marketplace", "data.users": 2000, "data.merchants": 10}
ON_SALE = ", on sale"
"""Ends the name of a market whose merchants rank only what they sell."""
MARKETS: dict[str, tuple[Keys, tuple[int, ...], str]] = {
    DEFAULT: ({}, (0, 1, 2), "department"),
    "marketplace": (PLACE, (0, 1, 2), "department"),
    f"{DEFAULT}{ON_SALE}": ({}, (0, 1, 2), "department"),
    f"marketplace{ON_SALE}": (PLACE, (0, 1, 2), "department"),
}


def chosen_at(newcomers: list[Newcomer], weeks: int, l2: float) -> Keys:
    """Return the keys that serve these newcomers best together, one after the other."""
    keys: Keys = {"l2": l2, "own": PULLS[1], "pull": PULLS[2], "share": 0.0, "extra": EXTRA[0]}
    if not weeks:
        return keys
    space = {"own": PULLS, "pull": PULLS, "share": SHARES, "extra": EXTRA}
    system = {"own": "own", "pull": "fine-tuned", "share": "mixture", "extra": "similar"}
    for key, values in space.items():
        found = [_mean(newcomers, weeks, {**keys, key: v}, system[key]) for v in values]
        keys[key] = values[int(np.argmax(found))]
    return keys


def _mean(newcomers: list[Newcomer], weeks: int, keys: Keys, system: str) -> float:
    return means(merge([n.ranked(system, weeks, keys) for n in newcomers]))[CHOSEN_BY]


def best_l2(newcomers: list[Newcomer]) -> float:
    """Return the ridge of the shared model that serves newcomers best, as it is."""
    keys = ({"l2": l2} for l2 in L2)
    return max(keys, key=lambda k: _mean(newcomers, WEEKS[-1], k, "federated"))["l2"]


def oracle(at: Moment, merchant: int) -> NDArray[np.float32] | None:
    """Return the true preferences among what the merchant ever sells; None if unknown."""
    truth, trade = at.trade.dataset.truth, at.trade
    if truth is None:
        return None
    asked = at.asked[merchant].users
    likes = truth.user_vectors[asked] @ truth.item_vectors.T + truth.item_bias
    return among(likes, trade.on_sale(merchant))


def join(now: Moment, before: Moment, merchant: int) -> tuple[dict[str, EvaluationSums], Keys]:
    """Let one merchant join; return "system|weeks" -> sums, and what was chosen."""
    ring = [m % BIGGEST for m in range(merchant + 1, merchant + BIGGEST)]
    ring = [m for m in ring if m in before.asked]
    partners = (ring[0], ring[-1])  # its neighbours, so that each pair's model serves both
    tried = [Newcomer(before, m, (merchant, m)) for m in partners]
    l2, new = best_l2(tried), Newcomer(now, merchant, (merchant,))
    sums, told = dict[str, EvaluationSums](), Keys()
    for weeks in WEEKS:
        told[str(weeks)] = chosen_at(tried, weeks, l2)
        for system in MERCHANT_STRATEGIES:
            sums[f"{system}|{weeks}"] = new.ranked(system, weeks, told[str(weeks)])
    likes = oracle(now, merchant)
    if likes is not None:
        sums["oracle|0"] = now.ranked(merchant, likes)
    return sums, told


def moments(market: str, number: int) -> tuple[Moment, Moment]:
    """Return the moment of the test and that of the validation, in one period or market."""
    extra, _, attribute = MARKETS[market]
    journey = market.removesuffix(ON_SALE) == DEFAULT
    market_seed = {} if journey else {"data.data_seed": number, "run.seed": number}
    config = fedrec.load_config(FILE, {**extra, **market_seed})
    trade = trade_of(load_raw(config.data), biggest=BIGGEST)
    category = trade.dataset.items.attributes[attribute].values.astype(np.int64)
    back = number if journey else 0
    shift = 0 if journey else number * 1_000_000
    return tuple(  # type: ignore[return-value]
        Moment(
            trade, config, *month(trade, back + n), part, category, shift, market.endswith(ON_SALE)
        )
        for n, part in enumerate(("test", "valid"))
    )


def run_one(market: str, number: int, work: Path) -> tuple[dict[str, EvaluationSums], Keys]:
    """Let every merchant join in one period or market.

    Returns:
        "merchant|system|weeks" -> sums, and merchant -> what was chosen.
    """
    file = work / f"{market}-{number}.ckpt"
    if not file.is_file():
        now, before = moments(market, number)
        sums, told = dict[str, EvaluationSums](), Keys()
        for merchant in now.asked:
            found, told[str(merchant)] = join(now, before, merchant)
            sums |= {f"{merchant}|{name}": s for name, s in found.items()}
            print(f"  {market} {number}: merchant {merchant}", flush=True)
        keep_sums(file, sums, told)
    return kept_sums(file)


def keep_sums(file: Path, sums: Mapping[str, EvaluationSums], told: Keys) -> None:
    """Write sums by name, and what was chosen."""
    flat = {f"{n}|{part}": a for n, s in sums.items() for part, a in to_arrays(s).items()}
    write_arrays(file, flat, {"chosen": told})


def kept_sums(file: Path) -> tuple[dict[str, EvaluationSums], Keys]:
    """Return what `keep_sums` has written."""
    arrays, facts = read_arrays(file)
    parts: dict[str, dict[str, Any]] = {}
    for name, value in arrays.items():
        system, part = name.rsplit("|", 1)
        parts.setdefault(system, {})[part] = value
    return {name: from_arrays(part) for name, part in parts.items()}, facts["chosen"]


def figures_of(market: str, runs: list[tuple[dict[str, EvaluationSums], Keys]]) -> Keys:
    """Return the curves of a market, and what may be said of pairs of systems."""
    joined: dict[str, list[EvaluationSums]] = {}
    for sums, _ in runs:
        for name, value in sums.items():
            joined.setdefault(name.split("|", 1)[1], []).append(value)
    total = {name: merge(values) for name, values in joined.items()}
    return {
        "market": market,
        "weeks": list(WEEKS),
        "customers": round(total["own|0"].counts["full"]),
        "merchants": [sorted({int(n.split("|")[0]) for n in sums}) for sums, _ in runs],
        "curves": {name: curve_of(total, name) for name in (*MERCHANT_STRATEGIES, "oracle")},
        "against_own": {n: _against(total, n) for n in MERCHANT_STRATEGIES if n != "own"},
        "mixture_at_merchants": _at_merchants(runs),
        "chosen": [chosen for _, chosen in runs],
    }


def curve_of(
    total: Mapping[str, EvaluationSums], name: str, some: Sequence[int] = WEEKS
) -> list[Keys]:
    """Return a strategy's figures, week by week, from "strategy|weeks" -> sums."""
    found = []
    for weeks in (w for w in some if f"{name}|{w}" in total):
        sums = total[f"{name}|{weeks}"]
        mean, ci = means(sums), intervals(sums)
        told = {m: [round(x, 4) for x in (mean[f"full.{m}"], *ci[f"full.{m}"])] for m in METRICS}
        found.append({"weeks": weeks, **told})
    return found


def _against(total: Mapping[str, EvaluationSums], name: str) -> list[Keys]:
    """Return a strategy minus the merchant's own model, week by week."""
    return [{"weeks": w, **gap_of(total[f"{name}|{w}"], total[f"own|{w}"])} for w in WEEKS]


def gap_of(one: EvaluationSums, other: EvaluationSums) -> Keys:
    """Return one strategy minus another over the same customers, with its interval."""
    gap = paired(one, other, CHOSEN_BY)
    return {
        "gap": round(gap.difference, 4), "low": round(gap.low, 4), "high": round(gap.high, 4),
        "p": round(gap.p_value, 4),
    }  # fmt: skip


def _at_merchants(runs: list[tuple[dict[str, EvaluationSums], Keys]]) -> list[Keys]:
    """Return the mixture minus the own model, for each merchant over all runs."""
    found = []
    for merchant in range(BIGGEST):
        for weeks in WEEKS:
            one, other = (
                [s[f"{merchant}|{n}|{weeks}"] for s, _ in runs if f"{merchant}|{n}|{weeks}" in s]
                for n in ("mixture", "own")
            )
            if one:
                gap = gap_of(merge(one), merge(other))
                found.append({"merchant": merchant, "weeks": weeks, **gap})
    return found


def facts() -> dict[str, Keys]:
    """Return what each strategy needs, and sends."""
    return {
        name: {"what": s.what, "privacy": s.privacy, "downloads": s.downloads}
        for name, s in MERCHANT_STRATEGIES.items()
    }


def _told(figures: Keys) -> Iterator[str]:
    for name, curve in figures["curves"].items():
        yield f"{name:12}" + "  ".join(f"{p['weeks']}: {p['ndcg@10'][0]:.4f}" for p in curve)


def main() -> None:
    """Run the chosen markets, print their figures, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--market", nargs="*", choices=MARKETS, default=list(MARKETS))
    parser.add_argument("--work", type=Path, help="keep what is measured here, and go on from it")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as place:
        work = options.work or Path(place)
        for market in options.market:
            runs = [run_one(market, number, work) for number in MARKETS[market][1]]
            found.append(figures_of(market, runs))
            print("\n".join((market, *_told(found[-1]))), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"markets": found, "strategies": facts(), "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
