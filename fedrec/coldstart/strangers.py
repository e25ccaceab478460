"""Held-out users as a population of their own: what they reveal, and what is to be found.

A stranger's latest n interactions are the test.  Of all that came before, k are revealed:
the latest, or the first of the user's life.  Candidates are all items but the user's whole
earlier history, whatever k is, so that curves over k compare rankings of the same items.
Nothing of a stranger is in the population that was trained on: it is laid out anew here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config_coldstart import WHOLE
from fedrec.data.population import HeldOut, Population
from fedrec.errors import DataError
from fedrec.training.node import Setup


def strangers(setup: Setup, part: str, k: int, reveal: str = "latest") -> Population:
    """Return the users held out in a part, with what they reveal as their training rows.

    Users keep their numbers (so do their attributes, and the weights of a bootstrap);
    everybody else has no interaction.  The test items stand in the part that is asked for,
    and the other part is empty.  Users with `coldstart.test_items` interactions or fewer
    have no history and are left out; the last note of the split counts them.

    Args:
        setup: of a configuration with split.protocol = "cold-users" and user clients.
        part: "valid" or "test".
        k: revealed interactions of each user, fewer where the history is shorter;
            `WHOLE` (-1) for all of them.
        reveal: "latest" (the k before the test items) or "first".

    Returns:
        The population.

    Raises:
        DataError: if nobody has a history, or the split holds no users out.
    """
    population, number = setup.population, setup.config.coldstart.test_items
    if population.split.protocol != "cold-users":
        raise DataError(
            f"strangers are users that are held out entirely, and the split is by "
            f"{population.split.protocol!r}: set split.protocol = 'cold-users'"
        )
    held_out = population.held_out(part)
    counts = np.diff(held_out.indptr)
    rows = np.flatnonzero(counts > number)
    if not len(rows):
        raise DataError(
            f"no user of the part {part!r} has more than {number} interactions, of which the "
            f"latest {number} are the test: lower coldstart.test_items"
        )
    users, begin, end = held_out.users[rows], held_out.indptr[rows], held_out.indptr[rows + 1]
    history = end - number - begin
    shown = history if k == WHOLE else np.minimum(history, k)
    first = begin if reveal == "first" else end - number - shown
    indptr, at = _ranges(first, shown, users, population.num_users)
    asked = _held_out(held_out, rows, number, population.num_users)
    empty = _nobody(population.num_users)
    short, fewer = len(counts) - len(rows), int((history < k).sum())
    note = (
        f"{len(rows):,} users of part {part!r}, whose latest {number} interactions are the test; "
        f"{short:,} with no history before these are left out; {fewer:,} have fewer than {k} to "
        "reveal."
    )
    return replace(
        population,
        indptr=indptr,
        items=held_out.items[at],
        labels=held_out.labels[at],
        levels=None,
        valid=asked if part == "valid" else empty,
        test=asked if part == "test" else empty,
        split=replace(population.split, notes=(*population.split.notes, note)),
    )


def facing(setup: Setup, population: Population) -> Setup:
    """Return a setup whose clients are strangers, for scorers that work on a setup.

    Negatives for a stranger's local steps are drawn from all items that it has not
    revealed: what else it has met, nobody but the evaluation knows.

    Args:
        setup: of the warm clients.
        population: from `strangers`.
    """
    sampling = replace(setup.method.sampling, leaky=False, known=False, propensity=None)
    method = replace(setup.method, sampling=sampling)
    return replace(setup, population=population, method=method)


def _ranges(
    first: NDArray[np.int64], length: NDArray[np.int64], users: NDArray[np.int64], num_users: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row pointers over all users, and the positions first .. first + length - 1."""
    counts = np.zeros(num_users, np.int64)
    counts[users] = length
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    at = np.arange(indptr[-1]) + np.repeat(first - indptr[users], length)
    return indptr, at


def _held_out(held_out: HeldOut, rows: NDArray, number: int, num_users: int) -> HeldOut:
    """Return the latest `number` items of some rows as relevant, all before them as seen."""
    users, end = held_out.users[rows], held_out.indptr[rows + 1]
    history = end - held_out.indptr[rows] - number
    latest = (end[:, None] - np.arange(number, 0, -1)).ravel()
    seen_indptr, seen = _ranges(held_out.indptr[rows], history, users, num_users)
    return HeldOut(
        users=users,
        indptr=np.arange(len(rows) + 1, dtype=np.int64) * number,
        items=held_out.items[latest],
        labels=held_out.labels[latest],
        seen_indptr=seen_indptr,
        seen_items=held_out.items[seen],
    )


def _nobody(num_users: int) -> HeldOut:
    return HeldOut(
        users=np.zeros(0, np.int64),
        indptr=np.zeros(1, np.int64),
        items=np.zeros(0, np.int32),
        labels=np.zeros(0, np.float32),
        seen_indptr=np.zeros(num_users + 1, np.int64),
        seen_items=np.zeros(0, np.int32),
    )
