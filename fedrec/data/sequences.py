"""Samples of sequence models: windows of a user's training items in the order of time.

One sample is one place of a sequence: the item before ("input"), the item that came
next ("item"), and negatives of that place.  Where the order of single items means little
(ratings entered in one sitting), the target may be drawn from the next few.  Samples
stand in windows of L places, which are never cut or shuffled apart, so that a model
reads what came before a place from the places in front of it.  Nothing but training
items enters a window.

For contrastive training a window has two views, in each of which places are masked at
random.  What is masked stands in the label of a place, as a place has no other use for
it: 1, and 1 more if the first view masks it, 2 more if the second does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples, Sampling, draw_negatives
from fedrec.data.population import Population
from fedrec.rng import Purpose, draw, integers, keys, uniform


def negative_fields(number: int) -> tuple[str, ...]:
    """Return the id columns of the negatives of a place: "negative_0", "negative_1", ..."""
    return tuple(f"negative_{k}" for k in range(number))


def window_counts(interactions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return the windows of users with so many training items, int64.

    A user's first item is no target, as nothing came before it.

    Args:
        interactions: int64 [U], training items of each user.
        length: L, places of a window.
    """
    windows: NDArray[np.int64] = -(-np.maximum(interactions - 1, 0) // length)
    return windows


def window_samples(
    population: Population,
    users: NDArray[np.int64],
    owner: NDArray[np.int64],
    num_clients: int,
    seed: int,
    round_number: int,
    spec: Sampling,
) -> Samples:
    """Return the windows of some users for one round.

    A user's windows follow one another and end with its latest item; the first is
    filled up in front with copies of its first real place, which weigh nothing.

    Args:
        population: the clients.
        users: int64 [M], local users.
        owner: int64 [M], position of the client of each, ascending.
        num_clients: C.
        seed: seed of the run.
        round_number: the round, for negatives, targets and the order of windows.
        spec: `window` is L, `negatives` are drawn for each place, and a target among the
            next `ahead` items, as far as there are so many; `mask` makes views.
    """
    length = spec.window
    count = population.indptr[users + 1] - population.indptr[users]
    windows = window_counts(count, length)
    size = windows * length
    user = np.repeat(np.arange(len(users)), size)
    place = np.arange(len(user)) - np.repeat(np.cumsum(size) - size, size)
    place -= (size - np.maximum(count - 1, 0))[user]  # below 0: padding
    real, place = place >= 0, np.maximum(place, 0)
    last = population.indptr[users + 1][user] - 1
    at = population.indptr[users][user] + place
    addresses = population.address(users)
    key = keys(seed, round_number, addresses, Purpose.TARGETS)[user]
    further = integers(draw(key, place), np.minimum(spec.ahead, last - at))
    negatives, possible = draw_negatives(population, users, seed, round_number, spec)
    drawn = (np.cumsum(count) - count)[user] + place + 1  # of the item that came next
    fields = {
        "input": population.items[at].astype(np.int64),
        "item": population.items[at + 1 + further].astype(np.int64),
    }
    columns = zip(negative_fields(spec.negatives), negatives[drawn].T, strict=True)
    fields |= {name: np.ascontiguousarray(column) for name, column in columns}
    if spec.pooled:
        fields["user"] = users[user]
    key = np.repeat(keys(seed, round_number, addresses, Purpose.SHUFFLE), windows)
    number = np.arange(len(key)) - np.repeat(np.cumsum(windows) - windows, windows)
    return Samples(
        owner[user],
        fields,
        _views(keys(seed, round_number, addresses, Purpose.MASKS)[user], place, spec.mask),
        (real & possible[drawn]).astype(np.float32),
        np.repeat(draw(key, number), length),
        num_clients,
        window=length,
    )


def _views(key: NDArray[np.uint64], place: NDArray[np.int64], mask: float) -> NDArray[np.float32]:
    """Return the labels of places: 1 plus what the two views of a window mask."""
    if not mask:
        return np.ones(len(place), np.float32)
    first, second = (uniform(draw(key, 2 * place + view)) < mask for view in (0, 1))
    return (1 + first + 2 * second).astype(np.float32)
