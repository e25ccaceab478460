"""Support, sign and singletons: attacks succeed where nothing protects, and only there."""

import numpy as np
import pytest

from fedrec.audit.inference import Target, guess_support, sign, sign_scores, singletons, support
from fedrec.audit.inspect import PLAIN, TRAINED, audit_round, scenes
from fedrec.audit.rounds import begin, play
from fedrec.audit.views import Protection, View
from tests.audit.audit_cases import PlainServer, small_setup, updates_of

OFF = Protection("off", secure=False)
SUM = Protection("sum", secure=True)


def look(updates, protection=OFF):
    total = updates.total() if protection.secure else None
    return View(protection, updates, total, updates.counts)


def test_support_by_hand():
    updates = updates_of([{0: [1.0], 2: [1.0]}, {1: [1.0]}], 4)
    truth = np.array([[True, False, True, False], [False, True, False, True]])
    target = Target(np.arange(2), truth, updates.touched())
    assert guess_support(look(updates)).tolist() == updates.touched().tolist()
    found = support(look(updates), target)
    assert np.allclose(found["f1"].value.values, [1.0, 2 / 3])
    assert np.allclose(found["f1"].guess.values, [0.0, 0.0])  # each other's update
    assert found["f1"].side is None
    of_sum = support(look(updates, SUM), target)["f1"]
    assert np.allclose(of_sum.value.values, [4 / 5, 2 / 5])  # all three rows that anyone touches
    assert np.allclose(of_sum.guess.values, [0.0, 0.0])  # nobody else touches their rows
    assert np.allclose(of_sum.side.values, of_sum.value.values)  # counts tell as much
    assert guess_support(look(updates, SUM)).tolist() == [[True, True, True, False]]


def test_signs_of_rows_that_are_multiples_of_the_user_vector():
    user = np.array([1.0, -2.0])
    known = np.array([[0.5, 0.1], [0.2, 0.3], [-0.3, 0.7], [0.9, 0.0], [0.1, 0.1]])
    factor = np.array([0.9, -0.2, -0.4, 0.3, -0.1])
    rows = factor[:, None] * user - 0.05 * known  # gradient and decay
    updates = updates_of([dict(enumerate(rows.tolist()))], 5)
    scores = sign_scores(look(updates), known, negatives=2)
    assert (np.sign(scores[0]) == np.sign(factor)).all()


def test_with_one_negative_popular_rows_tell_the_side():
    one = {0: [1.0, 0.0], 1: [-1.0, 0.0]}
    other = {0: [0.0, -1.0], 2: [0.0, 1.0]}
    updates = updates_of([one, other], 3)
    scores = sign_scores(look(updates), np.zeros((3, 2)), negatives=1)
    assert (scores[:, 0] > 0).all()
    truth = np.array([[True, False, False], [True, False, False]])
    target = Target(np.arange(2), truth, updates.touched())
    found = sign(look(updates), target, np.zeros((3, 2)), 1)
    assert found["auc"].value.values.tolist() == [1.0, 1.0]


def test_singletons_by_hand():
    updates = updates_of([{0: [1.0], 1: [1.0]}, {1: [1.0]}, {1: [1.0], 2: [1.0]}], 5)
    pairs = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1], np.int32)
    found = singletons(updates, look(updates, SUM), pairs)
    assert found["rows"] == pytest.approx(2 / 3)
    assert found["users"].values.tolist() == [1.0, 0.0, 1.0]
    assert found["interactions"].values.tolist() == [0.5, 0.0, 0.0]  # item 2 was a negative
    closed = singletons(updates, look(updates, Protection("t", True, threshold=2)), pairs)
    assert closed["rows"] == 0.0
    assert closed["users"].values.tolist() == [0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def measured():
    setup = small_setup(80, 100, audit__threshold=3, audit__noise=10.0)
    state = begin(setup)
    server = PlainServer(setup, state.shared, 50)
    state = play(setup, server, state, 3)
    return [m for scene in scenes(setup, server, state) for m in audit_round(scene)]


def pick(measured, **wanted):
    return [m for m in measured if all(getattr(m, k) == v for k, v in wanted.items())]


def test_without_protection_attacks_succeed(measured):
    (support_,) = pick(measured, audit="support", samples=PLAIN, protection="off", metric="f1")
    assert support_.value >= 0.95
    (hidden,) = pick(measured, audit="support", samples=TRAINED, protection="off", metric="f1")
    assert 0.2 < hidden.value < 0.6
    (sign_,) = pick(measured, audit="sign", protection="off", metric="auc")
    assert sign_.value >= 0.95
    (shadow,) = pick(measured, audit="interaction", protection="off", metric="f1")
    assert shadow.value > shadow.random + 0.1
    for found in (support_, hidden, sign_):
        assert found.verdict == "better than guessing"


def test_a_sum_is_compared_with_the_sum_without_the_client(measured):
    told = pick(measured, audit="sign", metric="auc, rows told", protection="secure sum")
    both = pick(measured, audit="sign", metric="auc, rows and counts told", protection="secure sum")
    shadow = pick(measured, audit="interaction", metric="f1, rows and counts told")
    assert len(told) == len(both) == 1
    assert {m.protection[:10] for m in shadow} == {"secure sum"}
    for found in (*told, *both, *shadow):
        assert np.isfinite([found.side, *found.gain, *found.side_interval]).all()
    (alone,) = pick(measured, audit="sign", metric="auc", protection="off")
    assert np.isnan(alone.side)


@pytest.mark.parametrize(("scale", "gap"), [(1e-3, 0.3), (1e3, 0.0)])
def test_what_is_individual_in_a_sum_is_gone_without_the_client(scale, gap):
    """One client among louder or quieter others: only what it has added itself can go."""
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.2
    mine = np.where(truth, 1.0, -0.3)[:, None] * np.array([1.0, -2.0])
    others = [{i: (scale * rng.normal(size=2)).tolist() for i in range(60)} for _ in range(3)]
    updates = updates_of([dict(enumerate(mine.tolist())), *others], 60)
    view = look(updates, SUM).about(np.array([0]))
    target = Target(np.arange(1), truth[None], np.ones((1, 60), bool))
    found = sign(view, target, np.zeros((60, 2)), 4)["auc, rows told"]
    difference = found.value.mean() - found.guess.mean()
    assert difference > gap if gap else abs(difference) < 0.01
    assert found.side.mean() == 0.5  # every row has as many contributors


def test_noise_stops_them(measured):
    for found in pick(measured, protection="secure sum, clipping, noise"):
        assert found.difference[0] <= 0.02, found


def test_every_figure_has_its_round_and_clients(measured):
    assert {m.round_number for m in measured} == {4}
    assert {m.clients for m in measured if m.audit == "support"} == {50}
    assert {m.samples for m in measured} == {TRAINED, PLAIN}


def test_pairs_and_merchants_are_audited_without_shadow_clients():
    setup = small_setup(20, 40, clients__unit="user")
    pairs = small_setup(20, 40, model__loss="bpr")
    for one, audits in ((setup, {"support", "sign", "interaction", "singletons"}),
                        (pairs, {"support", "sign", "singletons"})):  # fmt: skip
        state = begin(one)
        found = {m.audit for s in scenes(one, PlainServer(one, state.shared, 10), state)
                 for m in audit_round(s)}  # fmt: skip
        assert found == audits
