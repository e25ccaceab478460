"""A customer of a merchant is protected: what it moves, what that costs, and what is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from fedrec.auditing import check as check_audit
from fedrec.config import Config, from_flat
from fedrec.data.batches import Samples
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError
from fedrec.params import Personal, Shared
from fedrec.privacy.ledger import Event, Ledger
from fedrec.privacy.policy import At, PrivacyPolicy
from fedrec.report.html import write_report
from fedrec.run import run
from fedrec.secure.bounded import room_in_sum, round_vectors
from fedrec.secure.quantise import FixedPoint
from fedrec.training.cohort import CohortUpdate
from fedrec.training.customers import by_owner, by_user, check_customers
from fedrec.training.gram import GramSums
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, build_method
from fedrec.training.node import init_personal, init_shared, prepare, train_node
from tests.privacy.updates import update_of, vectors
from tests.silo_files import NAMES, silo_values, write_merchants

Make = Callable[..., Config]

CUSTOMERS: dict[str, Any] = {
    "privacy.unit": "customer",
    "privacy.customers": 100,
    "privacy.mechanism": "central",
    "privacy.clip": 2.0,
    "privacy.noise_multiplier": 1.5,
    "clients.unit": "merchant",
}
EASE: dict[str, Any] = {
    "train.method": "ease",
    "model.name": "item-item",
    "server.rows": "sum",
    "train.rounds": 1,
}


def policy(**keys: Any) -> PrivacyPolicy:
    given = {name.replace("__", "."): value for name, value in keys.items()}
    return PrivacyPolicy(from_flat({**CUSTOMERS, **given}), 4)


def merchants(update: CohortUpdate, owner: list[int], clip: float = 2.0) -> np.ndarray:
    """What three merchants send, each as one vector."""
    bounded = policy().on_customers(update, At(1, clip, bytes(32)))
    return vectors(by_owner(bounded, np.array(owner), 3))


# Sensitivity -----------------------------------------------------------------------


customers = st.lists(
    st.tuples(st.integers(0, 2), st.sets(st.integers(0, 6), max_size=5)), min_size=1, max_size=8
)


@given(customers, st.floats(0.1, 20.0), st.integers(0, 1000))
def test_without_one_customer_the_sums_move_by_the_clip_norm_at_most(
    drawn: list[tuple[int, set[int]]], size: float, seed: int
) -> None:
    owner, touched = [o for o, _ in drawn], [sorted(t) for _, t in drawn]
    update = update_of(touched, seed=seed)
    update = update_of(
        touched,
        rows=size * np.concatenate([update.rows["item"], update.rows["item_bias"]], 1),
        weights=size * update.weights["w"],
    )
    whole = merchants(update, owner)
    last = len(touched[-1])
    rows = np.concatenate([update.rows["item"], update.rows["item_bias"]], 1)
    fewer = update_of(touched[:-1], rows=rows[: len(rows) - last], weights=update.weights["w"][:-1])
    without = merchants(fewer, owner[:-1]) if owner[:-1] else np.zeros_like(whole)
    assert np.linalg.norm(whole - without) <= 2.0


histories = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.integers(0, 8), max_size=9, unique=True)),
    min_size=1,
    max_size=6,
)


def grams(drawn: list[tuple[int, list[int]]], clip: float, window: float) -> np.ndarray:
    """The folded Gram matrices of two merchants, [2, 9, 5]."""
    order = np.argsort([o for o, _ in drawn], kind="stable")
    drawn = [drawn[n] for n in order]
    owner = np.array([o for o, _ in drawn], np.int64)
    length = [len(items) for _, items in drawn]
    item = np.array([i for _, items in drawn for i in items], np.int64)
    user = np.repeat(np.arange(len(drawn)), length)
    ones = np.ones(len(item), np.float32)
    fields = {"item": item, "user": user}
    words = np.arange(len(item), dtype=np.uint64)
    samples = Samples(owner[user], fields, ones, ones, words, 2)
    method = build_method(from_flat(EASE), pooled=True)
    method = Method(**{**method.__dict__, "statistics": GramSums("ease", window=window)})
    shared = Shared({"item": np.zeros((9, 9), np.float32)})
    each = by_user(samples, np.arange(len(drawn)))
    update = train_cohort(None, shared, Personal({}), each, method)  # type: ignore[arg-type]
    summed = by_owner(policy().on_customers(update, At(1, clip, bytes(32))), owner, 2)
    index, rows = summed.index["item"], summed.rows["item"]
    out = np.zeros((2, 9, 5))
    out[index.client, index.ids] = rows
    return out


@given(histories, st.sampled_from([0.0, 2.0]), st.sampled_from([1.0, 3.0, 50.0]))
def test_the_gram_matrix_of_a_merchant_moves_by_the_clip_norm_at_most(
    drawn: list[tuple[int, list[int]]], window: float, clip: float
) -> None:
    drawn = [*drawn, (1, [0, 1])]  # somebody has interactions
    without = grams(drawn[1:], clip, window)
    assert np.linalg.norm(grams(drawn, clip, window) - without) <= clip


def test_gram_matrices_worked_by_hand() -> None:
    """Three items have six pairs, norm root 6; clipped to 1, each one counts 1 / root 6."""
    found = grams([(0, [0, 1, 2]), (0, [0]), (1, [4])], 1.0, 0.0)
    share = 1 / math.sqrt(6)
    assert found[0, 0] == pytest.approx([share + 1, share, share, 0, 0], rel=1e-5)
    assert found[0, 1, 0] == pytest.approx(share, rel=1e-5)
    assert found[1].sum() == found[1, 4, 0] == 1.0


@given(st.lists(st.floats(-3, 3), min_size=5, max_size=5), st.binary(min_size=32, max_size=32),
       st.lists(st.floats(-1, 1), min_size=5, max_size=5))  # fmt: skip
def test_a_rounded_sum_moves_by_the_norm_at_most(
    others: list[float], key: bytes, own: list[float]
) -> None:
    schemes = {"tables": FixedPoint(6, 4.0)}
    clip = 1.0
    room = room_in_sum(schemes, {"tables": 5}, clip)
    rest, mine = np.array(others), np.array(own)
    mine *= min(1.0, room / max(float(np.linalg.norm(mine)), 1e-9))
    two = [
        round_vectors({"tables": value}, 1, schemes, entropy=lambda size: key[:size])["tables"]
        for value in (rest, rest + mine)
    ]
    moved = (two[1].astype(np.int64) - two[0].astype(np.int64)) * schemes["tables"].step
    assert np.linalg.norm(moved) <= clip


def test_steps_that_are_too_wide_for_a_customer_are_refused() -> None:
    with pytest.raises(ConfigError, match="for a single customer, and privacy.clip = 1 bounds"):
        room_in_sum({"tables": FixedPoint(4, 4.0)}, {"tables": 400}, 1.0)


# What it costs ---------------------------------------------------------------------


def gaussian_delta(noise: float, epsilon: float) -> float:
    """Balle and Wang (ICML 2018), theorem 8, for a sensitivity of 1."""
    left = norm.cdf(0.5 / noise - epsilon * noise)
    return float(left - math.exp(epsilon) * norm.cdf(-0.5 / noise - epsilon * noise))


@pytest.mark.parametrize("mechanism", ["central", "local"])
@pytest.mark.parametrize(("merchants_each", "noise"), [(1, 1.5), (3, 0.5)])
def test_epsilon_is_that_of_the_gaussian_mechanism(
    mechanism: str, merchants_each: int, noise: float
) -> None:
    """A person at three merchants moves the sum three times as far: a third of the noise."""
    one = policy(privacy__mechanism=mechanism, privacy__merchants_each=merchants_each)
    event = one.event(4)
    assert event == Event("gaussian", noise, 100, 100)
    assert one.delta == pytest.approx(100**-1.1)
    epsilon = Ledger().add(event).epsilon(one.delta)
    assert gaussian_delta(noise, epsilon) == pytest.approx(one.delta, rel=0.02)
    twice = one.at_merchants(2 * merchants_each, Ledger().add(event))
    assert twice.entries == ((Event("gaussian", noise / 2, 100, 100), 1),)


def test_distributed_noise_of_a_person_at_two_merchants() -> None:
    keys = {
        "privacy__mechanism": "distributed",
        "privacy__merchants_each": 2,
        "secure__mode": "semi-honest",
        "secure__clip": 40.0,
        "server__min_clients": 3,
    }
    one = policy(**keys)
    assert one.event(4) == Event("skellam", 0.75, 4, 4, 2 * one.steps)
    assert one.share_variance == pytest.approx((1.5 * one.steps) ** 2 / 3)


def test_means_are_over_customers() -> None:
    assert policy().divisor == 100
    assert policy(clients__dropout=0.5).divisor == 50


# What goes together ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clients.unit": "user"}, "needs clients.unit = 'merchant'"),
        ({"privacy.customers": 0}, "needs privacy.customers, about how many"),
        ({"clients.sampling": "poisson"}, "chance hides none of them"),
        ({"privacy.clip_mode": "adaptive"}, "needs privacy.clip_mode = 'fixed'"),
        ({"train.method": "fedrecon"}, "others join what customers send"),
        ({"train.negatives_from": "own"}, "would follow from the rows of the others"),
        ({"compress.bits": 8}, "no compression of updates"),
        ({"server.fairness": 1.0}, "factors are of whole merchants"),
        ({"privacy.pseudo_items": 2}, "privacy.pseudo_items = 0"),
        ({"robust.defence": "norm-bound", "robust.norm": 1.0}, "which know whole merchants"),
        ({"secure.mode": "semi-honest", "secure.rows": "low-rank"}, "secure.rows = 'dense'"),
        ({"privacy.unit": "client"}, "need privacy.unit = 'customer'"),
    ],
)
def test_refusals(keys: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({**CUSTOMERS, **keys})


def test_without_noise_there_is_no_unit() -> None:
    keys = {"privacy.mechanism": "off", "privacy.clip": 0.0, "privacy.noise_multiplier": 0.0}
    with pytest.raises(ConfigError, match="needs privacy.mechanism = "):
        from_flat({**CUSTOMERS, **keys})


def test_whole_clients_are_not_bounded_where_customers_are() -> None:
    with pytest.raises(ConfigError, match="bounds whole clients"):
        policy().on_update(update_of([[0]]), np.arange(1), At(1, 1.0, bytes(32)))


# Runs ------------------------------------------------------------------------------

RUN: dict[str, Any] = {
    "clients__unit": "merchant",
    "data__merchants": 4,
    "privacy__unit": "customer",
    "privacy__customers": 80,
    "privacy__mechanism": "central",
    "privacy__clip": 1e3,
    "privacy__noise_multiplier": 0.0,
    "privacy__draws": "seeded",
    "server__rows": "sum",
    "server__table_lr": 0.05,
    "train__rounds": 1,
    "evaluate__every": 1,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
}
SUMMED = {**RUN, "train__method": "ease", "model__name": "item-item"}
SECURE = {"secure__mode": "semi-honest", "secure__clip": 60.0, "secure__bits": 24}
MECHANISMS: dict[str, dict[str, Any]] = {
    "central": {},
    "masked": SECURE,
    "local": {"privacy__mechanism": "local"},
    "distributed": {
        **SECURE,
        "secure__bits": 18,
        "privacy__mechanism": "distributed",
        "server__min_clients": 4,
    },
}


def figures(config: Config) -> tuple[float, dict[str, Any]]:
    execute(config)
    left = json.loads((Path(config.run.out) / "system.json").read_text())
    return left["metrics"]["test"]["full"]["ndcg@10"], left["privacy"]


@pytest.mark.parametrize("method", ["ease", "alternating"])
def test_without_noise_it_is_the_model_of_whole_merchants(small_run: Make, method: str) -> None:
    """No norm reaches the bound: sums of customers' gradients, or pairs, are those of merchants."""
    keys = SUMMED if method == "ease" else {**RUN, "train__method": method, "train__rounds": 3}
    keys["train__reduction"] = "sum"
    bare = {**keys, "privacy__unit": "client", "privacy__customers": 0}
    with_it, _ = figures(small_run("with", **keys))
    without, _ = figures(small_run("without", **bare))
    assert with_it == pytest.approx(without, abs=0.001)
    assert without > 0.04


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_run_says_that_a_customer_is_protected(small_run: Make, name: str) -> None:
    noise = {"privacy__clip": 4.0, "privacy__noise_multiplier": 0.8}
    config = small_run(name, **{**SUMMED, **noise, **MECHANISMS[name]})
    _, privacy = figures(config)
    assert privacy["mechanism"] == config.privacy.mechanism
    assert privacy["unit"] == "customer"
    assert privacy["merchants_each"] == 1
    assert 0 < privacy["epsilon"] < 20
    for words in (
        "-differential privacy of every customer towards",
        "a merchant clips each customer's whole update (norm 4",
        "of one who is a customer of 2 merchants epsilon is",
        "The merchant itself is not protected",
    ):
        assert words in privacy["statement"]
    assert "every client" not in privacy["statement"]


