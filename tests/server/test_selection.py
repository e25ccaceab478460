"""Which round is selected."""

import pytest

from fedrec.errors import ConfigError
from server.selection import better, selection_value

METRICS = {"full.ndcg@10": 0.1, "sampled99.ndcg@10": 0.4, "rating.rmse": 0.9}


@pytest.mark.parametrize(
    ("select", "value"), [("ndcg@10", 0.1), ("sampled99.ndcg@10", 0.4), ("rmse", 0.9)]
)
def test_names_with_and_without_protocol(select: str, value: float) -> None:
    assert selection_value(METRICS, select) == value


def test_nothing_measured_selects_nothing() -> None:
    assert selection_value({}, "ndcg@10") is None


def test_an_unmeasured_metric_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="evaluate.select = 'ndcg@11' .*Did you mean"):
        selection_value(METRICS, "ndcg@11")


def test_errors_are_better_low_and_ties_keep_the_earlier() -> None:
    assert better(0.2, 0.1, "ndcg@10")
    assert better(0.1, 0.2, "rating.rmse")
    assert not better(0.1, 0.1, "ndcg@10")
    assert not better(0.1, 0.1, "mae")
