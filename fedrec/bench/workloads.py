"""The five workloads of the benchmark, and their arrays for other simulators.

Each workload is an ordinary configuration, so that `fedrec run` trains it as well.
One round is FedAvg (McMahan et al., AISTATS 2017): the chosen clients train one local
epoch of SGD on everything at once, and the mean of their changes, weighted by samples,
is added to the item table; user vectors stay with their clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedrec.config import Config, Scalar, load_config
from fedrec.errors import ConfigError, nearest

if TYPE_CHECKING:
    from fedrec.models.recommender import Recommender

HIDDEN = (64, 32, 16)
"""Widths of the hidden layers of W2; the output follows them."""

_FEDAVG: dict[str, Scalar] = {
    "model.name": "mf",
    "model.loss": "logistic",
    "model.dim": 32,
    "train.method": "fedavg",
    "train.optimizer": "sgd",
    "train.lr": 0.1,
    "train.personal_lr": 0.1,
    "train.batch": 256,
    "train.epochs": 1,
    "train.negatives": 4,
    "train.reduction": "mean",
    "train.l2": 0.0,
    "server.rows": "mean",
    "server.weighting": "samples",
    "server.table_optimizer": "sgd",
    "server.table_lr": 1.0,
    "server.weight_optimizer": "sgd",
    "server.weight_lr": 1.0,
    "server.l2": 0.0,
}


@dataclass(frozen=True)
class Workload:
    """One workload.

    Attributes:
        name: W1 to W5, or that of a point of a curve.
        about: what it is, for the table.
        keys: configuration keys that differ from a plain FedAvg of matrix factorisation.
        presampled: negatives are drawn once, and kept from before the clock starts where
            the engine keeps them; otherwise they are drawn anew in every round, within it.
    """

    name: str
    about: str
    keys: tuple[tuple[str, Scalar], ...]
    presampled: bool = True

    @property
    def config(self) -> Config:
        """The configuration of the workload."""
        resample = "once" if self.presampled else "round"
        return load_config(None, {**_FEDAVG, "train.resample": resample, **dict(self.keys)})


def _fixed(clients: int) -> dict[str, Scalar]:
    return {"clients.sampling": "fixed", "clients.per_round": clients}


def _zipf(users: int, items: int) -> dict[str, Scalar]:
    return {
        "data.name": "zipf",
        "data.users": users,
        "data.items": items,
        "data.events_per_user": 50.0,
        "model.dim": 64,
    }


def _workload(
    name: str, about: str, keys: dict[str, Scalar], *, presampled: bool = True
) -> Workload:
    return Workload(name, about, tuple(keys.items()), presampled)


WORKLOADS = {
    workload.name: workload
    for workload in (
        _workload("W1", "ML-100K, MF d = 32, 100 clients a round", _fixed(100)),
        _workload(
            "W2",
            "ML-100K, MLP 64-32-16-1 on [user, item], d = 32, 100 clients a round",
            {
                **_fixed(100),
                "model.name": "keras",
                "model.source": "fedrec.bench.workloads:build_mlp",
            },
        ),
        _workload(
            "W3",
            "100,000 users, 50,000 items (Zipf), MF d = 64, 1,000 clients a round",
            {**_zipf(100_000, 50_000), **_fixed(1_000)},
        ),
        _workload(
            "W4",
            "1,000,000 users, 100,000 items (Zipf), MF d = 64, 10,000 clients a round",
            {**_zipf(1_000_000, 100_000), **_fixed(10_000)},
        ),
        _workload(
            "W5",
            "ML-1M's size, MF d = 32, all 6,040 clients, negatives drawn anew",
            {
                "data.name": "marketplace",
                "data.users": 6040,
                "data.items": 3706,
                "data.events_per_user": 340.0,
            },
            presampled=False,
        ),
    )
}


def find_workload(name: str) -> Workload:
    """Return a workload by its name, in either case.

    Raises:
        ConfigError: for an unknown name.
    """
    if name.upper() not in WORKLOADS:
        raise ConfigError(f"unknown workload {name!r}.{nearest(name, WORKLOADS)}")
    return WORKLOADS[name.upper()]


def catalogue_workload(items: int) -> Workload:
    """Return a point of the catalogue curve: 1,000 clients and as many samples, `items` items.

    Popularity is almost flat over the many items of a large catalogue and steep over
    few, so samples, not distinct rows, are what is fixed.
    """
    keys = {**_zipf(4_000, items), **_fixed(1_000)}
    return _workload(f"{items:,} items", "1,000 clients, MF d = 64", keys)


def clients_workload(clients: int) -> Workload:
    """Return a point of the clients curve: W3's population with `clients` a round."""
    keys = {**_zipf(20_000, 50_000), **_fixed(clients)}
    return _workload(f"{clients:,} clients", "50,000 items, MF d = 64", keys)


def sharding_workload() -> Workload:
    """Return what is spread over nodes: ML-1M's size, quick to generate in every process."""
    keys: dict[str, Scalar] = {
        "data.name": "zipf",
        "data.users": 6040,
        "data.items": 3706,
        "data.events_per_user": 165.0,
    }
    return _workload("sharding", "ML-1M's size (Zipf), MF d = 32", keys, presampled=False)


def build_mlp(config: Config) -> Recommender:
    """Build the model of W2: an MLP on the user's vector and the item's, side by side.

    Args:
        config: its `model` section gives d and the scale of initial embeddings.

    Returns:
        A recommender with the table "item" [I, d], the personal vector "user" [d],
        and Dense layers of 64, 32, 16 (ReLU) and 1 unit.
    """
    import keras

    from fedrec.models.keras_adapter import KerasRecommender

    dim = config.model.dim
    user, item = keras.Input((dim,), name="user"), keras.Input((dim,), name="item")
    x = keras.layers.Concatenate(name="pair")([user, item])
    for number, width in enumerate(HIDDEN):
        x = keras.layers.Dense(width, activation="relu", name=f"mlp_{number}")(x)
    logit = keras.layers.Dense(1, name="head")(x)
    return KerasRecommender(
        keras.Model({"user": user, "item": item}, logit, name="mlp"),
        rows={"item": dim},
        personal={"user": dim},
        kind=config.model.loss,
        scale=config.model.init,
    )
