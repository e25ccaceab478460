"""A newcomer among merchants whose model is trained in rounds: how it may serve its customers.

Nothing is chosen by what is measured.  The newcomer holds out the latest quarter of its own
weeks.  A few weeks hold few purchases, so what serves best there is often luck; therefore each
choice has a usual answer, which only gives way to one that is better by more than a standard
error of the difference (the rule of Breiman, Friedman, Olshen and Stone 1984): customers'
vectors stay at the mean of the others' customers, the federated model stays as it is, and the
own model's share of the mixture is n / (n + pull) for n customers, as of EASE.  What is chosen
is trained again on all of the weeks.

The mixture is of the own model and the fine-tuned one.  The own model gains from the weeks that
were held out; of the federated model as it is, a share chosen without them would be too large,
whereas the fine-tuned one gains with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
HELD = (np.inf, 30.0, 10.0, 0.0)
"""How many purchases the mean of the others' customers weighs in a vector; first the usual."""
ERRORS = 1.0
"""Standard errors by which something is clearly better."""
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
        held: as `Shop.personal` takes it.
        learnt: whether on its own weeks; False: the usual answers.
    """

    own: int
    tuned: int
    share: float
    held: float
    learnt: bool

    def told(self, config: Config) -> dict[str, str]:
        """Return strategy -> what is set, in words."""
        every, how = config.local.every, "learnt" if self.learnt else "fixed"
        passes = "as it is" if not self.tuned else f"{self.tuned * every} more passes"
        held = f"a mean that weighs {self.held:g} purchases" if self.held else "fitted all the way"
        held = "the mean customer" if self.held == np.inf else held
        found = {OWN: f"{(self.own + 1) * every} passes", FEDERATED: held, TUNED: passes}
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
    federated = shop.federated(np.inf)
    if not len(shop.customers):
        nothing = same_for_all(np.zeros(new.trade.num_items))
        return Served({OWN: nothing, FEDERATED: federated, TUNED: federated, MIXED: federated})
    chosen = settings_of(new, warm, weeks) or usual(shop)
    alone, tuned = shop.alone()[chosen.own], shop.tuned(chosen.held)[chosen.tuned]
    scorers = {
        OWN: alone,
        FEDERATED: shop.federated(chosen.held),
        TUNED: tuned,
        MIXED: mixture(alone, tuned, chosen.share),
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
    fixed = usual(shop)
    held = HELD[0]
    if has_vectors(warm.setup):
        held = HELD[_best(new, asked, [shop.federated(h) for h in HELD])]
    alone, further = shop.alone(), shop.tuned(held)
    own, tuned = _best(new, asked, alone, fixed.own), _best(new, asked, further)
    shares = sorted({*numbers_of(new.config, "mixtures"), fixed.share})
    mixed = mixtures(alone[own], further[tuned], tuple(shares))
    share = shares[_best(new, asked, mixed, shares.index(fixed.share))]
    return Settings(own, tuned, share, held, learnt=True)


def usual(shop: Shop) -> Settings:
    """Return what a newcomer does that has nothing to learn from."""
    config = shop.setup.config
    passes = max(1, config.local.epochs // config.local.every)
    customers = len(shop.customers)
    share = customers / (customers + config.coldstart.merchant_pull)
    return Settings(passes - 1, 0, share, HELD[0], learnt=False)


def _best(new: Newcomer, asked: HeldOut, scorers: Sequence[Scorer], fixed: int = 0) -> int:
    """Return which scorer ranks best what was bought, or the usual one if none is clearly better.

    Args:
        new: the merchant.
        asked: what was bought.
        scorers: of which one is taken; of equals the first.
        fixed: the usual one.
    """
    found = np.stack([
        rank_users(
            new.shown(scorer), asked, None, num_items=new.trade.num_items, ks=(10,), sampled=0,
            seed=new.config.run.seed, part="valid",
        ).metrics[f"full.{_CHOSEN_BY}"]
        for scorer in scorers
    ])  # fmt: skip
    gains = found - found[fixed]
    best = int(np.argmax(gains.mean(1)))
    return best if gains[best].mean() > ERRORS * _error(gains[best]) else fixed


def _error(gains: NDArray[np.float64]) -> float:
    """Return the standard error of a mean; infinite for less than two customers."""
    if len(gains) < 2:
        return float("inf")
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))


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
        "; a customer's vector is the mean of the others' customers, or as much nearer to what "
        "fits its own purchases as the newcomer's weeks have shown to help"
        if vectors
        else "; the model reads a customer's own purchases"
    )
    return {
        OWN: ("the same model, trained on its own weeks alone", "nothing leaves"),
        FEDERATED: (f"the shared model as it is{fitted}", known),
        TUNED: ("the shared model, trained on at home; passes learnt on its own weeks", known),
        MIXED: (
            "the scores of own and fine-tuned, standardised for each customer; the share is that "
            "of n customers against a pull unless its own weeks speak for another",
            known,
        ),
    }
