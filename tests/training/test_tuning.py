"""What clients score with: tables of their own, and parameters that are reconstructed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.batches import draw_samples
from fedrec.errors import ConfigError
from fedrec.params import Personal, Shared
from fedrec.training.local import train_cohort
from fedrec.training.node import Setup, evaluate_node, init_personal, init_shared, train_block
from fedrec.training.tuning import client_scorer, own_tables, reconstruct
from tests.training.cohorts import SIZES, random_population, setup_of

CLIENTS = np.arange(len(SIZES))
POPULATION = random_population(SIZES, 60)
OWN = {"evaluate__table": "personalised"}
HEAD: dict[str, Any] = {"model__name": "head", "train__method": "pfedrec", "train__row_lr": 20.0}
RECON: dict[str, Any] = {"train__method": "fedrecon", "train__support": 0.5}


def started(setup: Setup) -> tuple[Shared, Personal]:
    return init_shared(setup), init_personal(setup, CLIENTS)


# Tables of their own -----------------------------------------------------------------


def test_a_client_scores_with_what_it_would_train_in_the_next_round() -> None:
    setup = setup_of(POPULATION, **HEAD, **OWN)
    shared, personal = started(setup)
    update, new = train_block(setup, shared, personal, CLIENTS, 5)
    found = client_scorer(setup, shared, personal, CLIENTS, 4)(CLIENTS)
    for c in CLIENTS:
        table = shared.tables["item"].astype(np.float64)
        mine = update.index["item"].client == c
        table[update.index["item"].ids[mine]] += update.rows["item"][mine]
        expected = table @ new.values["head"][c] + new.values["bias"][c]
        assert found[c] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert (client_scorer(setup, shared, personal, CLIENTS, 9)(CLIENTS) != found).any()
    averaged = setup_of(POPULATION, **HEAD)
    plain = client_scorer(averaged, shared, personal, CLIENTS, 4)(CLIENTS)
    expected = personal.values["head"] @ shared.tables["item"].T + personal.values["bias"]
    assert plain == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_any_block_of_clients_scores_the_same() -> None:
    setup = setup_of(POPULATION, **HEAD, **OWN)
    shared, personal = started(setup)
    score = client_scorer(setup, shared, personal, CLIENTS, 1)
    some = CLIENTS[1::3]
    few = client_scorer(setup, shared, personal.take(some), some, 1)
    assert few(some) == pytest.approx(score(CLIENTS)[some], rel=1e-5, abs=1e-6)


def test_weights_are_tuned_too() -> None:
    keys = {"model__name": "ncf", "model__mlp": "8 4", "train__lr": 0.5}
    setup = setup_of(POPULATION, **keys, **OWN)
    shared, personal = started(setup)
    tuned = client_scorer(setup, shared, personal, CLIENTS, 0)(CLIENTS)
    update, new = train_block(setup, shared, personal, CLIENTS, 1)
    for c in (1, 4):
        own = Shared(
            {t: table[c] for t, table in own_tables(shared, update).items()},
            {n: v + update.weights[n][c] for n, v in shared.weights.items()},
        )
        alone = setup_of(POPULATION, **keys)
        one = Personal({n: v[c : c + 1] for n, v in new.values.items()})
        expected = client_scorer(alone, own, one, CLIENTS[c : c + 1], 0)(CLIENTS[c : c + 1])
        assert tuned[c] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)


def test_clients_without_interactions_score_with_what_was_sent() -> None:
    population = random_population((0, 4), 20)
    setup = setup_of(population, **HEAD, **OWN)
    shared, personal = init_shared(setup), init_personal(setup, np.arange(2))
    found = client_scorer(setup, shared, personal, np.arange(2), 0)(np.arange(2))
    expected = shared.tables["item"] @ personal.values["head"][0] + personal.values["bias"][0]
    assert found[0] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert np.abs(found[1] - expected).max() > 0.1


def test_sums_over_nodes_are_those_of_one() -> None:
    setup = setup_of(POPULATION, **HEAD, **OWN)
    shared, personal = started(setup)

    def evaluate(clients: np.ndarray) -> Any:
        own = personal.take(clients)
        return evaluate_node(setup, shared, own, clients, "test", bootstrap=0, round_number=3)

    both = evaluate(CLIENTS[::2]) + evaluate(CLIENTS[1::2])
    assert both.values == pytest.approx(evaluate(CLIENTS).values)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train.method": "alternating"}, "not 'user' and 'alternating'"),
        ({"train.method": "fedavg", "clients.unit": "merchant"}, "not 'merchant' and 'fedavg'"),
        ({"train.method": "fedrecon"}, "needs clients.unit = 'user' and train.method = 'fedavg'"),
    ],
)
def test_what_has_no_table_of_its_own_is_refused(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({"evaluate.table": "personalised", **keys})


def test_a_head_is_a_clients_own() -> None:
    with pytest.raises(ConfigError, match="'pfedrec' is for clients.unit = 'user', not 'merchant'"):
        from_flat({"train.method": "pfedrec", "clients.unit": "merchant"})


# Reconstruction ----------------------------------------------------------------------


def test_nothing_personal_is_carried_over() -> None:
    setup = setup_of(POPULATION, **RECON)
    shared, personal = started(setup)
    other = Personal({"user": personal.values["user"] + 3.0})
    first, _ = train_block(setup, shared, personal, CLIENTS, 2)
    second, _ = train_block(setup, shared, other, CLIENTS, 2)
    assert (first.rows["item"] == second.rows["item"]).all()
    assert np.abs(first.rows["item"]).max() > 0
    scores = [client_scorer(setup, shared, p, CLIENTS, 2)(CLIENTS) for p in (personal, other)]
    assert (scores[0] == scores[1]).all()


@pytest.mark.parametrize("batch", [0, 5])
def test_support_and_query_do_not_mix(batch: int) -> None:
    """Reconstruction never reads a row of the query; what is sent moves no row of the support."""
    setup = setup_of(POPULATION, **RECON, train__batch=batch)
    shared, personal = started(setup)
    samples = draw_samples(POPULATION, CLIENTS, 0, 1, setup.method.sampling)
    before = train_cohort(setup.model, shared, personal, samples, setup.method)
    assert samples.query is not None
    for c in (1, 4):
        mine, items = samples.client == c, samples.fields["item"]
        query = np.unique(items[mine & samples.query])
        support = np.unique(items[mine & ~samples.query])
        sent = before.index["item"].ids[before.index["item"].client == c]
        assert sent.tolist() == query.tolist()
        only_query = np.setdiff1d(query, support)
        table = shared.tables["item"].copy()
        table[only_query] += 5.0
        after = train_cohort(setup.model, Shared({"item": table}), personal, samples, setup.method)
        assert (after.personal.values["user"][c] == before.personal.values["user"][c]).all()
        table = shared.tables["item"].copy()
        table[np.setdiff1d(support, query)] += 5.0
        after = train_cohort(setup.model, Shared({"item": table}), personal, samples, setup.method)
        assert (after.personal.values["user"][c] != before.personal.values["user"][c]).any()


def test_a_client_weighs_as_much_as_its_query() -> None:
    setup = setup_of(POPULATION, **RECON)
    shared, personal = started(setup)
    update, _ = train_block(setup, shared, personal, CLIENTS, 1)
    positives = np.array(SIZES) - np.ceil(np.array(SIZES) / 2)
    assert update.samples.tolist() == (4 * positives).tolist()


def test_a_single_interaction_moves_nothing_that_is_shared() -> None:
    population = random_population((1, 1), 20)
    setup = setup_of(population, **RECON, train__optimizer="adam")
    shared, personal = init_shared(setup), init_personal(setup, np.arange(2))
    update, new = train_block(setup, shared, personal, np.arange(2), 1)
    assert len(update.index["item"].ids) == 0
    assert update.samples.tolist() == update.loss.tolist() == [0.0, 0.0]
    assert (new.values["user"] != personal.values["user"]).any(axis=1).all()


def test_scoring_reconstructs_from_all_interactions() -> None:
    setup = setup_of(POPULATION, **RECON, train__batch=0, train__personal_steps=2)
    shared, personal = started(setup)
    own = reconstruct(setup, shared, CLIENTS, 3).values["user"]
    samples = draw_samples(POPULATION, CLIENTS, 0, 3, setup.method.sampling)
    for c in CLIENTS:
        mine = samples.client == c
        rows = shared.tables["item"][samples.fields["item"][mine]].astype(np.float64)
        p = personal.values["user"][c].astype(np.float64)
        for _ in range(2):
            error = 1 / (1 + np.exp(-rows @ p)) - samples.label[mine]
            p = p - 0.3 * rows.T @ error / mine.sum()
        assert own[c] == pytest.approx(p, rel=1e-5)


def test_users_of_merchants_are_reconstructed_too() -> None:
    population = random_population((6, 4, 8, 1), 30, clients=[0, 1, 0, 1])
    setup = setup_of(population, **RECON, clients__unit="merchant")
    clients = np.arange(2)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    other = Personal({"user": personal.values["user"] - 2.0})
    first, moved = train_block(setup, shared, personal, clients, 1)
    second, _ = train_block(setup, shared, other, clients, 1)
    assert (first.rows["item"] == second.rows["item"]).all()
    assert (moved.values["user"] != personal.values["user"]).any(axis=1).all()
    scores = client_scorer(setup, shared, other, clients, 1)(np.arange(4))
    assert scores.shape == (4, 30)


def test_a_phase_cannot_ask_for_a_part_of_samples_that_are_whole() -> None:
    setup = setup_of(POPULATION, **RECON)
    shared, personal = started(setup)
    whole = draw_samples(POPULATION, CLIENTS, 0, 1, setup_of(POPULATION).method.sampling)
    with pytest.raises(ValueError, match="not split, and a phase asks for the support"):
        train_cohort(setup.model, shared, personal, whole, setup.method)
