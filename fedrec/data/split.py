"""Which interactions are held out: leave-last-out, by time, cold users, cold items."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec import rng
from fedrec.config import Config
from fedrec.config_tasks import held_out_event
from fedrec.data.domains import in_target
from fedrec.data.funnel import ANY, reached
from fedrec.data.interactions import Dataset, Interactions, Split
from fedrec.data.split_notes import last_out_notes, strangers_note
from fedrec.errors import DataError

_TRAIN, _VALID, _TEST, _OUT = 0, 1, 2, 3
_DAY = 86_400.0


def split(dataset: Dataset, config: Config) -> Split:
    """Hold interactions out by `split.protocol`, those of `split.event` alone.

    Args:
        dataset: cleaned, so at most one interaction per (user, item).
        config: its `split` section, and the target of a model of several tasks.

    Returns:
        the split; rows in ascending order within each part.

    Raises:
        DataError: if pairs repeat, if a part would be empty, or if the data have no events
            and some are asked for.
    """
    rows = dataset.interactions
    _check_pairs(rows, dataset)
    protocol, fraction = config.split.protocol, config.split.fraction
    event = held_out_event(config)
    wanted = reached(rows, event, dataset.name)
    told = "" if event == ANY else f"got as far as a {event}"
    if config.domain.by:
        wanted = wanted & in_target(dataset, config.domain)
        of = f"are of the domain {config.domain.by} = {config.domain.target}"
        told = f"{told} and {of}" if told else of
    if protocol == "leave-last-out":
        labels, notes = leave_last_of(rows, wanted, told) if told else leave_last_out(rows)
        if config.domain.by:
            labels, note = _before_held_out(rows, labels, wanted)
            notes.append(note)
    elif protocol == "time":
        labels, notes = by_time(rows, fraction, config.split.days)
    elif protocol == "cold-users":
        labels, notes = cold(rows.user, dataset.num_users, fraction, config.split.seed, "users")
    else:
        labels, notes = cold(rows.item, dataset.num_items, fraction, config.split.seed, "items")
    other = (labels != _TRAIN) & ~wanted
    if protocol != "leave-last-out" and told:
        labels = np.where(other, _OUT, labels)
        notes.append(
            f"held out are interactions that {told}; {int(other.sum()):,} others of that time are "
            "left out of every part."
        )
    labels, more = _without_strangers(rows, labels, protocol)
    train, valid, test = (np.flatnonzero(labels == part) for part in (_TRAIN, _VALID, _TEST))
    for name, part in (("training", train), ("validation", valid), ("test", test)):
        if not len(part):
            raise DataError(
                f"data set {dataset.name!r}, split {protocol!r}: no interaction is left for "
                f"{name}. " + " ".join((*notes, *more)) + " Use more data or another protocol."
            )
    digest = split_hash(dataset, train, valid, test)
    return Split(dataset, train, valid, test, protocol, digest, (*notes, *more))


def _check_pairs(rows: Interactions, dataset: Dataset) -> None:
    key = np.sort(rows.user.astype(np.int64) * dataset.num_items + rows.item)
    repeated = int((key[1:] == key[:-1]).sum())
    if repeated:
        raise DataError(
            f"data set {dataset.name!r} holds {repeated:,} repeated pairs of user and item, so "
            f"the same pair could be trained on and tested. Clean it first (load_dataset and "
            f"dataset_from_frame do); data kept per merchant needs clients.unit = 'merchant'."
        )


def time_of(rows: Interactions) -> NDArray[np.float64]:
    """Return times in seconds, or the order of rows where there are none; float64 [N]."""
    return np.arange(len(rows), dtype=np.float64) if rows.timestamp is None else rows.timestamp


def from_latest(rows: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count each row's place in its user's history, from the latest backwards.

    Of equal times the later row is the later one.

    Args:
        rows: N interactions.

    Returns:
        place: int64 [N], 0 for the latest of its user.
        length: int64 [N], number of interactions of that user.
    """
    order = np.lexsort((time_of(rows), rows.user))
    counts = np.bincount(rows.user)
    ends = np.cumsum(counts)
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = ends[rows.user[order]] - 1 - np.arange(len(rows))
    return place, counts[rows.user]


