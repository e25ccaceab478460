"""Single updates at the server: what is used, what is not, what is skipped."""

import numpy as np
from flwr.app import Message

from fedrec.config_attacks import RobustSection
from fedrec.engine._flower import identify_process
from fedrec.params import Shared
from fedrec.training.single_node import Singles
from fedrec.wire import TRAIN, TrainReply
from fedrec.wire_robust import SinglesReply
from server.robust import finite, robust_sum
from server.roster import Roster
from server.sampling import Sample
from tests.audit.audit_cases import updates_of

SHARED = Shared({"item": np.zeros((3, 1), np.float32)}, {})
ROSTER = Roster({7: np.array([0, 2, 4, 6]), 9: np.array([1, 3, 5])})
NOBODY = np.zeros(0, np.int64)


def reply(node, content):
    identify_process()
    asked = Message(content, node, TRAIN)
    return Message(content, reply_to=asked)


def singles(node, clients, rows):
    updates = updates_of([{0: [value]} for value in rows], 3)
    object.__setattr__(updates, "clients", np.array(clients))
    return reply(node, SinglesReply(Singles(updates, {"loss": float(len(rows))})).pack())


def done(replies, name="median", training=range(7), **keys):
    section = RobustSection(defence=name, **keys)
    sample = Sample(np.array(list(training), np.int64), NOBODY)
    return robust_sum(section, SHARED, ROSTER, sample, replies)


def test_the_median_is_over_the_clients_of_all_nodes():
    got = done([singles(7, [0, 2, 4, 6], [1.0, 2.0, 30.0, 40.0]), singles(9, [1, 3, 5], [3.0] * 3)])
    assert got.total.tables["item"].rows.tolist() == [[7 * 3.0]]
    assert (got.total.num_clients, got.total.weight) == (7, 7.0)
    assert got.total.metrics == {"loss": 7.0}
    assert (got.skipped, got.failures, got.line()) == (None, (), {"robust": {"not_finite": 0}})


def test_a_malformed_reply_costs_its_node_alone():
    bad = singles(7, [0, 1, 2, 3], [9.0] * 4)  # 1 and 3 are of the other node
    got = done([bad, singles(9, [1, 3, 5], [1.0, 2.0, 3.0])])
    assert got.total.tables["item"].rows.tolist() == [[3 * 2.0]]
    assert got.total.metrics == {"loss": 3.0}
    assert len(got.failures) == 1
    assert got.failures[0].startswith("node 7: single updates with clients that were not asked")
    other = done([reply(9, TrainReply(None).pack())])
    assert other.total is None
    assert "expected a fedrec message of kind 'singles-reply'" in other.failures[0]


def test_a_node_that_was_asked_for_nothing_is_no_failure():
    got = done([reply(7, TrainReply(None).pack()), singles(9, [1, 5], [1.0, 3.0])], training=[1, 5])
    assert got.failures == ()
    assert got.total.tables["item"].rows.tolist() == [[2 * 2.0]]


def test_updates_that_are_not_finite_are_left_out():
    got = done([singles(7, [0, 2, 4, 6], [1.0, np.nan, np.inf, 3.0])])
    assert got.total.tables["item"].rows.tolist() == [[2 * 2.0]]
    assert (got.not_finite, got.total.num_clients) == (2, 2)
    nothing_left = done([singles(9, [1], [np.nan])], training=[1])
    assert (nothing_left.total, nothing_left.skipped, nothing_left.not_finite) == (None, None, 1)
    whole = updates_of([{0: [1.0]}], 3)
    assert finite(whole) is whole


def test_too_few_clients_skip_the_round():
    rows = singles(7, [0, 2, 4, 6], [1.0] * 4)
    got = done([rows], "krum", malicious=0.3)
    assert got.total is None
    assert got.skipped.startswith("the defence 'krum' needs at least 7 clients a round")
    assert done([rows], "krum", malicious=0.0).skipped is None
