"""Files of three small merchants with unlike ids and sizes, and the same rows in one file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.config import Config, Scalar, from_flat
from fedrec.data.item_list import list_hash, write_item_list
from fedrec.data.synthetic import make_marketplace

NAMES = ("north", "south", "web")
COLUMNS = ("user", "item", "time")


def write_merchants(folder: Path, users: int = 60, items: int = 40) -> None:
    """Write joined.csv, items.jsonl and a file for each merchant, in an order of its own."""
    made = make_marketplace(users, items, len(NAMES), 14.0, 3)
    rows = made.interactions
    assert rows.merchant is not None
    assert rows.timestamp is not None
    order = np.random.default_rng(5).permutation(len(rows))
    table = [
        (f"0{rows.user[i]}", f"i{rows.item[i]:03d}", f"{rows.timestamp[i]:.0f}") for i in order
    ]
    owner = [NAMES[rows.merchant[i]] for i in order]
    write_item_list(folder / "items.jsonl", [f"i{n:03d}" for n in reversed(range(items))])
    _write(
        folder / "joined.csv",
        (*COLUMNS, "shop"),
        [(*r, m) for r, m in zip(table, owner, strict=True)],
    )
    for name in NAMES:
        own = [row for row, merchant in zip(table, owner, strict=True) if merchant == name]
        _write(folder / f"{name}.csv", COLUMNS, own)


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def silo_values(folder: Path, out: Path) -> dict[str, Scalar]:
    """Return the keys of a short run that really learns, on the joined file."""
    return {
        "run.out": str(out),
        "data.name": "file",
        "data.path": str(folder / "joined.csv"),
        "data.time_column": "time",
        "data.merchant_column": "shop",
        "silo.merchants": " ".join(NAMES),
        "silo.items": str(folder / "items.jsonl"),
        "silo.items_hash": list_hash(folder / "items.jsonl"),
        "silo.most_users": 200,
        "clients.unit": "merchant",
        "model.dim": 4,
        "model.init": 0.3,
        "train.method": "fedavg",
        "train.optimizer": "sgd",
        "train.rounds": 3,
        "train.lr": 0.1,
        "train.personal_lr": 0.1,
        "server.rows": "mean",
        "server.table_optimizer": "sgd",
        "server.table_lr": 1.0,
        "server.l2": 0.0,
        "server.weight_optimizer": "sgd",
        "server.weight_lr": 1.0,
        "evaluate.every": 2,
        "evaluate.k": "5 10",
        "evaluate.bootstrap": 20,
    }


def silo_config(folder: Path, out: Path, **overrides: Any) -> Config:
    """Make a configuration of `silo_values`; a__b stands for the key a.b."""
    more: Mapping[str, Scalar] = {k.replace("__", "."): v for k, v in overrides.items()}
    return from_flat({**silo_values(folder, out), **more})


def write_node_files(folder: Path) -> dict[str, Path]:
    """Write a node.toml for each merchant, in a folder of its own with its file alone."""
    files = {}
    for name in NAMES:
        own = folder / "nodes" / name
        own.mkdir(parents=True)
        (own / "items.jsonl").write_bytes((folder / "items.jsonl").read_bytes())
        (own / "rows.csv").write_bytes((folder / f"{name}.csv").read_bytes())
        files[name] = own / "node.toml"
        files[name].write_text(
            f'merchant = "{name}"\n[data]\npath = "rows.csv"\ntime_column = "time"\n'
        )
    return files
