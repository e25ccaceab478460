"""Sessions that begin as strangers of a run do: one user is served as the run served all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fedrec
from fedrec.cli.app import main
from fedrec.coldstart.measure import learn_users
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.strategy import Strategy, Warm
from fedrec.config import from_flat
from fedrec.errors import ConfigError, ModelError
from fedrec.models.export import load_model
from fedrec.models.export_starts import Kept, read_start, starts_of, write_starts
from fedrec.serving.load import LoadedRecommender, load_recommender
from fedrec.training.node import prepare

ALL = (
    "popularity recent-popularity segment-popularity mean-vector attribute-tower reconstruction "
    "prototypes ease near-ease item-knn mixture"
)
KEYS: dict[str, str | int | float] = {
    "data.name": "marketplace",
    "data.users": 80,
    "data.items": 40,
    "data.merchants": 2,
    "split.protocol": "cold-users",
    "split.fraction": 0.25,
    "model.dim": 4,
    "model.loss": "squared",
    "train.method": "ials",
    "train.rounds": 1,
    "baseline.ease_window": 5.0,
    "baseline.ease_decay": 4.0,
    "coldstart.users": ALL,
    "coldstart.k": "0 2",
    "coldstart.test_items": 2,
    "coldstart.prototypes": 3,
    "coldstart.prototype_rounds": 2,
    "coldstart.prototype_users": 3,
    "coldstart.segment_users": 3,
    "evaluate.k": "5 10",
    "evaluate.bootstrap": 0,
    "evaluate.sampled": 0,
}
STEPS = {"train.method": "alternating", "model.loss": "logistic", "train.optimizer": "sgd"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fedrec.run(from_flat(KEYS), out=tmp_path_factory.mktemp("run") / "cold").directory


@pytest.fixture(scope="module")
def served(run: Path) -> tuple[Warm, dict[str, Strategy]]:
    """What strangers are served with, and kept of it in place of what the run has kept.

    Masked sums round at random, so prototypes and weights that are learnt twice differ a little.
    """
    warm = Warm(prepare(from_flat(KEYS)), load_model(run / "model").shared, 1)
    learnt = learn_users(warm)[0]
    assert set(starts_of(run / "model")) == set(learnt)
    write_starts(run / "model", {name: strategy.kept for name, strategy in learnt.items()})
    return warm, learnt


@pytest.fixture(scope="module")
def recommender(run: Path, served: tuple[Warm, dict[str, Strategy]]) -> LoadedRecommender:
    return load_recommender(run)


def told(users: object, user: int) -> dict[str, object]:
    """The attributes of one user, as a person would give them."""
    found: dict[str, object] = {}
    for name, attribute in users.attributes.items():  # type: ignore[attr-defined]
        value = attribute.values[user]
        if attribute.kind == "category" and value >= 0:
            found[name] = attribute.vocabulary[value]
        elif attribute.kind == "number" and np.isfinite(value):
            found[name] = float(value)
    return found


@pytest.mark.parametrize("name", ALL.split())
def test_one_user_is_served_as_the_run_serves_strangers(
    served: tuple[Warm, dict[str, Strategy]], recommender: LoadedRecommender, name: str
) -> None:
    warm, learnt = served
    strategy = learnt[name]
    reads = recommender._learnt.choose(name)[1].attributes
    if name == "recent-popularity":  # a device has the counts of the last day alone
        assert recommender.session(start=name).scores().max() > 0
        return
    users = warm.setup.population.split.dataset.users
    for k in (0, 1, 2, 4, -1):
        population = strangers(warm.setup, "test", k)
        chosen = population.test.users[:3]
        wanted = strategy.scorer(population)(chosen)
        for row, user in enumerate(chosen):
            met = population.items[population.indptr[user] : population.indptr[user + 1]]
            known = {n: v for n, v in told(users, user).items() if n in reads}
            ids = recommender.items.ids[met]
            session = recommender.session(attributes=known, start=name)
            for item in ids:
                session.observe(item)  # as it would come in
            assert session.scores() == pytest.approx(wanted[row], abs=2e-4, rel=2e-4)
            whole = recommender.session(history=ids, attributes=known, start=name)
            assert whole.scores() == pytest.approx(session.scores(), abs=1e-4)
            assert whole.starts_from == name


def test_auto_is_the_mixture_and_moves(recommender: LoadedRecommender) -> None:
    assert set(ALL.split()) == set(recommender.starts)
    session = recommender.session()
    assert session.starts_from == "mixture"
    assert session.about["events"] == 0
    at_first = session.about["weights"]
    for item in recommender.items.ids[:5]:
        session.observe(item)
    later = session.about
    assert later["events"] == 5
    assert later["weights"] != at_first
    assert sum(later["weights"].values()) == pytest.approx(1.0, abs=0.01)
    found = session.recommend(3, explain=True, reasons=0)
    assert {one.shares for one in found} == {"leave-one-out"}
    assert {r.kind for one in found for r in one.reasons} == {"history"}
    own = recommender.session(history=recommender.items.ids[:5], start="model")
    assert own.starts_from == "history"
    assert own.about == {}


def test_the_nearest_prototype_fades(recommender: LoadedRecommender) -> None:
    session = recommender.session(start="prototypes")
    assert session.about == {"prototypes": session.about["prototypes"]}
    weights = []
    for item in recommender.items.ids[:3]:
        session.observe(item)
        weights.append(session.about["weight"])
    assert weights == [0.75, 0.6, 0.5]  # m / (n + m) with m = 3
    assert session.recommend(2, explain=True)[0].reasons


def test_unknown_starts_are_refused(recommender: LoadedRecommender, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"unknown start 'prototype'. Did you mean 'prototypes'"):
        recommender.session(start="prototype")
    with pytest.raises(ModelError, match=r"not learnt the start 'reptile': .*offers: model, pop"):
        recommender.session(start="reptile")
    with pytest.raises(
        ModelError, match=r"start 'segment-popularity' reads no user attribute 'colour'"
    ):
        recommender.session(start="segment-popularity", attributes={"colour": "red"})


def test_the_command_says_what_it_begins_with(
    run: Path, recommender: LoadedRecommender, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["recommend", str(run), "-k", "2", *words])
        return capsys.readouterr().out

    one = str(recommender.items.ids[3])
    assert "begins with a mixture at 0 events: " in said()
    near = said("--start", "prototypes", "--history", one)
    assert "the nearest, which counts 75% beside the user's own vector" in near
    assert "begins with popularity: nothing is adapted" in said("--start", "popularity")
    assert "begins with" not in said("--start", "model", "--history", one)
    found = json.loads(said("--json", "--history", one))
    assert found["starts_from"] == "mixture"
    assert found["about"]["events"] == 1


def test_any_split_leaves_the_sums_for_devices(tmp_path: Path) -> None:
    plain = {"split.protocol": "leave-last-out", "coldstart.users": ALL.replace(" mixture", "")}
    done = fedrec.run(from_flat({**KEYS, **plain}), out=tmp_path / "plain")
    assert not done.result.systems[0].cold_start
    assert starts_of(done.directory / "model") == tuple(sorted(ALL.split()[:-1]))
    session = load_recommender(done.directory).session()
    assert session.starts_from == "start"
    with pytest.raises(ConfigError, match="weights of a mixture are learnt on users that are held"):
        from_flat({**KEYS, "split.protocol": "leave-last-out"})


def test_steps_begin_where_the_run_says(tmp_path: Path) -> None:
    names = {"coldstart.users": "mean-vector reconstruction prototypes", **STEPS}
    done = fedrec.run(from_flat({**KEYS, **names}), out=tmp_path / "steps")
    loaded = load_recommender(done.directory)
    mean = read_start(done.directory / "model", "mean-vector").arrays["start/user"]
    table = loaded.model.shared.tables["item"]
    assert loaded.session(start="mean-vector").scores() == pytest.approx(table @ mean, abs=1e-5)
    for name in ("reconstruction", "prototypes"):
        before = loaded.session(start=name).scores()
        session = loaded.session(history=loaded.items.ids[:3], start=name)
        assert session.scores()[:3].mean() > before[:3].mean()
        assert len(session.recommend(2, explain=True)) == 2


@pytest.mark.parametrize("method", ["reptile", "fomaml"])
def test_a_learned_start(tmp_path: Path, method: str) -> None:
    meta = {**STEPS, "train.method": method, "coldstart.users": f"popularity {method}"}
    done = fedrec.run(from_flat({**KEYS, **meta}), out=tmp_path / "meta")
    loaded = load_recommender(done.directory)
    assert loaded.starts == ("popularity", method)
    fresh = loaded.session(start=method).scores()
    start = loaded.model.shared
    assert np.abs(start.weights["start/user"]).max() > 0  # it has learned
    assert fresh == pytest.approx(start.tables["item"] @ start.weights["start/user"], abs=1e-5)
    met = loaded.session(history=loaded.items.ids[:2], start=method).scores()
    assert not np.allclose(met, fresh)


def test_a_sequence_is_its_own_start(tmp_path: Path) -> None:
    reads = {"model.name": "gru4rec", "model.loss": "softmax", "train.method": "fedavg"}
    reads |= {"coldstart.users": "sequence popularity mixture", "model.history": 4}
    done = fedrec.run(from_flat({**KEYS, **reads}), out=tmp_path / "reads")
    loaded = load_recommender(done.directory)
    popular = loaded.session(start="popularity").scores()
    assert loaded.session(start="sequence").scores() == pytest.approx(popular)
    history = loaded.items.ids[:3]
    own = loaded.session(history=history, start="model").scores()
    assert loaded.session(history=history, start="sequence").scores() == pytest.approx(own)
    assert loaded.session(history=history).starts_from == "mixture"


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    kept = Kept({"map/user": np.eye(2), "other": np.ones(1)}, {"a": [1]})
    write_starts(tmp_path, {"x": kept})
    assert starts_of(tmp_path) == ("x",)
    back = read_start(tmp_path, "x")
    assert back.facts == {"a": [1]}
    assert back.group("map")["user"].tolist() == np.eye(2).tolist()
