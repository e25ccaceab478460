"""Compare what a merchant that joins can recommend, over weeks of its own data.

    python experiments/cold_start_merchants.py [--market NAME ...] [--work DIR] [--json FILE]

The committed figures come from --json experiments/results/cold_start/merchants.json, a run of
both markets.  Each of ten merchants is held out entirely in turn; the others' model is EASE of
all that they have sold until the test begins, the newcomer's own data are its last w weeks
before it.  What its customers buy for the first time in the four weeks of the test is ranked
among all items that they have not bought there.  The ridges, the pull of fine-tuning and the
weight of the mixture are chosen by NDCG@10 on the four weeks before: each of two other
merchants joins then, in a federation of which neither it nor the newcomer is a part.

Complete Journey is measured in three periods of the year (its last four weeks, the four
before, and the four before these), a marketplace of ten merchants with three seeds.  There
the oracle knows the customers' preferences, and ranks what the merchant has on sale.
Intervals are over people, who may be customers of several merchants.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from fedrec.coldstart.merchants import (
    MERCHANT_STRATEGIES,
    OwnRows,
    SharedWeights,
    mixed,
    own_rows,
    own_weights,
    shared_weights,
)
from fedrec.coldstart.similar_merchants import Groups, group_merchants, profile_of
from fedrec.coldstart.weeks import WEEK, Trade, month, trade_of
from fedrec.config import Config, integers
from fedrec.data.load import load_raw
from fedrec.data.population import HeldOut
from fedrec.errors import DataError
from fedrec.evaluation.bootstrap import paired
from fedrec.evaluation.evaluator import rank_users
from fedrec.evaluation.reduction import sum_up
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
from fedrec.training.ease import gram_matrix

FILE = Path(__file__).parent / "cold_start_merchants.toml"
WEEKS, BIGGEST = (0, 1, 2, 4, 8, 16), 10
L2, PULLS, EXTRA = (300.0, 1000.0), (30.0, 100.0, 300.0, 1000.0, 3000.0), (0.0, 2.0)
SHARES = tuple(n / 10 for n in range(11))
METRICS, CHOSEN_BY = ("ndcg@10", "hr@10"), "full.ndcg@10"
Keys = dict[str, Any]
DEFAULT = "complete-journey"
MARKETS: dict[str, tuple[Keys, tuple[int, ...], str]] = {
    DEFAULT: ({}, (0, 1, 2), "department"),
    "marketplace": (
        {"data.name": "marketplace", "data.users": 2000, "data.merchants": 10},
        (0, 1, 2),
        "department",
    ),
}


@dataclass(frozen=True, eq=False)
class Moment:
    """Merchants at the moment when one of them joins, and what is then to be found.

    Attributes:
        trade: all merchants.
        config: for the cut-offs, the seed and the bootstrap.
        begin: the moment, in seconds; the weeks to be found begin here.
        end: of these weeks.
        part: "valid" or "test".
        category: int64 [I], of each item.
        shift: added to the numbers of people, so that those of two markets are not the same.
    """

    trade: Trade
    config: Config
    begin: float
    end: float
    part: str
    category: NDArray[np.int64]
    shift: int = 0

    @cached_property
    def grams(self) -> list[NDArray[np.float32]]:
        """What each merchant adds to the sum, [M] of float32 [I, I]."""
        rows = (self.past(m) for m in range(BIGGEST))
        return [gram_matrix(r).astype(np.float32) for r in rows]

    def past(self, merchant: int) -> Any:
        """Return all that a merchant has sold so far, sparse [n, I]."""
        return self.trade.rows(merchant, -np.inf, self.begin)

    def own(self, merchant: int, weeks: int) -> Any:
        """Return its last weeks, sparse [n, I]."""
        return self.trade.rows(merchant, self.begin - weeks * WEEK, self.begin)

    @cached_property
    def customers(self) -> list[int]:
        """How many customers each merchant has had so far."""
        return [int((np.diff(self.past(m).indptr) > 0).sum()) for m in range(BIGGEST)]

    @cached_property
    def asked(self) -> dict[int, HeldOut]:
        """What is to be found at each merchant that sells anything new."""
        found = {}
        for merchant in range(BIGGEST):
            try:
                found[merchant] = self.trade.asked(merchant, self.begin, self.end)
            except DataError:
                continue
        return found

    @cached_property
    def solved(self) -> dict[Any, SharedWeights]:
        """Shared models, kept: two newcomers that join without each other share one."""
        return {}

    def federation(
        self, absent: Iterable[int], l2: float, more: Iterable[int], extra: float
    ) -> SharedWeights:
        """Return the model of all merchants but some; some others count more, by `extra`."""
        twice = frozenset(more) if extra else frozenset()
        key = (frozenset(absent), l2, twice, extra if twice else 0.0)
        if key not in self.solved:
            factor = {m: 1.0 + extra * (m in twice) for m in range(BIGGEST) if m not in key[0]}
            total = sum(f * self.grams[m] for m, f in factor.items())
            customers = sum(f * self.customers[m] for m, f in factor.items())
            self.solved[key] = shared_weights(np.asarray(total), round(customers), l2)
        return self.solved[key]

    def ranked(self, merchant: int, scores: NDArray[np.float32]) -> EvaluationSums:
        """Rank for the customers who are asked, by their scores [E, I]."""
        asked = self.asked[merchant]
        values = rank_users(
            lambda users: scores[np.searchsorted(asked.users, users)], asked, None,
            num_items=self.trade.num_items, ks=integers(self.config, "evaluate.k"), sampled=0,
            seed=self.config.run.seed, part=self.part,
        )  # fmt: skip
        people = self.shift + self.trade.person[values.users]
        replicates = self.config.evaluate.bootstrap if self.part == "test" else 0
        found = sum_up(replace(values, users=people), replicates, 0, {})
        return replace(found, recommended=np.zeros(0, np.int64))  # markets have unlike items


@dataclass(frozen=True, eq=False)
class Newcomer:
    """A merchant that joins a federation without some others."""

    at: Moment
    merchant: int
    absent: tuple[int, ...]

    def shared(self, l2: float, group: int = -1, extra: float = 0.0) -> SharedWeights:
        """Return the others' model, in which a group may count more."""
        more = [m for m, place in self.members.items() if place == group] if extra else []
        return self.at.federation(self.absent, l2, more, extra)

    @cached_property
    def groups(self) -> Groups:
        """The others, cut into groups by secure sums."""
        profiles = np.stack([self.profile(self.at.past(m)) for m in self.others])
        return group_merchants(profiles, seed=self.at.config.run.seed)

    @cached_property
    def others(self) -> list[int]:
        """Who has trained."""
        return [m for m in range(BIGGEST) if m not in self.absent]

    @cached_property
    def members(self) -> dict[int, int]:
        """The group of each of the others, which it knows itself."""
        return {m: self.groups.of_member(self.profile(self.at.past(m))) for m in self.others}

    def profile(self, rows: Any) -> NDArray[np.float64]:
        """Return the shares of categories in sales."""
        return profile_of(rows, self.at.category)

    @cached_property
    def decomposed(self) -> dict[int, OwnRows]:
        """The newcomer's own weeks, decomposed, kept."""
        return {}

    @cached_property
    def kept(self) -> dict[Any, NDArray[np.float32]]:
        """Scores of the customers who are asked, kept."""
        return {}

    def own(self, weeks: int) -> OwnRows:
        """Return its last weeks, decomposed."""
        if weeks not in self.decomposed:
            self.decomposed[weeks] = own_rows(self.at.own(self.merchant, weeks))
        return self.decomposed[weeks]

    def scores(self, system: str, weeks: int, keys: Keys) -> NDArray[np.float32]:
        """Return the scores of a strategy for the customers who are asked, [E, I].

        Without a week of its own the newcomer has nothing else than the shared model.
        """
        if system == "mixture":
            both = (self.scores(n, weeks, keys) for n in ("own", "federated"))
            return mixed(*both, keys["share"] if weeks else 0.0)
        system = system if weeks or system == "own" else "federated"
        names = {"own": ("own",), "federated": ("l2",), "fine-tuned": ("l2", "pull"),
                 "similar": ("l2", "pull", "extra")}[system]  # fmt: skip
        key = (system, weeks, *(keys[n] for n in names))
        if key not in self.kept:
            self.kept[key] = self._scores(system, weeks, keys)
        return self.kept[key]

    def _scores(self, system: str, weeks: int, keys: Keys) -> NDArray[np.float32]:
        mine, asked = self.at.trade.customers(self.merchant), self.at.asked[self.merchant].users
        rows = self.at.own(self.merchant, weeks)[np.searchsorted(mine, asked)]
        if system == "own":
            if not weeks:
                return np.zeros(rows.shape, np.float32)
            return own_weights(self.own(weeks), keys["own"]).scores(rows)
        shared = self.shared(keys["l2"])
        if system == "similar":
            group = self.groups.nearest(self.profile(self.at.own(self.merchant, weeks)))
            shared = self.shared(keys["l2"], group, keys["extra"])
        if system == "federated":
            return shared.scores(rows)
        return own_weights(self.own(weeks), keys["pull"], shared).scores(rows)

    def ranked(self, system: str, weeks: int, keys: Keys) -> EvaluationSums:
        """Rank what is to be found with a strategy."""
        return self.at.ranked(self.merchant, self.scores(system, weeks, keys))


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
    sold = np.asarray(trade.rows(merchant, -np.inf, np.inf).sum(0)).ravel() > 0
    likes[:, ~sold] = likes.min() - 1.0
    return likes


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
    market_seed = {"data.data_seed": number, "run.seed": number} if market != DEFAULT else {}
    config = fedrec.load_config(FILE, {**extra, **market_seed})
    trade = trade_of(load_raw(config.data), biggest=BIGGEST)
    category = trade.dataset.items.attributes[attribute].values.astype(np.int64)
    back = number if market == DEFAULT else 0
    shift = 0 if market == DEFAULT else number * 1_000_000
    return tuple(  # type: ignore[return-value]
        Moment(trade, config, *month(trade, back + n), part, category, shift)
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
        flat = {f"{n}|{part}": a for n, s in sums.items() for part, a in to_arrays(s).items()}
        write_arrays(file, flat, {"chosen": told})
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
        "curves": {name: _curve(total, name) for name in (*MERCHANT_STRATEGIES, "oracle")},
        "against_own": {n: _against(total, n) for n in MERCHANT_STRATEGIES if n != "own"},
        "mixture_at_merchants": _at_merchants(runs),
        "chosen": [chosen for _, chosen in runs],
    }


def _curve(total: Mapping[str, EvaluationSums], name: str) -> list[Keys]:
    found = []
    for weeks in (w for w in WEEKS if f"{name}|{w}" in total):
        sums = total[f"{name}|{weeks}"]
        mean, ci = means(sums), intervals(sums)
        told = {m: [round(x, 4) for x in (mean[f"full.{m}"], *ci[f"full.{m}"])] for m in METRICS}
        found.append({"weeks": weeks, **told})
    return found


def _against(total: Mapping[str, EvaluationSums], name: str) -> list[Keys]:
    """Return a strategy minus the merchant's own model, week by week."""
    return [{"weeks": w, **_gap(total[f"{name}|{w}"], total[f"own|{w}"])} for w in WEEKS]


def _gap(one: EvaluationSums, other: EvaluationSums) -> Keys:
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
                gap = _gap(merge(one), merge(other))
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
