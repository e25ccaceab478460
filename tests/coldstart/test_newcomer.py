"""A merchant that joins after training: nothing has seen it, and what it could recommend."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import fedrec
from fedrec.coldstart.after import check_users
from fedrec.coldstart.merchants import SharedWeights
from fedrec.coldstart.newcomer import newcomer
from fedrec.coldstart.newcomer_ease import item_rates, strategy_scores
from fedrec.config import Config, from_flat
from fedrec.data import load, populations
from fedrec.data.interactions import Dataset
from fedrec.engine.deployed import as_deployed
from fedrec.errors import ConfigError, DataError
from fedrec.models.export import load_model
from fedrec.report.cold_start import curves_figure
from fedrec.report.html import write_report
from fedrec.report.tables import print_result
from fedrec.results import load_result
from fedrec.training.node import load_population, prepare

KEYS: dict[str, str | int | float] = {
    "data.name": "marketplace",
    "data.users": 150,
    "data.items": 50,
    "data.merchants": 5,
    "model.name": "item-item",
    "train.method": "ease",
    "train.rounds": 1,
    "server.weighting": "equal",
    "server.rows": "sum",
    "baseline.ease_l2": 20.0,
    "coldstart.merchant": "1",
    "coldstart.weeks": "0 2 8",
    "evaluate.k": "5 10",
    "evaluate.bootstrap": 50,
    "evaluate.sampled": 0,
}


def config(**keys: str | int | float) -> Config:
    return from_flat({**KEYS, **{k.replace("__", "."): v for k, v in keys.items()}})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fedrec.run(config(), out=tmp_path_factory.mktemp("run") / "joins").directory


def changed(raw: Dataset, merchant: int, seed: int) -> Dataset:
    """The same data with other purchases at one merchant."""
    rows, drawn = raw.interactions, np.random.default_rng(seed)
    mine = np.asarray(rows.merchant) == merchant
    item, user, time = rows.item.copy(), rows.user.copy(), np.array(rows.timestamp)
    item[mine] = drawn.integers(raw.num_items, size=int(mine.sum()))
    user[mine] = drawn.integers(raw.num_users, size=int(mine.sum()))
    time[mine] = drawn.permutation(time[mine])
    return replace(raw, interactions=replace(rows, item=item, user=user, timestamp=time))


@given(st.integers(0, 4), st.integers(0, 2**20), st.sampled_from(["user", "merchant"]))
@settings(max_examples=10, deadline=None)
def test_nothing_of_a_run_depends_on_its_rows(merchant: int, seed: int, unit: str) -> None:
    asked = config(coldstart__merchant=str(merchant), clients__unit=unit, data__users=40)
    read = load.load_raw

    def seen() -> tuple[object, ...]:
        load._load.cache_clear()
        populations._load_population.cache_clear()
        found = load_population(asked)
        data = found.split.dataset
        return (
            found.items.tolist(), found.indptr.tolist(), found.item_counts.tolist(),
            found.num_clients, data.items.ids.tolist(), data.users.ids.tolist(),
            found.split.split_hash, data.account,
            [a.values.tolist() for a in data.items.attributes.values()],
        )  # fmt: skip

    before = seen()
    try:
        load.load_raw = lambda section: changed(read(section), merchant, seed)  # type: ignore[assignment]
        assert seen() == before
    finally:
        load.load_raw = read
        load._load.cache_clear()
        populations._load_population.cache_clear()


def test_a_run_tells_what_it_could_recommend(directory: Path) -> None:
    told = load_result(directory).systems[0].new_merchant
    assert list(told["curves"]) == ["own", "federated", "fine-tuned", "mixture", "similar"]
    assert told["weeks"] == ["0", "2", "8"]
    for curve in told["curves"].values():
        for weeks in told["weeks"]:
            mean, low, high = curve[weeks]["ndcg@10"]
            assert low <= mean <= high
    first = {name: curve["0"] for name, curve in told["curves"].items() if name != "own"}
    assert len({str(one) for one in first.values()}) == 1  # without a week all have the same model
    assert "left out, before anything else" in " ".join(load_result(directory).account)


def test_the_federated_model_is_that_of_the_run(directory: Path) -> None:
    shared = load_model(directory / "model").shared.tables["item"]
    new, model = newcomer(config()), SharedWeights(shared, item_rates(load_population(config())))
    rows = new.own(8)[new.asked.users].toarray()
    scores = strategy_scores(new, model, "federated", 8, None)
    assert scores == pytest.approx(rows @ shared + 1e-6 * model.rates, abs=1e-5)
    alone, both = (strategy_scores(new, model, name, 8, None) for name in ("own", "mixture"))
    customers = int((np.diff(new.own(8).indptr) > 0).sum())
    share = customers / (customers + 300.0)
    assert both == pytest.approx(share * alone + (1 - share) * scores, abs=1e-5)


def test_the_reader_sees_it(directory: Path) -> None:
    page = write_report([directory], directory / "report.html").read_text()
    assert "A merchant that joins" in page
    assert "Accuracy for a new merchant by weeks of its own" in page
    text = io.StringIO()
    print_result(load_result(directory), Console(file=text, width=150))
    assert "Merchant 1 has taken no part in training" in text.getvalue()
    assert "weeks = 8" in text.getvalue()


def test_curves_of_nothing_found_are_drawn() -> None:
    nothing = {"own": {"0": {"ndcg@10": [0.0, 0.0, 0.0]}, "1": {"ndcg@10": [0.0, 0.0, 0.0]}}}
    assert "<svg" in curves_figure({"": nothing}, ["ndcg@10"], "x")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"train__method": "item-knn"}, "set train.method = 'ease'"),
        ({"model__name": "mf", "train__method": "alternating"}, "set clients.unit = 'merchant'"),
        ({"split__event": "cart"}, "counts all events of the newcomer alike"),
        ({"baseline__ease_decay": 5.0}, "no window or decay"),
        ({"coldstart__weeks": "a"}, "expected whole numbers of at least 0"),
        ({"merchants__largest": 3, "clients__unit": "merchant"}, "named among all merchants"),
        ({"data__store": "disk"}, "data.store = 'memory' or 'auto'"),
    ],
)
def test_refused_before_any_data_are_read(keys: dict[str, str | int | float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(**keys)


def test_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 5 merchants, none of that name"):
        prepare(config(coldstart__merchant="corner shop"))
    check_users(prepare(config()))
    with pytest.raises(ConfigError, match="those of a deployment lie with its nodes"):
        as_deployed(config(), tmp_path)
