"""A small market, and fields over populations made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, from_flat
from fedrec.data.population import HeldOut, csr
from fedrec.merchants.ranked import Field

MARKET = {
    "data.name": "marketplace",
    "data.users": 90,
    "data.items": 40,
    "data.merchants": 3,
    "data.events_per_user": 24.0,
    "data.repeats": "first",
    "clients.unit": "merchant",
    "split.protocol": "time",
    "split.days": 40.0,
    "evaluate.sampled": 0,
    "evaluate.bootstrap": 200,
    "evaluate.k": "5 10",
    "compare.seeds": "0 1",
}
EASE = {
    "model.name": "item-item",
    "train.method": "ease",
    "train.rounds": 1,
    "server.rows": "sum",
    "baseline.ease_l2": 20.0,
    "merchants.ridges": "5 20",
    "merchants.mixtures": "0 0.5 1",
}
MF = {
    "model.name": "mf",
    "model.dim": 4,
    "model.init": 0.3,
    "train.method": "fedavg",
    "train.rounds": 4,
    "train.lr": 1.0,
    "train.personal_lr": 1.0,
    "train.negatives_from": "own",
    "server.rows": "touching",
    "server.table_optimizer": "sgd",
    "server.table_lr": 1.0,
    "evaluate.every": 2,
    "local.epochs": 4,
    "local.every": 2,
    "central.epochs": 2,
}


def market(*groups: dict[str, Any], **keys: Any) -> Config:
    """Return a configuration of the small market."""
    flat: dict[str, Any] = dict(MARKET)
    for group in groups:
        flat |= group
    return from_flat({**flat, **{k.replace("__", "."): v for k, v in keys.items()}})


def held_out(pairs: list[tuple[int, int]], users: int) -> HeldOut:
    """Return what is held out: (user, item) pairs; nothing has been seen."""
    user, item = (np.array(c) for c in zip(*pairs, strict=True))
    indptr, (items,) = csr(user, users, item.astype(np.int32))
    some = np.flatnonzero(np.diff(indptr))
    compact = np.concatenate([indptr[some], indptr[-1:]])
    nothing = np.zeros(users + 1, np.int64)
    ones = np.ones(len(items), np.float32)
    return HeldOut(some, compact, items, ones, nothing, np.zeros(0, np.int32))


def field(
    merchant: list[int],
    sells: list[list[int]],
    valid: list[tuple[int, int]],
    test: list[tuple[int, int]],
    person: list[int] | None = None,
    train: list[tuple[int, int]] | None = None,
) -> Field:
    """Return a field of merchants over a population that holds no more than it is asked for."""
    users, table = len(merchant), np.array(sells, bool)
    pairs = np.array(train or [], np.int64).reshape(-1, 2)
    indptr, (items,) = csr(pairs[:, 0], users, pairs[:, 1].astype(np.int32))
    population = SimpleNamespace(
        num_items=table.shape[1], num_users=users, indptr=indptr, items=items
    )
    run = SimpleNamespace(seed=0)
    setup = SimpleNamespace(population=population, config=SimpleNamespace(run=run))
    names = tuple(f"shop-{m}" for m in range(len(table)))
    parts = {"valid": held_out(valid, users), "test": held_out(test, users)}
    who: NDArray[np.int64] = np.array(person if person is not None else range(users))
    return Field(cast(Any, setup), names, table, np.array(merchant), who, parts)
