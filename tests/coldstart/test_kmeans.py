"""Prototypes by secure sums: hand-worked rounds, and that nothing but the sums is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.coldstart.kmeans import SCHEME, Prototypes, ask, kmeans
from fedrec.errors import ConfigError
from fedrec.secure.frames import SERVER
from fedrec.secure.quantise import encode

AXES = np.eye(3)


def around(axes: list[int], seed: int = 0, spread: float = 0.1, length: float = 2.0) -> np.ndarray:
    """Vectors near the axes that are named, all of one length."""
    rng = np.random.default_rng(seed)
    vectors = AXES[axes] + spread * rng.standard_normal((len(axes), 3))
    return length * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain(own: np.ndarray, prototypes: np.ndarray, fewest: int, mode: str = "semi-honest"):
    lengths = np.log2(np.linalg.norm(own, axis=1)) / 16
    return ask(own / np.linalg.norm(own, axis=1, keepdims=True), lengths, prototypes, fewest, mode)


def test_one_round_by_hand():
    own = np.array([[2.0, 0, 0], [0, 4.0, 0], [0, 3.2, 2.4], [0, 0, 8.0]])
    told = plain(own, AXES, fewest=2)
    assert told.counts.tolist() == [1, 2, 1]
    assert told.kept.tolist() == [1]  # the two others have a single client: no sum of theirs
    assert told.members.tolist() == [4]  # whose clients add to the nearest that is left
    expected = [1.0, 1.8, 1.6, (1 + 2 + 2 + 3) / 16]
    assert told.sums[0] == pytest.approx(expected, abs=4 * SCHEME.step)


def test_no_prototype_has_enough_clients():
    told = plain(around([0, 1, 2]), AXES, fewest=2)
    assert told.counts.tolist() == [1, 1, 1]
    assert len(told.sessions) == 1  # nothing but the counts was ever summed
    assert told.sums.shape == (0, 4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5))
def test_sums_are_of_enough_clients_and_complete(seed, fewest):
    rng = np.random.default_rng(seed)
    own, prototypes = rng.standard_normal((9, 3)), rng.standard_normal((4, 3))
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    told = plain(own, prototypes, fewest)
    assert (told.members >= fewest).all()
    assert (told.counts[told.kept] >= fewest).all()
    assert told.counts.sum() == 9
    if len(told.kept):  # all clients are in a sum: the rest to the sum of all is of nobody
        assert told.members.sum() == 9
        whole = (own / np.linalg.norm(own, axis=1, keepdims=True)).sum(0)
        assert told.sums[:, :3].sum(0) == pytest.approx(whole, abs=40 * SCHEME.step)


@pytest.mark.parametrize("mode", ["semi-honest", "malicious-server"])
def test_the_transcript_is_masked_and_adds_up_to_the_sums(mode):
    own = around([0, 0, 0, 1, 1, 1])
    told = plain(own, AXES[:2], 2, mode)
    first, second = told.sessions
    assert first.total.tolist() == [3, 3] == told.counts.tolist()
    assert {sent.stage for sent in second.transcript} >= {"advertise", "share", "mask", "unmask"}
    for session in told.sessions:
        assert session.mode == mode
        assert session.survivors == tuple(range(6))
        masked = [s for s in session.transcript if s.stage == "mask" and s.receiver == SERVER]
        assert len(masked) == 6  # one vector of each client, and it is masked:
        words = np.frombuffer(b"".join(s.message[-4 * len(session.total) :] for s in masked), "<u4")
        assert len(np.unique(words)) > 0.9 * len(words)  # zeros and ones would repeat
    bare = encode(np.r_[own[0] / 2, 1 / 16, np.zeros(4)], 1, SCHEME, entropy=lambda n: bytes(n))
    uploads = b"".join(s.message for s in second.transcript if s.receiver == SERVER)
    for width in ("<u4", "<u8"):
        assert bare[:3].astype(width).tobytes() not in uploads


def server_view(vectors: np.ndarray) -> Prototypes:
    return kmeans(vectors, AXES[:2], rounds=2, fewest=2, mode="semi-honest", seed=3)


def test_two_worlds_with_the_same_sums_look_the_same():
    """Clients of a sum trade what differs between them: nothing that is told changes."""
    base = around([0] * 8, spread=0.0, length=1.0)
    tilt = 0.25 * np.array([[0, 0, 1.0], [0, 0, -1.0]])
    apart = base.copy()
    worlds = []
    for pair in (tilt, tilt[::-1]):
        apart = base.copy()
        for round_ in np.array_split(order_of(8, 3), 2):
            apart[np.sort(round_)[:2]] += pair
        apart /= np.linalg.norm(apart, axis=1, keepdims=True)
        worlds.append(server_view(apart))
    one, two = worlds
    assert one.vectors == pytest.approx(two.vectors, abs=1e-3)
    for a, b in zip(one.rounds, two.rounds, strict=True):
        assert a.counts.tolist() == b.counts.tolist()
        assert a.members.tolist() == b.members.tolist()
        assert a.sums == pytest.approx(b.sums, abs=8 * SCHEME.step)
        for s, t in zip(a.sessions, b.sessions, strict=True):
            assert [m.num_bytes for m in s.transcript] == [m.num_bytes for m in t.transcript]


def order_of(clients: int, seed: int) -> np.ndarray:
    from fedrec.rng import NO_CLIENT, Purpose, generator

    return generator(seed, 0, NO_CLIENT, Purpose.PROTOTYPES).permutation(clients)


def test_clusters_are_found_and_no_client_is_asked_twice():
    axes = [n % 3 for n in range(60)]
    starts = np.array([[1, 0.4, 0.3], [0.2, 1, 0.4], [0.4, 0.2, 1]])
    found = kmeans(around(axes), starts, rounds=4, fewest=2, mode="semi-honest", seed=0)
    assert sum(int(told.counts.sum()) for told in found.rounds) == 60
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    assert (unit.argmax(1) == [0, 1, 2]).all()
    assert (unit.max(1) > 0.99).all()
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(2.0, rel=0.01)


def test_a_prototype_that_never_had_enough_is_left_out():
    starts = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    found = kmeans(around([0, 0, 0, 0, 1, 1, 1, 1]), starts, rounds=1, fewest=3,
                   mode="semi-honest", seed=0)  # fmt: skip
    assert len(found.vectors) == 2
    assert found.counts.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"rounds": 4}, "6 clients in coldstart.prototype_rounds = 4 rounds are fewer than 3"),
        ({"mode": "off"}, "must be masked"),
    ],
)
def test_refusals(keys, told):
    with pytest.raises(ConfigError, match=told):
        kmeans(around([0, 1] * 3), AXES[:2], **{"rounds": 1, "fewest": 2, "mode": "semi-honest",
                                              "seed": 0, **keys})  # fmt: skip
