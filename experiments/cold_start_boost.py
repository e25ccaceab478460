"""Measure what an exploration boost for new items costs, and what it finds.

    python experiments/cold_start_boost.py [--seeds 0 1 2] [--work DIR] [--json FILE]

The committed figures come from --json experiments/results/cold_start/boost.json.  On a
marketplace (`cold_start_boost.toml`; three markets) a model is trained on the old items, and
rows of new ones are filled from their attributes.  Then, for ten weeks, every user is
shown a list of ten items that it has not bought.  It buys an item with a chance that follows
from its true preference alone: one half for the best tenth of all items, falling off as the
logistic function of the distance.  After each week user vectors are solved from what was
bought, and rows of items from the vectors of their buyers (one round of implicit ALS, sums
over users); a new row is the mean of this one, weighted by its buyers, and of the row of its
attributes, weighted as five.  The times that an item was shown are a sum over users.

Without a boost, with boosts of growing budgets, and with new items drawn at random in the
place of the boost.  Told are: purchases a list, all weeks together, of all items and of new
ones; the share of places that were given away; and how well the new items are then known
(NDCG@20 of new items among new ones, relevant being those of a user's true best tenth).
Intervals are over users, of the mean over markets.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from fedrec.coldstart.boost import Boost, boosted_lists
from fedrec.evaluation.bootstrap import poisson_weights
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.rng import Purpose, generator
from fedrec.storage import read_arrays, write_arrays
from fedrec.training.closed_form import solve_users
from fedrec.training.node import prepare

FILE = Path(__file__).parent / "cold_start_boost.toml"
SEEDS, WEEKS, K, PRIOR, SLOPE, BEST = (0, 1, 2), 10, 10, 5.0, 0.4, 0.1
SHARES = (0.05, 0.1, 0.2)
REPLICATES = 500
Keys = dict[str, Any]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Shop:
    """Users and items, as the shop knows them and as they are.

    Attributes:
        bought: bool [U, I], purchases so far.
        table: float32 [I, d], the trained rows, new ones from attributes.
        new: bool [I].
        chance: float64 [U, I], of a purchase of what is shown.
        good: bool [U, I], a user's true best tenth.
        alpha: of implicit ALS; likewise `ridge`.
    """

    bought: NDArray[np.bool_]
    table: Matrix
    new: NDArray[np.bool_]
    chance: NDArray[np.float64]
    good: NDArray[np.bool_]
    alpha: float
    ridge: float


def shop_of(seed: int, work: Path) -> tuple[Shop, Boost]:
    """Train on the old items of a market, and fill the rows of new ones."""
    config = fedrec.load_config(
        FILE, {"run.seed": seed, "data.data_seed": seed, "split.seed": seed}
    )
    done = fedrec.run(config, out=work / str(seed))
    population = prepare(config).population
    truth = population.split.dataset.truth
    assert truth is not None  # noqa: S101  (a marketplace has it)
    likes = truth.user_vectors @ truth.item_vectors.T + truth.item_bias
    best = np.quantile(likes, 1.0 - BEST, axis=1, keepdims=True)
    new, bought = np.zeros(population.num_items, bool), np.zeros(likes.shape, bool)
    new[population.new_items] = True
    owner = np.repeat(np.arange(population.num_users), np.diff(population.indptr))
    bought[owner, population.items] = True
    table, keys = load_model(done.directory / "model").shared.tables["item"], config.coldstart
    shop = Shop(bought, table, new, 1.0 / (1.0 + np.exp((best - likes) / SLOPE)), likes >= best,
                config.train.alpha, config.train.ridge)  # fmt: skip
    return shop, Boost(keys.boost, 0.0, keys.boost_half, keys.boost_budget)


def vectors_of(shop: Shop, table: Matrix, bought: NDArray[np.bool_]) -> Matrix:
    """Return user vectors, each solved on its own device."""
    owner, item = np.nonzero(bought)
    return solve_users(table, owner, item, len(bought), alpha=shop.alpha, ridge=shop.ridge)


def rows_of(shop: Shop, users: Matrix, bought: NDArray[np.bool_]) -> Matrix:
    """Return item rows from sums over users; new ones lean on their attributes."""
    item, owner = np.nonzero(bought.T)
    solved = solve_users(users, item, owner, len(shop.new), alpha=shop.alpha, ridge=shop.ridge)
    buyers = bought.sum(0)[:, None]
    leaning = (buyers * solved + PRIOR * shop.table) / (buyers + PRIOR)
    return np.where(shop.new[:, None], leaning, solved).astype(np.float32)


def lists_of(scores: Matrix, shop: Shop, boost: Boost, shown: NDArray, week: int, seed: int,
             chance: bool) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:  # fmt: skip
    """Return a list for each user, and which places of it were given away."""
    everyone = np.arange(len(scores))
    places = boost.places(K, everyone, week, seed)
    bonus = boost.bonus(shop.new, shown)
    if not chance:
        return boosted_lists(scores, bonus, K, places)
    drawn = generator(seed, week, 0, Purpose.EXPLORATION).random(scores.shape)
    drawn[:, ~shop.new | ((shown >= boost.budget) if boost.budget else False)] = -1.0
    drawn[~np.isfinite(scores)] = -1.0
    own = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    tried = np.argsort(-drawn, axis=1)[:, :K]
    mine = np.arange(K) >= K - places[:, None]
    fresh = ~(tried[:, :, None] == own[:, None, :]).any(2) & (
        np.take_along_axis(drawn, tried, 1) >= 0
    )
    tried = np.take_along_axis(tried, np.argsort(~fresh, axis=1, kind="stable"), 1)
    taken = mine & (np.arange(K) - (K - places[:, None]) < fresh.sum(1, keepdims=True))
    place = np.maximum(np.arange(K) - (K - places[:, None]), 0)
    return np.where(taken, np.take_along_axis(tried, place, 1), own), taken


def simulate(shop: Shop, boost: Boost, seed: int, *, chance: bool = False) -> Keys:
    """Show lists for all weeks; return figures of each user, and of the whole."""
    bought, shown = shop.bought.copy(), np.zeros(len(shop.new), np.int64)
    table, users = shop.table, len(bought)
    luck = generator(seed, 0, 1, Purpose.EXPLORATION).random((WEEKS, *bought.shape))
    sold, sold_new, given, curve = np.zeros(users), np.zeros(users), 0, []
    for week in range(WEEKS):
        vectors = vectors_of(shop, table, bought)
        scores = np.where(bought, -np.inf, vectors @ table.T).astype(np.float32)
        items, taken = lists_of(scores, shop, boost, shown, week, seed, chance)
        row = np.arange(users)[:, None]
        buys = luck[week][row, items] < shop.chance[row, items]
        sold += buys.sum(1)
        sold_new += (buys & shop.new[items]).sum(1)
        given += int(taken.sum())
        curve.append(float(buys.sum(1).mean()))
        bought[row, items] |= buys
        shown += np.bincount(items.ravel(), minlength=len(shown))
        table = rows_of(shop, vectors_of(shop, table, bought), bought)
    known = vectors_of(shop, table, bought) @ table[shop.new].T
    return {
        "sold": sold / WEEKS,
        "new": sold_new / WEEKS,
        "known": ndcg(known, shop.good[:, shop.new]),
        "given": given / (WEEKS * users * K),
        "curve": curve,
        "most": int(shown[shop.new].max()),
    }


def ndcg(scores: Matrix, good: NDArray[np.bool_], k: int = 20) -> NDArray[np.float64]:
    """Return NDCG@k of each user, float64 [U]; NaN of those to whom nothing is good."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    gain = 1.0 / np.log2(np.arange(2, k + 2))
    found = (np.take_along_axis(good, order, 1) * gain).sum(1)
    number = np.minimum(good.sum(1), k)
    ideal = np.concatenate([[0.0], np.cumsum(gain)])[number]
    return np.where(number > 0, found / np.where(ideal > 0, ideal, 1.0), np.nan)


