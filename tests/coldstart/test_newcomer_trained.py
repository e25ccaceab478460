"""A merchant that joins merchants who train in rounds: what it may see, and how it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedrec
from fedrec.coldstart.after import check_users
from fedrec.coldstart.newcomer import Newcomer, newcomer
from fedrec.coldstart.newcomer_run import measure_merchant
from fedrec.coldstart.newcomer_trained import Settings, _best, served_with, settings_of
from fedrec.coldstart.shop import joined, model_for, open_shop
from fedrec.coldstart.strategy import Warm
from fedrec.coldstart.vectors import mean_personal
from fedrec.coldstart.weeks import WEEK, trade_of
from fedrec.config import Config, from_flat
from fedrec.data.attributes import to_category, to_number
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.errors import ConfigError
from fedrec.models.export import load_model
from fedrec.report.html import write_report
from fedrec.results import load_result
from fedrec.training.node import prepare

KEYS: dict[str, str | int | float] = {
    "data.name": "marketplace",
    "data.users": 120,
    "data.items": 40,
    "data.merchants": 4,
    "clients.unit": "merchant",
    "model.name": "mf",
    "model.dim": 4,
    "train.method": "fedavg",
    "train.rounds": 2,
    "local.epochs": 4,
    "local.every": 2,
    "coldstart.merchant": "1",
    "coldstart.weeks": "0 8",
    "coldstart.steps": 5,
    "evaluate.k": "10",
    "evaluate.bootstrap": 20,
    "evaluate.sampled": 0,
}


def config(**keys: str | int | float) -> Config:
    return from_flat({**KEYS, **{k.replace("__", "."): v for k, v in keys.items()}})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fedrec.run(config(), out=tmp_path_factory.mktemp("run") / "joins").directory


@pytest.fixture(scope="module")
def warm(directory: Path) -> Warm:
    return Warm(prepare(config()), load_model(directory / "model").shared)


def test_a_run_tells_and_shows_every_strategy(directory: Path) -> None:
    told = load_result(directory).systems[0].new_merchant
    assert list(told["curves"]) == ["own", "federated", "fine-tuned", "mixture"]
    assert len({str(told["curves"][n]["0"]) for n in ("federated", "fine-tuned", "mixture")}) == 1
    assert set(told["settings"]) == {"8"}  # nothing is set without a week
    assert "similar is left out" in " ".join(told["notes"])
    page = write_report([directory], directory / "report.html").read_text()
    assert "What the newcomer has set" in page
    assert "trained on its own weeks alone" in page


def test_strangers_without_purchases_are_served_by_the_mean_customer(warm: Warm) -> None:
    shop = open_shop(warm, newcomer(config()), 0.0, 0.0)  # of no time at all
    rows, vector = warm.shared.tables["item"], mean_personal(warm)["user"]
    assert shop.federated()(np.arange(2)) == pytest.approx(np.tile(rows @ vector, (2, 1)), abs=1e-5)


def test_the_mixture_moves_from_one_to_the_other(warm: Warm) -> None:
    new = newcomer(config())
    served = served_with(new, warm, 8).scorers
    chosen = settings_of(new, warm, 8)
    assert chosen is not None
    assert chosen.learnt

    def standard(scores: np.ndarray) -> np.ndarray:
        return (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)

    users = new.asked.users[:5]
    own, tuned = standard(served["own"](users)), standard(served["fine-tuned"](users))
    expected = chosen.share * own + (1 - chosen.share) * tuned
    assert served["mixture"](users) == pytest.approx(expected, abs=1e-4)


def test_only_what_is_on_sale_is_ranked_where_that_is_asked(warm: Warm) -> None:
    new = newcomer(config(coldstart__merchant_items="sold"))
    on_sale, users = new.trade.on_sale(0), new.asked.users[:5]
    scorer = served_with(new, warm, 8).scorers["federated"]
    shown = new.shown(scorer)(users)
    assert (~on_sale).sum() > 0
    assert (shown[:, ~on_sale].max(1) < shown[:, on_sale].min(1)).all()
    assert (shown[:, on_sale] == scorer(users)[:, on_sale]).all()
    found, every = new.measured(scorer), newcomer(config()).measured(scorer)
    assert found["ndcg@10"][0] > every["ndcg@10"][0]
    told = measure_merchant(new.config, warm.shared)
    assert f"Ranked are the {on_sale.sum()} items that it sells" in " ".join(told["notes"])


def test_a_customer_without_purchases_hears_the_average_of_the_own_model(warm: Warm) -> None:
    new = newcomer(config())
    shop = open_shop(warm, new, new.begin - WEEK, new.begin)
    counts = np.diff(shop.setup.population.indptr)
    stranger, scorer = np.flatnonzero(counts == 0)[:1], shop.alone()[0]
    assert scorer(stranger)[0] == pytest.approx(scorer(shop.customers).mean(0), abs=1e-5)


def other_times(new: Newcomer, begin: float, end: float, seed: int) -> Newcomer:
    """The same newcomer with other items in all rows outside a stretch of time."""
    data, drawn = new.trade.dataset, np.random.default_rng(seed)
    outside = (new.trade.time < begin) | (new.trade.time >= end)
    item = data.interactions.item.copy()
    item[outside] = drawn.integers(data.num_items, size=int(outside.sum()))
    changed = replace(data, interactions=replace(data.interactions, item=item))
    return replace(new, trade=replace(new.trade, dataset=changed))


@given(st.integers(0, 2**20), st.sampled_from([1, 4, 8]))
@settings(max_examples=5, deadline=None)
def test_only_its_weeks_decide_what_it_serves_and_sets(
    directory: Path, seed: int, weeks: int
) -> None:
    warm = Warm(prepare(config()), load_model(directory / "model").shared)
    new = newcomer(config())
    other = other_times(new, new.begin - weeks * WEEK, new.begin, seed)
    users = np.arange(new.trade.num_customers)
    for one, two in zip(
        served_with(new, warm, weeks).scorers.values(),
        served_with(other, warm, weeks).scorers.values(),
        strict=True,
    ):
        assert np.array_equal(one(users), two(users))
    assert settings_of(new, warm, weeks) == settings_of(other, warm, weeks)


def test_a_history_is_in_order_and_has_each_item_where_it_came_last() -> None:
    user = np.array([0, 0, 0, 1, 0], np.int32)
    item = np.array([2, 0, 2, 1, 1], np.int32)
    time = np.array([1.0, 2.0, 3.0, 4.0, 9.0])
    rows = Interactions(user, item, timestamp=time, merchant=np.zeros(5, np.int32))
    names = [Catalogue(np.array([f"{n}" for n in range(k)], object)) for k in (3, 2, 1)]
    trade = trade_of(Dataset("shop", rows, names[0], names[1], names[2]))
    indptr, items = trade.history(0, 1.0, 9.0)  # the last purchase comes later
    assert indptr.tolist() == [0, 2, 3]
    assert items.tolist() == [0, 2, 1]


def test_attributes_of_strangers_set_no_scale() -> None:
    known = Catalogue(
        np.array(["a", "b", "c"], object),
        {"age": to_number([20.0, 30.0, 40.0]), "town": to_category(["x", "x", "x"])},
    )
    more = known.take(np.array([0, 0]))
    more.attributes["age"].values[:] = 1000.0
    both = joined(known, more)
    assert both.known is not None
    assert both.known.tolist() == [True, True, True, False, False]
    assert both.attributes["age"].values.tolist() == [20.0, 30.0, 40.0, 1000.0, 1000.0]


def test_a_model_of_attributes_reads_those_of_strangers_as_it_reads_all() -> None:
    setup = prepare(config(model__name="two-tower"))
    strangers = setup.population.split.dataset.users.take(np.array([3, 0]))
    warm_users = setup.population.num_users
    profile = model_for(setup, strangers).users.values  # type: ignore[attr-defined]
    before = setup.model.users.values  # type: ignore[attr-defined]
    assert profile[:warm_users] == pytest.approx(before)
    assert profile[warm_users:] == pytest.approx(before[[3, 0]])


def test_settings_in_words() -> None:
    told = Settings(own=1, tuned=0, share=0.25, held=10.0, learnt=True).told(config())
    assert told == {
        "own": "4 passes (learnt)",
        "federated": "a mean that weighs 10 purchases (learnt)",
        "fine-tuned": "as it is (learnt)",
        "mixture": "25% own (learnt)",
    }
    usual = Settings(own=0, tuned=2, share=0.5, held=np.inf, learnt=False).told(config())
    assert usual["federated"] == "the mean customer (fixed)"
    assert usual["fine-tuned"] == "4 more passes (fixed)"
    fitted = Settings(own=0, tuned=2, share=0.5, held=0.0, learnt=True).told(config())
    assert fitted["federated"] == "fitted all the way (learnt)"


def test_a_vector_goes_from_the_mean_as_far_as_its_purchases_weigh(warm: Warm) -> None:
    new = newcomer(config())
    shop = open_shop(warm, new, new.begin - 8 * WEEK, new.begin)
    rows = np.diff(shop.setup.population.indptr)
    mean, fitted = shop.start.values["user"], shop.fitted.values["user"]
    assert (rows == 0).any()
    assert (rows > 1).any()
    between = shop.personal(3.0).values["user"]
    for user in (int(rows.argmin()), int(rows.argmax())):
        share = rows[user] / (rows[user] + 3.0)
        expected = (1 - share) * mean[user] + share * fitted[user]
        assert between[user] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(shop.personal(np.inf).values["user"], mean)
    assert shop.personal(0.0).values["user"] == pytest.approx(fitted, abs=1e-6)


def test_only_what_is_clearly_better_replaces_the_usual_answer(warm: Warm) -> None:
    new = newcomer(config())
    asked, items = new.asked, new.trade.num_items
    good = np.zeros((new.trade.num_customers, items), np.float32)
    for user, begin, end in zip(asked.users, asked.indptr, asked.indptr[1:], strict=False):
        good[user, asked.items[begin:end]] = 1.0  # all that is to be found comes first
    bad = -good
    scorers = [lambda users, s=s: s[users] for s in (bad, good)]
    assert _best(new, asked, scorers) == 1
    assert _best(new, asked, scorers, fixed=1) == 1
    people = asked.users[:5]  # three gain and two lose as much: less than a standard error
    three, two = bad.copy(), bad.copy()
    three[people[:3]], two[people[3:]] = good[people[:3]], good[people[3:]]
    luck = [lambda users, s=s: s[users] for s in (two, three)]
    assert _best(new, asked, luck) == 0
    two[people[3:]] = bad[people[3:]]  # three against none
    assert _best(new, asked, luck) == 1


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"clients__unit": "user"}, "set clients.unit = 'merchant'"),
        ({"data__feedback": "explicit"}, "data.feedback = 'implicit'"),
        ({"merchants__mixtures": "a"}, "expected numbers of at least 0"),
    ],
)
def test_refused_before_any_data_are_read(keys: dict[str, str | int | float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(**keys)


def test_layers_that_stay_with_a_merchant_are_refused_before_training() -> None:
    asked = config(model__name="ncf", model__local_layers="head/kernel head/bias")
    with pytest.raises(ConfigError, match="a newcomer has none to begin with"):
        check_users(prepare(asked))
