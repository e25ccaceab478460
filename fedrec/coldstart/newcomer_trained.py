"""A newcomer among merchants whose model is trained in rounds: how it may serve its customers.

Nothing is chosen by what is measured.  The newcomer holds out the latest quarter of its own
weeks; how many passes alone and on top of the federated model, and which share of the mixture,
serve its customers best there is what it takes, trained again on all of its weeks.  Where
nothing new was bought in that quarter it takes all passes, and a share of n / (n + pull) for n
customers, as EASE does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrec.coldstart.newcomer import Newcomer, Served, Ways
from fedrec.coldstart.shop import Shop, has_vectors, mixtures, open_shop
from fedrec.coldstart.strategy import Warm, same_for_all
from fedrec.coldstart.weeks import WEEK
from fedrec.config import Config
from fedrec.config_merchants import numbers_of
from fedrec.data.population import HeldOut
from fedrec.errors import DataError
from fedrec.evaluation.evaluator import rank_users
from fedrec.training.mixed import mixture

if TYPE_CHECKING:
    from fedrec.training.node import Setup
    from fedrec.training.scorer import Scorer

OWN, FEDERATED, TUNED, MIXED = "own", "federated", "fine-tuned", "mixture"
HELD_BACK = 0.25
"""Share of the newcomer's own weeks, the latest, on which it chooses."""

_CHOSEN_BY = "ndcg@10"


@dataclass(frozen=True)
class Settings:
    """What a newcomer has set.

    Attributes:
        own: which of `Shop.alone`.
        tuned: which of `Shop.tuned`.
        share: of the own model in the mixture.
        learnt: whether on its own weeks; False: by the configuration.
    """

    own: int
    tuned: int
    share: float
    learnt: bool

    def told(self, config: Config) -> dict[str, str]:
        """Return strategy -> what is set, in words."""
        every, how = config.local.every, "learnt" if self.learnt else "fixed"
        passes = "as it is" if not self.tuned else f"{self.tuned * every} more passes"
        found = {OWN: f"{(self.own + 1) * every} passes", TUNED: passes}
        return {n: f"{v} ({how})" for n, v in {**found, MIXED: f"{self.share:.0%} own"}.items()}


def check_trained(setup: Setup) -> None:
    """Refuse a model that gives a newcomer nothing to begin with.

    Raises:
        ConfigError: as `has_vectors`.
    """
    has_vectors(setup)


def trained_ways(new: Newcomer, warm: Warm) -> Ways:
    """Return the strategies of a merchant that joins merchants who train in rounds.

    Args:
        new: the merchant.
        warm: those who trained.
    """
    return Ways(_strategies(warm.setup), lambda weeks: served_with(new, warm, weeks), (_NOTE,))


def served_with(new: Newcomer, warm: Warm, weeks: int) -> Served:
    """Return how a newcomer serves its customers with so many weeks of its own."""
    begin = new.begin - weeks * WEEK
    shop = open_shop(warm, new, begin, new.begin)
    federated = shop.federated()
    if not len(shop.customers):
        nothing = same_for_all(np.zeros(new.trade.num_items))
        return Served({OWN: nothing, FEDERATED: federated, TUNED: federated, MIXED: federated})
    chosen = settings_of(new, warm, weeks) or _fixed(shop)
    alone = shop.alone()[chosen.own]
    scorers = {
        OWN: alone,
        FEDERATED: federated,
        TUNED: shop.tuned()[chosen.tuned],
        MIXED: mixture(alone, federated, chosen.share),
    }
    return Served(scorers, chosen.told(new.config))


def settings_of(new: Newcomer, warm: Warm, weeks: int) -> Settings | None:
    """Return what serves best in the latest quarter of the own weeks, from the rest of them.

    Args:
        new: the merchant; nothing before its weeks, and nothing after them, is looked at.
        warm: those who trained.
        weeks: of its own.

    Returns:
        The settings; None where the quarter, or the rest, has nothing to tell.
    """
    begin = new.begin - weeks * WEEK
    cut = new.begin - HELD_BACK * weeks * WEEK
    shop = open_shop(warm, new, begin, cut)
    try:
        asked = new.trade.asked(0, cut, new.begin, since=begin)
    except DataError:
        return None
    if not len(shop.customers):
        return None
    alone, shares = shop.alone(), numbers_of(new.config, "mixtures")
    own = _best(new, asked, alone)
    mixed = mixtures(alone[own], shop.federated(), shares)
    return Settings(
        own, _best(new, asked, shop.tuned()), shares[_best(new, asked, mixed)], learnt=True
    )


def _best(new: Newcomer, asked: HeldOut, scorers: Sequence[Scorer]) -> int:
    """Return which scorer ranks best what was bought; of equals the first."""
    found = [
        rank_users(
            new.shown(scorer), asked, None, num_items=new.trade.num_items, ks=(10,), sampled=0,
            seed=new.config.run.seed, part="valid",
        ).metrics[f"full.{_CHOSEN_BY}"].mean()
        for scorer in scorers
    ]  # fmt: skip
    return int(np.argmax(found))


def _fixed(shop: Shop) -> Settings:
    """Return what the configuration says."""
    config = shop.setup.config
    passes = max(1, config.local.epochs // config.local.every)
    customers = len(shop.customers)
    share = customers / (customers + config.coldstart.merchant_pull)
    return Settings(passes - 1, passes, share, learnt=False)


_NOTE = (
    "similar is left out: it needs sums that can be weighted by merchant after training, as those "
    "of EASE."
)


def _strategies(setup: Setup) -> dict[str, tuple[str, str]]:
    """Return name -> what it is, and what is known of whom."""
    vectors = has_vectors(setup)
    known = "of the others what training tells"
    known += ", and the sum of their customers' vectors" if vectors else ""
    known = f"nothing leaves the newcomer; {known}"
    fitted = (
        "; a customer's vector is fitted to its own purchases, from the mean of the others' "
        "customers on, and is that mean without any"
        if vectors
        else "; the model reads a customer's own purchases"
    )
    return {
        OWN: ("the same model, trained on its own weeks alone", "nothing leaves"),
        FEDERATED: (f"the shared model as it is{fitted}", known),
        TUNED: ("the shared model, trained on at home; passes learnt on its own weeks", known),
        MIXED: (
            "the scores of both, standardised for each customer; the share learnt on its own weeks",
            known,
        ),
    }
