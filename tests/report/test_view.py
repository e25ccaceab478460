import math

import pytest

from fedrec.report import view
from fedrec.results import Paired, Result, SystemResult
from tests.sample_run import sample_result


def rating(name: str, kind: str, rmse: float) -> SystemResult:
    return SystemResult(
        name, kind, 0, metrics={"test": {"rating": {"rmse": rmse, "mae": rmse / 2}}}
    )


def result_of(systems, comparisons=()) -> Result:
    return Result("r", "0.1.0", "h", {"name": "d"}, tuple(systems), tuple(comparisons))


def test_columns_are_few_and_of_every_protocol():
    columns = view.choose_columns(sample_result())
    assert [(c.protocol, c.title) for c in columns] == [
        ("full ranking", "HR@10"),
        ("full ranking", "NDCG@10"),
        ("full ranking", "Recall@20"),
        ("full ranking", "MRR@10"),
        ("1 + 99 sampled", "HR@10"),
        ("1 + 99 sampled", "NDCG@10"),
    ]


def test_without_k_10_the_smallest_k_is_shown():
    system = SystemResult(
        "a", "baseline", 0, metrics={"test": {"full": {"hr@20": 0.2, "hr@5": 0.1}}}
    )
    assert [c.title for c in view.choose_columns(result_of([system]))] == ["HR@5"]


def test_best_and_marks():
    table = view.systems_table(sample_result())
    assert table.reference == "federated-mf"
    assert table.marked
    cells = {row.name: row.cells[0] for row in table.rows}
    assert [name for name, cell in cells.items() if cell.best] == ["ease"]
    marks = {name: cell.mark for name, cell in cells.items()}
    assert marks["popularity"] == marks["local-only"] == "worse"
    assert marks["ease"] == marks["centralised-mf"] == marks["federated-mf"] == ""
    assert [row.seeds for row in table.rows][:3] == [(0, 1, 2), (0, 1, 2), (0,)]


def test_a_low_rmse_is_a_good_one():
    systems = [rating("f", "federated", 0.95), rating("c", "centralised", 0.91)]
    compared = [Paired("f", "c", "rating.rmse", 0.04, 0.03, 0.05, 0.001)]
    table = view.systems_table(result_of(systems, compared))
    assert [row.cells[0].best for row in table.rows] == [False, True]
    assert table.rows[1].cells[0].mark == "better"


def test_a_system_without_a_metric_has_no_cell():
    systems = [rating("f", "federated", 0.95), SystemResult("x", "baseline", 0)]
    assert view.systems_table(result_of(systems)).rows[1].cells == (None, None)


def test_a_comparison_is_found_either_way_round():
    stored = [Paired("a", "b", "full.hr@10", 0.1, 0.05, 0.2, 0.01)]
    assert view.find_comparison(stored, "a", "b", "test.full.hr@10").difference == 0.1
    turned = view.find_comparison(stored, "b", "a", "test.full.hr@10")
    assert (turned.difference, turned.low, turned.high) == (-0.1, -0.2, -0.05)
    assert view.find_comparison(stored, "a", "c", "test.full.hr@10") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1184, "0.118"),
        (-0.0052, "−0.005"),
        (0.0, "0.000"),
        (0.0001, "1.0e-04"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_numbers(value, text):
    assert view.number(value) == text


def test_units():
    assert [view.size(b) for b in (12, 12_600, 3 * 2**20, 5 * 2**40)] == [
        "12 B",
        "12.3 KiB",
        "3.0 MiB",
        "5120.0 GiB",
    ]
    assert [view.duration(s) for s in (0.52, 38.2, 600)] == ["520 ms", "38.2 s", "10.0 min"]
    assert view.size(None) == view.duration(None) == "–"
    assert view.signed(0.01) == "+0.010"


def test_an_attack_shows_honest_accuracy_and_exposure() -> None:
    attacked = {
        "full": {"hr@10": 0.1},
        "honest": {"hr@10": 0.2, "ndcg@10": 0.1},
        "robust": {"exposure@10": 0.9},
    }
    calm = {**attacked, "robust": {"exposure@10": 0.1}}
    result = result_of(
        [
            SystemResult("a", "federated", 0, metrics={"test": attacked}),
            SystemResult("b", "federated", 0, metrics={"test": calm}),
        ]
    )
    table = view.systems_table(result)
    assert [(c.title, c.protocol) for c in table.columns] == [
        ("HR@10", "full ranking"), ("NDCG@10", "honest users"), ("ER@10", "attacked item")
    ]  # fmt: skip
    assert [row.cells[2].best for row in table.rows] == [False, True]  # little exposure is good
