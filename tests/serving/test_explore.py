"""New items in a session's lists: boosted within a budget, marked, and refused by name."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.coldstart.boost import Boost
from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.errors import DataError
from fedrec.models.export import export_model
from fedrec.params import Shared
from fedrec.serving.explore import Exploration, explored
from fedrec.serving.load import LoadedRecommender, load_recommender

IDS = np.array(list("abcdef"), dtype=object)
EASE = {"model.name": "item-item", "train.method": "ease", "train.rounds": 1,
        "server.weighting": "equal", "server.rows": "sum"}  # fmt: skip


@pytest.fixture
def recommender(tmp_path: Path) -> LoadedRecommender:
    """Who met a is served b, c, d, e, f in this order."""
    rows = Interactions(np.array([0], np.int32), np.array([0], np.int32))
    dataset = Dataset("toy", rows, Catalogue(IDS), Catalogue(np.array(["u"], dtype=object)))
    weights = np.tile(np.array([0, 5, 4, 3, 2, 1], np.float32), (6, 1))
    export_model(tmp_path / "model", from_flat(dict(EASE)), dataset, Shared({"item": weights}), {})
    return load_recommender(tmp_path)


def listed(recommender: LoadedRecommender, shown: int, share: float) -> list[tuple[str, bool]]:
    explore = Exploration({"f": shown}, Boost(strength=4.0, share=share, half=10.0, budget=50), 1)
    found = recommender.session(history=["a"]).recommend(2, explore=explore)
    return [(one.item, one.boosted) for one in found]


def test_a_new_item_is_lifted_until_it_has_been_shown(recommender: LoadedRecommender) -> None:
    assert listed(recommender, 0, 0.5) == [("f", True), ("b", False)]
    assert listed(recommender, 30, 0.5) == [("b", False), ("c", False)]  # faded
    assert listed(recommender, 50, 0.5) == [("b", False), ("c", False)]  # spent
    assert listed(recommender, 0, 0.0) == [("b", False), ("c", False)]  # no place


def test_shares_of_places_hold_over_lists(recommender: LoadedRecommender) -> None:
    explore = Exploration({"f": 0}, Boost(strength=4.0, share=0.15), 3)
    session = recommender.session(history=["a"])
    lists = [session.recommend(2, explore=explore) for _ in range(300)]
    boosted = sum(one.boosted for found in lists for one in found)
    assert boosted / 300 == pytest.approx(0.3, abs=0.08)
    assert session.recommend(2)[0].item == "b"  # without it as ever


def test_the_keys_of_a_run(recommender: LoadedRecommender) -> None:
    config = from_flat({**EASE, "coldstart.boost": 2.0, "coldstart.boost_budget": 7})
    assert explored(config, [("f", 3)]).boost == Boost(2.0, 0.1, 100.0, 7)


def test_scores_and_reasons_stay_those_of_the_model(recommender: LoadedRecommender) -> None:
    explore = Exploration({"f": 0}, Boost(strength=4.0, share=0.5), 1)
    first = recommender.session(history=["a"]).recommend(2, explain=True, explore=explore)[0]
    assert (first.item, first.score, first.reasons[0].name) == ("f", 1.0, "a")


def test_refusals(recommender: LoadedRecommender) -> None:
    session = recommender.session(history=["a"])
    with pytest.raises(DataError, match="knows no new item 'g'"):
        session.recommend(2, explore=Exploration({"g": 0}))
    with pytest.raises(DataError, match="shown -1 times"):
        session.recommend(2, explore=Exploration({"f": -1}))
