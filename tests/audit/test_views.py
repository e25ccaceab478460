"""What is seen under each protection, with the client and without it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.audit.views import Protection, noise_of, protections, see
from fedrec.params import Shared
from tests.audit.audit_cases import small_setup, updates_of

UPDATES = updates_of(
    [{0: [3.0, 4.0], 1: [1.0, 0.0]}, {1: [2.0, 0.0]}, {1: [0.0, 1.0], 3: [1.0, 1.0]}], 5
)
SUM = Protection("sum", secure=True)


def source(updates=UPDATES, *, clip=1.0, round_number=1, **keys):
    shared = Shared({"item": np.zeros((updates.num_items, updates.rows.shape[1]), np.float32)})
    return noise_of(small_setup(4, 10, **keys), shared, clip, round_number)


def view(protection, updates=UPDATES, **keys):
    return see(updates, protection, source(updates, **keys))


def rows_of(seen):
    return np.concatenate([rows for _, rows in seen.blocks()])


def test_off_shows_every_client():
    seen = view(Protection("off", secure=False))
    ((where, rows),) = seen.blocks()
    assert (where.start, where.stop, rows.shape) == (0, 3, (3, 5, 2))
    assert rows[0, 0].tolist() == [3.0, 4.0]
    assert seen.floor == 0.0
    assert [len(r) for _, r in seen.about(np.array([0, 2])).blocks()] == [2]


def test_a_secure_sum_shows_the_sum():
    seen = view(SUM)
    assert seen.one_for_all
    assert rows_of(seen)[0].tolist() == [[3, 4], [3, 1], [0, 0], [1, 1], [0, 0]]
    assert rows_of(seen.about(np.array([1])))[0].tolist() == rows_of(seen)[0].tolist()


def test_a_sum_without_each_client():
    seen = view(SUM).about(np.array([0, 2])).without()
    assert not seen.one_for_all
    assert rows_of(seen).tolist() == [
        [[0, 0], [2, 1], [0, 0], [1, 1], [0, 0]],
        [[3, 4], [3, 0], [0, 0], [0, 0], [0, 0]],
    ]


def test_a_threshold_hides_rows_with_few_contributors():
    seen = view(Protection("sum", secure=True, threshold=2))
    assert seen.hidden.tolist() == [True, False, False, True, False]
    assert rows_of(seen)[0].tolist() == [[0, 0], [3, 1], [0, 0], [0, 0], [0, 0]]
    closed = view(Protection("sum", secure=True, threshold=3))
    assert rows_of(closed)[0, 1].tolist() == [3, 1]
    assert not rows_of(closed.without()).any()  # without one of the three it is hidden


@given(st.integers(0, 10**6))
def test_the_sum_without_a_client_is_the_sum_of_the_others(seed):
    rng = np.random.default_rng(seed)
    rows = [{int(i): rng.normal(size=2).tolist() for i in rng.permutation(6)[: 1 + rng.integers(6)]}
            for _ in range(4)]  # fmt: skip
    threshold = int(rng.integers(0, 4))
    protection = Protection("sum", secure=True, threshold=threshold)
    noise = source(updates_of(rows, 6))
    without = rows_of(see(updates_of(rows, 6), protection, noise).without())
    for client in range(4):
        others = updates_of(rows[:client] + rows[client + 1 :], 6)
        assert np.allclose(without[client], rows_of(see(others, protection, noise))[0], atol=1e-5)


BIG = updates_of([{0: [1.0] * 8}, {1: [1.0] * 8}], 2000)


@pytest.mark.parametrize("secure", [False, True])
def test_noise_is_that_of_a_privacy_policy(secure):
    noisy = Protection("noise", secure=secure, noisy=True)
    keys = ({}, {}, {"run__seed": 1})
    seen = [view(noisy, BIG, clip=0.5, audit__noise=2.0, **k) for k in keys]
    rows = [rows_of(v) for v in seen]
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2])[:, 2:].all()
    assert seen[0].deviation == 1.0
    assert np.std(rows[0][:, 2:]) == pytest.approx(1.0, rel=0.03)
    norms = np.linalg.norm(rows[0][0, 2:], axis=1)
    assert 0 <= (norms > seen[0].floor).sum() <= 6  # one of 2000 on average


def test_noisy_views_are_clipped_and_keep_their_noise_without_the_client():
    noisy = Protection("noise", secure=True, noisy=True)
    seen = view(noisy, BIG, clip=0.5, audit__noise=1e-6)
    assert np.linalg.norm(rows_of(seen)[0, 0]) == pytest.approx(0.5, rel=1e-3)
    loud = view(noisy, BIG, clip=0.5)
    assert np.array_equal(rows_of(loud.without())[0, 2:], rows_of(loud)[0, 2:])


RUN = {"privacy__mechanism": "central", "privacy__clip": 2.0, "privacy__noise_multiplier": 3.0}


@pytest.mark.parametrize(
    ("keys", "of_sum", "of_client"),
    [
        (RUN, 6.0, 6.0),
        ({**RUN, "privacy__mechanism": "local"}, 12.0, 6.0),  # four clients add up to twice
        ({**RUN, "privacy__clip_mode": "adaptive", "privacy__count_noise": 2.0},
         2.0 * (1 / 9 - 1 / 16) ** -0.5, 6.0),
        ({**RUN, "server__min_clients": 3, "secure__mode": "semi-honest",
          "privacy__mechanism": "distributed"}, 6.0, 6.0),
    ],
)  # fmt: skip
def test_a_run_with_a_policy_is_audited_with_it(keys, of_sum, of_client):
    noise = source(**keys)
    assert noise.deviation(secure=True) == pytest.approx(of_sum)
    assert noise.deviation(secure=False) == pytest.approx(of_client)
    assert noise.at.clip == 2.0


def test_clients_add_noise_of_their_own():
    noise = source(BIG)
    one, other = noise.of_client(0), noise.of_client(1)
    assert one.shape == (2000, 8)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.05
    assert np.array_equal(one, noise.of_client(0))


@pytest.mark.parametrize(
    "keys",
    [
        {"clients__sampling": "fixed", "clients__per_round": 2, "clients__availability": 0.5},
        {"server__rows": "touching", "server__weighting": "samples"},
        {"server__checkpoint_every": 3, "server__min_clients": 2, "clients__sampling": "poisson"},
    ],
)
def test_a_run_that_could_not_be_private_still_has_noisy_views(keys):
    assert source(**keys).deviation(secure=True) == 1.0


def test_protections_go_from_none_to_all():
    names = [p.name for p in protections(5)]
    assert names[0] == "off"
    assert len(set(names)) == 6
    assert [p.threshold for p in protections(7)].count(7) == 2
