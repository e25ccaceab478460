"""Groups of merchants: who is put together, and that only sums tell."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.coldstart.similar_merchants import FEWEST, Groups, group_merchants, profile_of
from fedrec.errors import ConfigError
from fedrec.secure.frames import SERVER
from fedrec.secure.quantise import FixedPoint, encode


def profiles(first: int, second: int, seed: int = 0) -> np.ndarray:
    """Merchants of two kinds, which sell other things."""
    rng = np.random.default_rng(seed)
    kinds = np.array([[8, 8, 8, 1, 1, 1], [1, 1, 1, 8, 8, 8]]) * 5.0
    return np.concatenate([rng.dirichlet(kinds[0], first), rng.dirichlet(kinds[1], second)])


def test_a_profile_by_hand() -> None:
    rows = sp.csr_matrix(np.array([[1, 1, 1, 0], [0, 1, 0, 1]], np.float32))
    assert profile_of(rows, np.array([0, 2, -1, 2])).tolist() == [0.25, 0.0, 0.75]
    assert profile_of(rows[:0], np.array([0, 2, -1, 2])).tolist() == [0.0, 0.0, 0.0]


def test_unlike_merchants_are_told_apart_and_a_newcomer_finds_its_group() -> None:
    own = profiles(5, 4)
    found = group_merchants(own, seed=0)
    members = [found.of_member(p) for p in own]
    assert sorted(found.members) == [4, 5]
    assert members in ([0] * 5 + [1] * 4, [1] * 5 + [0] * 4)
    assert [found.nearest(p) for p in own] == members
    new = profiles(1, 1, seed=9)
    assert [found.nearest(p) for p in new] == [members[0], members[-1]]
    assert found.centre == pytest.approx(own.mean(0), abs=1e-3)


def test_too_few_of_a_kind_make_one_group() -> None:
    own = profiles(4, 1)
    found = group_merchants(own, seed=0)
    assert found.members.tolist() == [5]
    assert {found.of_member(p) for p in own} == {0}
    for number, mode in ((2, "semi-honest"), (5, "off")):
        with pytest.raises(ConfigError, match="at least 3"):
            group_merchants(profiles(number, 0), seed=0, mode=mode)


def test_three_kinds_of_merchants_make_three_groups() -> None:
    kinds = np.eye(3).repeat(4, axis=0)
    own = 0.7 * kinds + 0.1
    found = group_merchants(own, seed=0, groups=3)
    members = [found.of_member(p) for p in own]
    assert found.members.tolist() == np.bincount(members).tolist() == [4, 4, 4]
    assert len(set(members[:4])) == len(set(members[4:8])) == len(set(members[8:])) == 1
    assert [found.nearest(p) for p in own] == members


@pytest.mark.parametrize(("number", "fewest", "groups"), [(4, 3, 1), (9, 5, 1), (9, 3, 2)])
def test_groups_that_are_too_small_are_put_to_others(number: int, fewest: int, groups: int) -> None:
    own = profiles(number // 2 + 1, number - number // 2 - 1)
    found = group_merchants(own, seed=0, groups=2, fewest=fewest)
    members = [found.of_member(p) for p in own]
    assert np.bincount(members).tolist() == found.members.tolist()
    assert len(found.members) == groups
    assert found.members.min() >= min(fewest, number)
    assert {found.nearest(p) for p in own} <= set(range(groups))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**20))
def test_only_sums_tell(seed: int) -> None:
    """Merchants change places, the sums stay, and so does all that is learnt, but for rounding.

    No masked vector is a merchant's own: what it adds in the first sum is in no message.
    """
    own = profiles(4, 4, seed)
    turned = own[np.random.default_rng(seed).permutation(8)]
    one, other = group_merchants(own, seed=1), group_merchants(turned, seed=1)
    _same(one, other)
    assert min(one.members) >= FEWEST
    for session in one.sessions:
        to_server = [s for s in session.transcript if s.receiver == SERVER]
        assert {s.stage for s in to_server} == {"advertise", "share", "mask", "unmask"}
    plain = encode(own, 1, FixedPoint(bits=16, clip=1.0)).astype(np.int64)
    masked = [s.message or b"" for s in one.sessions[0].transcript if s.stage == "mask"]
    assert not any(_holds(message, row) for row in plain for message in masked if message)
    shown = b"head" + plain[0].astype("<u4").tobytes()  # what would be found, were it there
    assert _holds(shown, plain[0] + 1)


def _holds(message: bytes, row: np.ndarray) -> bool:
    """Whether a vector stands anywhere in a message, up to its random rounding."""
    size = 4 * len(row)
    windows = (message[at : at + size] for at in range(len(message) - size + 1))
    return any((np.abs(np.frombuffer(w, "<u4") - row) <= 1).all() for w in windows)


def _same(one: Groups, other: Groups) -> None:
    assert one.centre == pytest.approx(other.centre, abs=1e-3)
    assert np.array_equal(one.directions, other.directions)
    assert np.array_equal(one.members, other.members)
    assert one.vectors == pytest.approx(other.vectors, abs=2e-3)
