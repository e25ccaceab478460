from dataclasses import replace

import pytest

from fedrec.report.headline import headline
from fedrec.results import Paired, Result, SystemResult
from tests.sample_run import sample_result


def with_difference(difference: float, low: float, high: float, p: float) -> Result:
    paired = Paired("federated-mf", "centralised-mf", "test.full.hr@10", difference, low, high, p)
    return replace(sample_result(), comparisons=(paired,))


def test_no_measurable_cost_says_what_cannot_be_excluded():
    line = headline(sample_result())
    assert line.title == "On ml-100k, federated training costs no measurable HR@10"
    assert "0.118 (federated-mf) against 0.123 (centralised-mf)" in line.detail
    assert "difference −0.005, 95% interval −0.017 to +0.007" in line.detail
    assert "a loss of more than 0.017 (14%) is unlikely" in line.detail


def test_a_cost_and_a_gain():
    cost = headline(with_difference(-0.0123, -0.02, -0.005, 0.001))
    assert cost.title == "On ml-100k, federated training costs 10.0% of HR@10"
    gain = headline(with_difference(0.0123, 0.005, 0.02, 0.001))
    assert gain.title == "On ml-100k, federated training gains 10.0% of HR@10"


def test_a_comparison_stored_the_other_way_round_gives_the_same_sentence():
    result = with_difference(-0.0123, -0.02, -0.005, 0.001)
    turned = Paired("centralised-mf", "federated-mf", "full.hr@10", 0.0123, 0.005, 0.02, 0.001)
    assert headline(replace(result, comparisons=(turned,))) == headline(result)


def test_ratings_are_errors():
    def system(name, kind, rmse):
        return SystemResult(name, kind, 0, metrics={"test": {"rating": {"rmse": rmse}}})

    paired = Paired("f", "c", "test.rating.rmse", 0.05, 0.03, 0.07, 0.001)
    systems = (system("f", "federated", 1.0), system("c", "centralised", 0.95))
    result = Result("r", "0.1.0", "h", {"name": "d"}, systems, (paired,))
    assert headline(result).title == "On d, federated training raises RMSE by 5.3%"


def test_without_a_comparison_there_is_no_claim_of_an_interval():
    line = headline(replace(sample_result(), comparisons=()))
    assert line.title == "On ml-100k, federated training changes HR@10 by −0.005"
    assert "no interval of the difference was computed" in line.detail


def test_one_system_alone():
    result = sample_result()
    line = headline(replace(result, systems=result.systems[:3]))
    assert line.title == "federated-mf reaches HR@10 0.118 on ml-100k"
    assert line.detail == "Full ranking, 95% interval 0.097 to 0.139 over users, mean of 3 seeds."


@pytest.mark.parametrize("systems", [(), (SystemResult("a", "federated", 0),)])
def test_nothing_measured(systems):
    line = headline(replace(sample_result(), systems=systems))
    assert line.detail == "No test metrics were recorded."
