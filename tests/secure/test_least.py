"""Sessions with a least number of survivors: with fewer, nothing is revealed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedrec.errors import ConfigError, ProtocolError, SkippedRound
from fedrec.secure import Plan
from fedrec.secure.frames import Kind
from fedrec.secure.messages import pack_numbers
from fedrec.secure.plan import check_plan
from tests.secure.sessions import Session


@pytest.mark.parametrize("mode", ["semi-honest", "malicious-server"])
@pytest.mark.parametrize("stage", ["advertise", "share", "mask"])
def test_a_round_with_fewer_survivors_ends_before_anything_is_revealed(
    mode: str, stage: str
) -> None:
    enough = Session(6, mode=mode, threshold=4, least=5)
    assert (enough.finish({2: stage}) == np.delete(enough.inputs, 2, 0).sum(0)).all()
    few = Session(6, mode=mode, threshold=4, least=5)
    with pytest.raises(SkippedRound) as skipped:
        few.finish({2: stage, 4: stage})
    assert (skipped.value.remaining, skipped.value.threshold) == (4, 5)
    assert skipped.value.stage == stage
    assert not {"consistency", "unmask"} & (few.to_party.keys() | few.to_server.keys())


def test_clients_lost_after_their_input_is_in_do_not_count_as_missing() -> None:
    session = Session(6, threshold=4, least=6)
    assert (session.finish({2: "unmask", 4: "unmask"}) == session.inputs.sum(0)).all()


def test_in_a_complete_graph_a_client_asks_for_the_least_itself() -> None:
    session = Session(6, threshold=3, least=5)
    assert session.server.plan.quorum == 5
    assert Session(6, threshold=3).server.plan.quorum == 3


def test_against_a_malicious_server_the_signed_set_must_be_large_enough() -> None:
    """In a sparse graph a client sees its neighbours only; the set that it signs is whole."""
    session = Session(9, mode="malicious-server", neighbours=4, threshold=3, least=8)
    session.run_to("consistency")
    party = session.parties[1]
    strangers = sorted(set(range(9)) - party._neighbours() - {1})
    few = np.array([n for n in range(9) if n not in strangers[:2]])
    lie = session.server._tagged(Kind.SURVIVORS, 1, pack_numbers(few))
    with pytest.raises(ProtocolError, match="7 clients survive, fewer than the 8"):
        party.confirm(lie)
    assert party.confirm(session.to_party["consistency"][1])


def test_the_least_travels_in_the_plan() -> None:
    plan = Session(6, threshold=4, least=5).server.plan
    assert Plan.from_bytes(plan.to_bytes()) == plan
    assert plan.least == 5
    other = dataclasses.replace(plan, least=4)
    assert other.digest != plan.digest
    assert Plan.from_bytes(other.to_bytes()).least == 4
    with pytest.raises(ProtocolError, match="malformed"):
        Plan.from_bytes(plan.to_bytes()[:-1])
    with pytest.raises(ProtocolError, match="malformed"):
        Plan.from_bytes(dataclasses.replace(plan, least=0).to_bytes() + bytes(4))


def test_more_than_all_is_refused() -> None:
    plan = Session(6, threshold=4).server.plan
    with pytest.raises(ConfigError, match="at least 7 clients cannot come from a session of 6"):
        check_plan(dataclasses.replace(plan, least=7))
