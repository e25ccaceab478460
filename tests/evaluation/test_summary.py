"""From sums to the metrics of a result, with groups."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.evaluation.evaluator import evaluate_users
from fedrec.evaluation.summary import nest, summarise, system_name
from fedrec.evaluation.sums import EvaluationSums
from tests.evaluation.evaluation_cases import population


def test_names_are_nested_by_protocol() -> None:
    assert nest({"full.hr@10": 0.5, "rating.mae": 1.0}) == {
        "full": {"hr@10": 0.5},
        "rating": {"mae": 1.0},
    }


def test_all_metrics_of_a_part() -> None:
    held, scores, relevant, _ = population(0, 200, 40)
    member = np.arange(200, dtype=np.int32) % 2
    sums = evaluate_users(
        lambda users: scores[users], held, None, num_items=40, ks=(5, 10), sampled=9, seed=0,
        part="test", bootstrap=50, groups={"g=a": member, "g=b": 1 - member},
    )  # fmt: skip
    people = SimpleNamespace(item_counts=np.full(40, 3), num_items=40, num_users=200)
    config = Config().with_({"evaluate.k": "5 10"})
    metrics, ci95 = summarise(config, people, sums, "test")  # type: ignore[arg-type]
    assert set(metrics) == {"full", "sampled9", "beyond", "groups"}
    assert set(metrics["beyond"]) == {
        "coverage@10", "novelty@10", "popularity@10", "gini@10", "g-gap@10", "g-ratio@10",
        "g-worst@10"
    }  # fmt: skip
    groups = [metrics["groups"][f"g={x}"]["full.ndcg@10"] for x in "ab"]
    assert metrics["beyond"]["g-gap@10"] == pytest.approx(abs(groups[0] - groups[1]))
    assert metrics["beyond"]["g-worst@10"] == pytest.approx(min(groups))
    low, high = ci95["test.full.ndcg@10"]
    assert low < metrics["full"]["ndcg@10"] < high


def test_ratings_have_no_lists() -> None:
    sums = EvaluationSums({"rating.absolute_error": 3.0}, {"rating": 4.0})
    metrics, ci95 = summarise(Config(), SimpleNamespace(), sums, "valid")  # type: ignore[arg-type]
    assert metrics == {"rating": {"mae": 0.75}}
    assert ci95 == {}


def test_methods_for_merchants_show_in_the_name() -> None:
    keys = {"clients.unit": "merchant", "train.optimizer": "sgd", "model.name": "ncf"}
    config = Config().with_({**keys, "train.method": "scaffold", "model.local_layers": "head"})
    assert system_name(config) == "federated-ncf-scaffold-fedper"
    assert system_name(config, "centralised") == "centralised-ncf"
