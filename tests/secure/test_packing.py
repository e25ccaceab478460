"""Bits on the wire: by hand, against plain integers, and what must not be there."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.secure.packing import chunks, clean, pack, packed_bytes, reduce, word_type


def packed(words: np.ndarray, width: int) -> bytearray:
    out = bytearray(packed_bytes(len(words), width))
    pack(words, width, memoryview(out))
    return out


def unpacked(raw: bytes, length: int, width: int) -> np.ndarray:
    parts = list(chunks(raw, length, width))
    assert [at for at, _ in parts] == np.cumsum([0, *(len(p) for _, p in parts)])[:-1].tolist()
    return np.concatenate([part for _, part in parts])


def test_three_elements_of_five_bits_by_hand() -> None:
    """1, 31, 2: bits 10000 11111 01000 and one zero, lowest first: 11100001 and 00001011."""
    raw = packed(np.array([1, 31, 2], np.uint32), 5)
    assert raw == bytes([0b11100001, 0b00001011])
    assert unpacked(raw, 3, 5).tolist() == [1, 31, 2]


def test_fifteen_bits_an_element_are_fewer_bytes_than_four() -> None:
    """secure.bits = 8 and 100 clients: 100 * 255 < 2**15."""
    assert packed_bytes(53_824, 15) == 100_920
    assert packed_bytes(53_824, 32) == 215_296


@given(st.integers(1, 64), st.integers(1, 200), st.integers(0, 2**31))
def test_it_is_the_bit_string_of_plain_integers(width: int, length: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    words = draw.integers(0, 2**width, length, dtype=np.uint64).astype(word_type(width))
    raw = packed(words, width)
    string = sum(int(word) << at * width for at, word in enumerate(words))
    assert raw == string.to_bytes(len(raw), "little")
    assert np.array_equal(unpacked(raw, length, width), words)
    assert clean(raw, length, width)


@pytest.mark.parametrize("width", [1, 15, 27, 33, 57, 63])
@pytest.mark.parametrize("length", [32_767, 32_768, 32_769, 100_001])
def test_chunks_meet(width: int, length: int) -> None:
    words = np.random.default_rng(1).integers(0, 2**width, length, dtype=np.uint64)
    assert np.array_equal(unpacked(packed(words, width), length, width), words)


def test_bits_above_the_width_are_left_out() -> None:
    words = np.array([2**20 + 3, 2**20 - 1], np.uint32)
    assert unpacked(packed(words, 20), 2, 20).tolist() == [3, 2**20 - 1]
    reduce(words, 20)
    assert words.tolist() == [3, 2**20 - 1]
    whole = np.array([2**32 - 1], np.uint32)
    reduce(whole, 32)
    assert whole.tolist() == [2**32 - 1]


def test_every_padding_bit_counts() -> None:
    raw = packed(np.array([1, 31, 2], np.uint32), 5)
    raw[-1] |= 0x80
    assert not clean(raw, 3, 5)
    assert clean(b"\xff", 8, 1)  # no bit is left over
    for bit in range(3, 8):
        assert not clean(bytes([1 << bit]), 3, 1)


def test_memory_is_that_of_a_chunk() -> None:
    words = np.zeros(2_000_000, np.uint32)
    out = bytearray(packed_bytes(len(words), 15))
    tracemalloc.start()
    pack(words, 15, memoryview(out))
    assert sum(int(part.sum()) for _, part in chunks(out, len(words), 15)) == 0
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()
