"""The exploration boost in the report of a run with new items."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import fedrec
from fedrec.coldstart.boost_run import asks_for_boost, kept, ndcg
from fedrec.config import from_flat
from fedrec.report.html import write_report
from fedrec.report.tables import print_result
from fedrec.results import load_result

KEYS: dict[str, str | int | float] = {
    "data.name": "marketplace",
    "data.users": 60,
    "data.items": 50,
    "split.protocol": "cold-items",
    "model.dim": 4,
    "model.loss": "squared",
    "train.method": "ials",
    "train.rounds": 2,
    "train.negatives_from": "known",
    "server.rows": "sum",
    "server.weighting": "equal",
    "coldstart.items": "ridge",
    "coldstart.boost": 3.0,
    "coldstart.boost_share": 0.2,
    "evaluate.k": "5 10",
    "evaluate.sampled": 0,
    "evaluate.bootstrap": 40,
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fedrec.run(from_flat(KEYS), out=tmp_path_factory.mktemp("run") / "new").directory


def test_accuracies_by_hand() -> None:
    items, own = np.array([[3, 1, 0]]), np.array([[1, 0, 2]])
    second, third = 1 / math.log2(3), 0.5
    assert kept(items, own)[0] == pytest.approx((second + third) / (1 + second + third))
    assert kept(own, own)[0] == pytest.approx(1.0)
    good = np.array([[False, True, False, False, True]])
    assert ndcg(items, good)[0] == pytest.approx(second / (1 + second))
    assert ndcg(items, np.zeros((1, 5), bool))[0] == 0.0


def test_a_larger_budget_shows_more_and_keeps_less(directory: Path) -> None:
    told = load_result(directory).systems[0].exploration
    rows = told["rows"]
    assert [row["share"] for row in rows] == [0.0, 0.1, 0.2, 0.4]
    assert rows[0]["given"][0] == 0.0
    assert rows[0]["kept"][0] == 1.0
    for less, more in zip(rows, rows[1:], strict=False):
        assert more["given"][0] > less["given"][0]
        assert more["exposure"][0] > less["exposure"][0]
        assert more["kept"][0] < less["kept"][0]
    for row in rows:
        assert row["given"][0] <= row["share"] + 0.1  # rounded up or down, user by user
        assert row["ndcg"][1] <= row["ndcg"][0] <= row["ndcg"][2]
        assert row["shown"] <= told["new_items"]


def test_the_reader_sees_it(directory: Path) -> None:
    page = write_report([directory], directory / "report.html").read_text()
    assert "New items in lists, with an exploration boost" in page
    text = io.StringIO()
    print_result(load_result(directory), Console(file=text, width=180))
    assert "What the boost of" in text.getvalue()


def test_runs_without_new_items_have_none() -> None:
    assert asks_for_boost(from_flat(KEYS))
    assert not asks_for_boost(from_flat({**KEYS, "coldstart.boost": 0.0}))
    none = {"coldstart.items": "off", "train.negatives_from": "train"}
    assert not asks_for_boost(from_flat({**KEYS, **none}))
