"""Scores of all items for many clients in one compiled call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.population import Population
from fedrec.models.recommender import WHOLE_HISTORY, Recommender, Tensor, Tensors, constants
from fedrec.params import Personal, Shared
from fedrec.training.compiled import compile_once
from fedrec.training.scorer import RatingPredictor, Scorer


@lru_cache(maxsize=64)
def compile_score(model: Recommender, own_rows: bool = False) -> Callable[..., Any]:
    """Return ``(weights, personal [b, ...], tables, fixed, history [b, H]) -> [b, I]``.

    Args:
        model: the model, written for one client.
        own_rows: tables are [b, I, d] and weights [b, ...], one of each client.
    """

    many = getattr(model, "scores", None)

    scored = [r for r in model.row_inputs if r.field == "item" and not r.own]

    def run(
        weights: Tensors, personal: Tensors, tables: Tensors, fixed: Tensors, history: Tensor
    ) -> Tensor:
        if many is not None:
            inputs = {r.name: (fixed if r.fixed else tables)[r.table] for r in scored}
            dense = weights if own_rows else {n: v[None] for n, v in weights.items()}
            return many(dense, personal, inputs, history)

        def one_client(one: Mapping[str, Any]) -> Tensor:
            vectors = {name: value[None] for name, value in one["personal"].items()}
            mine, dense = (one["tables"], one["weights"]) if own_rows else (tables, weights)
            inputs = {r.name: (fixed if r.fixed else mine)[r.table] for r in scored}
            return model.score(dense, vectors, inputs, one["history"])

        stacked: dict[str, Any] = {"personal": personal, "history": history}
        if own_rows:
            stacked |= {"tables": tables, "weights": weights}
        return tf.vectorized_map(one_client, stacked, fallback_to_while_loop=False)

    return compile_once(run, (1 if own_rows else 0, 1, 1, 1, 2))


def fixed_tables(model: Recommender, shared: Shared) -> dict[str, Tensor]:
    """Return the tables that are read and never trained, as tensors [I, w]."""
    values = {**constants(model), **shared.fixed}
    return {name: tf.constant(value) for name, value in values.items()}


def make_scorer(
    model: Recommender,
    shared: Shared,
    personal: Personal,
    users: NDArray[np.int64],
    population: Population,
) -> Scorer:
    """Return a scorer over local users.

    Args:
        model: the model.
        shared: tables and weights.
        personal: personal parameters stacked like `users`.
        users: int64 [U'], ascending local users that can be scored.
        population: for the users' histories.

    Returns:
        A function from local users int64 [b] to float32 [b, I].
    """
    run = compile_score(model)
    tables = {name: tf.constant(value) for name, value in shared.tables.items()}
    weights = {name: tf.constant(value) for name, value in shared.weights.items()}
    fixed = fixed_tables(model, shared)

    def score(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = personal.take(np.searchsorted(users, wanted))
        values = {name: tf.constant(value) for name, value in chosen.values.items()}
        history = tf.constant(histories(population, wanted, model))
        result: NDArray[np.float32] = run(weights, values, tables, fixed, history).numpy()
        return result

    return score


def histories(
    population: Population, users: NDArray[np.int64], model: Recommender
) -> NDArray[np.int32]:
    """Return the latest training items of users, int32 [b, H], padded with -1 in front.

    H is `model.history_length`, 0 for models that do not read the history, and the longest
    history of the population for those that read all of it.
    """
    length = int(getattr(model, "history_length", 0))
    if length == WHOLE_HISTORY:
        length = int(np.diff(population.indptr).max(initial=0))
    position = population.indptr[users + 1][:, None] - np.arange(length, 0, -1)
    real = position >= population.indptr[users][:, None]
    if not length or not len(population.items):
        return np.full((len(users), length), -1, np.int32)
    return np.where(real, population.items[np.where(real, position, 0)], -1).astype(np.int32)


def rating_predictor(scorer: Scorer) -> RatingPredictor:
    """Turn a scorer of all items into a predictor of single ratings."""

    def predict(users: NDArray[np.int64], items: NDArray[np.int32]) -> NDArray[np.float32]:
        out = np.zeros(len(users), np.float32)
        unique, where = np.unique(users, return_inverse=True)
        for at in range(0, len(unique), 256):
            scores = scorer(unique[at : at + 256])
            inside = np.flatnonzero((where >= at) & (where < at + 256))
            out[inside] = scores[where[inside] - at, items[inside]]
        return out

    return predict
