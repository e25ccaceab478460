"""Addressed randomness: every draw is a function of (seed, round, client, purpose).

Nothing here keeps a state that a call order could change, so results do not
depend on the engine, on how clients are spread over nodes, or on a resume.

Two forms are offered.  `generator` gives a numpy generator for one address;
`draw` is vectorised over clients: a counter-based generator in the sense of
Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), with the
64-bit finaliser of SplitMix64 (Steele et al., OOPSLA 2014) as its mixing
function.  Neither is for keys or masks: those come from the operating system.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)

NO_CLIENT = 2**62
"""The client part of an address that belongs to the server or to the whole run."""


class Purpose(IntEnum):
    """What a draw is for.  Values are part of every published result: append only."""

    INIT_SHARED = 1
    INIT_PERSONAL = 2
    NEGATIVES = 3
    SHUFFLE = 4
    SAMPLING = 5
    AVAILABILITY = 6
    DROPOUT = 7
    EVALUATION_NEGATIVES = 8
    TIES = 9
    BOOTSTRAP = 10
    SPLIT = 11
    PARTITION = 12
    SYNTHETIC = 13
    BASELINE = 14
    MODEL = 15
    PSEUDO_ITEMS = 16
    AUDIT = 17
    POISON = 18
    EVALUATION_CLIENTS = 19
    SUBSPACE = 20
    ROUNDING = 21
    SUPPORT = 22
    TARGETS = 23
    MASKS = 24
    SEARCH = 40
    ANCHOR_NET = 44
    NEW_ITEMS = 52
    PROTOTYPES = 60
    MERCHANT_GROUPS = 64
    EXPLORATION = 65
    AUDIENCE = 66
    CONTRIBUTION = 70
    REGROUPING = 71
    VERTICAL = 74


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_A
    x = (x ^ (x >> np.uint64(27))) * _MIX_B
    return x ^ (x >> np.uint64(31))


def keys(seed: int, round_number: int, clients: ArrayLike, purpose: Purpose) -> NDArray[np.uint64]:
    """Return one 64-bit key for each address.

    Args:
        seed: the seed of the run, any non-negative integer below 2**63.
        round_number: the round, or 0 where there is none.
        clients: int, any shape: client numbers (or NO_CLIENT).
        purpose: what the draws are for.

    Returns:
        uint64, of the shape of `clients`.
    """
    with np.errstate(over="ignore"):
        key = np.asarray(clients).astype(np.int64).astype(np.uint64)
        for part in (int(purpose), round_number, seed):
            key = _mix(key + _GOLDEN) ^ (np.uint64(part) * _GOLDEN)
        return _mix(key + _GOLDEN)


def draw(key: NDArray[np.uint64], counter: ArrayLike) -> NDArray[np.uint64]:
    """Return uniform 64-bit words for pairs of key and counter.

    Args:
        key: uint64 keys as given by `keys`.
        counter: int, broadcastable against `key`: the position in the stream.

    Returns:
        uint64, of the broadcast shape.
    """
    with np.errstate(over="ignore"):
        return _mix(key + (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def integers(words: NDArray[np.uint64], high: ArrayLike) -> NDArray[np.int64]:
    """Map uniform 64-bit words to integers in [0, high).

    The upper 32 bits are scaled (Lemire 2019); the bias is below high / 2**32.

    Args:
        words: uint64, any shape.
        high: int, broadcastable: exclusive upper bound, at most 2**31.

    Returns:
        int64, of the broadcast shape.
    """
    scaled = (words >> np.uint64(32)) * np.asarray(high).astype(np.uint64)
    return (scaled >> np.uint64(32)).astype(np.int64)


def uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map uniform 64-bit words to float64 in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator(seed: int, round_number: int, client: int, purpose: Purpose) -> np.random.Generator:
    """Return a numpy generator that depends on its address alone.

    Args:
        seed: the seed of the run.
        round_number: the round, or 0 where there is none.
        client: the client number, or NO_CLIENT.
        purpose: what the draws are for.

    Returns:
        A Philox generator.
    """
    key = keys(seed, round_number, np.array([client]), purpose)
    return np.random.Generator(np.random.Philox(key=int(key[0])))


def normal(key: NDArray[np.uint64], size: int) -> NDArray[np.float32]:
    """Return standard normal vectors, one for each key (Box and Muller 1958).

    Args:
        key: uint64 [C].
        size: number of draws for each key.

    Returns:
        float32 [C, size].
    """
    counter = np.arange(size, dtype=np.int64)
    first = 1.0 - uniform(draw(key[:, None], 2 * counter))  # in (0, 1]: log is finite
    second = uniform(draw(key[:, None], 2 * counter + 1))
    return (np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)).astype(np.float32)
