"""Support, sign and singletons: attacks succeed where nothing protects, and only there."""

import numpy as np
import pytest

from fedrec.audit.inference import Target, guess_support, sign, sign_scores, singletons, support
from fedrec.audit.inspect import PLAIN, TRAINED, audit_round, scenes
from fedrec.audit.rounds import begin, play
from fedrec.audit.views import Protection, see
from tests.audit.audit_cases import PlainServer, small_setup, updates_of

OFF = Protection("off", secure=False)
SUM = Protection("sum", secure=True)


def look(updates, protection=OFF):
    return see(updates, protection, clip_norm=1.0, seed=0, round_number=1)


def test_support_by_hand():
    updates = updates_of([{0: [1.0], 2: [1.0]}, {1: [1.0]}], 4)
    truth = np.array([[True, False, True, False], [False, True, False, True]])
    target = Target(np.arange(2), truth, updates.touched())
    assert guess_support(look(updates)).tolist() == updates.touched().tolist()
    found = support(look(updates), target, target)
    assert np.allclose(found["f1"][0].values, [1.0, 2 / 3])
    assert np.allclose(found["f1"][1].values, [0.0, 0.0])  # each other's update
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
    found = sign(look(updates), target, target, np.zeros((3, 2)), 1)
    assert found["auc"][0].values.tolist() == [1.0, 1.0]


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
    setup = small_setup(80, 100, audit__threshold=3)
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


def test_noise_stops_them(measured):
    for found in pick(measured, protection="secure sum, clipping, noise"):
        assert found.difference[0] <= 0.02, found


def test_every_figure_has_its_round_and_clients(measured):
    assert {m.round_number for m in measured} == {4}
    assert {m.clients for m in measured if m.audit == "support"} == {50}
    assert {m.samples for m in measured} == {TRAINED, PLAIN}


def test_where_everybody_trains_some_are_held_back():
    setup = small_setup(20, 40)
    state = begin(setup)
    scene = next(scenes(setup, PlainServer(setup, state.shared), state))
    assert len(scene.bystanders.clients) == 4
    assert not set(scene.bystanders.clients) & set(scene.updates.clients)


def test_merchants_are_audited_without_shadow_clients():
    setup = small_setup(20, 40, clients__unit="user")
    pairs = small_setup(20, 40, model__loss="bpr")
    for one, audits in ((setup, {"support", "sign", "interaction", "singletons"}),
                        (pairs, {"support", "sign", "singletons"})):  # fmt: skip
        state = begin(one)
        found = {m.audit for s in scenes(one, PlainServer(one, state.shared, 10), state)
                 for m in audit_round(s)}  # fmt: skip
        assert found == audits
