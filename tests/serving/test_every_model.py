"""Every model that fedrec exports recommends on a device, or says why not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.errors import ModelError
from fedrec.models.export import export_model
from fedrec.serving.load import LoadedRecommender, load_recommender
from fedrec.training.closed_form import solve_users
from fedrec.training.node import init_personal, init_shared, prepare
from fedrec.training.scoring import make_scorer

Make = Callable[..., Config]
Keys = dict[str, str | int | float]
SEQUENCE: Keys = {"model__loss": "softmax", "model__history": 6, "train__optimizer": "adam"}
TASKS: Keys = {"model__mlp": "4", "model__experts": 2, "split__event": "purchase"}
MODELS: dict[str, Keys] = {
    "mf": {},
    "bpr": {"model__name": "mf", "model__loss": "bpr"},
    "alternating": {"model__name": "mf", "train__method": "alternating"},
    "fedrecon": {"model__name": "mf", "train__method": "fedrecon"},
    "ncf": {"model__mlp": "8 4"},
    "head": {"train__method": "pfedrec"},
    "additive": {"train__method": "fedrap"},
    "gru4rec": SEQUENCE,
    "sasrec": SEQUENCE,
    "nextitnet": SEQUENCE,
    "two-tower": {"model__tower": "8"},
    "deepfm": {"model__tower": "8"},
    "shared-bottom": TASKS,
    "mmoe": TASKS,
}
READ = ("gru4rec", "sasrec", "nextitnet")
ATTRIBUTES = ("two-tower", "deepfm")


def exported(make: Make, name: str, more: Keys | None = None) -> tuple[LoadedRecommender, Config]:
    config = make("run", **{"model__name": name, **MODELS.get(name, {}), **(more or {})})
    setup, directory = prepare(config), Path(config.run.out) / "model"
    data = setup.population.split.dataset
    counts = setup.population.item_counts
    export_model(directory, config, data, init_shared(setup), {}, counts, setup.model)
    return load_recommender(directory.parent), config


def test_heads_that_stayed_with_merchants_are_not_served(small_run: Make) -> None:
    with pytest.raises(ModelError, match="the heads stayed with the clients"):
        exported(small_run, "mmoe", {"model__local_heads": "true"})


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_learns_from_what_it_observes(small_run: Make, name: str) -> None:
    recommender, _ = exported(small_run, name)
    ids = recommender.items.ids
    session = recommender.session()
    assert session.starts_from == ("attributes" if name in ATTRIBUTES else "start")
    before = session.scores()
    for at in (5, 9, 21):
        session.observe(ids[at], event="purchase")
    after = session.scores()
    assert after.shape == (len(ids),)
    assert not np.allclose(before, after)
    anew = recommender.session(history=[ids[5], ids[9], ids[21]])
    if name not in READ and not name.startswith(("shared", "mmoe")):
        assert anew.scores() == pytest.approx(after, abs=1e-6)  # however the history came
        assert after[[5, 9, 21]].mean() - after.mean() > before[[5, 9, 21]].mean() - before.mean()
    found = session.recommend(4, explain=True, reasons=0)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    plain = name in ("mf", "bpr", "alternating", "fedrecon", "ncf", *ATTRIBUTES)
    assert {one.shares for one in found} == {"influence" if plain else "leave-one-out"}
    kinds = {reason.kind for one in found for reason in one.reasons}
    wanted = {"history", "attribute"} if name in ATTRIBUTES else {"history"}
    assert wanted <= kinds


@pytest.mark.parametrize("name", READ)
def test_sequence_models_score_as_in_the_run(small_run: Make, name: str) -> None:
    recommender, config = exported(small_run, name)
    setup = prepare(config)
    population, users = setup.population, np.arange(3)
    start = init_personal(setup, users)
    scored = make_scorer(setup.model, init_shared(setup), start, users, population)(users)
    for user in users:
        items = population.items[population.indptr[user] : population.indptr[user + 1]]
        session = recommender.session(history=recommender.items.ids[items])
        assert session.scores() == pytest.approx(scored[user], abs=1e-5)
    with_all = session.recommend(3, explain=True, reasons=0)
    last = session.history[-1]
    without = recommender.session(history=session.history[:-1])
    place = recommender.items.place[with_all[0].item]
    share = next(r.share for r in with_all[0].reasons if r.name == last)
    assert share == pytest.approx(with_all[0].score - without.scores()[place], abs=1e-5)


def test_attributes_of_users_become_the_numbers_of_training(small_run: Make) -> None:
    recommender, config = exported(small_run, "two-tower")
    setup = prepare(config)
    users = setup.population.split.dataset.users
    start = init_personal(setup, np.arange(len(users))).values["profile"]
    rules = recommender._learnt.own.rules  # type: ignore[attr-defined]
    for user in range(len(users)):
        told = {}
        for name, attribute in users.attributes.items():
            value = attribute.values[user]
            if attribute.kind == "category":
                told[name] = attribute.vocabulary[value] if value >= 0 else None
            else:
                told[name] = value
        assert rules.profile(told) == pytest.approx(start[user], abs=1e-5)
    name = next(n for n, a in users.attributes.items() if a.kind == "category")
    known = users.attributes[name].vocabulary[0]
    some = recommender.session(attributes={name: known}).scores()
    assert not np.allclose(some, recommender.session().scores())
    with pytest.raises(ModelError, match=rf"no user of the run had {name} = 'x'"):
        recommender.session(attributes={name: "x"})
    with pytest.raises(ModelError, match=r"'two-tower' reads no user attribute 'zzz'"):
        recommender.session(attributes={"zzz": 1})
    number = next((n for n, a in users.attributes.items() if a.kind == "number"), None)
    if number:
        with pytest.raises(ModelError, match=rf"{number} = 'old': expected a number"):
            recommender.session(attributes={number: "old"})


def test_shares_of_attributes_are_what_is_lost_without(small_run: Make) -> None:
    recommender, _ = exported(small_run, "two-tower")
    session = recommender.session(history=recommender.items.ids[:3])
    one = session.recommend(1, explain=True, reasons=0)[0]
    names = {r.name for r in one.reasons if r.kind == "attribute"}
    assert {"category", "price"} <= names


OWN = """
import dataclasses
from fedrec.models.head import ScoreHead

