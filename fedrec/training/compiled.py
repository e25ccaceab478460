"""Compile a TensorFlow function once for all sizes.  Imported with TensorFlow.

`tf.function` traces anew for sizes that it has not seen, and takes some tries to
generalise; blocks of clients come in many sizes, and a trace costs seconds.  Each
tensor of a call costs some 50 microseconds as well, so NumPy arrays of one type go
over in one piece, and are cut apart inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class _Packed(NamedTuple):
    """An array that goes over with others of its type: its type, and what varies of its sizes.

    Attributes:
        dtype: of the array.
        free: how many leading axes vary from call to call.
        tail: sizes of the other axes.
    """

    dtype: Any
    free: int
    tail: tuple[int, ...]


class _Whole(NamedTuple):
    """A tensor that goes over by itself; as for `_Packed`."""

    dtype: Any
    free: int
    tail: tuple[int, ...]


def _place(value: Any, free: int) -> _Packed | _Whole:
    rank = len(value.shape)
    kind = _Whole if isinstance(value, tf.Tensor) else _Packed
    return kind(value.dtype, min(free, rank), tuple(value.shape[free:]))


def compile_once(function: Callable[..., Any], free_axes: Sequence[int]) -> Callable[..., Any]:
    """Compile `function` with one trace for each structure of its arguments.

    Args:
        function: takes nested dicts and tuples of arrays; runs without autograph, so
            loops over tensors must be `tf.while_loop`.
        free_axes: for each argument, how many leading axes of its arrays vary from
            call to call.  Python numbers count as NumPy has them: int64 and float64.

    Returns:
        A function of the same arguments.
    """
    traces: dict[Any, Callable[..., Any]] = {}

    def call(*arguments: Any) -> Any:
        given = tf.nest.flatten(arguments)
        flat = [v if isinstance(v, tf.Tensor) else np.asarray(v) for v in given]
        places = [_place(v, n) for v, n in zip(flat, _axes(arguments, free_axes), strict=True)]
        key = (_outline(arguments), *((type(p), p) for p in places))
        if key not in traces:
            traces[key] = _trace(function, arguments, places)
        return traces[key](*_pack(flat, places))

    return call


def _pack(flat: Sequence[Any], places: Sequence[Any]) -> list[Any]:
    """Return the tensors as they are, one piece for each type of array, and the free sizes."""
    tensors = [v for v, place in zip(flat, places, strict=True) if isinstance(place, _Whole)]
    arrays = [(v, p) for v, p in zip(flat, places, strict=True) if isinstance(p, _Packed)]
    pieces = [
        np.concatenate([v.ravel() for v, p in arrays if p.dtype == dtype])
        for dtype in _dtypes(places)
    ]
    sizes = [size for v, p in arrays for size in v.shape[: p.free]]
    return [*tensors, *map(tf.constant, pieces), tf.constant(sizes, tf.int32)]


def _unpack(given: Sequence[Any], places: Sequence[Any]) -> list[Any]:
    """Return what `_pack` was given, as tensors.  Runs inside a trace."""
    whole = sum(isinstance(place, _Whole) for place in places)
    tensors, (*pieces, sizes) = iter(given[:whole]), given[whole:]
    packed = [place for place in places if isinstance(place, _Packed)]
    shapes, at = [], 0
    for place in packed:
        shapes.append([*(sizes[at + axis] for axis in range(place.free)), *place.tail])
        at += place.free
    arrays: dict[int, Any] = {}
    for dtype, piece in zip(_dtypes(places), pieces, strict=True):
        mine = [n for n, place in enumerate(packed) if place.dtype == dtype]
        lengths = tf.stack([_product(shapes[n]) for n in mine])
        for n, part in zip(mine, tf.split(piece, lengths, num=len(mine)), strict=True):
            static = [None] * packed[n].free + list(packed[n].tail)
            arrays[n] = tf.ensure_shape(tf.reshape(part, shapes[n]), static)
    order = iter(range(len(packed)))
    return [arrays[next(order)] if isinstance(p, _Packed) else next(tensors) for p in places]


def _dtypes(places: Sequence[Any]) -> list[Any]:
    """Return the types of the packed arrays, each once."""
    return list(dict.fromkeys(place.dtype for place in places if isinstance(place, _Packed)))


def _product(sizes: Sequence[Any]) -> Any:
    result: Any = tf.constant(1)
    for size in sizes:
        result *= size
    return result


def _trace(
    function: Callable[..., Any], arguments: Any, places: Sequence[Any]
) -> Callable[..., Any]:
    """Trace `function` for arguments of one structure, handed over as `_pack` leaves them."""
    outline = tf.nest.map_structure(lambda _: 0, arguments)
    specs = [
        tf.TensorSpec([None] * place.free + list(place.tail), place.dtype)
        for place in places
        if isinstance(place, _Whole)
    ]
    specs += [tf.TensorSpec([None], tf.as_dtype(dtype)) for dtype in _dtypes(places)]
    specs.append(tf.TensorSpec([None], tf.int32))

    def packed(*tensors: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(outline, _unpack(tensors, places)))

    traced = tf.function(packed, input_signature=specs, autograph=False)
    concrete: Callable[..., Any] = traced.get_concrete_function()
    return concrete


def _axes(arguments: Sequence[Any], free_axes: Sequence[int]) -> list[int]:
    counts = [len(tf.nest.flatten(argument)) for argument in arguments]
    return [axes for n, axes in zip(counts, free_axes, strict=True) for _ in range(n)]


def _outline(value: Any) -> Any:
    """Return what is hashable of a structure: its keys and lengths."""
    if isinstance(value, dict):
        return tuple((key, _outline(value[key])) for key in sorted(value))
    if isinstance(value, (tuple, list)):
        return tuple(_outline(part) for part in value)
    return None
