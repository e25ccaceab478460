"""Parties that live in a new process at every message."""

import numpy as np
import pytest

from fedrec.errors import ProtocolError
from fedrec.secure import Host, Party
from tests.secure.sessions import Session, refused


class Sleepy(Session):
    """A session whose parties sleep between two messages."""

    def answer(self, stage: str, number: int, message: bytes) -> bytes:
        answer = super().answer(stage, number, message)
        if stage == "share":
            self.roster = message
        if stage != "unmask":
            stored = self.parties[number].sleep()
            assert refused(self.parties[number].sleep)  # there is one of a party
            plan, identity = self.server.plan, self.identities[number]
            roster = getattr(self, "roster", b"") if stage != "advertise" else b""
            self.parties[number] = Party.wake(plan, number, identity, stored, roster, host=Host())
        return answer


@pytest.mark.parametrize("mode", ["semi-honest", "malicious-server"])
@pytest.mark.parametrize("lost", [{}, {1: "mask", 2: "unmask"}])
def test_sleeping_changes_nothing(mode: str, lost: dict[int, str]) -> None:
    session = Sleepy(7, 5, mode=mode)
    total = session.finish(lost)
    alive = [i for i in range(7) if lost.get(i) != "mask"]
    assert session.server.survivors == tuple(alive)
    assert np.array_equal(total, session.inputs[alive].sum(axis=0))


def test_a_party_wakes_into_its_own_session_only() -> None:
    session, other = Session(5, seed=1).run_to("mask"), Session(5, seed=2).run_to("mask")
    stored = session.parties[0].sleep()
    plan, identity = session.server.plan, session.identities[0]
    with pytest.raises(ProtocolError):
        Party.wake(plan, 0, identity, stored, other.to_party["share"][0])
    party = Party.wake(plan, 0, identity, stored, session.to_party["share"][0])
    assert repr(party) == "Party(number=0, step=SHARED)"
    assert repr(session.parties[0]) == "Party(number=0, step=DONE)"


def test_nothing_sleeps_before_it_has_keys_or_after_the_end() -> None:
    assert refused(Session(4).parties[0].sleep)
    assert refused(Session(4).run_to("finish").parties[0].sleep)
