"""Nodes answer which clients they host; the server checks it."""

import numpy as np
import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

import server.roster
from fedrec.config import Config
from fedrec.engine.in_process import InProcessGrid
from fedrec.errors import EngineError
from fedrec.wire import RosterReply
from server.roster import Roster, await_clients, call_roll, failures_of, update_roster


def grid(hosted: list[list[int] | str]) -> InProcessGrid:
    """Make a grid whose nodes host these clients, or fail with this message."""
    app = ClientApp()

    @app.query("roster")
    def roster(message: Message, context: object) -> Message:
        answer = hosted[context.node_config["partition-id"]]  # type: ignore[attr-defined]
        if isinstance(answer, str):
            raise ValueError(answer)
        return Message(RosterReply(np.array(answer, np.int64)).pack(), reply_to=message)

    return InProcessGrid(app, Config(), len(hosted))


def test_nodes_are_ordered_by_their_first_client() -> None:
    roster = call_roll(grid([[1, 3], [0, 2]]), 4, 2, patience=0)
    assert [c.tolist() for c in roster.hosted.values()] == [[0, 2], [1, 3]]
    assert roster.clients.tolist() == [0, 1, 2, 3]
    other = call_roll(grid([[0, 2], [1, 3]]), 4, 2, patience=0)
    assert roster.digest() == other.digest()
    assert roster.digest() != call_roll(grid([[0, 1], [2, 3]]), 4, 2, patience=0).digest()


def test_who_is_left_out_has_to_answer_anew() -> None:
    nodes = grid([[1, 3], [0, 2]])
    roster = call_roll(nodes, 4, 2, patience=0)
    assert [c.tolist() for c in roster.without({1}).hosted.values()] == [[0, 2]]
    assert update_roster(nodes, roster.without({1}), 4).clients.tolist() == [0, 1, 2, 3]


def test_a_missing_node_is_tolerated_when_patience_ends() -> None:
    roster = call_roll(grid([[0, 2], "no data"]), 4, 1, patience=0)
    assert roster.clients.tolist() == [0, 2]
    assert roster.failures == ("node 2: no data",)


def test_too_few_nodes_are_an_error_with_the_reason() -> None:
    with pytest.raises(
        EngineError, match="1 of at least 2 nodes .* First failure: node 2: no data"
    ):
        call_roll(grid([[0, 2], "no data"]), 4, 2, patience=0)


@pytest.mark.parametrize(
    ("hosted", "message"),
    [
        ([[0, 1], [1, 2]], "client 1 is hosted by two nodes"),
        ([[0, 9], [1, 2]], "hosts clients that the server does not know"),
        ([[], [1, 2]], "hosts clients that the server does not know"),
    ],
)
def test_wrong_hosting_is_an_error(hosted: list[list[int] | str], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        call_roll(grid(hosted), 3, 1, patience=0)


def test_missing_clients_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.roster, "WAIT_S", 0.0)
    whole, looks = grid([[0], [1], [2]]), []

    class Coming(InProcessGrid):
        """A grid whose third node is there from the fourth look on."""

        def get_node_ids(self) -> list[int]:
            looks.append(1)
            return [1, 2, 3] if len(looks) > 3 else [1, 2]

    whole.__class__ = Coming
    roster = await_clients(whole, Roster({}), 3, 3, patience=60)
    assert (roster.clients.tolist(), len(looks)) == ([0, 1, 2], 4)
    looks.clear()
    assert await_clients(whole, Roster({}), 3, 3, patience=0).clients.tolist() == [0, 1]
    assert len(looks) == 1
    assert await_clients(whole, roster, 3, 2, patience=60).clients.tolist() == [0, 1]
    assert len(looks) == 2


def test_only_new_nodes_are_asked() -> None:
    known = Roster({1: np.array([0, 2]), 7: np.array([5])})
    roster = update_roster(grid([["not asked again"], [1, 3]]), known, 6)  # type: ignore[list-item]
    assert list(roster.hosted) == [1, 2]
    assert roster.hosted[1].tolist() == [0, 2]


def test_failures_are_told_in_one_line() -> None:
    message = Message(RosterReply(np.array([0])).pack(), 1, "query.roster")
    assert failures_of([message], []) == ("node 1: no reply",)
    assert failures_of([message], grid([[0]]).send_and_receive([message])) == ()
    failed = grid(["two\nlines"]).send_and_receive([message])
    assert failures_of([message], failed) == ("node 1: two lines",)
