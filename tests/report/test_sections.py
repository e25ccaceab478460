from dataclasses import replace

from fedrec.report import sections
from fedrec.report.history import parse_round
from fedrec.report.html import render
from fedrec.report.view import choose_columns
from fedrec.results import Result, SystemResult
from tests.sample_run import history, sample_result


def result_of(*systems: SystemResult) -> Result:
    return Result("r", "0.1.0", "h", {"name": "d"}, systems)


def test_data_facts_with_density():
    facts = dict(sections.data_facts(sample_result()))
    assert facts["users"] == "943"
    assert facts["interactions"] == "100,000"
    assert facts["density"] == "6.30%"  # 100000 / (943 * 1682)
    assert dict(sections.data_facts(result_of())) == {"data": "d", "protocol": "–"}


def test_cost_is_the_mean_over_seeds_and_says_nothing_it_does_not_know():
    first = SystemResult(
        "a", "federated", 0, 10, cost={"round_s_median": 0.4, "peak_rss_mib": 100.0}
    )
    second = SystemResult(
        "a", "federated", 1, 20, cost={"round_s_median": 0.6, "peak_rss_mib": 300.0}
    )
    grid = sections.cost(result_of(first, second, SystemResult("b", "baseline", 0)))
    assert grid.head == ("system", "selected round", "time of a round", "peak memory")
    assert grid.rows == (("a", "15", "500 ms", "200.0 MiB"),)


def test_exposure_of_groups_of_items_is_no_accuracy():
    nested = {"test": {"full": {"hr@10": 0.1}, "exposure": {"popularity=tail@10": 0.25}}}
    result = result_of(SystemResult("a", "federated", 0, metrics=nested))
    grid = sections.beyond_accuracy(result)
    assert grid.head == ("system", "exposure of popularity=tail@10")
    assert grid.rows[0][0] == "a"
    assert float(grid.rows[0][1]) == 0.25
    assert [c.metric for c in choose_columns(result)] == ["test.full.hr@10"]


def test_beyond_accuracy_and_groups():
    nested = {"test": {"beyond": {"coverage@10": 0.25}, "groups": {"gender": {"gap": 0.02}}}}
    grid = sections.beyond_accuracy(result_of(SystemResult("a", "federated", 0, metrics=nested)))
    assert grid.head == ("system", "catalogue coverage@10", "gender, gap")
    assert grid.rows == (("a", "0.250", "0.020"),)


def test_equal_privacy_statements_are_said_once():
    groups = sections.privacy(sample_result())
    assert [group["systems"] for group in groups] == [
        ["federated-mf", "local-only"],
        ["centralised-mf", "popularity", "ease", "ials"],
    ]


def test_what_a_secure_sum_shows_is_told_where_it_was_measured():
    found = {
        "round": 1,
        "clients": 1100,
        "rows": 0.2046,
        "exposed_clients": 0.55,
        "interactions": 0.0123,
    }
    assert sections.exposure({"exposure": found}) == [
        ("measured in round", "1, 1,100 clients"),
        ("rows of the sum with one contributor", "20.5%"),
        ("clients that have such a row", "55.0%"),
        ("interactions that lie on one", "1.23%"),
    ]
    assert sections.exposure({"statement": "not private"}) == []
    first, *rest = sample_result().systems
    shown = replace(first, privacy={**first.privacy, "exposure": found})
    page = render(replace(sample_result(), systems=(shown, *rest)), {})
    assert page.count("rows of the sum with one contributor") == 1
    assert "<dd>20.5%</dd>" in page


def test_what_went_wrong_in_rounds():
    lines = history(20, 1, 0.06)
    lines[3]["skipped"] = "2 clients, 10 needed"
    rounds = {("f", 1): [parse_round(line) for line in lines], ("g", 0): []}
    dropped = sum(line["dropped"] for line in lines)
    assert sections.round_problems(rounds) == [
        f"f, seed 1: 1 of 20 rounds skipped, {dropped} client updates lost to dropout, "
        "1 node failure survived"
    ]


def test_phases_leave_the_first_round_out():
    lines = [
        parse_round({"round": r, "phases": {"train": 1.0 if r == 1 else 0.2 + r / 100}})
        for r in (1, 2, 4)
    ]
    assert sections.phase_seconds({("f", 0): lines}) == {"f": {"train": 0.23}}


def test_guard_facts():
    assert sections.guard_facts(None) == []
    assert ("metric", "HR@10") in sections.guard_facts(sample_result().leak_guard)
    assert sections.guard_facts(
        replace(sample_result(), leak_guard={"random": 0.1}).leak_guard
    ) == [("random", "0.100")]


def test_attack_and_defence_of_a_run_are_told_once() -> None:
    told = {
        "attack": "promote", "defence": "median", "malicious": 5,
        "target": {"item": 3, "name": "Alien (1979)"}, "statement": "5 of 50 clients are malicious",
    }  # fmt: skip
    result = sample_result()
    systems = tuple(replace(s, robust=told) if s.kind == "federated" else s for s in result.systems)
    attacked = replace(result, systems=systems)
    (group,) = sections.robustness(attacked)
    assert group["systems"] == [next(s.name for s in systems if s.kind == "federated")]
    assert sections.robustness(result) == []
    page = render(attacked, {})
    for words in ("Attack and defence", "5 of 50 clients are malicious", "Alien (1979)", "median"):
        assert words in page
    assert "Attack and defence" not in render(result, {})
