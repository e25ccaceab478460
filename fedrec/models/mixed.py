"""Mixed precision for Keras models: matrix products in bfloat16, all else in float32.

Imported with TensorFlow.  After Micikevicius et al. (ICLR 2018), with the number format
of Kalamkar et al. (arXiv:1905.12322): its exponents are those of float32, so that small
gradients do not vanish and the loss needs no scaling, as it would with float16.

A Keras policy ("mixed_bfloat16") would also add biases in bfloat16, and so sum their
gradients over a batch in it: eight bits, in which a sum of hundreds stands still.  Here a
product alone is rounded, and variables, their gradients, activations and the loss stay
float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from fedrec.errors import ModelError
from fedrec.models.keras_adapter import KerasRecommender


class MixedDense(keras.layers.Dense):  # type: ignore[misc]
    """A Dense layer whose matrix product is taken in bfloat16."""

    product_dtype = "bfloat16"
    """Type of the operands of the product."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return activation(inputs kernel + bias), float32 [..., units]."""
        kernel = keras.ops.cast(self.kernel, self.product_dtype)
        product = keras.ops.matmul(keras.ops.cast(inputs, self.product_dtype), kernel)
        out = keras.ops.cast(product, "float32")
        if self.bias is not None:
            out = keras.ops.add(out, self.bias)
        return out if self.activation is None else self.activation(out)


def in_mixed_precision(recommender: KerasRecommender) -> KerasRecommender:
    """Return the same model, with the same initial weights, whose products are bfloat16.

    Dense layers of one unit stay as they are: there is nothing to gain, and logits in
    bfloat16 would tie in a ranking.

    Args:
        recommender: built in float32.

    Raises:
        ModelError: if it has no Dense layer of several units.
    """
    pairs: list[tuple[Any, Any]] = []

    def exchange(layer: Any) -> Any:
        if type(layer) is not keras.layers.Dense or layer.units == 1:
            return layer
        pairs.append((layer, MixedDense.from_config(layer.get_config())))
        return pairs[-1][1]

    model = keras.models.clone_model(recommender.model, clone_function=exchange)
    if not pairs:
        raise ModelError(
            "train.precision = 'mixed' is for Dense layers of several units, and the Keras model "
            "has none: set train.precision = 'float32'"
        )
    for old, new in pairs:
        new.set_weights(old.get_weights())
    return replace(recommender, model=model)
