"""A merchant that joins: what it and the others have sold by a moment, week by week.

Purchases repeat, and cleaning keeps the latest of each pair of customer and item.  Where
time is what is asked about that would move purchases out of the past, so rows are taken
uncleaned here and pairs are counted once within each stretch of time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Dataset
from fedrec.data.partition import by_merchant
from fedrec.data.population import HeldOut, csr
from fedrec.errors import DataError

if TYPE_CHECKING:
    import scipy.sparse as sp

WEEK = 7 * 86_400.0
"""Seconds."""


@dataclass(frozen=True, eq=False)
class Trade:
    """Who bought what where and when; a customer of two merchants is two customers.

    Attributes:
        dataset: rows as read, those with a customer, an item, a merchant and a time.
        customer: int64 [N], local customers, numbered merchant by merchant.
        owner: int64 [U], the merchant of each customer.
        person: int64 [U], who the customer is, across merchants; nobody but the evaluation
            knows, which draws its replicates by person.
    """

    dataset: Dataset
    customer: NDArray[np.int64]
    owner: NDArray[np.int64]
    person: NDArray[np.int64]

    @property
    def num_customers(self) -> int:
        """U."""
        return len(self.owner)

    @property
    def num_items(self) -> int:
        """I."""
        return self.dataset.num_items

    @cached_property
    def time(self) -> NDArray[np.float64]:
        """Seconds, float64 [N]."""
        return np.asarray(self.dataset.interactions.timestamp, np.float64)

    @property
    def end(self) -> float:
        """The moment after the last purchase, in seconds."""
        return float(self.time.max()) + 1.0

    def customers(self, merchant: int) -> NDArray[np.int64]:
        """Return the customers of a merchant, int64, ascending."""
        return np.flatnonzero(self.owner == merchant)

    def rows(self, merchant: int, begin: float, end: float) -> sp.csr_matrix:
        """Return what a merchant's customers bought from a moment until before another.

        Returns:
            Sparse float32 of ones, [customers of the merchant, I].
        """
        import scipy.sparse as sp

        mine = self.customers(merchant)
        rows = self._between(merchant, begin, end)
        item = self.dataset.interactions.item[rows]
        place = np.searchsorted(mine, self.customer[rows])
        ones = np.ones(len(rows), np.float32)
        found = sp.csr_matrix((ones, (place, item)), (len(mine), self.num_items))
        found.sum_duplicates()
        found.data[:] = 1.0
        return found

    def on_sale(self, merchant: int) -> NDArray[np.bool_]:
        """Return what a merchant sells, bool [I]: of which it ever sold any.

        A shop knows what is on its shelves when it joins; data of purchases tell it by all of
        its rows alone, those to be found among them.
        """
        found = np.zeros(self.num_items, np.bool_)
        found[self.dataset.interactions.item[self._between(merchant, -np.inf, np.inf)]] = True
        return found

    def history(
        self, merchant: int, begin: float, end: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return what `rows` has, in the order of time: each pair where it came last.

        Returns:
            int64 [customers of the merchant + 1] row pointers, and int32 items.
        """
        mine = self.customers(merchant)
        rows = self._between(merchant, begin, end)
        rows = rows[np.argsort(self.time[rows], kind="stable")]
        item = self.dataset.interactions.item[rows].astype(np.int64)
        place = np.searchsorted(mine, self.customer[rows])
        pair = place * self.num_items + item
        _, last = np.unique(pair[::-1], return_index=True)
        kept = np.sort(len(pair) - 1 - last)
        indptr, (items,) = csr(place[kept], len(mine), item[kept])
        return indptr, items.astype(np.int32)

    def asked(self, merchant: int, begin: float, end: float, since: float = -np.inf) -> HeldOut:
        """Return what a merchant's customers buy for the first time in a stretch.

        Candidates are all items but those that the customer has bought here before, whatever
        of that a model may see, so that all models rank the same items.

        Args:
            merchant: whose customers are ranked.
            begin: the first moment, in seconds.
            end: the one after the last.
            since: what was bought before this moment is not known of.

        Raises:
            DataError: if nobody buys anything new then.
        """
        mine = self.customers(merchant)
        before = self.rows(merchant, since, begin)
        new = self.rows(merchant, begin, end)
        new = (new - new.multiply(before)).tocsr()
        new.eliminate_zeros()
        asked = np.flatnonzero(np.diff(new.indptr))
        if not len(asked):
            raise DataError(f"merchant {merchant} sells nobody anything new in the weeks asked")
        return _held_out(self.num_customers, mine, asked, new, before)

    def _between(self, merchant: int, begin: float, end: float) -> NDArray[np.int64]:
        there = self.owner[self.customer] == merchant
        return np.flatnonzero(there & (self.time >= begin) & (self.time < end))


