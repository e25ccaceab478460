"""Scripts on new items, merchants and the boost: figures by hand, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import cold_start_boost as boost_script
from experiments import cold_start_items as items_script
from experiments import cold_start_joins as joins_script
from experiments import tables_cold_start as tables
from experiments.cold_start_page import OUT, make, read
from fedrec.coldstart.boost import Boost
from fedrec.evaluation.sums import EvaluationSums


def test_ndcg_by_hand() -> None:
    scores = np.array([[3, 2, 1, 0], [0, 1, 2, 3], [1, 1, 1, 1]], np.float32)
    good = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    found = boost_script.ndcg(scores, good, k=3)
    ideal = 1.0 + 1.0 / np.log2(3)
    assert found[0] == pytest.approx((1.0 + 0.5) / ideal)
    assert found[1] == 0.0
    assert np.isnan(found[2])


def test_new_items_at_random_take_the_same_places() -> None:
    users, items = 400, 30
    scores = np.tile(-np.arange(items, dtype=np.float32), (users, 1))
    scores[:, 29] = -np.inf  # bought by everybody
    new = np.zeros(items, bool)
    new[[3, 25, 26, 27, 28, 29]] = True
    shop: Any = type("Shop", (), {"new": new})
    shown = np.zeros(items, np.int64)
    shown[28] = 50  # its budget is spent
    one = Boost(share=0.15, budget=50)
    lists, given = boost_script.lists_of(scores, shop, one, shown, 0, 0, chance=True)
    assert set(np.unique(lists[given])) == {25, 26, 27}
    assert given.sum() / lists.size == pytest.approx(0.15, abs=0.02)
    kept = [row[~mine].tolist() for row, mine in zip(lists, given, strict=True)]
    assert all(row == list(range(len(row))) for row in kept)  # the worst made room


def test_intervals_are_of_the_mean_over_markets() -> None:
    one, other = np.full(50, 2.0), np.full(40, 4.0)
    assert boost_script.interval([one, other]) == [3.0, 3.0, 3.0]
    assert boost_script.interval([one, other], [one - 1.0, other]) == [0.5, 0.5, 0.5]


def test_times_chance() -> None:
    def sums(mean: float) -> EvaluationSums:
        name = items_script.CHOSEN_BY
        weights = {"full": np.array([10.0, 20.0])}
        return EvaluationSums({name: 10 * mean}, {"full": 10.0},
                              {name: mean * weights["full"]}, weights)  # fmt: skip

    assert items_script.times(sums(0.6), sums(0.2)) == [3.0, 3.0, 3.0]


def test_systems_that_were_not_measured_anew_are_kept() -> None:
    def told(*rows: tuple[str, int]) -> dict[str, Any]:
        return {part: [{"system": name, "value": value} for name, value in rows]
                for part in ("systems", "against_category_mean")}  # fmt: skip

    new = told(("random", 1), ("ifedrec", 2))
    items_script.kept(new, told(("random", 0), ("ease, ridge", 3)))
    assert new == told(("random", 1), ("ifedrec", 2), ("ease, ridge", 3))


def test_choices_are_all_of_the_grid() -> None:
    assert list(items_script.choices("mean")) == [{}]
    assert len(list(items_script.choices("ridge"))) == len(items_script.GRID["ridge"]["item_ridge"])


def market(own: list[float], mixture: list[float]) -> dict[str, Any]:
    """Differences from the own model at 0, 1 and 4 weeks, each with an interval of ±.01."""

    def curve(gaps: list[float]) -> list[dict[str, float]]:
        weeks = zip((0, 1, 4), gaps, strict=True)
        return [
            {"weeks": w, "gap": g, "low": g - 0.01, "high": g + 0.01, "p": 0.1} for w, g in weeks
        ]

    shops = [{"merchant": 0, **p} for p in curve(mixture)]
    return {
        "market": "m", "weeks": [0, 1, 4], "mixture_at_merchants": shops,
        "against_own": {"federated": curve(own), "mixture": curve(mixture)},
    }  # fmt: skip


def test_what_is_said_of_merchants() -> None:
    good = tables.merchants_verdict(market([0.05, 0.02, -0.03], [0.05, 0.03, 0.0]))
    assert "federated at weeks 0 (+0.050), 1 (+0.020) (so at each of 0, 1)" in good
    assert "The mixture is never significantly worse" in good
    assert "in 0 of 3 cases" in good
    bad = tables.merchants_verdict(market([0.05, 0.0, -0.03], [0.05, 0.03, -0.02]))
    assert "federated at weeks 0 (+0.050) (not so at each of 0, 1)" in bad
    assert "at 4 weeks significantly worse" in bad
    assert "in 1 of 3 cases" in bad


def test_what_is_missed_by_the_federated_start_is_said_with_its_figures() -> None:
    curves = {
        name: [{"ndcg@10": [value] * 3} for value in values]
        for name, values in {"own": (0.01, 0.2, 0.3), "federated": (0.15, 0.16, 0.17)}.items()
    }

    def told(gaps: list[float]) -> str:
        return tables.merchants_miss({**market(gaps, gaps), "curves": curves})

    assert told([0.05, 0.02, -0.03]).endswith("below 4 weeks, and does.")
    behind = told([0.05, -0.02, -0.03])
    assert "does not at weeks 1 (-0.020 [-0.030, -0.010])" in behind
    assert "from 0.010 to 0.200, and the federated one as it is stays between 0.160" in behind
    assert behind.endswith("own rows also show what the merchant has on sale, which the others' "
                           "do not.")  # fmt: skip
    assert told([0.05, 0.005, 0.0]).endswith("too close for these customers to tell them apart.")


def test_what_is_said_of_items() -> None:
    def row(name: str, value: float, times: float) -> dict[str, Any]:
        new = {"ndcg@20": [value] * 3, "times_random": [times] * 3, "hr@20": [value] * 3}
        return {"system": name, "new": new, "all": {"ndcg@20": [0.0] * 3},
                "seeds": [{"bytes_per_item": 8, "privacy": "none"}]}  # fmt: skip

    systems = [row("ials, ridge", 0.2, 4.0), row("ials, attribute-net", 0.1, 2.0)]
    gap = {"system": "ials, attribute-net", "gap": -0.05, "low": -0.06, "high": -0.04, "p": 0.0}
    told = tables.items_verdict({"systems": systems, "against_category_mean": [gap]})
    assert "Best for new items: ials, ridge, NDCG@20 0.200, 4.00 times the figure of" in told
    assert "(ials, attribute-net) has 2.00 times and does not reach 3" in told
    assert "−0.050 [−0.060, −0.040]" in told
    assert tables.items_grid({"systems": systems})[1][0][0] == "ials, ridge"


def test_the_sections_of_the_page_are_made_of_the_committed_results() -> None:
    page = make(read())
    for title in ("## Items", "## Merchants", "## Exploration boost"):
        assert title in page.markdown
    assert page.markdown == (OUT / "README.md").read_text(encoding="utf-8")
    assert all(svg.startswith("<svg") and "var(--" not in svg for svg in page.figures.values())


def test_what_is_said_of_the_boost() -> None:
    def row(name: str, gap: float, low: float) -> dict[str, Any]:
        return {"system": name, "purchases": [1.0 + gap] * 3, "new_purchases": [gap] * 3,
                "purchases_gap": [gap, low, gap + 0.1]}  # fmt: skip

    rows = [row("no boost", 0.0, 0.0), row("boost, 10% of places", 0.2, 0.1)]
    told = tables.boost_verdict({"systems": rows})
    assert "boost, 10% of places: +0.200 purchases a list [+0.100, +0.300], significantly" in told
    assert "No boost sells more" in tables.boost_verdict({"systems": rows[:1]})


def test_merchants_that_join_are_measured_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"data.users": 120, "data.items": 40, "data.merchants": 4, "model.dim": 4,
            "train.rounds": 2, "evaluate.every": 2, "local.epochs": 4, "coldstart.steps": 3,
            "coldstart.weeks": "0 8", "evaluate.bootstrap": 20}  # fmt: skip
    runs = [{**tiny, "data.data_seed": n, "coldstart.merchant": "1"} for n in (0, 1)]
    monkeypatch.setattr(joins_script, "MARKETS", {"marketplace": runs})
    found = [joins_script.joined("marketplace", n, tmp_path) for n in range(2)]
    again = joins_script.joined("marketplace", 0, tmp_path)  # what is finished is kept
    assert again[0]["own|8"].values == found[0][0]["own|8"].values
    told = joins_script.figures_of("marketplace", found)
    asked = sum(sums["own|0"].counts["full"] for sums, _ in found)
    assert told["customers"] == asked > 10
    total = sum(sums["federated|8"].values["full.ndcg@10"] for sums, _ in found)
    curve = {p["weeks"]: p["ndcg@10"][0] for p in told["curves"]["federated"]}
    assert curve[8] == pytest.approx(total / asked, abs=1e-4)
    gap = {p["weeks"]: p["gap"] for p in told["against_own"]["federated"]}
    own = {p["weeks"]: p["ndcg@10"][0] for p in told["curves"]["own"]}
    assert gap[8] == pytest.approx(curve[8] - own[8], abs=2e-4)
    assert [s["merchant"] for s in told["settings"]] == ["1", "1"]
    assert len(told["mixture_at_merchants"]) == 4
    assert not list(tmp_path.glob("marketplace-0/*"))  # models take room
    told_words = tables.merchants_verdict(told)
    assert told_words.startswith("Significantly better than the merchant's own weeks alone")