def systems(boost: Boost) -> dict[str, tuple[Boost, bool]]:
    """Return what is compared: a boost, and whether new items are drawn at random instead."""
    found = {"no boost": (replace(boost, strength=0.0), False)}
    for share in SHARES:
        found[f"boost, {share:.0%} of places"] = (replace(boost, share=share), False)
    found["boost, 10%, no budget an item"] = (replace(boost, share=0.1, budget=0), False)
    found["at random, 10% of places"] = (replace(boost, share=0.1), True)
    return found


def interval(
    values: list[NDArray[np.float64]], base: list[NDArray[np.float64]] | None = None
) -> list[float]:
    """Return the mean over markets of the mean over users (of a difference), and its interval."""
    means, replicates = [], np.zeros(REPLICATES)
    for number, value in enumerate(values):
        value = value if base is None else value - base[number]
        kept = np.isfinite(value)
        weight = poisson_weights(np.flatnonzero(kept) + number * 1_000_000, REPLICATES)
        means.append(float(value[kept].mean()))
        replicates += (value[kept] @ weight) / weight.sum(0) / len(values)
    told = (float(np.mean(means)), *np.percentile(replicates, [2.5, 97.5]))
    return [round(float(x), 4) for x in told]


def run_seed(seed: int, work: Path) -> dict[str, Keys]:
    """Simulate all systems on one market; what lies in `work` is not simulated again.

    Returns:
        System -> its figures, arrays over users among them.
    """
    file = work / f"boost-{seed}.ckpt"
    if not file.is_file():
        with tempfile.TemporaryDirectory() as place:
            shop, boost = shop_of(seed, Path(place))
        arrays: dict[str, NDArray] = {}
        facts: dict[str, Keys] = {}
        for name, (one, chance) in systems(boost).items():
            found = simulate(shop, one, seed, chance=chance)
            arrays |= {f"{name}|{n}": v for n, v in found.items() if isinstance(v, np.ndarray)}
            facts[name] = {n: v for n, v in found.items() if not isinstance(v, np.ndarray)}
            print(f"  seed {seed}: {name} {found['sold'].mean():.4f}", flush=True)
        write_arrays(file, arrays, facts)
    arrays, facts = read_arrays(file)
    for name, value in arrays.items():
        system, _, figure = name.partition("|")
        facts[system][figure] = value
    return facts


def main() -> None:
    """Simulate all systems, print their figures, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--work", type=Path, help="keep what is simulated here, and go on from it")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs = [run_seed(seed, options.work or Path(place)) for seed in options.seeds]
    rows = []
    for name in runs[0]:
        found, first = [r[name] for r in runs], [next(iter(r.values())) for r in runs]
        rows.append(
            {
                "system": name,
                "purchases": interval([f["sold"] for f in found]),
                "purchases_gap": interval([f["sold"] for f in found], [f["sold"] for f in first]),
                "new_purchases": interval([f["new"] for f in found]),
                "known": interval([f["known"] for f in found]),
                "given": round(float(np.mean([f["given"] for f in found])), 4),
                "most_shown": max(f["most"] for f in found),
                "curve": np.round(np.mean([f["curve"] for f in found], 0), 3).tolist(),
            }
        )
        print(f"{name:32} {rows[-1]}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"weeks": WEEKS, "seeds": options.seeds, "systems": rows}
        figures["machine"] = describe_machine()
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