def among(scores: NDArray[np.float32], on_sale: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return scores in which what is not on sale comes last.

    Args:
        scores: float32 [E, I], finite.
        on_sale: bool [I], at least one.

    Returns:
        float32 [E, I]: each row's other items are below its lowest.
    """
    lowest = scores.min(1, initial=np.inf, keepdims=True)
    return np.where(on_sale, scores, lowest - np.abs(lowest) - 1.0).astype(np.float32)


def _held_out(
    total: int,
    mine: NDArray[np.int64],
    asked: NDArray[np.int64],
    new: sp.csr_matrix,
    before: sp.csr_matrix,
) -> HeldOut:
    lengths = np.zeros(total + 1, np.int64)
    lengths[mine + 1] = np.diff(before.indptr)
    return HeldOut(
        users=mine[asked],
        indptr=np.concatenate([[0], np.cumsum(np.diff(new.indptr)[asked])]).astype(np.int64),
        items=new.indices.astype(np.int32),
        labels=np.ones(new.nnz, np.float32),
        seen_indptr=np.cumsum(lengths),
        seen_items=before.indices.astype(np.int32),
    )


def trade_of(raw: Dataset, *, biggest: int = 0) -> Trade:
    """Lay the rows of a data set out by merchant.

    Args:
        raw: as read, with merchants and times (`fedrec.data.load.load_raw`).
        biggest: keep the merchants with most rows alone, numbered from the biggest; 0: all.

    Raises:
        DataError: if the data have no merchants or no times.
    """
    rows = raw.interactions
    if rows.merchant is None or rows.timestamp is None:
        raise DataError(
            f"merchants that join need data with merchants and times, which {raw.name!r} does not "
            "have: use complete-journey or marketplace"
        )
    whole = (rows.user >= 0) & (rows.item >= 0) & (rows.merchant >= 0)
    whole &= np.isfinite(rows.timestamp)
    counts = np.bincount(rows.merchant[whole])
    order = np.argsort(-counts, kind="stable")[: biggest or len(counts)]
    place = np.full(len(counts) + 1, -1)
    place[order] = np.arange(len(order))
    kept = rows.take(whole & (place[rows.merchant] >= 0))
    merchants = raw.merchants and raw.merchants.take(order)
    person = kept.user.astype(np.int64)
    kept = replace(kept, merchant=place[kept.merchant].astype(np.int32))
    parts = by_merchant(replace(raw, interactions=kept, merchants=merchants))
    customer = parts.dataset.interactions.user.astype(np.int64)
    _, first = np.unique(customer, return_index=True)
    return Trade(parts.dataset, customer, parts.client_of_user, person[first])


def month(trade: Trade, back: int, weeks: int = 4) -> tuple[float, float]:
    """Return a stretch of weeks before the end: from a moment until before another.

    Args:
        trade: whose end is meant.
        back: 0 for the last stretch, 1 for the one before it, ...
        weeks: its length.
    """
    end = trade.end - back * weeks * WEEK
    return end - weeks * WEEK, end
