"""``fedrec recommend``: items, reasons, JSON, and errors in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedrec.cli.app import main
from fedrec.config import from_flat
from fedrec.data.attributes import to_number, to_text
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.models.export import export_model
from fedrec.params import Shared

IDS = np.array(["a", "green tea", "c", "d"], dtype=object)
EASE: dict[str, str | int] = {
    "model.name": "item-item", "train.method": "ease", "train.rounds": 1,
    "server.weighting": "equal", "server.rows": "sum",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> str:
    rows = Interactions(np.array([0], np.int32), np.array([0], np.int32))
    known = {"title": to_text(["Ale", "Tea", "", "Dal"]), "year": to_number([1990, 1, 2, np.nan])}
    users = Catalogue(np.array(["u"], dtype=object))
    dataset = Dataset("toy", rows, Catalogue(IDS, known), users)
    weights = (np.arange(16).reshape(4, 4) / 16).astype(np.float32)
    shared, counts = Shared({"item": weights}), np.array([1, 9, 2, 4])
    export_model(tmp_path / "model", from_flat(dict(EASE)), dataset, shared, {}, counts)
    return str(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["recommend", *words])
    out = capsys.readouterr()
    return f"{end.value.code}\n{out.out}{out.err}"


def test_items_and_reasons(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, run, "--history", "a 'green tea'", "--k", "1", "--explain")
    assert text.splitlines() == [
        "0",
        "  1. Dal [d]  0.625",
        "       +0.4375  because you met Tea (1) [green tea]",
        "       +0.1875  because you met Ale (1990) [a]",
        "shares: all shares of an item add up to its score; the largest are shown",
    ]


def test_without_history(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, run, "-k", "2").splitlines()
    assert lines[1].startswith("no history: the most popular items")
    assert lines[2:] == ["  1. Tea (1) [green tea]  9", "  2. Dal [d]  4"]


def test_json(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(said(capsys, run, "--history", "a", "--explain", "--json").split("\n", 1)[1])
    assert told["starts_from"] == "history"
    assert [one["item"] for one in told["items"]] == ["d", "c", "green tea"]
    assert told["items"][0]["reasons"] == [
        {"kind": "history", "name": "a", "share": 0.1875, "title": "Ale (1990)"}
    ]


def test_errors(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'ax' is not among the 4 items of 'ml-100k'" in said(capsys, run, "--history", "ax")
    assert "was given 1 times for 2 items" in said(capsys, run, "--history", "a c", "--rating", "3")
    assert "expected NAME=VALUE" in said(capsys, run, "--user-attributes", "age")
    assert "adapt = 'x': expected one of" in said(capsys, run, "--adapt", "x")
    assert "there is no model in" in said(capsys, run + "x")
    assert said(capsys, run, "--history", "'a").startswith("2\nerror: --history")


def test_new_items_are_tried(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, run, "--history", "a", "--k", "2", "--new", "c=1000", "--new", "green tea")
    assert text.splitlines()[0] == "0"
    assert "new, boosted" not in text  # c had its budget, tea stands in the list by itself
    assert "expected ITEM or ITEM=SHOWN" in said(capsys, run, "--new", "c=often")
    assert "knows no new item 'x'" in said(capsys, run, "--new", "x")