def leave_last_out(rows: Interactions) -> tuple[NDArray[np.int64], list[str]]:
    """Latest interaction of a user is test, second latest validation, rest training.

    Users with fewer than three interactions stay wholly in training.  Of equal
    times the later row is the later one: published times are often too coarse to
    tell (on MovieLens 100K for two users in three), and the order chosen for ties
    moves the figures, so the notes say how many users it concerns.

    Args:
        rows: N interactions.

    Returns:
        labels: int64 [N], 0 training, 1 validation, 2 test.
        notes: lines for the reader.
    """
    place, length = from_latest(rows)
    labels = np.where(length < 3, _TRAIN, np.select([place == 0, place == 1], [_TEST, _VALID]))
    counts = np.bincount(rows.user)
    few = int(((counts > 0) & (counts < 3)).sum())
    users, tied = int((counts > 0).sum()), _tied(rows, place, length)
    return labels, last_out_notes(few, users, tied)


def leave_last_of(
    rows: Interactions, wanted: NDArray[np.bool_], told: str
) -> tuple[NDArray[np.int64], list[str]]:
    """As `leave_last_out`, among the rows of an event; what comes later than these is in no part.

    The other events stay in training as far as they lie before the first held-out one:
    nobody knows what a user will look at after a purchase that is yet to be predicted.

    Args:
        rows: N interactions.
        wanted: bool [N], rows that may be held out.
        told: what these rows are, for the notes.

    Returns:
        labels: int64 [N], 0 training, 1 validation, 2 test, 3 in no part.
        notes: lines for the reader.
    """
    labels = np.full(len(rows), _TRAIN)
    chosen = np.flatnonzero(wanted)
    labels[chosen], notes = leave_last_out(rows.take(chosen))
    place, _ = from_latest(rows)
    valid = labels == _VALID
    first = np.zeros(int(rows.user.max()) + 1, np.int64)
    first[rows.user[valid]] = place[valid]
    later = (labels == _TRAIN) & (place < first[rows.user])
    labels[later] = _OUT
    return labels, [
        f"held out are interactions that {told}; the next two lines count these.",
        *notes,
        f"{int(later.sum()):,} interactions later than the first held-out one of their user: "
        f"left out of every part.",
    ]


def _before_held_out(
    rows: Interactions, labels: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], str]:
    """Take rows of other domains out that are not earlier than their user's first held-out one.

    Rows of one time are one basket: what lies in it in another domain would tell, to those
    who train on all domains alone, what is bought at the moment that is to be predicted.
    """
    time = time_of(rows)
    held = (labels == _VALID) | (labels == _TEST)
    first = np.full(int(rows.user.max()) + 1, np.inf)
    np.minimum.at(first, rows.user[held], time[held])
    late = (labels == _TRAIN) & ~wanted & (time >= first[rows.user])
    return np.where(late, _OUT, labels), (
        f"{int(late.sum()):,} interactions of other domains at the time of the first held-out one: "
        "left out of every part."
    )


def _tied(rows: Interactions, place: NDArray[np.int64], length: NDArray[np.int64]) -> int:
    """Count users (of three rows or more) whose held-out rows hinge on a tie in time."""
    users = int(rows.user.max()) + 1
    ends = np.full((3, users), np.nan)  # times of the latest, second and third latest
    last = (place < 3) & (length >= 3)
    ends[place[last], rows.user[last]] = time_of(rows)[last]
    return int(((ends[0] == ends[1]) | (ends[1] == ends[2])).sum())


def by_time(
    rows: Interactions, fraction: float, days: float = 0.0
) -> tuple[NDArray[np.int64], list[str]]:
    """Cut at two moments: the latest `fraction` is test, as much before it validation.

    Rows at the very moment of a cut fall before it.

    Args:
        rows: N interactions.
        fraction: share of rows for test, and for validation.
        days: where it is not 0, days before the latest row instead of a share.

    Returns:
        labels: int64 [N], 0 training, 1 validation, 2 test.
        notes: lines for the reader.

    Raises:
        DataError: if days are asked of data without times.
    """
    time = time_of(rows)
    if days and rows.timestamp is None:
        raise DataError(
            f"split.days = {days:g} needs times, and the rows have none: name data.time_column, "
            "or set split.days = 0"
        )
    cuts = time.max() - _DAY * days * np.array([2.0, 1.0])
    if not days:
        cuts = np.quantile(time, [1 - 2 * fraction, 1 - fraction], method="lower")
    labels = np.searchsorted(cuts, time, side="left")
    unit = "row" if rows.timestamp is None else "time"
    return labels, [f"cut at {unit} {cuts[0]:.0f} (validation) and {cuts[1]:.0f} (test)."]


