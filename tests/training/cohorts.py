"""Small populations and set-ups for the tests of batches, training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, from_flat
from fedrec.data.interactions import Catalogue, Dataset, Interactions, Split
from fedrec.data.partition import Partition
from fedrec.data.population import Population, build_population
from fedrec.models.build import build_model
from fedrec.training.methods import build_method
from fedrec.training.node import Setup

Lists = Sequence[Sequence[int]]


def population_of(
    train: Lists,
    valid: Lists = (),
    test: Lists = (),
    num_items: int = 0,
    *,
    clients: Sequence[int] | None = None,
    ratings: bool = False,
) -> Population:
    """Users given by their lists of items; time is the place in the list.

    Ratings, if asked for, are 1 + (user + 2 item) mod 5.
    """
    num_users = len(train)
    columns: dict[str, list[NDArray]] = {"user": [], "item": [], "time": []}
    bounds = [0]
    for part in (train, valid, test):
        for user, items in enumerate(part):
            columns["user"].append(np.full(len(items), user))
            columns["item"].append(np.asarray(items, int))
            columns["time"].append(np.arange(len(items)) + 100.0 * len(bounds))
        bounds.append(sum(len(c) for c in columns["user"]))
    user, item, time = (np.concatenate(c) if c else np.zeros(0) for c in columns.values())
    rating = (1 + (user + 2 * item) % 5).astype(np.float32) if ratings else None
    rows = Interactions(user.astype(np.int32), item.astype(np.int32), rating, time)
    num_items = num_items or int(item.max()) + 1
    names = [np.array([f"{w}{n}" for n in range(m)], object) for w, m in
             (("i", num_items), ("u", num_users))]  # fmt: skip
    data = Dataset("tiny", rows, Catalogue(names[0]), Catalogue(names[1]))
    parts = [np.arange(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
    split = Split(data, *parts, "leave-last-out", "0" * 16)
    owner = np.arange(num_users) if clients is None else np.asarray(clients)
    count = int(owner.max()) + 1
    partition = Partition(data, owner, count, tuple(map(str, range(count))))
    return build_population(partition, split, explicit=ratings)


def random_population(
    sizes: Sequence[int], num_items: int, seed: int = 0, **options: Any
) -> Population:
    """Users with so many training items, and one item each in validation and test."""
    generator = np.random.default_rng(seed)
    train, valid, test = [], [], []
    for size in sizes:
        items = generator.permutation(num_items)
        train.append(items[:size])
        valid.append(items[size : size + 1])
        test.append(items[size + 1 : size + 2])
    return population_of(train, valid, test, num_items, **options)


SIZES = (1, 40, 7, 3, 25, 2, 12, 7)
"""Clients of very different sizes; with 3 negatives their samples are 4 to 160."""


def configuration(**keys: Any) -> Config:
    """Small embeddings, large enough that float32 does not drown an update."""
    values = {
        "model.dim": 5,
        "model.init": 0.3,
        "train.method": "fedavg",
        "train.optimizer": "sgd",
        "train.reduction": "mean",
        "train.negatives": 3,
        "train.batch": 8,
        "train.lr": 0.5,
        "train.personal_lr": 0.3,
        "train.epochs": 1,
        "train.l2": 0.0,
        "train.alpha": 4.0,
        "train.ridge": 10.0,
        "train.personal_steps": 3,
        "server.weighting": "samples",
        "central.l2": 0.0,
        "local.l2": 0.0,
        "evaluate.k": "5 10",
        "evaluate.bootstrap": 0,
        "evaluate.sampled": 0,
    }
    return from_flat({**values, **{k.replace("__", ".", 1): v for k, v in keys.items()}})


def setup_of(population: Population, **keys: Any) -> Setup:
    """A prepared configuration on a given population."""
    config = configuration(**keys)
    model = build_model(config)
    many = config.clients.unit != "user"
    method = build_method(config, pairwise=model.pairwise, pooled=many)
    return Setup(config, population, model, method)


def with_sampling(setup: Setup, **changes: Any) -> Setup:
    sampling = replace(setup.method.sampling, **changes)
    return replace(setup, method=replace(setup.method, sampling=sampling))


def relative(ours: Any, reference: Any) -> float:
    """Norm of the difference over the norm of the reference."""
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    norm = float(np.linalg.norm(reference))
    error = float(np.linalg.norm(ours - reference))
    return error / norm if norm else error
