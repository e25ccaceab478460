"""The cold-start experiment on a small market, its tests of differences, and its page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import experiments.cold_start as script
from experiments.cold_start_joined import against, best, claims, join
from experiments.cold_start_page import OUT, Page, make, read, write
from experiments.cold_start_page_users import misses, recommendation
from fedrec.config_coldstart import WHOLE
from fedrec.evaluation.reduction import UserValues, sum_up

SMALL = {
    "data.name": "marketplace",
    "data.users": 80,
    "data.items": 40,
    "data.merchants": 2,
    "split.fraction": 0.2,
    "model.dim": 4,
    "train.rounds": 1,
    "coldstart.k": "0 2 5",
    "coldstart.test_items": 2,
    "evaluate.bootstrap": 100,
}
NOWHERE = np.zeros(0, np.int64)


def curve(values: dict[int, list[float]], users: int = 6):
    """Sums of made-up NDCG of users 0, 1, ... at some k."""
    return {
        k: sum_up(
            UserValues(
                np.arange(users),
                {f"full.{m}": np.array(v) for m in ("ndcg@10", "hr@10")},
                {"full": np.ones(users)},
                NOWHERE,
                NOWHERE,
            ),
            200, 3, {},
        )
        for k, v in values.items()
    }  # fmt: skip


def test_seeds_are_joined_over_users():
    one = {"a": curve({0: [0.0] * 6})}
    two = {"a": curve({0: [1.0] * 3}, users=3)}
    joined = join([one, two])
    assert joined["a"][0].values["full.ndcg@10"] == 3.0
    assert joined["a"][0].counts["full"] == 9.0


def test_best_is_chosen_among_single_strategies():
    found = {"a": curve({0: [0.1] * 6}), "mixture": curve({0: [1.0] * 6}),
             "oracle": curve({0: [1.0] * 6}), "b": curve({0: [0.2] * 6})}  # fmt: skip
    assert best(found, 0) == "b"


def test_differences_are_paired_and_corrected():
    found = {"a": curve({0: [0.5] * 6, 1: [0.5] * 6}), "b": curve({0: [0.1] * 6, 1: [0.5] * 6})}
    clear, none = against(found, {0: ("a", "b"), 1: ("a", "b")})
    assert clear["difference"] == pytest.approx(0.4)
    assert clear["low"] == pytest.approx(0.4, abs=0.01)
    assert clear["p_adjusted"] == pytest.approx(2 * clear["p"], abs=1e-3)
    assert none["difference"] == 0
    assert none["p_adjusted"] == 1.0


def test_what_is_tested():
    low, high = [0.1] * 6, [0.5] * 6
    valid = {"popularity": curve({0: low, 5: low, WHOLE: low}),
             "a": curve({0: low, 5: high, WHOLE: high}),
             "mixture": curve({0: low, 5: high, WHOLE: high})}  # fmt: skip
    found = claims(valid, valid)
    assert found["chosen_on_validation"] == {"0": "popularity", "5": "a", "whole": "a"}
    (enough,) = found["few_against_whole"]
    assert (enough["a"], enough["b"]) == (["a", "5"], ["a", "whole"])
    assert [row["a"][1] for row in found["chosen_against_popularity"]] == ["5", "whole"]
    assert [row["difference"] for row in found["mixture_against_best"]] == [0, 0, 0]
    beside = [(row["a"][1], row["difference"]) for row in found["mixture_against_popularity"]]
    assert beside == [("5", 0.4), ("whole", 0.4)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    place = tmp_path_factory.mktemp("cold")
    serves = ("popularity", "mean-vector", "ease")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "DATA", {"marketplace": SMALL})
        patch.setattr(script, "TRAININGS", {"ials": ({}, serves)})
        patch.setattr(
            script, "GRID", {"ease": [{"baseline.ease_l2": 5.0}, {"baseline.ease_l2": 50.0}]}
        )
        words = ["cold_start.py", "--data", "marketplace", "--seeds", "0", "1", "--keep",
                 str(place / "keep"), "--json", str(place / "users.json")]  # fmt: skip
        patch.setattr(sys, "argv", words)
        script.main()
        first = json.loads((place / "users.json").read_text())
        script.main()  # from what is kept
    assert json.loads((place / "users.json").read_text())["data"] == first["data"]
    return first


def test_the_experiment_measures_strategies_mixture_and_oracle(results):
    (found,) = results["data"].values()
    assert set(found["reveal"]) == {"latest", "first"}
    curves = found["reveal"]["latest"]["curves"]
    assert list(curves) == ["popularity", "mean-vector", "ease", "mixture", "oracle"]
    assert list(curves["ease"]) == ["0", "2", "5", "whole"]
    for own in curves.values():
        for point in own.values():
            mean, low, high = point["ndcg@10"]
            assert low <= mean <= high
    hashes = {seed["split_hash"] for seed in found["seeds"].values()}
    assert len(hashes) == 2  # a seed draws who is held out
    assert found["seeds"]["0"]["settings"]["ease"]["tried"] == 2
    assert found["strategies"]["ease"]["training"] == "ials"


def test_the_page_says_what_the_results_say(results, tmp_path):
    page = make({"users": results})
    write(page, tmp_path)
    assert (tmp_path / "README.md").read_text() == page.markdown
    curves = results["data"]["marketplace"]["reveal"]["latest"]["curves"]
    for name, own in curves.items():
        (line,) = [x for x in page.markdown.splitlines() if x.startswith(f"| {name} | {own['0']['ndcg@10'][0]:.3f}")][:1]  # fmt: skip
        assert f"{own['whole']['ndcg@10'][0]:.3f}" in line
    for figure in page.figures:
        assert f"({figure})" in page.markdown
        assert "var(" not in (tmp_path / figure).read_text()
    assert "<svg" in page.html
    assert not re.search(r"(src|href)=\"(?!#)", page.html)  # it needs nothing but itself


def test_the_recommendation_follows_the_figures(results):
    assert recommendation(results).startswith(("Serve strangers the mixture", "No mixture for"))
    worse = json.loads(json.dumps(results))
    rows = worse["data"]["marketplace"]["reveal"]["latest"]["tests"]["mixture_against_best"]
    rows[1] |= {"difference": -0.05, "low": -0.08, "high": -0.02, "p": 0.001, "p_adjusted": 0.004}
    assert "significantly worse on marketplace at k = 2 (−0.050" in recommendation(worse)


def test_misses_are_said_plainly_with_what_the_curves_show():
    def told(values: list[float], gap: float, beaten: float) -> str:
        curve = {k: {"ndcg@10": [v]} for k, v in zip(("5", "10", "whole"), values, strict=True)}
        row = {"a": ["mixture", "5"], "b": ["ease", "whole"], "difference": gap, "p": 0.01,
               "low": gap - 0.01, "high": gap + 0.01}  # fmt: skip
        popular = {"a": ["mixture", "1"], "difference": beaten, "p_adjusted": 0.01}
        tests = {"few_against_whole": [row], "chosen_against_popularity": [popular],
                 "mixture_against_popularity": [popular]}  # fmt: skip
        latest = {"tests": tests, "curves": {"mixture": curve}}
        return misses({"data": {"shop": {"reveal": {"latest": latest}}}})

    rising = told([0.1, 0.2, 0.3], -0.05, 0.1)
    assert "shop: the first is missed, −0.050 [−0.060, −0.040]" in rising
    assert "every further interaction still adds to it" in rising
    assert rising.endswith("the second is reached.")
    turning = told([0.1, 0.3, 0.2], 0.02, -0.1)
    assert "the first is reached" in turning
    assert "it is best at k = 10, and what lies further back takes from it" in turning
    assert turning.endswith("missed by the single strategy at k = 1, at some k by the mixture too.")


def test_the_committed_page_belongs_to_the_committed_results():
    page = make(read())
    assert (OUT / "README.md").read_text() == page.markdown
    assert _words((OUT / "cold_start.html").read_text()) == _words(page.html)
    assert {f.name for f in Path(OUT).glob("*.svg")} == set(page.figures)


def _words(page: str) -> str:
    """Return a page without its figures, whose paths depend on the version of matplotlib."""
    return re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_a_page_of_nothing_is_empty():
    page = make({})
    assert isinstance(page, Page)
    assert page.figures == {}
