"""From ranks to the entry `merchants` of result.json: gains, verdicts, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.merchants.clustered import CLUSTERED, Clusters
from fedrec.merchants.decision import verdict
from fedrec.merchants.gains import Gain, Values, Weights, corrected, gain, share_of
from fedrec.merchants.groups import by_customer, found_items, head_items, new_customers
from fedrec.merchants.outcome import Outcome
from fedrec.merchants.ranked import METRICS, PRIMARY, SECONDARY, Field
from fedrec.merchants.systems import ALONE, FEDERATED, KINDS, PERSONALISED, POOLED

TESTED = (PRIMARY, SECONDARY)
AGAINST_ALONE = (FEDERATED, PERSONALISED, POOLED)


@dataclass(frozen=True, eq=False)
class Measured:
    """All values of all systems, ready to be compared on any customers.

    Attributes:
        field: merchants and customers.
        ranks: system -> int64 [W] for each seed.
        values: metric -> values of each customer.
        weights: of the bootstrap.
    """

    field: Field
    ranks: Mapping[str, Sequence[NDArray[np.int64]]]
    values: Mapping[str, Values]
    weights: Weights

    def gain(self, metric: str, a: str, b: str, some: NDArray[np.bool_]) -> Gain | None:
        """Return the gain of system a over b on some customers, bool [E]."""
        return gain(metric, a, b, self.values[metric], some, self.weights)

    def means(self, some: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
        """Return each metric of each system on some customers, bool [E]."""
        return {
            name: {m: float(self.values[m].sums[name][some].mean()) for m in METRICS}
            for name in self.ranks
        }


def measured(field: Field, found: Sequence[Mapping[str, Outcome]], replicates: int) -> Measured:
    """Return the values of all systems over all seeds.

    Args:
        field: merchants and customers.
        found: system -> outcome, for each seed.
        replicates: of the bootstrap.
    """
    ranks = {name: [seed[name].ranks for seed in found] for name in found[0]}
    person = field.person[field.part("test").users]
    return Measured(field, ranks, by_customer(field, ranks), Weights.of(person, replicates))


def summary(told: Measured) -> dict[str, Any]:
    """Return the entry `merchants` of result.json, without costs.

    Gains of training together and personalising over training alone are tested: over all
    customers, and for each merchant, both metrics, Holm's correction within each family.
    """
    field, shops = told.field, told.field.tested()
    everyone = np.ones(len(shops), bool)
    overall = corrected([_must(told, m, PERSONALISED, ALONE, everyone) for m in TESTED])
    having = [s for s in range(len(field.names)) if (shops == s).any()]
    single = [_must(told, m, PERSONALISED, ALONE, shops == s) for s in having for m in TESTED]
    tested = corrected(single)
    groups = _groups(told)
    entries = []
    for place, shop in enumerate(having):
        some = shops == shop
        own = tested[place * len(TESTED) : (place + 1) * len(TESTED)]
        entries.append(_merchant(told, shop, own, groups, some))
    silent = [field.names[s] for s in range(len(field.names)) if s not in having]
    return {
        "systems": {name: KINDS[name] for name in told.ranks},
        "metrics": list(METRICS),
        "primary": PRIMARY,
        "candidates": "items that the merchant sells and the customer has not met there",
        "merchants": entries,
        "without_test": silent,
        "overall": {
            "customers": int(everyone.sum()),
            "values": told.means(everyone),
            "gains": [g.to_json() for g in overall],
            "others": _others(told, everyone),
            "groups": _of_groups(groups, everyone, told),
            "of_pooled_gain": {
                m: share_of(told.values[m], PERSONALISED, POOLED, ALONE) for m in TESTED
            },
        },
    }


def grouped(told: Measured, clusters: Clusters | None) -> dict[str, Any] | None:
    """Return who trained with whom, and what that gains over all training together.

    These gains are told, not tested: over all customers, and over those of each merchant.
    """
    if clusters is None:
        return None
    field, shops = told.field, told.field.tested()
    everyone = np.ones(len(shops), bool)
    over = [_must(told, m, CLUSTERED, FEDERATED, everyone).to_json() for m in TESTED]
    each = {
        field.names[s]: _must(told, PRIMARY, CLUSTERED, FEDERATED, shops == s).to_json()
        for s in range(len(field.names))
        if (shops == s).any()
    }
    return {**clusters.to_json(field.names), "gains": over, "by_merchant": each}


def _merchant(
    told: Measured,
    shop: int,
    gains: list[Gain],
    groups: Mapping[str, tuple[Values, NDArray[np.bool_]]],
    some: NDArray[np.bool_],
) -> dict[str, Any]:
    field = told.field
    population, held = field.setup.population, field.part("test")
    mine = np.flatnonzero(field.merchant == shop)
    lengths = np.diff(population.indptr)
    return {
        "name": field.names[shop],
        "customers": int((lengths[mine] > 0).sum()),
        "interactions": int(lengths[mine].sum()),
        "items": int(field.sells[shop].sum()),
        "tested_customers": int(some.sum()),
        "tested_items": int(np.diff(held.indptr)[some].sum()),
        "values": told.means(some),
        "gains": [g.to_json() for g in gains],
        "others": _others(told, some),
        "groups": _of_groups(groups, some, told),
        "verdict": verdict(gains).to_json(),
    }


def _others(told: Measured, some: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return gains that are told, not tested: the other systems over alone."""
    rest = [name for name in told.ranks if name not in (ALONE, PERSONALISED)]
    found = [told.gain(m, name, ALONE, some) for name in rest for m in TESTED]
    return [g.to_json() for g in found if g is not None]


def _groups(told: Measured) -> dict[str, tuple[Values, NDArray[np.bool_]]]:
    """Return new customers, and head and tail items: values, and whose they are."""
    field, held = told.field, told.field.part("test")
    section = field.setup.config.merchants
    head = head_items(field, section.head)
    owner = np.repeat(field.tested(), np.diff(held.indptr))
    in_head = head[owner, held.items]
    everyone = np.ones(len(held.users), bool)
    return {
        "new customers": (told.values[SECONDARY], new_customers(field, section.new_customer)),
        "head items": (found_items(field, told.ranks, in_head), everyone),
        "tail items": (found_items(field, told.ranks, ~in_head), everyone),
    }


def _of_groups(
    groups: Mapping[str, tuple[Values, NDArray[np.bool_]]],
    some: NDArray[np.bool_],
    told: Measured,
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, (values, members) in groups.items():
        found = gain(SECONDARY, PERSONALISED, ALONE, values, some & members, told.weights)
        out[name] = None if found is None else found.to_json()
    return out


def _must(told: Measured, metric: str, a: str, b: str, some: NDArray[np.bool_]) -> Gain:
    found = told.gain(metric, a, b, some)
    if found is None:
        raise ValueError("a gain on no customers")
    return found
