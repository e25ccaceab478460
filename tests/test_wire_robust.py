"""The reply with single updates: it comes back as it was sent, or is refused."""

import numpy as np
import pytest

from fedrec.errors import EngineError
from fedrec.params import Shared
from fedrec.training.single_node import Singles
from fedrec.wire_robust import SinglesReply
from tests.audit.audit_cases import updates_of

SHARED = Shared({"item": np.zeros((4, 2), np.float32)}, {"head": np.zeros(1, np.float32)})
ASKED = np.array([0, 1, 2, 5])


def updates(**changes):
    made = updates_of([{0: [1.0, 0.1], 3: [2.0, 0.2]}, {1: [3.0, 0.3]}, {0: [4.0, 0.4]}], 4,
                      [[0.5], [0.6], [0.7]])  # fmt: skip
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def reply(made, asked=ASKED):
    packed = SinglesReply(Singles(made, {"loss": 3.0, "bytes_up": 60.0})).pack()
    return packed, lambda: SinglesReply.unpack(packed, SHARED, asked).singles


def test_single_updates_round_trip():
    sent = updates()
    back = reply(sent)[1]()
    for name in ("clients", "client", "ids", "rows", "weight"):
        value = getattr(back.updates, name)
        assert np.array_equal(value, getattr(sent, name))
        assert value.dtype == getattr(sent, name).dtype
    assert np.array_equal(back.updates.weights["head"], sent.weights["head"])
    assert (back.updates.num_items, back.updates.widths) == (4, {"item": 2})
    assert back.metrics == {"loss": 3.0, "bytes_up": 60.0}


def test_the_arrays_are_what_the_clients_would_send():
    record = reply(updates())[0]["updates"]
    sizes = {name: array.numpy().nbytes for name, array in record.items()}
    assert sizes["ids"] == 4 * 4
    assert sizes["rows"] == 4 * 4 * 2
    assert sizes["dense.head"] == 4 * 3


def test_no_clients():
    none = updates().take(np.zeros(0, np.int64))
    assert len(reply(none)[1]().updates.clients) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": np.array([0, 1, 7])}, "clients that were not asked"),
        ({"clients": np.array([0, 1, 1])}, "a client twice"),
        ({"ids": np.array([0, 3, 4, 0])}, "rows of items that do not exist"),
        ({"ids": np.array([0, -3, 1, 0])}, "rows of items that do not exist"),
        ({"ids": np.array([3, 3, 1, 0])}, "a client's row twice or out of order"),
        ({"weight": np.array([1.0, 1e9, 1.0])}, "a weight other than 1"),
        ({"rows": np.zeros((4, 3), np.float32)}, "do not fit each other or the model"),
        ({"ids": np.array([0, 3, 1])}, "do not fit each other or the model"),
        ({"weights": {"head": np.zeros((3, 2), np.float32)}}, "do not fit each other or the"),
        ({"weights": {}}, "do not fit each other or the model"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(EngineError, match=message):
        reply(updates(**changes))[1]()


def test_an_array_that_is_missing():
    packed, unpack = reply(updates())
    del packed["updates"]["lengths"]
    with pytest.raises(EngineError, match="single updates lack their array 'lengths'"):
        unpack()
