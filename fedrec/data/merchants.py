"""Which merchants take part, and which items they have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.clean import compact
from fedrec.data.interactions import Dataset, Interactions
from fedrec.errors import ConfigError, DataError, nearest


def keep_largest(raw: Dataset, number: int) -> Dataset:
    """Return the rows of the merchants that have most customers; of equals the first.

    Args:
        raw: a data set with merchants; ids of users or merchants may be missing (-1).
        number: of merchants to keep.

    Raises:
        DataError: if the data have no merchants, or fewer.
    """
    rows = raw.interactions
    if rows.merchant is None or raw.merchants is None:
        raise DataError(
            f"merchants.largest = {number} needs data with merchants, which {raw.name!r} does not "
            "have: name data.merchant_column, or set merchants.largest = 0"
        )
    customers = customers_of(rows, len(raw.merchants))
    if number > (found := int((customers > 0).sum())):
        raise DataError(
            f"merchants.largest = {number}: {raw.name!r} has only {found} merchants with customers"
        )
    kept = np.argsort(-customers, kind="stable")[:number]
    chosen = np.isin(rows.merchant, kept)
    line = (
        f"merchants: the {number} with most customers ({customers[kept[-1]]:,} to "
        f"{customers[kept[0]]:,}) of {found:,} kept, with {int(chosen.sum()):,} of "
        f"{len(rows):,} rows"
    )
    return replace(raw, interactions=rows.take(chosen), account=(*raw.account, line))


def place_of(raw: Dataset, name: str) -> int:
    """Return the number of a merchant that is named, or numbered from 0.

    Raises:
        DataError: if the data have no merchants, or no such one.
    """
    if raw.interactions.merchant is None or raw.merchants is None:
        raise DataError(
            f"coldstart.merchant = {name!r} needs data with merchants, which {raw.name!r} does not "
            "have: name data.merchant_column, or leave it empty"
        )
    ids = [str(one) for one in raw.merchants.ids]
    if name in ids:
        return ids.index(name)
    if name.isdigit() and int(name) < len(ids):
        return int(name)
    raise DataError(
        f"coldstart.merchant = {name!r}: {raw.name!r} has {len(ids)} merchants, none of that name "
        f"or number.{nearest(name, ids)}"
    )


def leave_out(raw: Dataset, name: str) -> Dataset:
    """Return a data set without the rows of one merchant, as if it did not exist.

    Args:
        raw: before cleaning, so that nothing is counted, repeated or cut because of its rows.
        name: of the merchant, or its number.

    Raises:
        DataError: as `place_of`, or if no other merchant is left.
    """
    place, rows = place_of(raw, name), raw.interactions
    kept = np.asarray(rows.merchant) != place
    if not kept.any():
        raise DataError(f"coldstart.merchant = {name!r} is the only merchant of {raw.name!r}")
    line = (
        f"newcomer: all {int((~kept).sum()):,} rows of merchant {name!r} left out, before anything "
        "else"
    )
    return replace(raw, interactions=rows.take(kept), account=(*raw.account, line))


def customers_of(rows: Interactions, number: int) -> NDArray[np.int64]:
    """Return how many users have a row with each merchant, int64 [number]."""
    if rows.merchant is None:
        return np.zeros(number, np.int64)
    known = (rows.user >= 0) & (rows.merchant >= 0)
    width = int(rows.user.max(initial=0)) + 1
    pairs = np.unique(rows.merchant[known].astype(np.int64) * width + rows.user[known])
    return np.bincount(pairs // width, minlength=number).astype(np.int64)


def sold_by(
    client: NDArray[np.int64], item: NDArray[np.int32], clients: int, items: int
) -> NDArray[np.bool_]:
    """Return what each merchant sells: the items of any of its rows, bool [clients, items].

    Args:
        client: int64 [N], the merchant of each row.
        item: int32 [N].
        clients: number of merchants.
        items: number of items.
    """
    sells = np.zeros((clients, items), bool)
    sells[client, item] = True
    return sells


def keep_common(data: Dataset) -> Dataset:
    """Return the rows of items that every merchant sells; a merchant's catalogue is no secret.

    Args:
        data: cleaned per merchant.

    Raises:
        DataError: if the data have no merchants.
        ConfigError: if no item is sold by all of them.
    """
    rows = data.interactions
    if rows.merchant is None or data.merchants is None:
        raise DataError(
            f"merchants.catalogue = 'intersection' needs data with merchants, which {data.name!r} "
            "does not have"
        )
    number = len(data.merchants)
    sells = sold_by(rows.merchant.astype(np.int64), rows.item, number, data.num_items)
    common = np.logical_and.reduce(sells, axis=0)
    if not common.any():
        raise ConfigError(
            f"merchants.catalogue = 'intersection': no item is sold by all {number} merchants. "
            "Use 'union', or fewer merchants"
        )
    line = f"catalogue: the {int(common.sum()):,} of {len(common):,} items that all merchants sell"
    told = replace(data, account=(*data.account, line))
    left, said = compact(told, rows.take(common[rows.item]))
    return replace(left, account=(*told.account, *said))
