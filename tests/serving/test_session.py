"""Sessions over the models of real runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fedrec
from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import CheckpointError, DataError, ModelError
from fedrec.serving.load import LoadedRecommender, load_recommender
from fedrec.serving.past import Observation
from fedrec.training.node import init_personal, prepare
from fedrec.training.tuning import client_scorer

Make = Callable[..., Config]
Keys = dict[str, str | int | float]
SUMMED: Keys = {
    "train__rounds": 1,
    "server__weighting": "equal",
    "server__rows": "sum",
}
EASE: Keys = {"model__name": "item-item", "train__method": "ease", **SUMMED}
IALS: Keys = {"model__name": "mf", "train__method": "ials", "model__loss": "squared", **SUMMED}


def loaded(make: Make, **keys: str | int | float) -> tuple[LoadedRecommender, Config]:
    config = make("run", **keys)
    execute(config)
    return load_recommender(config.run.out), config


def test_ease_says_because_you_bought(small_run: Make) -> None:
    recommender, config = loaded(small_run, **EASE)
    ids = recommender.items.ids
    session = recommender.session(history=[ids[3]])
    session.observe(ids[8], event="purchase")
    found = session.recommend(5, explain=True, reasons=0)
    assert len(found) == 5
    assert {ids[3], ids[8]}.isdisjoint(one.item for one in found)
    weights = recommender.model.shared.tables["item"]
    for one in found:
        at = list(ids).index(one.item)
        assert one.score == pytest.approx(weights[3, at] + weights[8, at], abs=1e-6)
        assert sum(r.share for r in one.reasons) == pytest.approx(one.score, abs=1e-6)
        assert {r.kind for r in one.reasons} <= {"history"}
        assert (
            one.title
            == prepare(config).population.split.dataset.items.attributes["title"].values[at]
        )
    assert session.history == [ids[3], ids[8]]
    seen = session.recommend(60, exclude_seen=False)
    assert [one.score for one in seen] == sorted((one.score for one in seen), reverse=True)


def test_ials_observes_as_it_would_solve(small_run: Make) -> None:
    recommender, _ = loaded(small_run, **IALS)
    ids = recommender.items.ids
    session = recommender.session()
    for at in (4, 30, 2, 17):
        session.observe(ids[at])
    anew = recommender.session(history=[ids[at] for at in (4, 30, 2, 17)])
    assert session.scores() == pytest.approx(anew.scores(), abs=1e-5)
    session.observe(ids[30], time=0.0)  # once more: nothing new to learn
    assert session.scores() == pytest.approx(anew.scores(), abs=1e-5)
    assert "closed form" in session.how


def test_users_are_scored_as_in_the_run(small_run: Make) -> None:
    graph: Keys = {
        "model__name": "lightgcn",
        "train__method": "lightgcn",
        "model__loss": "bpr",
        "train__rounds": 2,
        "server__weighting": "equal",
        "server__rows": "sum",
    }
    knn: Keys = {**EASE, "train__method": "item-knn"}
    for keys in (IALS, EASE, knn, graph):
        recommender, config = loaded(small_run, **keys, run__out=small_run(str(keys)).run.out)
        setup = prepare(config)
        population, users = setup.population, np.arange(4)
        shared, start = recommender.model.shared, init_personal(setup, users)
        scored = client_scorer(setup, shared, start, users, 1)(users)
        for user in users:
            items = population.items[population.indptr[user] : population.indptr[user + 1]]
            session = recommender.session(history=recommender.items.ids[items])
            assert session.scores() == pytest.approx(scored[user], abs=1e-5)


def test_where_nothing_is_known(small_run: Make) -> None:
    recommender, config = loaded(small_run, **EASE)
    session = recommender.session()
    counts = prepare(config).population.item_counts
    assert session.starts_from == "popularity"
    assert session.scores().tolist() == counts.tolist()
    first = session.recommend(1, explain=True)[0]
    assert first.reasons[0].kind == "popularity"
    assert first.score == counts.max()
    own = load_recommender(config.run.out, popularity={str(recommender.items.ids[7]): 3.0})
    assert own.session().recommend(1)[0].item == recommender.items.ids[7]
    with pytest.raises(DataError, match=r"no count above 0 for any of the 58 items"):
        load_recommender(config.run.out, popularity={"x": 1.0})
    session.observe(recommender.items.ids[0])
    assert session.starts_from == "history"


def test_counts_are_not_written_where_the_run_does_not_tell_them(small_run: Make) -> None:
    recommender, config = loaded(small_run, **IALS)
    assert not (Path(config.run.out) / "model" / "counts.ckpt").exists()
    assert recommender.session().starts_from == "start"


def test_what_is_unknown_is_refused(small_run: Make, tmp_path: Path) -> None:
    recommender, config = loaded(small_run, **EASE)
    assert recommender.knows(recommender.items.ids[0])
    assert not recommender.knows("x")
    session = recommender.session()
    with pytest.raises(DataError, match=r"'item-61' is not among the 58 items of 'marketplace'"):
        session.observe("item-61")
    with pytest.raises(DataError, match=r"1 of 2 items are unknown"):
        recommender.session(history=[recommender.items.ids[0], Observation("x")])
    with pytest.raises(DataError, match=r"k = 0, reasons = 3: expected k >= 1"):
        session.recommend(0)
    with pytest.raises(ModelError, match=r"'item-item' reads no user attribute 'age'. It reads no"):
        recommender.session(attributes={"age": 3})
    with pytest.raises(CheckpointError, match=r"no model in .*finished 'fedrec run'"):
        load_recommender(tmp_path / "nowhere")
    place = tmp_path / "several" / "systems" / "federated-seed0" / "model"
    place.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"holds a comparison: choose one of .*seed0"):
        load_recommender(tmp_path / "several")
    with pytest.raises(ModelError, match=r"adapt = 'x': expected one of auto, closed-form, steps"):
        fedrec.load_recommender(config.run.out, adapt="x")
