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
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        specs = tuple(
            tf.nest.map_structure(lambda tensor, axes=axes: _spec(tensor, axes), argument)
            for argument, axes in zip(tensors, free_axes, strict=True)
        )
        key = str(specs)
        if key not in traces:
            traces[key] = tf.function(function, input_signature=specs, autograph=False)
        return traces[key](*tensors)

    return call


def _spec(tensor: Any, axes: int) -> Any:
    free = min(axes, tensor.shape.rank)
    return tf.TensorSpec([None] * free + list(tensor.shape[free:]), tensor.dtype)
