"""Neural collaborative filtering (He et al., WWW 2017): GMF and an MLP side by side.

Federated as in Perifanis and Efraimidis (Knowledge-Based Systems 2022): user
vectors stay with the client, item tables and the network are shared.  Built as
an ordinary Keras model, through the general adapter.
"""

from __future__ import annotations

from fedrec.models.keras_adapter import KerasRecommender


def build_ncf(
    dim: int, hidden: tuple[int, ...], kind: str = "logistic", scale: float = 0.01
) -> KerasRecommender:
    """Build NCF.

    Args:
        dim: embedding size d of each of the four embeddings.
        hidden: widths of the hidden layers.
        kind: "logistic" or "squared".
        scale: standard deviation of initial embeddings.

    Returns:
        A recommender with tables "item_gmf" and "item_mlp" [I, d] and personal
        vectors "user_gmf" and "user_mlp" [d].
    """
    import keras

    names = ("item_gmf", "item_mlp", "user_gmf", "user_mlp")
    inputs = {name: keras.Input((dim,), name=name) for name in names}
    product = keras.layers.Multiply(name="gmf")([inputs["item_gmf"], inputs["user_gmf"]])
    x = keras.layers.Concatenate(name="pair")([inputs["item_mlp"], inputs["user_mlp"]])
    for number, width in enumerate(hidden):
        x = keras.layers.Dense(width, activation="relu", name=f"mlp_{number}")(x)
    both = keras.layers.Concatenate(name="both")([product, x])
    logit = keras.layers.Dense(1, name="head")(both)
    return KerasRecommender(
        keras.Model(inputs, logit, name="ncf"),
        rows={"item_gmf": dim, "item_mlp": dim},
        personal={"user_gmf": dim, "user_mlp": dim},
        kind=kind,
        scale=scale,
    )
