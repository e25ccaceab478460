"""Worlds trained side by side are the worlds trained one by one."""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.audit.membership import halves
from fedrec.audit.worlds import at_once, packed, remaining_loss, train, without_sampling
from fedrec.engine.server_side import AppServer
from fedrec.params import Shared
from tests.audit.audit_cases import PlainServer, small_setup
from tests.training.cohorts import relative

KEYS = {"audit__shadow_rounds": 2, "model__init": 0.1, "server__table_optimizer": "sgd"}


def small(noise=0.0, **keys):
    setup = small_setup(12, 40, **{**KEYS, **keys})
    return replace(setup, config=without_sampling(setup, noise))


def test_worlds_do_not_touch_each_other():
    setup = small()
    members = halves(4, 12, 0)
    other = members.copy()
    other[1:] = ~other[1:]
    numbers = np.arange(4)
    ours = train(packed(setup, numbers), AppServer, members)
    theirs = train(packed(setup, numbers), AppServer, other)
    assert relative(ours[0].tables["item"], theirs[0].tables["item"]) < 1e-6
    for one, two in zip(ours[1:], theirs[1:], strict=True):
        assert relative(one.tables["item"], two.tables["item"]) > 1e-3


def test_a_world_learns_from_its_members_alone():
    setup = small()
    nobody = np.zeros((2, 12), bool)
    nobody[1, :6] = True
    worlds = packed(setup, np.arange(2))
    before = train(worlds, lambda own, shared: Still(), nobody)
    after = train(worlds, PlainServer, nobody)
    assert np.array_equal(after[0].tables["item"], before[0].tables["item"])
    assert relative(after[1].tables["item"], before[1].tables["item"]) > 1e-3


class Still:
    """A server that never moves."""

    def apply(self, shared, total, round_number):
        return shared


class Seen:
    """A server that keeps what it is given."""

    def __init__(self):
        self.totals = []

    def apply(self, shared, total, round_number):
        self.totals.append(total)
        return shared


def test_each_server_gets_the_sum_of_its_own_members():
    setup = small()
    servers = [Seen(), Seen()]
    members = np.zeros((2, 12), bool)
    members[0, [0, 3]], members[1, 5] = True, True
    left = iter(servers)
    train(packed(setup, np.arange(2)), lambda own, shared: next(left), members)
    assert [s.totals[0].num_clients for s in servers] == [2, 1]
    assert [s.totals[0].weight for s in servers] == [2.0, 1.0]
    population = setup.population
    for user, total in ((5, servers[1].totals[0]),):
        mine = population.items[population.indptr[user] : population.indptr[user + 1]]
        assert set(mine) <= set(total.tables["item"].ids)
        assert total.tables["item"].ids.max() < 40
        assert np.abs(total.tables["item"].rows).sum() > 0


def test_clipping_bounds_each_member():
    setup = small(noise=1.0)
    server = Seen()
    train(packed(setup, np.arange(1)), lambda own, shared: server, np.arange(12)[None] == 4)
    rows = server.totals[0].tables["item"].rows
    assert np.linalg.norm(rows) == pytest.approx(1.0, rel=1e-5)


def test_scores_of_many_worlds_are_those_of_each():
    setup = small()
    shared = train(packed(setup, np.arange(3)), PlainServer, halves(4, 12, 1)[:3])
    together = remaining_loss(setup, shared)
    apart = np.concatenate([remaining_loss(setup, [one]) for one in shared])
    assert together.shape == (3, 12)
    assert np.allclose(together, apart, atol=1e-5)
    assert (together > 0).all()
    empty = [Shared({"item": np.zeros((40, setup.config.model.dim), np.float32)})]
    assert np.allclose(remaining_loss(setup, empty), np.log(2), atol=1e-5)  # nothing to fit


@pytest.mark.parametrize(
    ("keys", "size"), [({}, 8), ({"model__name": "ncf"}, 1), ({"privacy__pseudo_items": 2}, 1)]
)
def test_how_many_worlds_at_once(keys, size):
    parts = list(at_once(small_setup(12, 40, **keys), 20))
    assert np.concatenate(parts).tolist() == list(range(20))
    assert len(parts[0]) == size


def test_worlds_with_dense_weights():
    setup = small(model__name="ncf")
    (one,) = train(packed(setup, np.arange(1)), AppServer, halves(2, 12, 0)[:1])
    assert one.weights
    assert np.isfinite(remaining_loss(setup, [one])).all()


def test_noise_of_worlds_is_independent():
    setup = small(noise=5.0)
    members = np.tile(halves(2, 12, 0)[:1], (2, 1))
    one, two = train(packed(setup, np.arange(2)), AppServer, members)
    apart = one.tables["item"] - two.tables["item"]
    assert np.abs(np.corrcoef(one.tables["item"].ravel(), two.tables["item"].ravel())[0, 1]) < 0.2
    assert apart.std() > 0.1
