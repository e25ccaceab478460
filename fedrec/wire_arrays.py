"""Arrays as records of Flower messages, in the narrowest type that keeps every bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray]


def narrow(array: NDArray) -> NDArray:
    """Return the array in half its width if that keeps every value, otherwise as it is."""
    half = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}.get(array.dtype)
    if half is None:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        narrower = array.astype(half)
        same = np.array_equal(narrower.astype(array.dtype), array, equal_nan=half is np.float32)
    return narrower if same else array


def pack_arrays(arrays: Arrays) -> ArrayRecord:
    """Return arrays as a record of a message."""
    return ArrayRecord({name: Array(np.asarray(a, order="C")) for name, a in arrays.items()})


def unpack_arrays(record: ArrayRecord) -> dict[str, NDArray]:
    """Return what `pack_arrays` has packed."""
    return {name: array.numpy() for name, array in record.items()}


def pack_rows(name: str, rows: NDArray) -> dict[str, NDArray]:
    """Return rows [R, d] as they are, or where most elements are zero those that are not."""
    if rows.ndim != 2 or 4 * int(np.count_nonzero(rows)) >= rows.size:
        return {f"rows.{name}": rows}
    row, column = np.nonzero((rows != 0) | np.signbit(rows))
    return {
        f"filled.{name}": np.bincount(row, minlength=len(rows)).astype(np.int32),
        f"column.{name}": narrow(column.astype(np.int64)),
        f"value.{name}": rows[row, column],
        f"width.{name}": np.array([rows.shape[1]], np.int32),
    }


def unpack_rows(name: str, arrays: Arrays) -> NDArray:
    """Rebuild what `pack_rows` returned."""
    if f"rows.{name}" in arrays:
        return arrays[f"rows.{name}"]
    filled, value = arrays[f"filled.{name}"], arrays[f"value.{name}"]
    rows = np.zeros((len(filled), int(arrays[f"width.{name}"][0])), value.dtype)
    rows[np.repeat(np.arange(len(filled)), filled), arrays[f"column.{name}"]] = value
    return rows
