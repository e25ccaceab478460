"""A Keras model of your own, federated.

    fedrec run experiments/own_model.toml

Write the network for ONE client, as you would for one user: it receives vectors
and returns one logit for each sample.  Then say where each input comes from.

* `rows`: the input is a row of a table with one row an item.  The table is shared;
  a client downloads and changes only the rows of items that it meets.
* `personal`: the input is a vector of the user.  It never leaves the client.
* `personal_layers`: the variables of these layers never leave the client either.
  All other layers are shared, like the tables.

The same model is trained centrally and alone by `fedrec compare`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.models.keras_adapter import KerasRecommender

if TYPE_CHECKING:
    from fedrec.config import Config


def build(config: Config) -> KerasRecommender:
    """Build a two-layer network with a taste of its own for every client.

    Args:
        config: the experiment; use any of its keys, here model.dim and model.init.

    Returns:
        The model, with the names of its shared and personal parts.
    """
    import keras  # here, so that reading this file does not start TensorFlow

    dim = config.model.dim
    # Inputs are named: the names below must be these.
    item = keras.Input((dim,), name="item")
    popularity = keras.Input((1,), name="item_bias")
    user = keras.Input((dim,), name="user")

    # Shared: how a user and an item meet.  Layers may be any that keep no moving
    # state: LayerNormalization, but neither BatchNormalization nor Dropout.
    product = keras.layers.Multiply(name="meet")([item, user])
    pair = keras.layers.Concatenate(name="pair")([item, user, product])
    hidden = keras.layers.Dense(2 * dim, activation="relu", name="hidden")(pair)

    # Personal: how this client weighs what the network finds.
    own = keras.layers.Dense(1, name="taste")(hidden)

    dot = keras.layers.Dot(axes=1, name="dot")([item, user])
    logit = keras.layers.Add(name="logit")([dot, own, popularity])

    return KerasRecommender(
        keras.Model([item, popularity, user], logit),
        rows={"item": dim, "item_bias": 1},
        personal={"user": dim},
        personal_layers=("taste",),
        kind=config.model.loss,  # "logistic", or "squared" for ratings
        scale=config.model.init,
    )
