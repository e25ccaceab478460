"""Domains whose users are the same: departments of one shop, or several shops.

A user's interactions in all domains meet on the user's own device.  One domain is the
target: what is held out and what is ranked are its items alone, so that training on all
domains and on the target alone are measured on the same held-out items among the same
candidates.  Nothing that a user did after the first held-out interaction is trained on,
whatever its domain.  Cross-domain recommendation: Singh and Gordon, KDD 2008 (one user
factor for several relations).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config_collab import MERCHANT, DomainSection
from fedrec.data.interactions import Dataset, Truth
from fedrec.errors import DataError, nearest


def in_domain(dataset: Dataset, domain: DomainSection) -> Dataset:
    """Return a data set as the domains see it.

    Where domains are merchants, an item that a user bought at the target counts as bought
    there and nowhere else, so that nothing of it is known before it is held out; among other
    merchants the latest purchase counts.

    Args:
        dataset: cleaned; per merchant if domains are merchants.
        domain: the section `domain`, with `by`.

    Returns:
        All rows, or with `domain.train` "target" those of the target and its items; users
        keep their numbers either way.

    Raises:
        DataError: if there is no such attribute, merchant or category, or the target has no
            rows.
    """
    if domain.by == MERCHANT:
        dataset = _once_each(dataset, in_target(dataset, domain))
    inside = in_target(dataset, domain)
    told = (
        f"target domain {domain.by} = {domain.target}: {int(inside.sum()):,} of {len(inside):,} "
        f"rows and {len(domain_items(dataset, domain)):,} of {dataset.num_items:,} items"
    )
    if domain.train == "target":
        dataset = _restricted(dataset, inside, domain_items(dataset, domain))
        told += "; the others are left out"
    return replace(dataset, account=(*dataset.account, told))


def in_target(dataset: Dataset, domain: DomainSection) -> NDArray[np.bool_]:
    """Return which rows are of the target domain, bool [N].

    Raises:
        DataError: if there is no such attribute, merchant or category, or it has no rows.
    """
    rows = dataset.interactions
    if domain.by == MERCHANT:
        if rows.merchant is None or dataset.merchants is None:
            raise DataError(
                f"domain.by = 'merchant': the data set {dataset.name!r} names no merchants. Use "
                "an item attribute, or data with merchants"
            )
        names = [str(name) for name in dataset.merchants.ids]
        inside = rows.merchant == _place(domain, names)
    else:
        inside = _of_category(dataset, domain)[rows.item]
    if not inside.any():
        raise DataError(f"no row is of the domain {domain.by} = {domain.target!r}")
    return inside


def domain_items(dataset: Dataset, domain: DomainSection) -> NDArray[np.int64]:
    """Return the items that are ranked: those of the target domain, int64, ascending.

    Raises:
        DataError: as `in_target`.
    """
    if domain.by == MERCHANT:
        return np.unique(dataset.interactions.item[in_target(dataset, domain)]).astype(np.int64)
    return np.flatnonzero(_of_category(dataset, domain))


def _of_category(dataset: Dataset, domain: DomainSection) -> NDArray[np.bool_]:
    """Return which items are of the target category, bool [I]."""
    attributes = dataset.items.attributes
    fitting = [name for name, one in attributes.items() if one.kind == "category"]
    if domain.by not in fitting:
        raise DataError(
            f"domain.by = {domain.by!r}: the items of {dataset.name!r} have no such attribute of "
            f"categories.{nearest(domain.by, [*fitting, MERCHANT])}"
        )
    attribute = attributes[domain.by]
    inside: NDArray[np.bool_] = attribute.values == _place(domain, list(attribute.vocabulary))
    return inside


def _place(domain: DomainSection, names: list[str]) -> int:
    if domain.target not in names:
        raise DataError(
            f"domain.target = {domain.target!r}: no such {domain.by}."
            f"{nearest(domain.target, names)}"
        )
    return names.index(domain.target)


def _once_each(dataset: Dataset, inside: NDArray[np.bool_]) -> Dataset:
    """Keep one row for each (user, item): the target's, else the latest."""
    rows = dataset.interactions
    key = rows.user.astype(np.int64) * dataset.num_items + rows.item
    time = np.arange(len(rows)) if rows.timestamp is None else rows.timestamp
    order = np.lexsort((time, inside, key))
    last = np.append(key[order][1:] != key[order][:-1], True)
    kept = np.sort(order[last])
    told = f"bought at several merchants: {len(rows) - len(kept):,} rows dropped"
    return replace(dataset, interactions=rows.take(kept), account=(*dataset.account, told))


def _restricted(dataset: Dataset, inside: NDArray[np.bool_], items: NDArray[np.int64]) -> Dataset:
    """Return the rows inside, and the given items alone, renumbered."""
    rows = dataset.interactions.take(inside)
    number = np.full(dataset.num_items, -1, np.int32)
    number[items] = np.arange(len(items), dtype=np.int32)
    truth = dataset.truth and Truth(
        dataset.truth.user_vectors,
        dataset.truth.item_vectors[items],
        dataset.truth.item_bias[items],
    )
    return replace(
        dataset,
        interactions=replace(rows, item=number[rows.item]),
        items=dataset.items.take(items),
        truth=truth,
    )