@dataclasses.dataclass(frozen=True)
class Bound(ScoreHead):
    kind = "logistic"

    def bound(self, items, users):
        return self

def plain(config):
    head = ScoreHead(config.model.dim)
    object.__setattr__(head, "kind", "logistic")
    return head

def reads(config):
    return Bound(config.model.dim)
"""


def test_a_model_of_your_own(small_run: Make, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    keys: Keys = {"model__source": f"{file}:plain"}
    recommender, config = exported(small_run, "keras", keys)
    session = recommender.session(history=recommender.items.ids[:2])
    assert len(session.recommend(3)) == 3
    keys = {"model__source": f"{file}:reads"}
    with pytest.raises(ModelError, match=r"reads catalogues .*cannot be served"):
        exported(small_run, "keras", keys)


def test_a_low_rank_model_is_served_whole(small_run: Make, tmp_path: Path) -> None:
    _, before = exported(small_run, "mf")
    low: Keys = {"model__adapter_rank": 2, "model__pretrained": f"{before.run.out}/model"}
    config = small_run("low", **low)
    setup = prepare(config)
    start = init_shared(setup)
    moved = np.random.default_rng(0).normal(size=start.tables["item_adapter"].shape)
    start.tables["item_adapter"][:] = moved
    data, directory = setup.population.split.dataset, Path(config.run.out)
    export_model(directory / "model", config, data, start, {})
    table = start.fixed["item"] + start.tables["item_adapter"] @ start.weights["item_basis"]
    closed = load_recommender(directory, adapt="closed-form")
    steps = load_recommender(directory)
    ids = closed.items.ids[:3]
    vector = solve_users(table, np.zeros(3, np.int64), np.arange(3), 1, alpha=4.0, ridge=10.0)[0]
    assert closed.session(history=ids).scores() == pytest.approx(table @ vector, abs=1e-5)
    assert len(steps.session(history=ids).recommend(3, explain=True)) == 3


def test_what_was_said_of_tables_of_ones_own(small_run: Make) -> None:
    recommender, _ = exported(small_run, "mf", {"evaluate__table": "personalised"})
    assert recommender.how.endswith("(the run scored with tables that each client trained)")


def test_methods_without_steps_say_so(small_run: Make) -> None:
    keys: Keys = {"train__method": "fcf", "model__loss": "squared", "train__negatives": 0}
    _, config = exported(small_run, "mf", keys)
    with pytest.raises(ModelError, match=r"'fcf' takes no steps on personal parameters: load"):
        load_recommender(config.run.out, adapt="steps")


def test_closed_form_is_offered_for_matrix_factorisation_alone(small_run: Make) -> None:
    _, config = exported(small_run, "bpr")
    closed = load_recommender(config.run.out, adapt="closed-form")
    session = closed.session(history=closed.items.ids[:3])
    told = session.recommend(2, explain=True, reasons=0)
    assert sum(r.share for r in told[0].reasons) == pytest.approx(told[0].score, abs=1e-5)
    _, other = exported(small_run, "ncf")
    with pytest.raises(ModelError, match=r"'closed-form' is for model.name = 'mf', not 'ncf'"):
        load_recommender(other.run.out, adapt="closed-form")
