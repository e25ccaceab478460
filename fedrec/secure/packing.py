"""Elements of a ring Z_{2^k} as a string of bits, k bits each, and back.

Element i takes the bits i * k to (i + 1) * k - 1 of the string, lowest first; bit j of
the string is bit j % 8 of byte j // 8.  What is left of the last byte is zero, so every
content has one encoding only.  32 and 64 bits are plain little-endian words.

32 elements fill k words of 32 bits whatever k is (64 of 64 where k is above 32), so the
work is a few shifts of whole columns; it goes chunk by chunk, whose copies are all the
memory that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_CHUNK = 512 * 64
_WORD_BITS = (32, 64)

Buffer = bytes | bytearray | memoryview


def packed_bytes(length: int, width: int) -> int:
    """Return the bytes that `length` elements of `width` bits take."""
    return (length * width + 7) // 8


def word_type(width: int) -> str:
    """Return the numpy dtype in which elements of a width are computed with."""
    return "<u4" if width <= 32 else "<u8"


def plain_words(width: int) -> bool:
    """Return whether elements travel as whole words, without packing."""
    return width in _WORD_BITS


def pack(words: NDArray, width: int, out: memoryview) -> None:
    """Write elements, reduced modulo 2**width.

    Args:
        words: uint32 or uint64 [m]; bits above `width` are left out.
        width: k, 1 to 64.
        out: `packed_bytes(m, width)` bytes: overwritten.
    """
    for start in range(0, len(words), _CHUNK):
        part = words[start : start + _CHUNK]
        raw = _pack_chunk(part, width)
        at = start * width // 8  # a whole number: 8 divides the chunk
        size = packed_bytes(len(part), width)
        out[at : at + size] = raw[:size]


def chunks(raw: Buffer, length: int, width: int) -> Iterator[tuple[int, NDArray]]:
    """Read elements chunk by chunk.

    Args:
        raw: `packed_bytes(length, width)` bytes.
        length: m, number of elements.
        width: k, 1 to 64.

    Yields:
        (number of the first element, uint32 or uint64 [c], all below 2**width).
    """
    dtype = word_type(width)
    if plain_words(width):
        yield 0, np.frombuffer(raw, dtype, length)
        return
    whole = memoryview(raw)
    for start in range(0, length, _CHUNK):
        count = min(_CHUNK, length - start)
        at = start * width // 8
        part = whole[at : at + packed_bytes(count, width)]
        yield start, _unpack_chunk(part, count, width)


def clean(raw: Buffer, length: int, width: int) -> bool:
    """Return whether the bits after the last element are zero."""
    used = length * width % 8
    return not used or memoryview(raw)[-1] >> used == 0


def reduce(words: NDArray, width: int) -> None:
    """Reduce elements modulo 2**width, in place."""
    if width < 8 * words.itemsize:
        words &= words.dtype.type(2**width - 1)


def _group(width: int) -> int:
    """Return the elements of a group: as many as a word has bits."""
    return 32 if width <= 32 else 64


def _places(width: int) -> Iterator[tuple[int, int, int]]:
    """Yield (column, word, shift) for each element of a group."""
    for column in range(_group(width)):
        word, shift = divmod(column * width, _group(width))
        yield column, word, shift


def _pack_chunk(part: NDArray, width: int) -> memoryview:
    size, one = _group(width), np.dtype(word_type(width)).type
    groups = -(-len(part) // size)
    columns = np.zeros(groups * size, word_type(width))
    np.copyto(columns[: len(part)], part, casting="unsafe")
    columns &= one(2**width - 1)
    table = np.ascontiguousarray(columns.reshape(groups, size).T)
    packed = np.zeros((width, groups), word_type(width))
    for column, word, shift in _places(width):
        packed[word] |= table[column] << one(shift)
        if shift + width > size:
            packed[word + 1] |= table[column] >> one(size - shift)
    return np.ascontiguousarray(packed.T).reshape(-1).view(np.uint8).data


def _unpack_chunk(raw: memoryview, count: int, width: int) -> NDArray:
    size, one = _group(width), np.dtype(word_type(width)).type
    groups = -(-count // size)
    padded = np.zeros(groups * width * size // 8, np.uint8)
    padded[: len(raw)] = np.frombuffer(raw, np.uint8)
    packed = np.ascontiguousarray(padded.view(word_type(width)).reshape(groups, width).T)
    table = np.empty((size, groups), word_type(width))
    for column, word, shift in _places(width):
        np.right_shift(packed[word], one(shift), out=table[column])
        if shift + width > size:
            table[column] |= packed[word + 1] << one(size - shift)
    table &= one(2**width - 1)
    return np.ascontiguousarray(table.T).reshape(-1)[:count]
