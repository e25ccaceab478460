"""Vertical features: one party has purchases, another attributes of some of the same people.

The purchase party trains as ever (`train_cohort` on its pooled samples), with user vectors
``theta = own + h``.  Between epochs the parties fit ``h = W'a``: the attribute party learns
the product A'T of its attributes with the vectors T = theta of the common people, and answers
with h of each.  That is block descent on a factor model whose user vectors have a prior mean
that is linear in attributes (Agarwal and Chen, KDD 2009), split between its two owners.

Both parties and the dealer run in one process here, each by functions of its own.
Who is common is found by private matching of customer ids beforehand.  What crosses:

* attribute party -> purchase party: h, d numbers a person, a linear function of attributes;
* purchase party -> attribute party: with the exchange "secure" A'T alone, k x d numbers, by
  `fedrec.collab.inner_product`; with "plain" the vectors T themselves.

`vertical.clip` and `vertical.noise` bound and blur each row of T before either.  That is no
differential privacy of a person's purchases: they have shaped the item table, too, and by it
the rows of everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.align.agreement import new_agreement
from fedrec.align.ids import make_ids
from fedrec.align.simulate import simulate
from fedrec.collab import inner_product
from fedrec.config_collab import VerticalSection
from fedrec.data.interactions import Catalogue
from fedrec.errors import ConfigError
from fedrec.models.features import Options, user_features
from fedrec.models.offset import OFFSET, USER, Offset
from fedrec.params import Shared
from fedrec.rng import Purpose, generator
from fedrec.training.central import Epoch, Trained, central_epochs, select
from fedrec.training.node import Setup
from fedrec.training.pooled import PREFIX

Floats = NDArray[np.float64]
_SHOP, _CLUB = "purchases", "attributes"
_OWN, _THEIRS = PREFIX + USER, PREFIX + OFFSET


@dataclass(frozen=True, eq=False)
class AttributeParty:
    """The party that has attributes.

    Attributes:
        features: float64 [n, k], of the common people in the common order, columns centred:
            a constant would pull everybody to one mean, which purchases know by themselves.
        ridge: weight of the squared norm of W.
    """

    features: Floats
    ridge: float

    def fit(self, product: Floats) -> Floats:
        """Return h, float64 [n, d], from A'T, float64 [k, d]."""
        gram = self.features.T @ self.features + self.ridge * np.eye(self.features.shape[1])
        fitted: Floats = self.features @ np.linalg.solve(gram, product)
        return fitted


def attribute_party(profile: Catalogue, section: VerticalSection) -> AttributeParty:
    """Return the party that holds the attributes of some people (in their order).

    Raises:
        ModelError: for an attribute that there is not.
    """
    values = user_features(profile, Options(users=section.attributes)).values.astype(np.float64)
    values = values[:, values.std(0) > 0]
    return AttributeParty(values - values.mean(0), section.ridge)


def known_people(profile: Catalogue) -> NDArray[np.int64]:
    """Return the people of whom any attribute is known, int64, ascending."""
    known = np.zeros(len(profile), bool)
    for one in profile.attributes.values():
        if one.kind == "category":
            known |= one.values >= 0
        elif one.kind == "number":
            known |= np.isfinite(one.values)
        elif one.kind == "tags":
            known |= one.values.any(axis=1)
    return np.flatnonzero(known)


def common_people(profile: Catalogue, basis: str) -> NDArray[np.int64]:
    """Find whom both parties know, by private matching of ids; int64 [n], users in common order.

    Raises:
        AlignmentError: if one of the lists is too short.
    """
    members = known_people(profile)
    ids = {_SHOP: profile.ids, _CLUB: profile.ids[members]}
    agreement = new_agreement(
        "match", (_SHOP, _CLUB), kind="customers", basis=basis, minimum=20, ratio=1000.0
    )
    found = simulate(agreement, {n: make_ids(map(str, v), "exact", n) for n, v in ids.items()})[0]
    rows = found[_SHOP].rows
    if rows is None:  # a match always has rows
        raise ConfigError("the match of customers has found nobody")
    key = np.flatnonzero(rows >= 0)
    order = key[np.argsort(rows[key])]
    return np.argsort(found[_SHOP].ids.place, kind="stable")[order]


