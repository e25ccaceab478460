"""A run with a merchant that joins: checked before training, measured after it."""

from __future__ import annotations

import numpy as np

from fedrec.coldstart.newcomer import Json, Newcomer, Ways, newcomer
from fedrec.coldstart.newcomer_ease import ease_ways
from fedrec.coldstart.newcomer_trained import check_trained, trained_ways
from fedrec.coldstart.strategy import Warm
from fedrec.config import Config
from fedrec.config_newcomer import own_weeks
from fedrec.params import Shared
from fedrec.training.node import load_population, prepare


def check_merchant(config: Config) -> None:
    """Refuse a newcomer of whom nothing could be measured, before anything is trained.

    Raises:
        DataError: as `newcomer`, or if its customers buy nothing new in its last weeks.
        ConfigError: as `check_trained`.
    """
    if not config.coldstart.merchant:
        return
    _ = newcomer(config).asked
    if config.train.method != "ease":
        check_trained(prepare(config))


def measure_merchant(config: Config, shared: Shared, round_number: int = 0) -> Json:
    """Measure the strategies of a merchant that joins.

    Args:
        config: with `coldstart.merchant`.
        shared: the model that the others have trained.
        round_number: the round that it comes from.

    Returns:
        "merchant", "customers" (whose purchases are to be found), "test_weeks", "unknown_rows",
        "weeks", "curves" (strategy -> weeks -> metric -> mean and interval), "strategies" (what
        each is, and what is known of whom), "settings" (weeks -> strategy -> what was set for
        it; empty where nothing is) and "notes".

    Raises:
        DataError: as `check_merchant`.
    """
    new = newcomer(config)
    if config.train.method == "ease":
        ways: Ways = ease_ways(new, np.asarray(shared.tables["item"]), load_population(config))
    else:
        ways = trained_ways(new, Warm(prepare(config), shared, round_number))
    curves: Json = {name: {} for name in ways.strategies}
    settings: Json = {}
    for weeks in own_weeks(config):
        served = ways.served(weeks)
        for name in ways.strategies:
            curves[name][str(weeks)] = new.measured(served.scorers[name])
        if served.settings:
            settings[str(weeks)] = dict(served.settings)
    return {
        "merchant": config.coldstart.merchant,
        "customers": len(new.asked.users),
        "test_weeks": config.coldstart.merchant_weeks,
        "unknown_rows": new.unknown,
        "weeks": [str(w) for w in own_weeks(config)],
        "curves": curves,
        "strategies": {n: {"what": w, "privacy": p} for n, (w, p) in ways.strategies.items()},
        "settings": settings,
        "notes": [*ways.notes, *_ranked(new)],
    }


def _ranked(new: Newcomer) -> list[str]:
    """Say what is ranked, where it is not everything."""
    if new.config.coldstart.merchant_items == "all":
        return []
    sold, number = int(new.trade.on_sale(0).sum()), new.trade.num_items
    return [f"Ranked are the {sold:,} items that it sells, of {number:,} in all."]
