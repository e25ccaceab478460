"""Every method with every protection: the rules and the runs say what the table says."""

import pytest

from experiments import privacy_cells, privacy_table
from experiments.privacy_cells import (
    OPTIONS,
    Cell,
    configuration,
    first_sentence,
    judged,
    rows,
    tried,
    wrong_statement,
)
from fedrec.config import Config
from fedrec.models.build import MODELS
from fedrec.training.methods import METHODS

RECORDED = privacy_table.read_cells()
ACCEPTED = [
    (row, option)
    for row, cells in RECORDED.items()
    for option, cell in cells.items()
    if cell.verdict in ("works", "accepted")
]
AGAIN = "is not up to date: python experiments/privacy_table.py --rules"


def test_every_method_and_every_model_has_a_row():
    pairs = [row.split(", ") for row in rows()]
    assert {method for method, _ in pairs} == set(METHODS)
    assert {model for _, model in pairs} == set(MODELS)


def test_the_table_holds_every_cell_and_no_other():
    assert {row: set(cells) for row, cells in RECORDED.items()} == {
        row: set(OPTIONS) for row in rows()
    }, AGAIN


@pytest.mark.parametrize("row", RECORDED)
def test_the_rules_accept_and_refuse_what_the_table_says(row):
    for option, cell in RECORDED[row].items():
        refused = judged(row, option)
        if refused is None:
            assert cell.by != "rules", f"{row} / {option} {AGAIN}"
        else:
            assert cell == refused, f"{row} / {option} {AGAIN}"


def test_no_cell_fails_and_every_refusal_has_a_reason():
    for cells in RECORDED.values():
        for cell in cells.values():
            assert cell.verdict in ("works", "accepted", "refused")
            assert (cell.verdict == "refused") == (cell.reason != "")
    assert all(cells["none"].verdict != "refused" for cells in RECORDED.values())


def test_the_page_is_that_of_the_cells():
    assert privacy_table.PAGE.read_text(encoding="utf-8") == privacy_table.page(RECORDED), AGAIN


@pytest.mark.parametrize("option", ["central noise, secure", "multi-Krum, secure"])
def test_a_cell_is_run_or_refused(option):
    cell = tried("alternating, mf", option)
    assert cell.verdict == ("refused" if "Krum" in option else "works")
    assert ("compares single updates" in cell.reason) == ("Krum" in option)


def test_an_error_of_a_run_is_a_failure_and_a_late_refusal_is_none(monkeypatch):
    from fedrec.errors import ConfigError, EngineError

    def stop(error):
        def execute(config):
            raise error("it stopped. Do this")

        return execute

    monkeypatch.setattr(privacy_cells, "execute", stop(EngineError))
    assert tried("alternating, mf", "none") == Cell("failed", "it stopped", "run")
    monkeypatch.setattr(privacy_cells, "execute", stop(ConfigError))
    assert tried("alternating, mf", "none") == Cell("refused", "it stopped", "run")


GOOD = {
    "privacy": {"statement": "private", "secure_aggregation": "off", "epsilon": None},
    "robust": {},
    "metrics": {"test": {"full": {"hr@10": 0.1}}},
}
NOISY = {"privacy.mechanism": "central", "privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}


@pytest.mark.parametrize(
    ("keys", "change", "wrong"),
    [
        ({}, {}, ""),
        ({}, {"privacy": {"statement": ""}}, "no privacy statement"),
        ({"secure.mode": "semi-honest"}, {}, "secure aggregation 'off'"),
        (NOISY, {}, "epsilon None"),
        ({"robust.defence": "median"}, {}, "no statement of the defence"),
        ({}, {"metrics": {"test": {}}}, "not tested"),
    ],
)
def test_a_run_that_does_not_say_what_it_promises_fails(keys, change, wrong):
    said = wrong_statement(Config().with_(keys), {**GOOD, **change})
    assert wrong in said
    assert bool(said) == bool(wrong)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a is so: set b = 1", "a is so"),
        ("a is so. Use b", "a is so"),
        ("a is so", "a is so"),
        ("a = 1.5 is low: raise it", "a = 1.5 is low"),
    ],
)
def test_the_first_sentence_is_the_reason_without_the_way_out(text, first):
    assert first_sentence(text) == first


def test_a_second_start_runs_only_what_is_missing(monkeypatch):
    row = next(iter(rows()))
    monkeypatch.setattr(privacy_table, "rows", lambda: {row: rows()[row]})
    ran = []

    def run(name, option):
        ran.append((name, option))
        return Cell("works")

    monkeypatch.setattr(privacy_table, "tried", run)
    saved = []
    first = privacy_table.complete({}, saved.append)
    assert saved == [first]
    assert len(ran) == sum(cell.verdict == "works" for cell in first[row].values()) > 0
    ran.clear()
    assert privacy_table.complete(first, pytest.fail) == first
    assert ran == []
    broken = {row: {**first[row], "none": Cell("failed", "a bug", "run")}}
    assert privacy_table.complete(broken) == first
    assert ran == [(row, "none")]


def test_a_new_method_is_shown_by_the_rules_until_it_has_run(monkeypatch):
    row = next(iter(rows()))
    monkeypatch.setattr(privacy_table, "rows", lambda: {row: rows()[row]})
    monkeypatch.setattr(privacy_table, "tried", pytest.fail)
    asked = privacy_table.complete({}, run=False)
    assert {cell.verdict for cell in asked[row].values()} == {"accepted", "refused"}
    assert f"| {row} | rules |" in privacy_table.page(asked)
    monkeypatch.setattr(privacy_table, "tried", lambda row, option: Cell("works"))
    assert "rules |" not in privacy_table.page(privacy_table.complete(asked))


def test_a_failed_cell_shows_in_the_page():
    cells = {"a, b": dict.fromkeys(OPTIONS, Cell("works")) | {"median": Cell("failed", "why")}}
    text = privacy_table.page(cells)
    assert "FAILS 1" in text
    assert "1. why." in text


@pytest.mark.slow
@pytest.mark.parametrize(("row", "option"), ACCEPTED, ids=lambda v: v.replace(", ", "-"))
def test_every_accepted_cell_runs(row, option):
    assert configuration(row, option).train.rounds <= 2  # LightGCN sums its graph first
    assert tried(row, option) == Cell("works")
