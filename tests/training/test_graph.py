"""The graph as a sum, propagation against a dense product, and one hop at home."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from fedrec.data.batches import Samples
from fedrec.models.lightgcn import LightGCN
from fedrec.params import Personal, Shared
from fedrec.training.graph import GraphSums, Propagation, normalised
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, Phase, Sampling

MET = [[0, 1], [1, 2, 3], [3], [0, 1, 3, 4]]
ITEMS = 6


def graph_samples() -> Samples:
    client = np.repeat(np.arange(len(MET)), [len(m) for m in MET])
    ones = np.ones(len(client), np.float32)
    item = np.concatenate([np.array(m) for m in MET])
    return Samples(client, {"item": item}, ones, ones, np.arange(len(client), dtype=np.uint64), 4)


def direct(met: list[list[int]], items: int) -> np.ndarray:
    """P by its definition, float64."""
    x = np.zeros((len(met), items))
    for user, some in enumerate(met):
        x[user, some] = 1.0
    count = np.maximum(x.sum(0), 1.0)
    return x.T @ np.diag(1.0 / x.sum(1)) @ x / np.sqrt(count[:, None] * count)


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_the_sum_of_all_shares_is_the_graph(rounds: int) -> None:
    shared = Shared({"item": np.zeros((ITEMS, 2), np.float32)})
    sums = GraphSums(rounds).zeros(shared)
    total = sums.tables["item"].astype(np.float64)
    for number in range(1, rounds + 1):
        told = GraphSums(rounds).at(number).contribute(shared, Personal({}), graph_samples())
        np.add.at(total, told.index.ids, told.rows["item"])
    found = normalised(total)
    dense = found.toarray() if sp.issparse(found) else found
    wanted = direct(MET, ITEMS)
    np.testing.assert_allclose(dense, wanted, rtol=1e-6)
    # by hand: items 0 and 1 meet in clients 0 (two items) and 3 (four); 2 and 3 users have them
    assert dense[0, 1] == pytest.approx((1 / 2 + 1 / 4) / np.sqrt(2 * 3))
    assert dense[5].sum() == 0  # nobody has met it
    np.testing.assert_array_equal(total[:, -1], [2, 3, 1, 3, 1, 0])


def test_a_share_takes_the_bytes_of_its_pairs() -> None:
    shared = Shared({"item": np.zeros((ITEMS, 2), np.float32)})
    told = GraphSums().contribute(shared, Personal({}), graph_samples())
    # n rows of 8 bytes; n (n + 1) / 2 pairs and n counts of 8 bytes each
    assert told.sent is not None
    np.testing.assert_array_equal(told.sent, [8 * (n + n * (n + 1) // 2 + n) for n in (2, 3, 1, 4)])


@pytest.mark.parametrize("dense", [True, False])
def test_propagation_and_its_gradient_are_those_of_a_dense_product(dense: bool) -> None:
    matrix = direct(MET, ITEMS).astype(np.float32)
    propagate = Propagation(matrix if dense else sp.csr_matrix(matrix), 3)
    rng = np.random.default_rng(0)
    base = rng.normal(size=(ITEMS, 3)).astype(np.float32)
    target = rng.normal(size=(ITEMS, 3)).astype(np.float32)
    variable, p = tf.Variable(base), tf.constant(matrix)
    with tf.GradientTape(persistent=True) as tape:
        layers = [tf.convert_to_tensor(variable)]
        for _ in range(3):
            layers.append(p @ layers[-1])
        out = tf.add_n(layers) / 4.0
        loss = tf.reduce_sum(tf.square(out - target))
    np.testing.assert_allclose(propagate(base), out.numpy(), rtol=1e-5, atol=1e-6)
    of_out, of_base = tape.gradient(loss, [out, variable])
    np.testing.assert_allclose(propagate(of_out.numpy()), of_base.numpy(), rtol=1e-4, atol=1e-5)


def pairs() -> Samples:
    rng = np.random.default_rng(1)
    client = np.repeat(np.arange(len(MET)), [2 * len(m) for m in MET])
    item = np.concatenate([np.repeat(m, 2) for m in MET])
    other = [np.setdiff1d(np.arange(ITEMS), m) for m in MET]
    negative = np.concatenate([rng.choice(o, 2 * len(m)) for o, m in zip(other, MET, strict=True)])
    ones = np.ones(len(client), np.float32)
    order = np.arange(len(client), dtype=np.uint64)
    return Samples(client, {"item": item, "negative": negative}, ones, ones, order, len(MET))


@pytest.mark.parametrize("leave_out", [True, False])
def test_a_client_sends_the_gradient_of_its_whole_sub_graph(leave_out: bool) -> None:
    """The tape differentiates through e_u; the client adds up two parts by hand."""
    table = np.random.default_rng(2).normal(size=(ITEMS, 3)).astype(np.float32)
    step = Phase(batch=0, optimizer="sgd", lr=1.0, personal_lr=1.0)
    phases = (Phase(shared=False, solver="neighbours"), step)
    method = Method("lightgcn", phases, Sampling(pairwise=True), "sum")
    model, samples = LightGCN(3, leave_out=leave_out), pairs()
    update = train_cohort(model, Shared({"item": table}), Personal({}), samples, method)
    assert update.personal.values == {}
    for client, met in enumerate(MET):
        mine = samples.client == client
        item, negative = (samples.fields[n][mine] for n in ("item", "negative"))
        z = tf.Variable(table)
        with tf.GradientTape() as tape:
            share = len(met) ** -0.5
            user = share * tf.reduce_sum(tf.gather(z, met), 0)
            own = user[None] - (share * tf.gather(z, item) if leave_out else 0.0)
            ahead = tf.reduce_sum(own * (tf.gather(z, item) - tf.gather(z, negative)), -1)
            loss = tf.reduce_sum(tf.nn.softplus(-ahead))
        wanted = tf.convert_to_tensor(tape.gradient(loss, z)).numpy()
        rows = update.index["item"].client == client
        found = np.zeros_like(table)
        found[update.index["item"].ids[rows]] = -update.rows["item"][rows]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        assert update.loss[client] * mine.sum() == pytest.approx(float(loss), rel=1e-5)


def test_a_user_with_one_item_learns_nothing_from_itself() -> None:
    """Without its only item there is nothing left to score with."""
    table = np.random.default_rng(2).normal(size=(ITEMS, 3)).astype(np.float32)
    rows = {"item": tf.constant(table[:1]), "negative": tf.constant(table[1:2])}
    personal = {"user": tf.constant(table[:1]), "share": tf.ones((1, 1))}
    batch = {"weight": tf.ones(1)}
    loss = LightGCN(3).loss({}, personal, rows, batch)
    assert float(loss) == pytest.approx(np.log(2.0))


def test_gradients_by_hand_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(3)
    rows = {
        n: tf.constant(rng.normal(size=(5, 3)).astype(np.float32)) for n in ("item", "negative")
    }
    personal = {
        "user": tf.constant(rng.normal(size=(1, 3)).astype(np.float32)),
        "share": tf.constant([[0.4]]),
    }
    batch = {"weight": tf.constant(rng.uniform(size=5).astype(np.float32))}
    model = LightGCN(3)
    with tf.GradientTape() as tape:
        tape.watch((rows, personal))
        loss = model.loss({}, personal, rows, batch)
    of_rows, of_personal = tape.gradient(loss, (rows, personal))
    tiles = [{n: v[None] for n, v in part.items()} for part in (personal, rows, batch)]
    found = model.gradients({}, *tiles)
    np.testing.assert_allclose(found.losses[0], loss, rtol=1e-5)
    np.testing.assert_allclose(found.personal["user"][0], of_personal["user"], rtol=1e-4)
    for name in rows:
        np.testing.assert_allclose(found.rows[name][0], of_rows[name], rtol=1e-4, atol=1e-6)


def test_scores_are_those_of_the_own_items() -> None:
    table = np.eye(ITEMS, dtype=np.float32) * 2
    history = tf.constant([[-1, 0, 3], [-1, -1, -1]])
    scores = LightGCN(ITEMS).scores({}, {}, {"item": tf.constant(table)}, history)
    np.testing.assert_allclose(scores[0], np.array([4, 0, 0, 4, 0, 0]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(scores[1], np.zeros(ITEMS))
    alone = LightGCN(ITEMS).score({}, {}, {"item": tf.constant(table)}, history[0])
    np.testing.assert_array_equal(alone, scores[0])
    own = tf.stack([tf.constant(table), tf.constant(table)])
    np.testing.assert_allclose(LightGCN(ITEMS).scores({}, {}, {"item": own}, history), scores)
