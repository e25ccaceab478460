"""What fedrec relies on inside flwr; fails first when the pin moves."""

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedrec.config import Config
from fedrec.engine import _flower
from fedrec.engine.in_process import InProcessGrid


def test_the_grid_has_all_that_flower_asks_of_one() -> None:
    assert set(Grid.__abstractmethods__) == {
        "set_run", "run", "create_message", "get_node_ids", "push_messages", "pull_messages",
        "send_and_receive",
    }  # fmt: skip
    grid = InProcessGrid(ClientApp(), Config(), 3)
    assert grid.get_node_ids() == [1, 2, 3]
    assert grid.run.run_id == _flower.RUN_ID
    grid.set_run(_flower.empty_run())


def test_messages_can_be_made_and_answered() -> None:
    _flower.identify_process()
    message = Message(RecordDict(), 5, "train")
    assert message.metadata.run_id == _flower.RUN_ID
    _flower.set_message_id(message, "7")
    reply = Message(RecordDict(), reply_to=message)
    assert (reply.metadata.reply_to_message_id, reply.metadata.src_node_id) == ("7", 5)


def test_errors_look_like_those_of_a_supernode() -> None:
    grid = InProcessGrid(ClientApp(), Config(), 1)  # has no handler at all
    (reply,) = grid.send_and_receive([grid.create_message(RecordDict(), "train", 1, "1")])
    assert reply.has_error()
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert reply.error.reason.startswith("<class 'ValueError'>:<'")


def test_pulling_twice_gives_nothing() -> None:
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(RecordDict(), reply_to=message)

    grid = InProcessGrid(app, Config(), 1)
    ids = grid.push_messages([Message(RecordDict(), 1, "query")])
    assert len(grid.pull_messages(ids)) == 1
    assert grid.pull_messages(ids) == []


def test_a_message_needs_an_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, None)
    with pytest.raises(RuntimeError, match="is not set"):
        Message(RecordDict(), 1, "train")
