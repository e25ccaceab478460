"""Compile a TensorFlow function once for all sizes.  Imported with TensorFlow.

`tf.function` traces anew for sizes that it has not seen, and takes some tries to
generalise; blocks of clients come in many sizes, and a trace costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def compile_once(function: Callable[..., Any], free_axes: Sequence[int]) -> Callable[..., Any]:
    """Compile `function` with one trace for each structure of its arguments.

    Args:
        function: takes nested dicts and tuples of arrays; runs without autograph, so
            loops over tensors must be `tf.while_loop`.
        free_axes: for each argument, how many leading axes of its arrays vary from
            call to call.

    Returns:
        A function of the same arguments.
    """
    traces: dict[Any, Callable[..., Any]] = {}

    def call(*arguments: Any) -> Any:
        flat = [tf.convert_to_tensor(value) for value in tf.nest.flatten(arguments)]
        axes = _axes(arguments, free_axes)
        key = (_outline(arguments), *(_key(t, free) for t, free in zip(flat, axes, strict=True)))
        if key not in traces:
            traces[key] = _trace(function, arguments, flat, axes)
        return traces[key](flat)

    return call


def _trace(
    function: Callable[..., Any], arguments: Any, flat: Sequence[Any], axes: Sequence[int]
) -> Callable[[Sequence[Any]], Any]:
    """Trace `function` for arguments of one structure, handed over as a flat list."""
    outline = tf.nest.map_structure(lambda _: 0, arguments)
    specs = [_spec(tensor, free) for tensor, free in zip(flat, axes, strict=True)]

    def packed(*tensors: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(outline, tensors))

    traced = tf.function(packed, input_signature=specs, autograph=False)
    concrete = traced.get_concrete_function()
    return lambda tensors: concrete(*tensors)


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


def _key(tensor: Any, axes: int) -> Any:
    return tensor.dtype, tensor.shape.rank, tuple(tensor.shape[min(axes, tensor.shape.rank) :])


def _spec(tensor: Any, axes: int) -> Any:
    free = min(axes, tensor.shape.rank)
    return tf.TensorSpec([None] * free + list(tensor.shape[free:]), tensor.dtype)
