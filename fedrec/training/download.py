"""A smaller download: tables whose rows are rounded to 8 or 4 bits an element.

Each row has a scale and a zero point of its own: an element x of a row is sent as the
integer nearest to (x - low) / step, where low is the row's smallest element and step a
part 1 / (2**bits - 1) of its range, both float32.  A client reads low + code * step, which
is at most half a step away, trains on that, and is evaluated on that.  The server keeps
its tables in float32 and applies updates to them, so roundings do not add up over rounds:
a change too small to be seen in one round is seen when it has grown.

Rounding is to the nearest, without draws, so every engine and every mode sends the same.
What is sent is public to all clients of a round, so secure aggregation and differential
privacy are what they were.  Dense weights stay float32, and tables so narrow that a scale
and a zero point would cost more than they save.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedrec.params import Shared

WHOLE = 32
"""`compress.download_bits` of a table that is not rounded."""

_KINDS = ("table.", "fixed.")  # of what is rounded, in the names of a message
_ROW_BYTES = 8  # low and step, float32 each


def packed_bytes(shape: tuple[int, ...], bits: int) -> int:
    """Return the bytes of a float32 table of this shape as it is sent."""
    rows = shape[0] if shape else 1
    width = int(np.prod(shape[1:], dtype=np.int64))
    whole = 4 * rows * width
    return min(whole, rows * (-(-width * bits // 8) + _ROW_BYTES)) if bits < WHOLE else whole


def download_bytes(shared: Shared, bits: int) -> int:
    """Return the bytes of all parameters as a client receives them.

    Args:
        shared: the server's parameters.
        bits: `compress.download_bits`.
    """
    tables = [value.shape for group in (shared.tables, shared.fixed) for value in group.values()]
    dense = sum(value.nbytes for value in shared.weights.values())
    return dense + sum(packed_bytes(shape, bits) for shape in tables)


def pack_tables(arrays: Mapping[str, NDArray], bits: int) -> dict[str, NDArray]:
    """Round the tables among the arrays of a message.

    Args:
        arrays: "table.NAME", "fixed.NAME" (float32 [I, d]) and others.
        bits: 32, 8 or 4.

    Returns:
        For a table that gets smaller "code8.…" uint8 [I, d], or "code4.…" uint8
        [I, ceil(d / 2)] with two codes a byte, "low.…" and "step.…" float32 [I], and
        "width.…" int32 [1]; anything else as it is.
    """
    out: dict[str, NDArray] = {}
    for name, value in arrays.items():
        if not name.startswith(_KINDS) or packed_bytes(value.shape, bits) >= value.nbytes:
            out[name] = value
            continue
        codes, low, step = _rounded(value, 2**bits - 1)
        out |= {
            f"code{bits}.{name}": codes if bits == 8 else _two_a_byte(codes),
            f"low.{name}": low,
            f"step.{name}": step,
            f"width.{name}": np.array(value.shape[1:], np.int32),
        }
    return out


def unpack_tables(arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Rebuild the arrays of a message as a client reads them: all tables float32 again."""
    out: dict[str, NDArray] = {}
    for name, value in arrays.items():
        kind, _, table = name.partition(".")
        if kind in ("code8", "code4"):
            low, step = arrays[f"low.{table}"], arrays[f"step.{table}"]
            shape = (len(value), *arrays[f"width.{table}"])
            width = int(np.prod(shape[1:], dtype=np.int64))
            codes = value if kind == "code8" else _one_a_byte(value, width)
            with np.errstate(invalid="ignore", over="ignore"):
                rows = low[:, None] + codes.astype(np.float32) * step[:, None]
            out[table] = rows.reshape(shape)
        elif kind not in ("low", "step", "width"):
            out[name] = value
    return out


def as_downloaded(shared: Shared, bits: int) -> Shared:
    """Return the parameters as a client reads them; themselves if nothing is rounded."""
    if bits == WHOLE:
        return shared

    def read(group: Mapping[str, NDArray]) -> dict[str, NDArray]:
        sent = pack_tables({f"table.{n}": value for n, value in group.items()}, bits)
        return {n.removeprefix("table."): value for n, value in unpack_tables(sent).items()}

    return Shared(read(shared.tables), shared.weights, read(shared.fixed))


def _rounded(table: NDArray, top: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return codes uint8 [I, d], and low and step float32 [I].

    A row that is not finite stays so: its low or its step is not, and the evaluation tells.
    """
    flat = np.ascontiguousarray(table, np.float32).reshape(len(table), -1)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        low, high = flat.min(1), flat.max(1)
        step = (high - low) / np.float32(top)
        places = np.rint((flat - low[:, None]) / step[:, None])
    places = np.where(np.isfinite(places), np.clip(places, 0, top), 0)  # 0 / 0: a constant row
    return places.astype(np.uint8), low, step


def _two_a_byte(codes: NDArray) -> NDArray:
    """Return uint8 [I, ceil(d / 2)] from codes below 16, [I, d]."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return even[:, ::2] | (even[:, 1::2] << 4)


def _one_a_byte(packed: NDArray, width: int) -> NDArray:
    """Return codes uint8 [I, width]."""
    pairs = np.stack([packed & 15, packed >> 4], axis=2)
    return pairs.reshape(len(packed), -1)[:, :width]
