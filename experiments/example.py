"""The Python interface: purchases of your own go in, a comparison comes out.

    python experiments/example.py [DIR]

It takes about half a minute.  DIR (default: a temporary directory) receives the
purchases as a file and the output of the comparison.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import fedrec


def purchases(customers: int = 300, products: int = 120, each: int = 12) -> pd.DataFrame:
    """Make purchases of customers who like one department: put your own here."""
    draw = np.random.default_rng(0)
    department = np.arange(products) % 6
    rows = []
    for customer in range(customers):
        liking = np.where(department == customer % 6, 12.0, 1.0) / np.arange(1, products + 1) ** 0.3
        bought = draw.choice(products, each, replace=False, p=liking / liking.sum())
        rows += [(f"c{customer}", f"p{p}", f"2024-03-{day + 1:02}") for day, p in enumerate(bought)]
    return pd.DataFrame(rows, columns=["customer", "product", "day"])


def main(directory: Path) -> fedrec.Result:
    """Compare federated training with its alternatives on these purchases."""
    frame = purchases()

    # A look at the data as fedrec sees them after cleaning, without training anything.
    dataset = fedrec.dataset_from_frame(frame, user="customer", item="product", time="day")
    print(dataset.num_users, "customers,", dataset.num_items, "products")
    print("\n".join(dataset.account))

    # Training reads files, so that every node of a federation can read its own.
    frame.to_csv(directory / "purchases.csv", index=False)
    config = fedrec.load_config(
        None,  # or an experiment file, whose keys the following ones replace
        {
            "run.name": "example",
            "data.name": "file",
            "data.path": str(directory / "purchases.csv"),
            "data.user_column": "customer",
            "data.item_column": "product",
            "data.time_column": "day",
            "model.dim": 8,
            "train.rounds": 40,
            "central.epochs": 40,  # fewer data than MovieLens: larger steps, or the
            "central.batch": 256,  # centralised system would not learn in time
            "central.lr": 0.01,
            "compare.seeds": "0 1",
        },
    )
    systems = ["federated", "centralised", "popularity", "ease"]
    comparison = fedrec.compare(config, systems=systems, out=directory / "comparison")

    # Figures are DataFrames: one row a system and metric, mean over seeds with interval ...
    summary = comparison.result.summary()
    chosen = summary[summary["metric"].isin(["test.full.hr@10", "test.full.ndcg@10"])]
    print(chosen.to_string(index=False))
    # ... or one row for each seed.
    seeds = comparison.result.frame()
    print(seeds[seeds["metric"] == "test.full.hr@10"].to_string(index=False))
    # Differences are tested on the same users, corrected for their number.
    for pair in comparison.result.comparisons:
        mark = "significant" if pair.significant else "may be chance"
        print(f"{pair.a} - {pair.b}, {pair.metric}: {pair.difference:+.3f} ({mark})")
    print("written to", comparison.directory)
    return comparison.result


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
