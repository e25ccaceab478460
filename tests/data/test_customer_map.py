"""Customers of several merchants joined by pseudonyms: names, refusals, what is summed and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls
from typer.testing import CliRunner

from fedrec.cli.app import app
from fedrec.config import Config, from_flat
from fedrec.data.catalogue_map import CUSTOMER, CatalogueMap, read_map, write_map
from fedrec.data.load import load_dataset, load_raw
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, DataError
from fedrec.training.closed_form import solve_users

Make = Callable[..., Config]

ROWS = """customer,product,shop,time
007,a,north,1
007,b,north,2
8,c,south,3
8,a,south,4
8,b,north,5
9,c,south,6
"""
"""At north, 8 is another person than at south; south's 8 is north's 007."""


def words(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


def mapped(**more: np.ndarray) -> CatalogueMap:
    values = {"merchants": words("north", "south")} | more
    return CatalogueMap(words("007", "8"), words("aa", "aa"), np.ones(2), **values)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "rows.csv").write_text(ROWS)
    write_map(tmp_path / "map.csv", mapped(), CUSTOMER)
    flat = {
        "data.name": "file",
        "data.path": str(tmp_path / "rows.csv"),
        "data.user_column": "customer",
        "data.item_column": "product",
        "data.merchant_column": "shop",
        "data.time_column": "time",
        "data.customer_map": str(tmp_path / "map.csv"),
        "domain.by": "merchant",
        "domain.target": "north",
        "domain.meet": "pseudonyms",
        "train.method": "ials",
        "model.loss": "squared",
        "clients.sampling": "all",
        "server.rows": "sum",
        "server.weighting": "equal",
        "evaluate.sampled": 0,
    }
    return lambda **more: from_flat({**flat, **{k.replace("__", "."): v for k, v in more.items()}})


def test_customers_of_several_merchants_are_one_user(make: Make) -> None:
    data = load_raw(make().data)
    rows = data.interactions
    who = {
        (data.users.ids[u], data.items.ids[i]) for u, i in zip(rows.user, rows.item, strict=True)
    }
    assert who == {("aa", "a"), ("aa", "b"), ("aa", "c"), ("8@north", "b"), ("9@south", "c")}
    assert data.account[0] == (
        "customers joined by pseudonyms: 1, of whom 1 shop with several merchants; rows of "
        "customers without a pseudonym: 2"
    )


def test_a_purchase_at_two_merchants_counts_at_the_target(make: Make) -> None:
    """aa bought a at both, which domains by merchant count at the target alone."""
    data = load_dataset(make())
    assert "bought at several merchants: 1 rows dropped" in data.account
    assert data.num_users == 3


def test_a_changed_map_is_read_again(make: Make, tmp_path: Path) -> None:
    assert load_dataset(make()).num_users == 3
    write_map(tmp_path / "map.csv", mapped(merchants=words("north", "north")), CUSTOMER)
    ids = load_dataset(make()).users.ids
    assert sorted(ids) == ["8@south", "9@south", "aa"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,pseudonym\n007,aa\n", "a customer map has the columns customer, pseudonym"),
        ("customer,pseudonym\n007,aa\n007,bb\n", "names the customer '007' twice"),
        ("customer,pseudonym\n1,aa\n", "no row has a customer of the customer map"),
        ("customer,pseudonym,merchant\n007,8@north,north\n", "would be called like one with"),
    ],
)
def test_maps_that_do_not_fit(make: Make, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_raw(make().data)


def test_rows_without_merchants_are_refused(make: Make) -> None:
    with pytest.raises(DataError, match="set data.merchant_column"):
        load_raw(make(data__merchant_column="").data)


def test_attributes_of_own_customers_are_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("customer,age\n007,30\n")
    with pytest.raises(DataError, match=r"leave data\.user_file out"):
        load_raw(make(data__user_file=str(tmp_path / "who.csv")).data)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"domain__meet": "device"}, "say so by domain.by = 'merchant'"),
        ({"domain__by": "", "domain__target": ""}, "needs domain.by = 'merchant'"),
        ({"data__customer_map": ""}, "needs data.customer_map"),
        ({"train__method": "fedavg", "model__loss": "logistic"}, "'ials' or 'fcf': there a user's"),
        ({"secure__mode": "semi-honest", "secure__clip": 9.0}, "would be the parties"),
    ],
)
def test_what_merchants_could_not_train_is_refused(
    make: Make, keys: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**keys)


def test_a_users_vector_follows_from_sums_of_merchants() -> None:
    """What the setting rests on: d (d + 1) / 2 + d numbers of each merchant, and no rows."""
    draw = np.random.default_rng(0)
    table, alpha, ridge = draw.normal(size=(9, 4)).astype(np.float32), 5.0, 2.0
    north, south = np.array([0, 3, 4]), np.array([1, 7])
    joined = np.concatenate([north, south])
    whole = solve_users(table, np.zeros(5, np.int64), joined, 1, alpha=alpha, ridge=ridge)
    wide = table.astype(np.float64)
    parts = [(wide[shop].T @ wide[shop], wide[shop].sum(0)) for shop in (north, south)]
    left = wide.T @ wide + ridge * np.eye(4) + alpha * sum(pairs for pairs, _ in parts)
    right = (1 + alpha) * sum(means for _, means in parts)
    assert whole[0] == pytest.approx(np.linalg.solve(left, right), abs=1e-5)


def test_the_sums_tell_a_short_history() -> None:
    """What the statement warns of: 44 numbers and the item table name five of sixty items."""
    draw = np.random.default_rng(1)
    table = draw.normal(size=(60, 8))
    bought = np.sort(draw.choice(60, 5, replace=False))
    first, second = np.triu_indices(8)
    known = np.concatenate([(table[:, first] * table[:, second]).T, table.T])
    found, _ = nnls(known, known[:, bought].sum(1))
    assert np.flatnonzero(found > 0.5).tolist() == bought.tolist()


def test_a_run_says_what_merchants_learn(small_run: Make) -> None:
    config = small_run(
        domain__by="merchant",
        domain__target="shop-1",
        domain__meet="pseudonyms",
        train__method="ials",
        model__loss="squared",
        train__rounds=2,
        clients__sampling="all",
        server__rows="sum",
        server__weighting="equal",
        evaluate__sampled=0,
    )
    execute(config)
    privacy = json.loads((Path(config.run.out) / "system.json").read_text())["privacy"]
    assert privacy["setting"] == "users and items overlap, joined by pseudonyms"
    told = privacy["statement"]
    assert told.startswith("not private between the merchants. Setting: users and items overlap")
    assert "which of its customers shop with which others" in told
    assert "from its own rows (14 numbers)" in told  # d = 4: 10 + 4
    assert "stay on" not in told


def test_align_writes_maps_of_customers(tmp_path: Path) -> None:
    for name, ids in {"north": ["1", "2", "3"], "south": ["2", "3", "4"]}.items():
        pd.DataFrame({"id": ids}).to_csv(tmp_path / f"{name}.csv", index=False)
    files = [str(tmp_path / f"{name}.csv") for name in ("north", "south")]
    more = ["--kind", "customers", "--basis", "consent", "--minimum", "2", "--column", "id"]
    out = ["--out", str(tmp_path / "maps")]
    done = CliRunner().invoke(app, ["align", "union", *files, *more, *out], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = {n: read_map(tmp_path / "maps" / f"{n}.csv", CUSTOMER) for n in ("north", "south")}
    both = [dict(zip(m.items, m.pseudonyms, strict=True)) for m in found.values()]
    assert both[0]["2"] == both[1]["2"]
    assert both[0]["1"] not in both[1].values()