def test_nodes_do_not_matter(small_run: Make) -> None:
    keys = {**RUN, "privacy__clip": 0.5, "privacy__noise_multiplier": 0.5}
    one, two = (figures(small_run(f"n{n}", **keys, engine__nodes=n)) for n in (1, 2))
    assert one[0] == pytest.approx(two[0], abs=1e-6)


def test_layers_of_a_merchant_are_refused() -> None:
    model: Any = SimpleNamespace(
        personal_vectors={"user": 4},
        init_personal=lambda clients, seed: Personal(
            {n: np.zeros((1, 4)) for n in ("top", "user")}
        ),
    )
    with pytest.raises(ConfigError, match="top would be of a merchant"):
        check_customers(policy().config, model)
    check_customers(from_flat({}), model)


def test_a_node_with_its_own_file_sends_its_part_of_the_sum(tmp_path: Path) -> None:
    """Nothing that a merchant does to its customers depends on the rows of the others."""
    write_merchants(tmp_path)
    noise = {"privacy__clip": 0.2, "privacy__noise_multiplier": 0.5, "server__rows": "mean"}
    keys = {k.replace("__", "."): v for k, v in {**RUN, **noise}.items() if "data__" not in k}
    joined = from_flat({**silo_values(tmp_path, tmp_path / "out"), **keys})
    whole = node_sum(joined, np.arange(3))
    parts = [
        node_sum(
            joined.with_(
                {
                    "silo.holds": name,
                    "data.path": str(tmp_path / f"{name}.csv"),
                    "data.merchant_column": "",
                }
            ),
            np.array([number]),
        )
        for number, name in enumerate(NAMES)
    ]
    assert np.abs(whole).max() > 0.01
    assert sum(parts) == pytest.approx(whole, abs=1e-5)


def node_sum(config: Config, clients: np.ndarray) -> np.ndarray:
    """The sum of the item table's changes that a node sends."""
    setup = prepare(config)
    total, _ = train_node(setup, init_shared(setup), init_personal(setup, clients), clients, 1)
    return total.tables["item"].dense(setup.population.num_items)


def test_audits_of_whole_clients_are_refused(small_run: Make) -> None:
    with pytest.raises(ConfigError, match="fedrec audit attacks what a client sends"):
        check_audit(small_run(**RUN))


def test_the_report_shows_the_unit_and_the_statement(small_run: Make) -> None:
    config = small_run(**{**SUMMED, "privacy__clip": 4.0, "privacy__noise_multiplier": 0.8})
    result = run(config).result
    assert result.systems[0].privacy["unit"] == "customer"
    place = Path(config.run.out)
    page = write_report([place], place / "report.html").read_text()
    assert "<dd>customer</dd>" in page
    assert "-differential privacy of every customer towards all who see" in page
