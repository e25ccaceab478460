"""Prototypes of taste: k-means of user vectors of which nobody sees one.

Each round asks clients that have not been asked before.  A client finds the prototype that
its vector points to most (spherical k-means: Dhillon and Modha 2001), and two secure sums
follow: how many clients are nearest to each prototype, and then, of the prototypes that
enough of them are nearest to, the sums of their vectors; a client whose own prototype has
too few adds to the nearest of the others.  Were a client asked twice, and alone in moving
between two rounds, the sums of both rounds would differ by its vector: so none is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.secure.quantise import FixedPoint, decode, encode
from fedrec.secure.simulate import SecureSum, simulate

SCHEME = FixedPoint(bits=16, clip=1.0)
"""Directions are unit vectors, so every element lies in [-1, 1] without any clipping."""

_OCTAVES = 16.0  # lengths between 2**-16 and 2**16 are told apart
_OLDER = 0.5  # what earlier rounds count beside a new one


@dataclass(frozen=True, eq=False)
class Told:
    """All that the server learns in one round, beside which clients took part.

    Attributes:
        counts: int64 [P], clients nearest to each prototype.
        kept: int64 [P'], prototypes with enough clients, ascending.
        members: int64 [P'], clients that add to each of these.
        sums: float64 [P', D + 1], sums of their directions, and of the logarithms (base 2)
            of their lengths over 16.
        sessions: the two secure sums, with their transcripts and bytes; the second is
            missing where no prototype has enough clients.
    """

    counts: NDArray[np.int64]
    kept: NDArray[np.int64]
    members: NDArray[np.int64]
    sums: NDArray[np.float64]
    sessions: tuple[SecureSum, ...]


@dataclass(frozen=True, eq=False)
class Prototypes:
    """What k-means has found.

    Attributes:
        vectors: float64 [P', D], prototypes that have ever had a sum, or the starts if none.
        counts: float64 [P'], clients that added to each, later rounds counting more.
        rounds: what the server has learnt, round by round.
    """

    vectors: NDArray[np.float64]
    counts: NDArray[np.float64]
    rounds: tuple[Told, ...]


def kmeans(
    vectors: NDArray, starts: NDArray, *, rounds: int, fewest: int, mode: str, seed: int
) -> Prototypes:
    """Find prototypes of the vectors of clients by secure sums.

    Args:
        vectors: float [W, D], one on each client's device.
        starts: float [P, D], which nobody's vector may be.
        rounds: each asks another W / rounds of the clients.
        fewest: a prototype that fewer clients of a round are nearest to gets no sum.
        mode: of the secure sums: "semi-honest" or "malicious-server".
        seed: of who is asked when.

    Raises:
        ConfigError: if a round has too few clients, or the mode masks nothing.
    """
    enough_clients(len(vectors), rounds, fewest)
    if mode == "off":
        raise ConfigError(
            "prototypes are sums of vectors of single users, which must be masked: use the mode "
            "'semi-honest' or 'malicious-server'"
        )
    order = generator(seed, 0, NO_CLIENT, Purpose.PROTOTYPES).permutation(len(vectors))
    direction, length = _split(starts)
    weight, told = np.zeros(len(starts)), []
    for asked in np.array_split(order, rounds):
        own, own_length = _split(np.asarray(vectors)[np.sort(asked)])
        found = ask(own, own_length, direction, fewest, mode)
        told.append(found)
        kept = found.kept
        mean = found.sums / np.maximum(found.members, 1)[:, None]
        share = found.members / (_OLDER * weight[kept] + found.members)
        direction[kept] = _unit(_towards(direction[kept], _unit(mean[:, :-1]), share[:, None]))
        length[kept] = _towards(length[kept], mean[:, -1], share)
        weight[kept] = _OLDER * weight[kept] + found.members
    used = np.flatnonzero(weight) if weight.any() else np.arange(len(starts))
    joined = direction[used] * np.exp2(_OCTAVES * length[used])[:, None]
    return Prototypes(joined, weight[used], tuple(told))


def ask(
    own: NDArray[np.float64],
    length: NDArray[np.float64],
    prototypes: NDArray[np.float64],
    fewest: int,
    mode: str,
) -> Told:
    """Run one round: the secure sum of counts, then that of vectors.

    Args:
        own: float64 [C, D], the direction on each asked client.
        length: float64 [C], the logarithms of the lengths over 16, in [-1, 1].
        prototypes: float64 [P, D], directions.
        fewest: as for `kmeans`.
        mode: as there.
    """
    likeness = own @ prototypes.T
    first = simulate(_ones(likeness.argmax(1), len(prototypes)), mode=mode)
    counts = first.total.astype(np.int64)
    kept = np.flatnonzero(counts >= fewest)
    width = own.shape[1] + 1
    if not len(kept):
        nothing = np.zeros((0, width))
        return Told(counts, kept, np.zeros(0, np.int64), nothing, (first,))
    place = likeness[:, kept].argmax(1)
    values = np.zeros((len(own), len(kept), width))
    values[np.arange(len(own)), place] = np.column_stack([own, length])
    real = encode(values.reshape(len(own), -1), 1, SCHEME)
    second = simulate(np.concatenate([real, _ones(place, len(kept))], axis=1), mode=mode)
    sums, _ = decode(second.total[: real.shape[1]], SCHEME)
    members = second.total[real.shape[1] :].astype(np.int64)
    return Told(counts, kept, members, sums.reshape(len(kept), width), (first, second))


def enough_clients(clients: int, rounds: int, fewest: int) -> None:
    """Refuse rounds in which no sum could be of enough clients.

    Raises:
        ConfigError: naming the keys to lower.
    """
    least = max(3, fewest)
    if clients // rounds < least:
        raise ConfigError(
            f"prototypes: {clients} clients in coldstart.prototype_rounds = {rounds} rounds are "
            f"fewer than {least} a round, and no client is asked twice: lower "
            "coldstart.prototype_rounds or coldstart.prototype_users"
        )


def _ones(place: NDArray[np.int64], number: int) -> NDArray[np.uint64]:
    return np.eye(number, dtype=np.uint64)[place]


def _split(vectors: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return directions, and logarithms of lengths as a fraction of 16 octaves."""
    real = np.asarray(vectors, np.float64)
    norm = np.sqrt(np.square(real).sum(1))
    length = np.log2(np.maximum(norm, 2.0**-_OCTAVES)) / _OCTAVES
    return _unit(real), np.clip(length, -1.0, 1.0)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    return vectors / np.maximum(norm, np.finfo(np.float64).tiny)


def _towards(a: NDArray, b: NDArray, share: NDArray) -> NDArray:
    return a + share * (b - a)