def cold(
    codes: NDArray[np.int32], number: int, fraction: float, seed: int, what: str
) -> tuple[NDArray[np.int64], list[str]]:
    """Hold out entities entirely: all rows of a chosen user (or item) are held out.

    Args:
        codes: int32 [N], the user (or item) of each row.
        number: how many users (or items) there are.
        fraction: share of them for test, and for validation.
        seed: decides which.
        what: "users" or "items", for the notes.

    Returns:
        labels: int64 [N], 0 training, 1 validation, 2 test.
        notes: lines for the reader.

    Raises:
        DataError: with fewer than three users (or items).
    """
    if number < 3:
        raise DataError(f"a split by cold {what} needs at least 3 {what}, the data has {number}")
    held = max(1, min(round(fraction * number), (number - 1) // 2))
    keys = rng.keys(seed, 0, np.arange(number), rng.Purpose.SPLIT)
    order = np.argsort(keys, kind="stable")
    label = np.zeros(number, dtype=np.int64)
    label[order[:held]] = _TEST
    label[order[held : 2 * held]] = _VALID
    return label[codes], [
        f"{held:,} {what} held out for test and {held:,} for validation, of {number:,}."
    ]


def _without_strangers(
    rows: Interactions, labels: NDArray[np.int64], protocol: str
) -> tuple[NDArray[np.int64], list[str]]:
    """Handle held-out rows whose user or item never occurs in training.

    Leave-last-out keeps them (every user trains; an item never trained on is
    simply hard), as published figures do.  Otherwise rows of strangers that the
    protocol does not ask about are taken out of every part, and counted.
    """
    train, held = labels == _TRAIN, (labels == _VALID) | (labels == _TEST)
    strange_user = ~np.isin(rows.user, rows.user[train]) & held
    strange_item = ~np.isin(rows.item, rows.item[train]) & held
    if protocol == "leave-last-out":
        return labels, [strangers_note(int(strange_item.sum()))]
    out = {"cold-users": strange_item, "cold-items": strange_user}.get(
        protocol, strange_user | strange_item
    )
    what = {"cold-users": "items", "cold-items": "users"}.get(protocol, "users or items")
    return np.where(out, _OUT, labels), [
        f"{int(out.sum()):,} held-out interactions of {what} that never occur in training: "
        f"left out of every part."
    ]


def split_hash(
    dataset: Dataset,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    test: NDArray[np.int64],
) -> str:
    """Fingerprint a split by what it holds, not by how it is numbered or ordered.

    Args:
        dataset: the data set.
        train: int64 rows; likewise `valid` and `test`.

    Returns:
        first 16 hex digits of SHA-256 over the sorted user and item ids and, for
        each part, its sorted (user, item) pairs as places in these lists.
    """
    rows = dataset.interactions
    users, items = Ranks.of(dataset.users.ids), Ranks.of(dataset.items.ids)
    digest = hashlib.sha256(json.dumps([users.words, items.words]).encode())
    for part in (train, valid, test):
        pairs = users.rank[rows.user[part]] * len(items.words) + items.rank[rows.item[part]]
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(np.sort(pairs).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Ranks:
    """Identifiers in the order of their text.

    Attributes:
        words: the n identifiers in this order.
        order: int64 [n], their numbers in it.
        rank: int64 [n], the place of each in it.
    """

    words: list[str]
    order: NDArray[np.int64]
    rank: NDArray[np.int64]

    @classmethod
    def of(cls, ids: NDArray[np.object_]) -> Ranks:
        """Rank ids, object [n], by their text."""
        order = np.argsort(ids.astype(str), kind="stable")
        rank = np.empty(len(ids), dtype=np.int64)
        rank[order] = np.arange(len(ids))
        return cls([str(word) for word in ids[order]], order, rank)
