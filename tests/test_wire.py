"""Messages survive the way through Flower's records, bit by bit, and refuse strangers."""

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedrec.errors import EngineError
from fedrec.evaluation.sums import EvaluationSums
from fedrec.params import PartialSum, Personal, Shared, SparseRows
from fedrec.wire import (
    EvaluateReply,
    EvaluateRequest,
    Moment,
    PersonalState,
    RosterReply,
    RosterRequest,
    TrainReply,
    TrainRequest,
    flatten_shared,
    narrow,
    restore_shared,
    store_state,
    stored_state,
)

FLOAT64 = st.floats(allow_nan=False, width=64)
FLOAT32 = st.floats(allow_nan=False, width=32)
MOMENT = Moment("session", 4, 3, 5)


def through_bytes(content: RecordDict) -> RecordDict:
    """Send content the way a SuperLink does: as serialised objects."""
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

    objects = {name: item.deflate() for name, item in get_all_nested_objects(content).items()}
    return inflate_object_from_contents(content.object_id, objects)


@st.composite
def shareds(draw: st.DrawFn) -> Shared:
    array = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=FLOAT32)
    dense = hnp.arrays(np.float32, hnp.array_shapes(max_dims=2), elements=FLOAT32)
    names = st.text("abc.", min_size=1, max_size=4)
    return Shared(
        draw(st.dictionaries(names, array, max_size=2)),
        draw(st.dictionaries(names, dense, max_size=2)),
    )


@st.composite
def partial_sums(draw: st.DrawFn) -> PartialSum:
    ids = np.array(sorted(draw(st.sets(st.integers(0, 2**40), max_size=5))), np.int64)
    rows = draw(hnp.arrays(np.float64, (len(ids), 3), elements=FLOAT64))
    weight = draw(hnp.arrays(np.float64, len(ids), elements=st.floats(0, 1e9)))
    dense = draw(hnp.arrays(np.float64, (2, 2), elements=FLOAT64))
    number = st.floats(0, 1e12)
    metrics = draw(st.dictionaries(st.sampled_from(["loss", "samples", "bytes_up"]), number))
    return PartialSum(
        {"item": SparseRows(ids, rows)},
        {"item": weight},
        {"mlp.kernel": dense},
        draw(number),
        draw(st.integers(0, 10**6)),
        metrics,
    )


def assert_same(a: dict, b: dict) -> None:
    assert list(a) == list(b)
    for name, array in a.items():
        assert array.dtype == b[name].dtype
        assert array.tobytes() == b[name].tobytes()


@given(shareds())
def test_shared_parameters_survive(shared: Shared) -> None:
    back = restore_shared(flatten_shared(shared))
    assert_same(shared.tables, back.tables)
    assert_same(shared.weights, back.weights)


@given(shareds(), st.lists(st.integers(0, 2**40), max_size=4, unique=True))
def test_train_request_survives(shared: Shared, clients: list[int]) -> None:
    request = TrainRequest(shared, 7, np.array(sorted(clients), np.int64), MOMENT)
    back = TrainRequest.unpack(request.pack())
    assert_same(shared.tables, back.shared.tables)
    assert_same(shared.weights, back.shared.weights)
    assert (back.round_number, back.moment) == (7, MOMENT)
    assert back.clients.dtype == np.int64
    assert back.clients.tolist() == sorted(clients)


@given(partial_sums())
def test_partial_sum_survives(total: PartialSum) -> None:
    back = TrainReply.unpack(TrainReply(total).pack()).partial_sum
    assert back is not None
    assert back.tables["item"].ids.tolist() == total.tables["item"].ids.tolist()
    assert_same({"": total.tables["item"].rows}, {"": back.tables["item"].rows})
    assert_same(total.row_weight, back.row_weight)
    assert_same(total.weights, back.weights)
    assert (back.weight, back.num_clients) == (total.weight, total.num_clients)
    assert back.metrics == total.metrics


def test_messages_survive_serialisation() -> None:
    rows = np.array([[0.1, -2.0]])
    table = SparseRows(np.array([3]), rows)
    total = PartialSum({"item": table}, {"item": np.array([1.0])}, {}, 1.0, 1)
    back = TrainReply.unpack(through_bytes(TrainReply(total).pack())).partial_sum
    assert back is not None
    assert back.tables["item"].rows.tolist() == rows.tolist()


