"""What the server sees: uniform, without linear structure, and the same for any input.

Uniformity alone is necessary only: a Mersenne twister passes it, and fails the test of
its structure.
"""

import os

import numpy as np
import pytest
from scipy import stats

from fedrec.secure import simulate
from fedrec.secure.masks import CHUNK_BYTES, add_masks, keystream


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("size", [1, 7, CHUNK_BYTES // 8, CHUNK_BYTES // 4 + 3])
def test_masks_are_added_and_cancel(dtype: str, size: int) -> None:
    keys = [os.urandom(32) for _ in range(3)]
    width = np.dtype(dtype).itemsize
    start = np.frombuffer(os.urandom(size * width), dtype).copy()
    words = [np.frombuffer(keystream(key, size * width), dtype) for key in keys]
    vector = start.copy()
    add_masks(vector, keys[:2], keys[2:])
    assert np.array_equal(vector, start + words[0] + words[1] - words[2])
    add_masks(vector, keys[2:], keys[:2])
    assert np.array_equal(vector, start)


def test_many_masks_in_groups() -> None:
    keys = [i.to_bytes(32, "little") for i in range(300)]
    vector = np.zeros(5, np.uint32)
    add_masks(vector, keys, [])
    assert np.array_equal(vector, sum(np.frombuffer(keystream(key, 20), "<u4") for key in keys))


def masked(inputs: np.ndarray) -> np.ndarray:
    """The masked vectors of a session, as the server sees them: uint32 [n, m]."""
    sent = [
        s.message
        for s in simulate(inputs).transcript
        if s.stage == "mask" and s.sender < len(inputs)
    ]
    return np.stack([np.frombuffer(raw[64:-16], "<u4") for raw in sent])


def test_masked_vectors_are_uniform() -> None:
    """200 runs: p-values of KS and chi-square are uniform themselves."""
    ks, chi = [], []
    for _ in range(200):
        words = masked(np.zeros((3, 500), np.uint32))[0]
        ks.append(stats.kstest(words / 2**32, "uniform").pvalue)
        chi.append(stats.chisquare(np.bincount(words >> 28, minlength=16)).pvalue)
    assert stats.kstest(ks, "uniform").pvalue > 1e-4
    assert stats.kstest(chi, "uniform").pvalue > 1e-4


def linear_complexity(bits: np.ndarray) -> int:
    """Length of the shortest linear feedback register (Berlekamp and Massey), bits as integers."""
    connection, before, length, gap, window = 1, 1, 0, 1, 0
    for at, bit in enumerate(bits.tolist()):
        window = window << 1 | bit  # bit j of the window is the bit j places ago
        if (connection & window).bit_count() & 1:
            previous = connection
            connection ^= before << gap
            if 2 * length <= at:
                length, before, gap = at + 1 - length, previous, 0
        gap += 1
    return length


def test_linear_complexity_by_hand() -> None:
    assert linear_complexity(np.array([0, 0, 1])) == 3
    assert linear_complexity(np.array([1, 0] * 20)) == 2
    register = [1, 0, 0, 1]
    for _ in range(60):
        register.append(register[-4] ^ register[-3])
    assert linear_complexity(np.array(register)) == 4


def test_low_bits_have_no_linear_structure() -> None:
    low = masked(np.zeros((3, 40_000), np.uint32))[0] & 1
    assert abs(linear_complexity(low) - 20_000) < 30
    twister = np.random.Generator(np.random.MT19937(1))
    broken = twister.integers(0, 2**32, 40_000, dtype=np.uint32)
    assert stats.kstest(broken / 2**32, "uniform").pvalue > 1e-3  # it looks as good
    assert linear_complexity(broken & 1) == 19_937


def auc(first: np.ndarray, second: np.ndarray) -> float:
    """A linear classifier between two worlds, trained on one half of the samples."""
    half = len(first) // 2
    train = np.concatenate([first[:half], second[:half]])
    label = np.repeat([0.0, 1.0], half)
    design = np.column_stack([train, np.ones(len(train))])
    weight = np.linalg.lstsq(design, label, rcond=None)[0][:-1]
    ranks = stats.rankdata(np.concatenate([first[half:] @ weight, second[half:] @ weight]))
    rest = len(first) - half
    return float((ranks[rest:].sum() - rest * (rest + 1) / 2) / rest**2)


def features(words: np.ndarray) -> np.ndarray:
    """Groups of 16 words: their values, their lowest and their highest bit."""
    groups = words.reshape(-1, 16)
    return np.concatenate([groups / 2**32, groups & 1, groups >> 31], axis=1).astype(np.float64)


def test_two_worlds_cannot_be_told_apart() -> None:
    """One client's input is all zeros, or all ones in every bit below the bound."""
    size, top = 16 * 60_000, 2**30 - 1
    worlds = []
    for value in (0, top):
        inputs = np.zeros((3, size), np.uint32)
        inputs[0], inputs[1, 0] = value, top
        worlds.append(features(masked(inputs)[0]))
    assert 0.48 < auc(*worlds) < 0.52
    one = np.zeros(16 * 1000, np.uint32)
    assert auc(features(one), features(one + np.arange(len(one), dtype=np.uint32) % 7)) > 0.9
