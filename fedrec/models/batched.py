"""A Keras network run on tiles of samples, each tile with weights of its own.

Keras multiplies all samples with one kernel.  Clients that train have each their own,
so a network of common layers is run here as batched matrix products; what is the same
for all samples of a tile (a user's vector) is multiplied once.  The gradient is that of
TensorFlow's tape.  Networks with other layers take the general way, `tf.vectorized_map`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedrec.models.recommender import Tensor, Tensors

Parts = tuple[Tensor, ...]  # [N, 1 or K, width] each; together the last axis of one value
MERGES = ("Concatenate", "Multiply", "Add")
WHOLE = "whole"
"""Kind of a layer that says of itself that it is `tilewise`: it is called as it is."""


@dataclass(frozen=True, eq=False)
class Call:
    """One layer of a network, and whose outputs it takes.

    Attributes:
        name: of the layer.
        kind: its class.
        layer: the Keras layer.
        sources: names of layers, in order.
    """

    name: str
    kind: str
    layer: Any
    sources: tuple[str, ...]


def read_network(model: Any) -> tuple[Call, ...] | None:
    """Return the layers of a functional model in the order of computing; None if it has others.

    Args:
        model: a functional keras.Model with one output.
    """
    import keras

    calls = []
    for entry in model.get_config()["layers"]:
        layer, nodes = model.get_layer(entry["name"]), entry["inbound_nodes"]
        kind = entry["class_name"]
        if kind == "InputLayer":
            calls.append(Call(entry["name"], kind, layer, ()))
            continue
        mixed = hasattr(layer, "product_dtype")  # fedrec.models.mixed.MixedDense
        ours = mixed or type(layer) is getattr(keras.layers, kind, None)
        sources = _sources(nodes)
        whole = getattr(layer, "tilewise", False)  # without weights, and the same for any axes
        plain = mixed or kind in ("Dense", "Activation") or (kind in MERGES and _last_axis(layer))
        if not (whole or (ours and plain)) or sources is None:
            return None
        called = "Dense" if mixed else WHOLE if whole else kind
        calls.append(Call(entry["name"], called, layer, sources))
    return _in_order(calls)


def _last_axis(layer: Any) -> bool:
    return getattr(layer, "axis", -1) in (-1, 1)


def _sources(nodes: list[Any]) -> tuple[str, ...] | None:
    """Return the layers that the only call of a layer takes, or None if it is not so simple."""
    if len(nodes) != 1 or len(nodes[0]["args"]) != 1 or nodes[0]["kwargs"]:
        return None
    (given,) = nodes[0]["args"]
    given = given if isinstance(given, (list, tuple)) else [given]
    return tuple(one["config"]["keras_history"][0] for one in given)


def _in_order(calls: list[Call]) -> tuple[Call, ...]:
    """Sort layers so that each comes after its sources."""
    done: dict[str, Call] = {}
    while len(done) < len(calls):
        for call in calls:
            if call.name not in done and all(source in done for source in call.sources):
                done[call.name] = call
    return tuple(done.values())


def run_network(
    network: tuple[Call, ...],
    output: str,
    inputs: Tensors,
    weights: Mapping[int, Tensor],
) -> Tensor:
    """Run a network on tiles.

    Args:
        network: its layers.
        output: name of the layer whose output is wanted.
        inputs: input name -> float32 [N, 1 or K, width].
        weights: id of a Keras variable -> its value for each tile, [N, ...].

    Returns:
        float32 [N, K, width].
    """
    values: dict[str, Parts] = {}
    for call in network:
        given = [values[source] for source in call.sources]
        values[call.name] = (
            (inputs[call.name],) if call.kind == "InputLayer" else _run(call, given, weights)
        )
    return _joined(values[output])


def _run(call: Call, given: list[Parts], weights: Mapping[int, Tensor]) -> Parts:
    layer = call.layer
    if call.kind == "Concatenate":
        return tuple(part for parts in given for part in parts)
    if call.kind == WHOLE:
        return (layer.call([_joined(parts) for parts in given]),)
    if call.kind == "Activation":
        return (layer.activation(_joined(given[0])),)
    if call.kind == "Dense":
        bias = weights[id(layer.bias)][:, None] if layer.use_bias else None
        dtype = getattr(layer, "product_dtype", "float32")
        return (layer.activation(_dense(given[0], weights[id(layer.kernel)], bias, dtype)),)
    result = _joined(given[0])
    for parts in given[1:]:
        other = _joined(parts)
        result = result * other if call.kind == "Multiply" else result + other
    return (result,)


def _dense(parts: Parts, kernel: Tensor, bias: Tensor | None, dtype: str) -> Tensor:
    """Multiply each part with its rows of the kernel; constant parts once a tile."""
    import tensorflow as tf

    if all(part.shape[1] != 1 for part in parts):
        parts = (_joined(parts),)
    widths = [part.shape[-1] for part in parts]
    kernels = [kernel] if len(parts) == 1 else tf.split(kernel, widths, 1)
    small, large = bias, None
    for part, rows in zip(parts, kernels, strict=True):
        product = tf.linalg.matmul(tf.cast(part, dtype), tf.cast(rows, dtype))
        product = tf.cast(product, "float32")
        if part.shape[1] == 1:
            small = product if small is None else small + product
        else:
            large = product if large is None else large + product
    if large is None or small is None:
        return small if large is None else large
    return large + small


def _joined(parts: Parts) -> Tensor:
    """Return parts as one tensor; those that are the same for a tile are repeated."""
    import tensorflow as tf

    if len(parts) == 1:
        return parts[0]
    long = [part for part in parts if part.shape[1] != 1]
    if long and len(long) < len(parts):
        number = tf.shape(long[0])[1]
        parts = tuple(tf.repeat(p, number, 1) if p.shape[1] == 1 else p for p in parts)
    return tf.concat(parts, -1)
