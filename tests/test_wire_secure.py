"""Messages of secure aggregation survive the wire, and nothing else travels in them."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import RecordDict

from fedrec.errors import EngineError
from fedrec.params import Shared
from fedrec.wire import Moment, TrainRequest
from fedrec.wire_secure import (
    IdentitiesReply,
    IdentitiesRequest,
    SecureReply,
    SecureRequest,
    SleepingSession,
    identity_seeds,
    store_session,
    stored_session,
)

SHARED = Shared({"item": np.ones((2, 3), np.float32)}, {})


def test_identities() -> None:
    IdentitiesRequest.unpack(IdentitiesRequest().pack())
    keys = {3: b"a" * 32, 7: b"b" * 32}
    assert IdentitiesReply.unpack(IdentitiesReply(keys).pack()).keys == keys


def test_a_stage_with_training() -> None:
    train = TrainRequest(SHARED, 4, np.array([1, 9]), Moment("s", 3), 0.5)
    kept = {"item": np.array([1])}
    request = SecureRequest("mask", {1: b"x", 9: b"yy"}, b"", "update", train, kept)
    back = SecureRequest.unpack(request.pack())
    assert (back.stage, back.messages, back.vectors) == ("mask", {1: b"x", 9: b"yy"}, "update")
    assert back.train is not None
    assert (back.train.round_number, back.train.clip) == (4, 0.5)
    assert back.train.shared.tables["item"].tolist() == SHARED.tables["item"].tolist()
    assert back.kept is not None
    assert back.kept["item"].tolist() == [1]


def test_one_message_for_all_travels_once() -> None:
    roster = b"r" * 5000
    content = SecureRequest("share", dict.fromkeys(range(50), roster)).pack()
    assert len(content.array_records["messages"]) == 1
    assert SecureRequest.unpack(content).messages == dict.fromkeys(range(50), roster)


def test_empty_messages_and_no_parties() -> None:
    back = SecureRequest.unpack(SecureRequest("advertise", {4: b"", 5: b""}, b"plan").pack())
    assert (back.messages, back.plan) == ({4: b"", 5: b""}, b"plan")
    assert SecureRequest.unpack(SecureRequest("forget", {}).pack()).messages == {}


def test_a_reply_holds_messages_and_refusals_only() -> None:
    content = SecureReply({2: bytearray(b"m")}, {5: "why"}).pack()
    assert set(content) == {"head", "parties", "messages"}
    assert set(content["head"]) == {"kind", "version", "refused", "reasons"}
    back = SecureReply.unpack(content)
    assert (back.messages, back.refused) == ({2: b"m"}, {5: "why"})


def test_another_kind_of_message_is_refused() -> None:
    with pytest.raises(EngineError, match="expected a fedrec message of kind"):
        SecureReply.unpack(IdentitiesRequest().pack())


def test_a_session_sleeps_in_the_context_and_is_wiped() -> None:
    state = RecordDict()
    assert stored_session(state) is None
    session = SleepingSession(b"plan", b"roster", {3: b"secret", 8: b"other"})
    store_session(state, session)
    assert stored_session(state) == session
    store_session(state, None)
    assert len(state) == 0
    store_session(state, SleepingSession(b"plan", b"", {}))  # nobody is left
    assert len(state) == 0


def test_identities_are_drawn_once() -> None:
    state, clients = RecordDict(), np.array([2, 4])
    first = identity_seeds(state, clients, bytes(range(64)))
    assert first == {2: bytes(range(32)), 4: bytes(range(32, 64))}
    assert identity_seeds(state, clients, bytes(64)) == first