@given(
    hnp.arrays(np.float64, (4, 9), elements=st.sampled_from([0.0, 0.0, 0.0, 0.0, -0.0, 1.0, 0.1]))
)
def test_rows_of_few_elements_travel_as_these(rows: np.ndarray) -> None:
    ids = np.array([1, 4, 5, 8])
    total = PartialSum({"item": SparseRows(ids, rows)}, {"item": np.ones(4)}, {}, 1.0, 1)
    content = TrainReply(total).pack()
    few = 4 * np.count_nonzero(rows) < rows.size
    assert ("rows.item" in content.array_records["sum"]) != few
    back = TrainReply.unpack(through_bytes(content)).partial_sum
    assert back is not None
    assert_same({"": rows}, {"": back.tables["item"].rows})


def test_a_single_clients_update_travels_in_float32() -> None:
    update = np.array([0.1, -3.5], np.float32).astype(np.float64)
    assert narrow(update).dtype == np.float32
    assert narrow(np.array([0.1])).dtype == np.float64  # has bits that float32 lacks
    assert narrow(np.array([1e300])).dtype == np.float64
    assert narrow(np.array([np.nan])).dtype == np.float32
    assert narrow(np.array([2**31 - 1])).dtype == np.int32
    assert narrow(np.array([2**31])).dtype == np.int64
    assert narrow(np.array([1], np.uint8)).dtype == np.uint8


def test_a_single_number_keeps_its_shape() -> None:
    shared = Shared({}, {"mean": np.array(3.5, np.float32)})
    request = TrainRequest(shared, 1, np.array([0]), MOMENT)
    back = TrainRequest.unpack(through_bytes(request.pack()))
    assert_same(shared.weights, back.shared.weights)
    assert back.shared.weights["mean"].shape == ()


def test_a_node_without_chosen_clients_replies_empty() -> None:
    assert TrainReply.unpack(TrainReply(None).pack()).partial_sum is None


def test_evaluation_survives() -> None:
    request = EvaluateRequest(Shared({"item": np.ones((2, 3), np.float32)}), "test", 9, MOMENT)
    back = EvaluateRequest.unpack(request.pack())
    assert (back.part, back.bootstrap, back.moment) == ("test", 9, MOMENT)
    sums = EvaluationSums(
        {"full.hr@10": 0.1},
        {"full": 3.0},
        {"full.hr@10": np.array([0.1, 0.2])},
        {"full": np.array([3.0, 4.0])},
        np.array([1, 0, 2**40]),
        {"gender=F.count": 1.0},
    )
    got = EvaluateReply.unpack(EvaluateReply(sums).pack()).sums
    assert (got.values, got.counts, got.groups) == (sums.values, sums.counts, sums.groups)
    assert_same(sums.replicates, got.replicates)
    assert_same(sums.replicate_counts, got.replicate_counts)
    assert got.recommended.tolist() == sums.recommended.tolist()


def test_roster_survives() -> None:
    assert RosterRequest.unpack(RosterRequest().pack()) == RosterRequest()
    reply = RosterReply.unpack(RosterReply(np.array([1, 5])).pack())
    assert reply.clients.tolist() == [1, 5]


def test_another_kind_of_message_is_refused() -> None:
    with pytest.raises(EngineError, match="expected a fedrec message of kind 'train-request'"):
        TrainRequest.unpack(RosterRequest().pack())
    with pytest.raises(EngineError, match="got none"):
        RosterRequest.unpack(RecordDict())


def test_another_version_is_refused() -> None:
    content = RosterRequest().pack()
    content["head"] = ConfigRecord({**content["head"], "version": 99})
    with pytest.raises(EngineError, match="version 99 met version 1"):
        RosterRequest.unpack(content)


def test_a_missing_record_is_named() -> None:
    content = RosterReply(np.array([1])).pack()
    del content["clients"]
    with pytest.raises(EngineError, match="lacks its record 'clients'"):
        RosterReply.unpack(content)


def test_personal_state_is_kept_by_slot() -> None:
    state = RecordDict()
    assert stored_state(state, "current") is None
    personal = Personal({"user": np.arange(6, dtype=np.float32).reshape(2, 3)})
    store_state(state, "current", PersonalState(4, personal))
    store_state(state, "selected", PersonalState(2, personal))
    found = stored_state(state, "current")
    assert found is not None
    assert found.round_number == 4
    assert_same(personal.values, found.personal.values)


def test_fixed_tables_are_sent() -> None:
    fixed = {"anchor": np.arange(6, dtype=np.float32).reshape(3, 2)}
    shared = Shared({"item": np.zeros((3, 2), np.float32)}, {}, fixed)
    back = restore_shared(flatten_shared(shared))
    assert_same(shared.fixed, back.fixed)
    assert back.num_bytes == shared.num_bytes == shared.copy().num_bytes == 48
