"""A newcomer as a client of its own: its rows of some weeks, and nothing of anybody else's.

Its customers are strangers to the model.  They are numbered after those who trained, so that
what is drawn for them is drawn for nobody else, and their attributes are read by the rules
that those who trained have set: no scale and no common value depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.newcomer import Newcomer
from fedrec.coldstart.strangers import facing
from fedrec.coldstart.strategy import Warm, or_else, same_for_all
from fedrec.coldstart.vectors import mean_personal, rebuilt, trained_names
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.data.population import HeldOut, Population
from fedrec.errors import ConfigError
from fedrec.models.adapted import as_configured
from fedrec.models.build import build_model
from fedrec.models.recommender import Recommender, bound, personal_fixed
from fedrec.params import Personal
from fedrec.training.local_only import by_itself, own_passes, trained_on
from fedrec.training.mixed import mixture
from fedrec.training.node import Setup, init_personal
from fedrec.training.scorer import Scorer
from fedrec.training.scoring import make_scorer

_ALONE = np.zeros(1, np.int64)
"""The only client of a shop."""

_SOME = 256
"""Customers who are scored at once for what is said on average."""


@dataclass(frozen=True, eq=False)
class Shop:
    """A newcomer at a moment, and the federated model.

    Attributes:
        warm: of those who trained.
        setup: one client, whose training rows are those of the newcomer.
        start: what its customers begin with: the mean of the others' customers.
        fitted: from there to their rows, with the shared part frozen.
    """

    warm: Warm
    setup: Setup
    start: Personal
    fitted: Personal

    @property
    def customers(self) -> NDArray[np.int64]:
        """Its customers with rows, int64, ascending."""
        return np.flatnonzero(np.diff(self.setup.population.indptr))

    def personal(self, held: float) -> Personal:
        """Return customers' vectors between the mean and the fitted ones.

        A customer of n rows goes n / (n + held) of the way, as a posterior mean does whose
        prior weighs as much as `held` rows (empirical Bayes).

        Args:
            held: 0: all of the way; infinite: none of it.
        """
        rows = np.diff(self.setup.population.indptr).astype(np.float64)
        with np.errstate(invalid="ignore"):
            share = np.where(rows > 0, rows / (rows + held), 0.0)
        found = {}
        for name, fitted in self.fitted.values.items():
            begin = self.start.values[name]
            part = share.reshape(-1, *[1] * (fitted.ndim - 1))
            found[name] = (begin + part * (fitted - begin)).astype(np.float32)
        return Personal(found)

    def federated(self, held: float = 0.0) -> Scorer:
        """Return the scorer of the federated model as it is."""
        population = self.setup.population
        everyone = np.arange(population.num_users)
        own = self.personal(held)
        return make_scorer(self.setup.model, self.warm.shared, own, everyone, population)

    def alone(self) -> list[Scorer]:
        """Return the same model trained on its rows alone, after each few passes.

        Customers without rows are told what the model says to the others on average.
        """
        setup, shown = by_itself(self.setup), self.customers
        passes = own_passes(setup, _ALONE, lasting=True)
        return [_or_average(s, shown, setup.population) for _, _, s in passes]

    def tuned(self, held: float = 0.0) -> list[Scorer]:
        """Return the federated model as it is, and trained on at home for more and more passes."""
        users = self.setup.population.num_users
        start = trained_on(self.warm.shared, self.personal(held), users)
        passes = own_passes(by_itself(self.setup), _ALONE, start, lasting=True)
        return [self.federated(held), *(scorer for _, _, scorer in passes)]


def mixtures(own: Scorer, tuned: Scorer, shares: tuple[float, ...]) -> list[Scorer]:
    """Return a mixture for each share of the own model."""
    return [mixture(own, tuned, share) for share in shares]


def open_shop(warm: Warm, new: Newcomer, begin: float, end: float) -> Shop:
    """Return the newcomer with what it sold from a moment until before another.

    Args:
        warm: those who trained.
        new: the merchant.
        begin: the first moment, in seconds.
        end: the one after the last.
    """
    indptr, items = new.trade.history(0, begin, end)
    data, known = new.trade.dataset, warm.setup.population
    users = len(indptr) - 1
    population = replace(
        known,
        num_users=users,
        num_clients=1,
        indptr=indptr,
        items=items,
        labels=np.ones(len(items), np.float32),
        client_of_user=np.zeros(users, np.int64),
        valid=_nothing(users),
        test=_nothing(users),
        split=replace(known.split, dataset=replace(known.split.dataset, users=data.users)),
        levels=None,
        addresses=known.num_users + np.arange(users),
        shops=None,
    )
    setup = facing(replace(warm.setup, model=model_for(warm.setup, data.users)), population)
    return Shop(warm, setup, *_fitted(warm, setup))


def model_for(setup: Setup, users: Catalogue) -> Recommender:
    """Return the model of a run for its users and some more, numbered after them.

    Args:
        setup: of the run.
        users: whom no training has seen.
    """
    if not personal_fixed(setup.model):
        return setup.model
    config, population = setup.config, setup.population
    both = joined(population.split.dataset.users, users)
    return bound(as_configured(config, build_model(config)), population.catalogue, both)


def joined(known: Catalogue, more: Catalogue) -> Catalogue:
    """Return the entities of two catalogues with the same attributes; only the first decide.

    Args:
        known: whose means, scales and common values are taken.
        more: come after them.
    """
    attributes = {
        name: Attribute(
            own.kind, np.concatenate([own.values, more.attributes[name].values]), own.vocabulary
        )
        for name, own in known.attributes.items()
    }
    counted = np.ones(len(known), bool) if known.known is None else known.known
    decides = np.concatenate([counted, np.zeros(len(more), bool)])
    return Catalogue(np.concatenate([known.ids, more.ids]), attributes, decides)


def has_vectors(setup: Setup) -> bool:
    """Return whether clients train personal vectors.

    Raises:
        ConfigError: if they also train layers that stay with a merchant.
    """
    try:
        names = trained_names(setup)
    except ConfigError:
        return False
    layers = [name for name in names if name not in setup.model.personal_vectors]
    if layers:
        raise ConfigError(
            f"coldstart.merchant = {setup.config.coldstart.merchant!r}: {', '.join(layers)} of "
            f"model.name = {setup.config.model.name!r} stays with each merchant, and a newcomer "
            "has none to begin with: use a model without layers of merchants, such as 'mf', 'ncf' "
            "or 'two-tower', and no model.local_layers"
        )
    return True


def _fitted(warm: Warm, setup: Setup) -> tuple[Personal, Personal]:
    """Return the vectors of a shop's customers: the mean of those who trained, and from it on."""
    own = init_personal(setup, _ALONE)
    if not has_vectors(warm.setup):
        return own, own
    start = {**own.values}
    for name, value in mean_personal(warm).items():
        start[name] = np.broadcast_to(value, own.values[name].shape).copy()
    here = replace(warm, setup=setup)
    return Personal(start), rebuilt(here, setup.population, Personal(start))


def _or_average(scorer: Scorer, shown: NDArray[np.int64], population: Population) -> Scorer:
    """Return a scorer that tells customers without rows what it tells the others on average."""
    if not len(shown):
        return same_for_all(np.zeros(population.num_items))
    total = np.zeros(population.num_items)
    for at in range(0, len(shown), _SOME):
        total += scorer(shown[at : at + _SOME]).sum(0, dtype=np.float64)
    return or_else(scorer, same_for_all(total / len(shown)), population)


def _nothing(users: int) -> HeldOut:
    none = np.zeros(0, np.int64)
    indptr, seen = np.zeros(1, np.int64), np.zeros(users + 1, np.int64)
    return HeldOut(
        none, indptr, none.astype(np.int32), none.astype(np.float32), seen, none.astype(np.int32)
    )
