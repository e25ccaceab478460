"""Whether masked vectors look like noise: uniformity, structure, and two worlds.

Uniformity is necessary only: a Mersenne twister passes such tests.  Berlekamp and
Massey's algorithm (Massey 1969) finds its structure: the low bits of its words follow
from a register of 19,937 bits, where n random bits need one of about n / 2.  The last
test is the attacker's question: is a client's masked vector that of its real update or
that of a client who has done nothing?  The same classifier on vectors without masks
must succeed, or its failure means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedrec.audit.scoring import Floats, Interval
from fedrec.robust.updates import Updates
from fedrec.secure import simulate
from fedrec.secure.frames import HEADER_BYTES
from fedrec.secure.quantise import FixedPoint, encode

Words = NDArray[np.uint32]
MOST_BITS = 40_000
GROUPS = 20_000  # of 16 words in each world
_TAG_BYTES = 16
_PARTIES = 3
_BITS = 24  # three parties of so many bits fit into words of 32 bits


@dataclass(frozen=True)
class Structure:
    """What was found in the masked vectors of one client.

    Attributes:
        words: masked words of 32 bits that were looked at, in each world.
        kolmogorov: p-value of the Kolmogorov-Smirnov test against the uniform distribution.
        chi_square: p-value of the chi-square test of the high 4 bits.
        bits: low bits of successive words whose linear complexity was measured.
        complexity: their linear complexity; about half of `bits` without structure.
        auc: of a linear classifier between two worlds, on masked vectors.
        auc_interval: what a classifier that cannot tell gets with 99.99% probability.
        auc_clear: of the same classifier without masks.
    """

    words: int
    kolmogorov: float
    chi_square: float
    bits: int
    complexity: int
    auc: float
    auc_interval: Interval
    auc_clear: float

    @property
    def sound(self) -> bool:
        """Whether nothing was found; by chance something is in one of some thousand audits."""
        low, high = self.auc_interval
        return (
            min(self.kolmogorov, self.chi_square) > 1e-4
            and abs(self.complexity - self.bits / 2) < 30
            and low <= self.auc <= high
        )

    def to_json(self) -> dict[str, object]:
        """Return an element of `masks` in audit.json."""
        return {**self.__dict__, "sound": self.sound}


def audit_masks(updates: Updates, bits: int, clip: float) -> Structure:
    """Run sessions of secure aggregation on a real update, and look at what is sent.

    The client with the most rows sends, in these rows, its update in one world and nothing
    in the other.

    Args:
        updates: of a round; two of its clients are the other parties.
        bits: of the quantisation.
        clip: of an element.
    """
    most = int(np.bincount(updates.client, minlength=len(updates.clients)).argmax())
    others = np.setdiff1d(np.arange(min(_PARTIES, len(updates.clients))), most)
    parties = [most, *others][:_PARTIES]
    ids = updates.ids[updates.client == most]
    rows = np.stack([updates.dense(p, p + 1)[0, ids].ravel() for p in parties])
    flat = np.zeros((_PARTIES, rows.shape[1]))
    flat[: len(rows)] = rows
    scheme = FixedPoint(bits=min(bits, _BITS), clip=clip)
    sessions = max(1, -(-GROUPS * 16 // flat.shape[1]))
    masked: tuple[list[Words], list[Words]] = ([], [])
    clear: tuple[list[Words], list[Words]] = ([], [])
    for _ in range(sessions):
        for world in (0, 1):
            values = flat.copy()
            values[0] *= world
            inputs = encode(values, np.ones(_PARTIES, np.int64), scheme).astype(np.uint32)
            masked[world].append(first_masked(inputs)[:-1])  # the last is its weight
            clear[world].append(inputs[0, :-1])
    return examine(*map(np.concatenate, masked), *map(np.concatenate, clear))


def first_masked(inputs: Words) -> Words:
    """Return the masked vector that the first of some clients sends in a session.

    Args:
        inputs: uint32 [n, m].
    """
    sent = next(s for s in simulate(inputs).transcript if s.stage == "mask" and s.sender == 0)
    assert sent.message is not None
    return np.frombuffer(sent.message[HEADER_BYTES:-_TAG_BYTES], "<u4")


def examine(masked: Words, masked_too: Words, clear: Words, clear_too: Words) -> Structure:
    """Test masked vectors of two worlds, and the same vectors without masks.

    Args:
        masked: uint32 [m], of one world.
        masked_too: uint32 [m], of the other.
        clear: uint32 [m], without masks, of the one.
        clear_too: uint32 [m], of the other.
    """
    counts = np.bincount(masked >> 28, minlength=16)
    low = masked[:MOST_BITS] & 1
    tested = len(masked) // 16 - len(masked) // 32
    spread = stats.norm.isf(0.5e-4) * np.sqrt((2 * tested + 1) / (12.0 * tested**2))
    return Structure(
        len(masked),
        float(stats.kstest(masked / 2**32, "uniform").pvalue),
        float(stats.chisquare(counts).pvalue),
        len(low),
        linear_complexity(low),
        two_worlds(masked, masked_too),
        (0.5 - float(spread), 0.5 + float(spread)),
        two_worlds(clear, clear_too),
    )


def linear_complexity(bits: NDArray) -> int:
    """Return the length of the shortest linear feedback register that yields the bits.

    Polynomials and the last bits are Python integers, bit j for the place j before.
    """
    connection, previous, length, gap, window = 1, 1, 0, 1, 0
    for place, bit in enumerate(bits.tolist()):
        window = window << 1 | bit
        if (connection & window).bit_count() & 1:
            before = connection
            connection ^= previous << gap
            if 2 * length <= place:
                length, previous, gap = place + 1 - length, before, 0
        gap += 1
    return length


def features(words: Words, centre: float, scale: float) -> Floats:
    """Return what a classifier sees of groups of 16 words, float64 [m // 16, 64].

    Args:
        words: uint32 [m].
        centre: that is taken off each word.
        scale: that it is divided by.

    Returns:
        Scaled values, their squares, the lowest and the highest bits.
    """
    groups = words[: len(words) // 16 * 16].reshape(-1, 16)
    values = (groups - centre) / scale
    return np.concatenate([values, values**2, groups & 1, groups >> 31], axis=1)


def two_worlds(first: Words, second: Words) -> float:
    """Return the AUC of a linear classifier that has learnt from one half of each world.

    Args:
        first: uint32 [m]; the first half of its groups of 16 words is learnt from.
        second: uint32 [m].
    """
    whole = np.concatenate([first, second]).astype(np.float64)
    centre, scale = float(whole.mean()), max(float(whole.std()), 1e-12)
    worlds = [features(words, centre, scale) for words in (first, second)]
    halves = [len(world) // 2 for world in worlds]
    learn = np.concatenate([w[:half] for w, half in zip(worlds, halves, strict=True)])
    label = np.repeat([0.0, 1.0], halves)
    design = np.column_stack([learn, np.ones(len(learn))])
    weight = np.linalg.lstsq(design, label, rcond=None)[0][:-1]
    scores = [w[half:] @ weight for w, half in zip(worlds, halves, strict=True)]
    ranks = stats.rankdata(np.concatenate(scores))
    zeros, ones = map(len, scores)
    return float((ranks[zeros:].sum() - ones * (ones + 1) / 2) / (zeros * ones))
