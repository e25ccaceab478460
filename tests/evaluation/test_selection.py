"""Which round is selected."""

import pytest

from fedrec.config import Config, from_flat
from fedrec.errors import ConfigError
from fedrec.evaluation.selection import (
    best_round,
    better,
    selection_metric,
    selection_value,
    shown_metric,
)

METRICS = {"full.ndcg@10": 0.1, "sampled99.ndcg@10": 0.4, "rating.rmse": 0.9}
EXPLICIT = {"data.feedback": "explicit", "model.loss": "squared"}


@pytest.mark.parametrize(
    ("flat", "metric"),
    [
        ({}, "full.ndcg@10"),
        ({"evaluate.k": "3 7"}, "full.ndcg@3"),
        ({"evaluate.select": "hr@5"}, "full.hr@5"),
        ({"evaluate.select": "full.map@20"}, "full.map@20"),
        ({"evaluate.select": "sampled99.ndcg@10"}, "sampled99.ndcg@10"),
        (EXPLICIT, "rating.rmse"),
        ({**EXPLICIT, "evaluate.select": "mae"}, "rating.mae"),
        ({**EXPLICIT, "evaluate.select": "rating.rmse"}, "rating.rmse"),
    ],
)
def test_the_metric_that_selects(flat, metric):
    assert selection_metric(from_flat(flat)) == metric


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"evaluate.select": "ndcg@7", "evaluate.k": "5 10"}, r"'ndcg@7' is not measured with evaluate.k = '5 10' .*Did you mean"),
        ({"evaluate.select": "ndgc@10"}, r"Did you mean 'ndcg@10'\?"),
        ({"evaluate.select": "rmse"}, r"'rmse' is not measured with evaluate.k"),
        ({"evaluate.select": "sampled99.hr@10", "evaluate.sampled": 0}, r"evaluate.sampled = 0"),
        ({**EXPLICIT, "evaluate.select": "ndcg@10"}, r"data.feedback = 'explicit'. Known: mae, rmse"),
    ],
)  # fmt: skip
def test_a_metric_that_will_not_be_measured_is_refused_before_anything_runs(flat, message):
    with pytest.raises(ConfigError, match=message):
        from_flat(flat)


def test_the_name_that_is_shown():
    assert shown_metric(Config()) == "ndcg@10"
    assert shown_metric(from_flat(EXPLICIT)) == "rmse"
    sampled = from_flat({"evaluate.select": "sampled99.hr@10"})
    assert shown_metric(sampled) == "sampled99.hr@10"


def test_the_value_of_a_metric():
    assert selection_value(METRICS, "sampled99.ndcg@10") == 0.4
    assert selection_value({}, "full.ndcg@10") is None
    with pytest.raises(ConfigError, match=r"evaluate.select = 'full.ndcg@11' .*Did you mean"):
        selection_value(METRICS, "full.ndcg@11")


def test_errors_are_better_low_and_ties_keep_the_earlier():
    assert better(0.1, None, "full.ndcg@10")
    assert better(0.2, 0.1, "full.ndcg@10")
    assert better(0.1, 0.2, "rating.rmse")
    assert not better(0.1, 0.1, "full.ndcg@10")
    assert not better(0.1, 0.1, "mae")


def test_the_earliest_of_the_best_rounds():
    rounds = {15: {"x": 0.5}, 5: {"x": 0.3}, 10: {"x": 0.5}}
    assert best_round(rounds, "x") == 10
    assert best_round({n: {"rating.rmse": m["x"]} for n, m in rounds.items()}, "rating.rmse") == 5
    assert best_round({1: {}, 2: {}}, "full.ndcg@10") == 2
