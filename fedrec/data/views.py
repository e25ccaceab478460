"""Samples in groups whose items are told apart from two masked views of their attributes.

For contrastive training of item attributes (Yao et al., CIKM 2021) an item needs a
partner, itself seen through another mask, and others to be told from.  A phone has no
other users' items, so the others are those of its own sample: a group holds some of one
user's interactions with the negatives drawn for them, and is never cut or shuffled
apart.  Which masks an item is seen through stands in its label: ``y + 2 * (1 + a + M b)``
for the masks a and b of M, and y alone if it does not take part, as it stands in the
group already or fills it up.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.rng import NO_CLIENT, Purpose, draw, integers, keys, uniform

MASKS = 256
"""M, masks of a run: so few that a float32 label holds two of them exactly."""
_GROUP = 64  # samples of a group, about: what the step's tiles hold


def group_size(width: int) -> int:
    """Return the samples of a group: of at least two interactions, each of `width` samples."""
    return width * max(2, _GROUP // width)


def grouped_counts(samples: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return the samples of users, int64 [U], once their groups are filled up."""
    size = group_size(width)
    full: NDArray[np.int64] = -(-samples // size) * size
    return full


def in_groups(
    samples: Samples,
    users: NDArray[np.int64],
    counts: NDArray[np.int64],
    width: int,
    seed: int,
    round_number: int,
) -> Samples:
    """Return samples in groups, with labels that name two masks.

    Args:
        samples: user by user, the samples of an interaction together.
        users: int64 [M], the users.
        counts: int64 [M], samples of each.
        width: samples of an interaction.
        seed: seed of the run.
        round_number: the round, for masks and the order of groups.

    Returns:
        Whole groups of each user; its last is filled up with copies of its first sample,
        which weigh nothing.
    """
    size, full = group_size(width), grouped_counts(counts, width)
    user = np.repeat(np.arange(len(users)), full)
    place = np.arange(len(user)) - np.repeat(np.cumsum(full) - full, full)
    real = place < counts[user]
    source = (np.cumsum(counts) - counts)[user] + place * real
    groups = full // size
    number = np.arange(int(groups.sum())) - np.repeat(np.cumsum(groups) - groups, groups)
    order = draw(np.repeat(keys(seed, round_number, users, Purpose.SHUFFLE), groups), number)
    words = draw(keys(seed, round_number, users, Purpose.MASKS)[user], place)
    weight = samples.weight[source] * real
    takes = _first_of_group(samples.fields["item"][source], size, weight > 0)
    masks = (1 + integers(words, MASKS * MASKS)) * takes
    return replace(
        samples,
        client=samples.client[source],
        fields={name: column[source] for name, column in samples.fields.items()},
        label=(samples.label[source] + 2 * masks).astype(np.float32),
        weight=weight,
        order=np.repeat(order, size),
        window=size,
    )


def _first_of_group(
    items: NDArray[np.int64], size: int, counts: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which samples that count are the first of their item in their group."""
    group = np.arange(len(items)) // size
    which = np.flatnonzero(counts)
    _, first = np.unique(np.stack([group[which], items[which]]), axis=1, return_index=True)
    found = np.zeros(len(items), bool)
    found[which[first]] = True
    return found


def kept_numbers(width: int, mask: float, seed: int) -> NDArray[np.float32]:
    """Return the masks of a run, float32 [M, width]: 1 for a number that is kept, else 0.

    Args:
        width: A, numbers of an item's features.
        mask: chance that a number is masked.
        seed: seed of the run.
    """
    key = keys(seed, 0, NO_CLIENT - np.arange(MASKS), Purpose.MASKS)
    return (uniform(draw(key[:, None], np.arange(width))) >= mask).astype(np.float32)
