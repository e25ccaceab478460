"""The page for those who decide, from an entry whose figures are invented."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from fedrec.merchants.decision import verdict
from fedrec.merchants.gains import Gain
from fedrec.report.headline import headline
from fedrec.report.html import render
from fedrec.report.merchants import (
    compares_merchants,
    left_out,
    merchants_page,
    write_merchants,
)
from fedrec.report.merchants_table import markdown_merchants, print_merchants
from fedrec.report.merchants_text import answer, lead
from fedrec.results import Result, save_result
from tests.report.test_html import Checker
from tests.sample_run import sample_result

SYSTEMS = ("alone", "federated", "personalised", "pooled")


def gain(metric: str, difference: float, p: float, a: str = "personalised") -> Gain:
    ends = (difference - 0.01, difference + 0.01)
    share = 0.5 + 25 * difference
    return Gain(metric, a, "alone", 0.1 + difference, 0.1, difference, *ends, p, share, 40, p)


def entry(differences: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """An entry: merchant -> gain in NDCG@10 and its p-value."""
    shops = []
    for name, (difference, p) in differences.items():
        gains = [gain("ndcg@10", difference, p), gain("recall@20", difference, 1.0)]
        shops.append(
            {
                "name": name, "customers": 120, "interactions": 4000, "items": 900,
                "tested_customers": 40, "tested_items": 300, "values": values(),
                "gains": [g.to_json() for g in gains],
                "others": [gain("recall@20", 0.01, 1.0, "pooled").to_json()],
                "groups": {"new customers": gain("recall@20", 0.02, 0.1).to_json(),
                           "head items": gain("recall@20", 0.002, 0.1).to_json(),
                           "tail items": None},
                "verdict": verdict(gains).to_json(),
            }
        )  # fmt: skip
    overall = {
        "customers": 40 * len(shops),
        "values": values(),
        "gains": [gain("ndcg@10", 0.02, 0.01).to_json(), gain("recall@20", 0.02, 0.01).to_json()],
        "others": [gain("recall@20", 0.03, 1.0, "pooled").to_json()],
        "groups": {"new customers": gain("recall@20", 0.02, 0.1).to_json(), "tail items": None},
        "of_pooled_gain": {"ndcg@10": 0.9, "recall@20": 0.93},
    }
    return {
        "systems": dict.fromkeys(SYSTEMS, "federated"), "metrics": ["ndcg@10"],
        "primary": "ndcg@10", "candidates": "items that the merchant sells", "merchants": shops,
        "without_test": [], "overall": overall, "contributions": None, "audits": None,
        "cost": {"bytes_up_per_round": 2048.0, "bytes_down_per_round": 4096.0, "rounds": 10,
                 "hours": {"alone": 0.01, "federated": 0.1}},
        "settings": {"alone": {"north": ["ridge 1"], "south": ["ridge 2"]},
                     "pooled": {"north": ["ridge 5"], "south": ["ridge 5"]}},
    }  # fmt: skip


def values() -> dict[str, dict[str, float]]:
    return {n: {"ndcg@10": 0.1, "recall@20": 0.12, "hr@10": 0.3} for n in SYSTEMS}


def result_of(told: dict[str, Any]) -> Result:
    return replace(sample_result(), extra={"merchants": told})


TWO = entry({"north": (0.02, 0.01), "south": (-0.001, 0.9)})


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"a": (0.02, 0.01), "b": (0.02, 0.01)}, "All 2 shops gain by training together"),
        ({"a": (0.02, 0.01), "b": (0, 0.9)},
         "Taken together the shops gain; one shop of 2 should join; one shop see no clear difference; "
         "none is shown to lose"),
        ({"a": (-0.02, 0.01), "b": (0, 0.9)},
         "Taken together the shops gain, though no single one proves it; one shop should stay out"),
    ],
)  # fmt: skip
def test_the_answer_in_one_sentence(differences, words):
    assert answer(entry(differences)).replace("sees", "see") == words


def test_the_lead_tells_shares_intervals_and_chance():
    text = lead(TWO)
    assert "12.0% of these purchases" in text
    assert "+20% (95% interval +10% to +30%; beyond chance)" in text
    assert "93% of the gain that putting all data in one place would bring" in text


def test_the_page_is_whole_and_needs_no_network():
    page = merchants_page(result_of(TWO))
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert all(address.startswith("#") for address in checker.addresses)
    assert "<script" not in page
    text = " ".join(" ".join(checker.text).split())
    assert text.index("should join") < text.index("The answer for each shop")
    for words in ("north", "south", "new customers", "2.0 KiB", "60.0 KiB", "north: ridge 1"):
        assert words in text
    assert "Who brings how much" not in text


def test_contributions_and_audits_have_a_place():
    more = {
        "contributions": {
            "statement": "By Shapley values of round updates.",
            "columns": ["merchant", "share"],
            "rows": [["north", 0.75], ["south", 0.25]],
        },
        "audits": [{"title": "Membership", "lines": ["AUC 0.61 <b>"]}],
    }
    page = merchants_page(result_of({**TWO, **more}))
    assert "Who brings how much" in page
    assert "<td>0.750</td>" in page
    assert "AUC 0.61 &lt;b&gt;" in page


def test_names_of_shops_are_text():
    page = merchants_page(result_of(entry({"<i>x</i>": (0.02, 0.01), "b": (0.0, 0.9)})))
    assert "<i>x</i>" not in page


def test_the_usual_report_and_headline_tell_it_too(tmp_path):
    result = result_of(TWO)
    assert "one shop of 2 should join" in headline(result).title
    assert "should join" in render(result, {})
    save_result(result, tmp_path)
    assert "should join" in write_merchants(tmp_path, tmp_path / "merchants.html").read_text()


def test_the_console_has_a_line_for_each_shop():
    console = Console(width=160, record=True)
    print_merchants(result_of(TWO), console)
    told = console.export_text()
    assert "north" in told
    assert "join" in told
    assert "no clear difference" in told


def test_markdown_has_a_row_for_each_shop():
    lines = markdown_merchants(result_of(TWO)).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| north | join | 0.100 → 0.120 | +0.020 [+0.010, +0.030] |")


def test_what_other_commands_found_in_the_directory_is_told(tmp_path):
    save_result(result_of(TWO), tmp_path)
    audit = {"schema": 1, "findings": ["A server tells members with AUC 0.61."]}
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    page = write_merchants(tmp_path, tmp_path / "merchants.html").read_text()
    assert "A server tells members with AUC 0.61." in page
    assert "No attack was tried" not in page


def contributions(*names: str) -> str:
    """A contribution.json of these merchants."""
    values = [0.01, 0.03][: len(names)]
    content = {
        "schema": 1,
        "name": "shops",
        "metric": "valid.full.ndcg@10",
        "merchants": [
            {"name": n, "customers": 9, "interactions": 90, "alone": 0.1, "federated": 0.12}
            for n in names
        ],
        "estimates": {"groups": {"values": values, "errors": [0.0] * len(names), "statement": ""}},
        "payments": {"sentence": f"{names[0]} pays.", "by": "groups", "gains": [0.5, 0.5],
                     "shares": [0.25, 0.75], "transfers": [-0.25, 0.25]},
        "suspects": [], "alike": [], "leak": "",
    }  # fmt: skip
    return json.dumps(content)


def test_contributions_of_the_same_merchants_are_told_from_another_directory(tmp_path):
    shops, brought, others = tmp_path / "shops", tmp_path / "brought", tmp_path / "others"
    save_result(result_of(TWO), shops)
    for place, names in ((others, ("east", "west")), (brought, ("south", "north"))):
        place.mkdir()
        (place / "contribution.json").write_text(contributions(*names))
    assert compares_merchants(shops)
    assert not compares_merchants(brought)
    page = write_merchants(shops, shops / "merchants.html", [others, brought]).read_text()
    assert "south pays." in page
    assert "east pays." not in page
    assert left_out(shops, [shops, others, brought]) == [others]
    alone = write_merchants(shops, shops / "merchants.html").read_text()
    assert "Who brings how much" not in alone