def exchange(
    party: AttributeParty, targets: Floats, section: VerticalSection
) -> tuple[Floats, int]:
    """Let both parties make h of the people's vectors.

    Args:
        party: with the attributes.
        targets: float64 [n, d], rows of T as the purchase party lets them go.
        section: says how.

    Returns:
        h, float64 [n, d], and the bytes that crossed.

    Raises:
        ProtocolError: if the people are too few to hide in a product.
    """
    (people, columns), dim = party.features.shape, targets.shape[1]
    if section.exchange == "plain":
        return party.fit(party.features.T @ targets), 2 * 8 * people * dim
    inner_product.check_people(people, columns)
    first, second = inner_product.deal(people, columns, dim)
    asked = inner_product.first_sends(party.features, first)
    masked, told = inner_product.second_sends(targets, second, asked)
    product = inner_product.first_learns(first, masked, told)
    return party.fit(product), asked.nbytes + masked.nbytes + told.nbytes + 8 * people * dim


def bounded(vectors: Floats, section: VerticalSection, draw: np.random.Generator | None) -> Floats:
    """Return rows of norm `clip` at most, with Gaussian noise; as they are without a clip."""
    if not section.clip:
        return vectors
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    rows: Floats = vectors * np.minimum(1.0, section.clip / norms)
    if draw is None or not section.noise:
        return rows
    noisy: Floats = rows + section.noise * section.clip * draw.normal(size=rows.shape)
    return noisy


def train_vertical(
    setup: Setup,
    on_event: Callable[[dict[str, object]], None] | None = None,
    *,
    party: AttributeParty | None = None,
    people: NDArray[np.int64] | None = None,
) -> Trained:
    """Train on purchases with the attributes of another party, and select the epoch.

    Args:
        setup: the prepared configuration; its rates are those of the section `central`.
        on_event: called with each line of the history.
        party: the attribute party; None: it holds `vertical.attributes` of the data set.
        people: int64 [n], the common people; None: found by private matching.

    Returns:
        The selected figures.

    Raises:
        AlignmentError: if there are too few people with attributes.
        ProtocolError: if the common people are too few for the attributes.
    """
    return select(
        setup, vertical_epochs(setup, party, people), setup.config.central.epochs, 1, on_event
    )


def vertical_epochs(
    setup: Setup,
    party: AttributeParty | None = None,
    people: NDArray[np.int64] | None = None,
    on_answer: Callable[[Floats], None] | None = None,
) -> Iterator[Epoch]:
    """Yield the state after each epoch.

    Args:
        setup: as `train_vertical`, likewise `party` and `people`.
        on_answer: is told each h, float64 [n, d], that the purchase party gets: for audits.
    """
    section, profile = setup.config.vertical, setup.population.split.dataset.users
    if people is None:
        people = common_people(profile, section.basis)
    if party is None:
        party = attribute_party(profile.take(people), section)
    counts = np.diff(setup.population.indptr)[people].astype(np.float64)
    sure = (counts / (counts + section.prior))[:, None]

    def between(number: int, shared: Shared) -> Shared:
        if number == 1 or (number - 1) % section.every:
            return shared
        own, theirs = shared.tables[_OWN].copy(), shared.fixed[_THEIRS].copy()
        theta = (own[people] + theirs[people]).astype(np.float64)
        draw = _noise(setup, number) if section.noise else None
        h, _ = exchange(party, bounded(theta, section, draw), section)
        if on_answer is not None:
            on_answer(h)
        # who is known well stays where purchases put it; who is not moves with its attributes
        own[people] -= (sure * (h - theirs[people])).astype(np.float32)
        theirs[people] = h
        tables, fixed = {**shared.tables, _OWN: own}, {**shared.fixed, _THEIRS: theirs}
        return replace(shared, tables=tables, fixed=fixed)

    return central_epochs(replace(setup, model=Offset(setup.model)), between)


def _noise(setup: Setup, number: int) -> np.random.Generator:
    """Return the source of noise: secret, or of the seed where research is to be repeated."""
    if setup.config.privacy.draws == "secret":
        return np.random.default_rng()
    return generator(setup.config.run.seed, number, 0, Purpose.VERTICAL)
