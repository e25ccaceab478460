"""The protocol: exact results, and everything that is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.align.agreement import new_agreement
from fedrec.align.curve import blind, multiply, tags
from fedrec.align.ids import make_ids
from fedrec.align.messages import COORDINATOR, Header, Kind, pack, peek, unpack
from fedrec.align.outcome import finish
from fedrec.align.party import Secrets, answer, expected, start
from fedrec.align.simulate import align, incoming, simulate
from fedrec.align.union import number_union
from fedrec.errors import AlignmentError, ConfigError, ProtocolError
from fedrec.secure.agreement import Identity

words = st.sets(st.text(min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=12)
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


def terms(mode="match", parties=("north", "south"), **more):
    return new_agreement(mode, parties, **{"minimum": 2, **more})


def lists(**named):
    return {name: make_ids(values) for name, values in named.items()}


def run_to(agreement, named, stage):
    """Return states and messages after each party has sent its message of a stage."""
    begun = [start(agreement, name, named[name]) for name in agreement.parties]
    for _ in range(stage - 1):
        sent = [message for _, message in begun]
        begun = [answer(state, incoming(state, sent)) for state, _ in begun]
    return [state for state, _ in begun], [message for _, message in begun]


def resealed(message, change):
    """Return a message with its content changed and a checksum that fits again."""
    content = bytearray(message[:-32])
    change(content)
    return bytes(content) + hashlib.sha256(content).digest()


FIVE = ["a", "b", "c", "d", "e"]
PAIR = lists(north=FIVE, south=["c", "d", "e", "f"])


@quick
@given(words, words)
def test_match_is_set_intersection_for_both(one, other):
    found = align(lists(north=one, south=other), "match", minimum=1 + 1, ratio=100)
    common = {w.encode() for w in map(_written, one)} & {w.encode() for w in map(_written, other)}
    for outcome in found.values():
        got = {outcome.ids.keys[k] for k in np.flatnonzero(outcome.shared)}
        assert got == common
        assert outcome.num_rows == len(common)
    rows = [
        {o.ids.keys[k]: int(o.rows[k]) for k in np.flatnonzero(o.shared)} for o in found.values()
    ]
    assert rows[0] == rows[1]


def _written(word):
    return make_ids([word]).keys[0].decode()


@quick
@given(words, words)
def test_scope_counts_and_tells_nothing_else(one, other):
    found = align(lists(north=one, south=other), "scope", minimum=2, ratio=100)
    common = len({_written(w) for w in one} & {_written(w) for w in other})
    assert found["north"].common == {"south": common}
    assert found["south"].common == {"north": common}
    assert found["north"].shared is found["north"].rows is found["north"].pseudonyms is None


@settings(max_examples=10, deadline=None)
@given(st.lists(words, min_size=2, max_size=4))
def test_union_numbers_every_item_once_and_tells_no_member(sets):
    names = tuple(f"shop{n}" for n in range(len(sets)))
    named = {name: make_ids(values) for name, values in zip(names, sets, strict=True)}
    found, union = simulate(terms("union", names, ratio=100), named)
    everything = set().union(*(ids.keys for ids in named.values()))
    row_of = {}
    for name, outcome in found.items():
        assert outcome.num_rows == len(everything) == len(union)
        assert outcome.common == {}
        assert outcome.shared is None
        for key, row in zip(named[name].keys, outcome.rows, strict=True):
            assert row_of.setdefault(key, row) == row
    assert sorted(row_of.values()) == list(range(len(everything)))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert union.pairs[i, j] == len(set(named[one].keys) & set(named[other].keys))


def test_match_of_three_says_who_has_what():
    found = align(lists(a=["x", "y", "z"], b=["y", "z", "w"], c=["z", "v"]), minimum=2)
    mine = found["a"]
    assert mine.held["b"].tolist() == [False, True, True]
    assert mine.held["c"].tolist() == [False, False, True]
    assert mine.shared.tolist() == [False, False, True]
    assert mine.common == {"b": 2, "c": 1}
    assert mine.sizes == {"a": 3, "b": 3, "c": 2}


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (["a", "b"], ["a", "b"], 2),
        (["a", "b"], ["c", "d"], 0),
        (["a", "b", "c"], ["b", "c"], 2),
        (["a", "a", "b"], ["b", "b", "c"], 1),
        (["Käse", "Cafe\u0301", "寿司"], ["K\u00e4se", "Caf\u00e9", "🍣"], 2),
    ],
    ids=["equal", "disjoint", "subset", "repeated", "unicode"],
)
def test_cases(one, other, common):
    assert align(lists(north=one, south=other), minimum=2)["north"].num_rows == common


def test_what_travels_tells_nothing_of_the_order():
    """The list is sorted by its blinded points, and blinding is new each time."""
    states, messages = run_to(terms(), PAIR, 3)
    entries = unpack(messages[0], states[0].sent, states[0].agreement)
    assert entries == sorted(entries)
    assert list(states[0].listed) == entries
    again_in_order = multiply(entries, 1)
    assert [again_in_order[states[0].order.index(key)] for key in range(5)] == blind(
        PAIR["north"].keys, states[0].salt, states[0].secrets.key
    )
    again, _ = run_to(terms(), PAIR, 3)
    assert set(states[0].listed).isdisjoint(again[0].listed)


def test_the_count_comes_from_a_sorted_list():
    states, messages = run_to(terms("scope"), PAIR, 4)
    entries = unpack(messages[1], states[1].sent, states[1].agreement)
    assert entries == sorted(entries)
    matched, sent = run_to(terms("match"), PAIR, 4)
    entries = unpack(sent[1], matched[1].sent, matched[1].agreement)
    mine, other = matched
    assert entries == tags(multiply(mine.listed, other.secrets.key), mine.salt)


def test_in_a_ring_nobody_but_the_owner_sees_its_pseudonyms():
    names = ("a", "b", "c")
    named = {n: make_ids([f"{n}{i}" for i in range(4)] + ["common"]) for n in names}
    seen = []
    agreement = terms("union", names)
    begun = [start(agreement, n, named[n]) for n in names]
    while not begun[0][0].finished:
        sent = [message for _, message in begun]
        seen += sent
        begun = [answer(state, incoming(state, sent)) for state, _ in begun]
    wire = b"".join(seen)
    for state, _ in begun:
        assert len(state.others) == 5
        assert not any(pseudonym in wire for pseudonym in state.others)
    # the common item goes round under three masks, so lists cannot be compared on the way
    hops = [unpack(m, h, agreement) for m, h in _lists(seen, agreement)]
    assert len({entry for entries in hops for entry in entries}) == sum(map(len, hops))


def _lists(messages, agreement):
    for message in messages:
        header = peek(message, agreement)
        if header.kind in (Kind.BLINDED, Kind.RELAYED):
            yield message, header


def test_fixed_secrets_give_fixed_messages():
    secret = {
        n: Secrets(bytes([i]) * 32, 1000 + i, 2000 + i) for i, n in enumerate(("north", "south"))
    }
    agreement = terms()
    one, other = (simulate(agreement, PAIR, secrets=secret)[0] for _ in range(2))
    assert one["north"].pseudonyms == other["north"].pseudonyms
    assert one["north"].pseudonyms[2] == one["south"].pseudonyms[0]  # "c" of both


# --- what is refused ------------------------------------------------------------------


def test_a_list_that_is_too_short_is_not_begun_with():
    with pytest.raises(AlignmentError, match="this list has 5 identifiers.*at least 6"):
        start(terms(minimum=6), "north", PAIR["north"])


def test_a_short_or_lopsided_list_is_not_answered():
    honest = terms(minimum=5)
    states, messages = run_to(terms(minimum=2), PAIR, 3)
    strict = replace(states[0], agreement=honest)
    with pytest.raises(ProtocolError, match="another agreement"):
        answer(strict, [messages[1]])
    with pytest.raises(AlignmentError, match="1.5 times longer.*Nothing was answered"):
        align(lists(north=FIVE, south=["a", "b", "c"]), minimum=2, ratio=1.5)


def test_a_sender_that_ignores_the_minimum_is_not_answered():
    states, messages = run_to(terms(minimum=4), PAIR, 3)
    header = peek(messages[1], states[0].agreement)
    few = unpack(messages[1], header, states[0].agreement)[:3]
    with pytest.raises(AlignmentError, match="south sent 3 identifiers.*at least 4"):
        answer(states[0], [pack(header, few, states[0].agreement, None)])


def test_messages_of_another_agreement_or_attempt_are_refused():
    one, sent = run_to(terms(), PAIR, 3)
    _, other = run_to(terms(), PAIR, 3)
    with pytest.raises(ProtocolError, match="another agreement or another attempt"):
        answer(one[0], [other[1]])
    agreement = terms()
    first, _ = run_to(agreement, PAIR, 3)
    _, second = run_to(agreement, PAIR, 3)
    with pytest.raises(ProtocolError, match="another agreement or another attempt"):
        answer(first[0], [second[1]])
    assert answer(one[0], [sent[1]])  # a refused message has changed nothing


def test_a_salt_that_was_not_committed_to_is_refused():
    states, messages = run_to(terms(), PAIR, 2)
    lie = resealed(messages[1], lambda c: c.__setitem__(slice(-32, None), b"s" * 32))
    with pytest.raises(ProtocolError, match="salt of south is not the one"):
        answer(states[0], [lie])


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_every_byte_of_a_message_is_protected(stage):
    states, messages = run_to(terms(), PAIR, stage)
    message, step = messages[1], finish if stage == 4 else answer
    for place in range(len(message)):
        bad = bytearray(message)
        bad[place] ^= 1
        with pytest.raises(ProtocolError):
            step(states[0], [bytes(bad)])
    for cut in (0, 3, 55, 56, 87, len(message) - 1):
        with pytest.raises(ProtocolError):
            step(states[0], [message[:cut]])
    with pytest.raises(ProtocolError):
        step(states[0], [message + b"\0"])
    assert step(states[0], [message])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_a_protocol_error(raw):
    states, _ = NOISE
    with pytest.raises(ProtocolError):
        answer(states[0], [raw])
    with pytest.raises(ProtocolError):
        answer(states[0], [b"FDAL\x01\x03" + raw])


NOISE = run_to(terms(), PAIR, 3)


def test_no_huge_allocation_for_a_huge_count():
    states, messages = run_to(terms(), PAIR, 3)
    huge = resealed(messages[1], lambda c: c.__setitem__(slice(48, 56), b"\xff" * 8))
    with pytest.raises(ProtocolError, match="cut off or changed"):
        answer(states[0], [huge])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"\xff" * 32, "not on the curve"),
        (bytes(31) + b"\x01", "not on the curve"),
    ],
    ids=["not below the prime", "off the curve"],
)
def test_a_list_with_what_is_no_point_is_refused(bad, message):
    states, messages = run_to(terms(), PAIR, 3)
    lie = resealed(messages[1], lambda c: c.__setitem__(slice(-32, None), bad))
    with pytest.raises(ProtocolError, match=message):
        answer(states[0], [lie])


def test_a_repeated_point_is_refused():
    states, messages = run_to(terms(), PAIR, 3)
    lie = resealed(messages[1], lambda c: c.__setitem__(slice(-32, None), c[-64:-32]))
    with pytest.raises(ProtocolError, match="holds an entry twice"):
        answer(states[0], [lie])


def test_a_list_that_echoes_the_own_one_is_refused():
    states, messages = run_to(terms(), PAIR, 3)
    header = peek(messages[1], states[0].agreement)
    echo = pack(header, states[0].listed, states[0].agreement, None)
    with pytest.raises(ProtocolError, match="south holds points of this party's own list"):
        answer(states[0], [echo])


def test_fewer_answers_than_asked_are_refused():
    states, messages = run_to(terms(), PAIR, 4)
    header = peek(messages[1], states[0].agreement)
    entries = unpack(messages[1], header, states[0].agreement)
    with pytest.raises(ProtocolError, match="sent 5 identifiers, and 4 came back"):
        finish(states[0], [pack(header, entries[:4], states[0].agreement, None)])


def test_messages_out_of_order_are_refused():
    states, messages = run_to(terms(), PAIR, 2)
    later, _ = run_to(terms(), PAIR, 3)
    with pytest.raises(ProtocolError, match="expected the message BLINDED.*got the message OPEN"):
        answer(later[0], [messages[1]])
    with pytest.raises(ProtocolError, match="stage 2 of 4: more messages"):
        finish(states[0], [messages[1]])
    ended, last = run_to(terms(), PAIR, 4)
    with pytest.raises(ProtocolError, match="all messages are sent"):
        answer(ended[0], [last[1]])


def test_own_missing_and_doubled_messages_are_refused():
    names = ("a", "b", "c")
    named = dict.fromkeys(names, PAIR["north"])
    states, messages = run_to(terms("union", names), named, 1)
    with pytest.raises(ProtocolError, match="COMMIT from a to all"):
        answer(states[0], [messages[0], messages[1]])
    with pytest.raises(ProtocolError, match="expected the message COMMIT from c"):
        answer(states[0], [messages[1], messages[1]])
    with pytest.raises(ProtocolError, match="expected 2 message.*of b, c; got 1"):
        answer(states[0], [messages[1]])


def test_the_coordinator_refuses_what_does_not_belong_together():
    agreement = terms("union")
    _, messages = run_to(agreement, PAIR, 5)
    _, others = run_to(agreement, PAIR, 5)
    with pytest.raises(ProtocolError, match="another agreement or another attempt"):
        number_union(agreement, [messages[0], others[1]])
    with pytest.raises(ProtocolError, match="expected the pseudonyms of 2 parties"):
        number_union(agreement, messages[:1])
    with pytest.raises(ProtocolError, match="one message of pseudonyms from each"):
        number_union(agreement, [messages[0], messages[0]])


def test_a_union_without_own_pseudonyms_is_refused():
    agreement = terms("union")
    states, messages = run_to(agreement, PAIR, 5)
    union = number_union(agreement, messages).message
    header = expected(states[0])[0]
    entries = unpack(union, header, agreement)
    for lie, words in ((entries[1:], "not in the coordinator's"), (entries[::-1], "not sorted")):
        with pytest.raises(ProtocolError, match=words):
            [finish(s, [pack(header, lie, agreement, None)]) for s in states]
    assert header == Header(Kind.UNION, header.session, COORDINATOR, 2**16 - 1, COORDINATOR)


# --- signed messages ------------------------------------------------------------------


def test_signed_messages_are_taken_and_forged_ones_refused():
    identities = {n: Identity(bytes([i]) * 32) for i, n in enumerate(("north", "south"), 1)}
    agreement = terms(keys={n: i.public.hex() for n, i in identities.items()})
    begun = [start(agreement, n, PAIR[n], identity=identities[n]) for n in agreement.parties]
    sent = [message for _, message in begun]
    forged = sent[1][:-64] + identities["north"].sign(sent[1][:-64])
    with pytest.raises(ProtocolError, match="signature does not fit"):
        answer(begun[0][0], [forged])
    unsigned = sent[1][:-64] + hashlib.sha256(sent[1][:-64]).digest()
    with pytest.raises(ProtocolError, match="unsigned where the agreement says otherwise"):
        answer(begun[0][0], [unsigned])
    while not begun[0][0].finished:
        sent = [message for _, message in begun]
        begun = [answer(state, incoming(state, sent)) for state, _ in begun]
    sent = [message for _, message in begun]
    assert finish(begun[0][0], incoming(begun[0][0], sent)).num_rows == 3
    with pytest.raises(ConfigError, match="names a key of north, and another was given"):
        start(agreement, "north", PAIR["north"], identity=identities["south"])
    with pytest.raises(ConfigError, match="and none was given"):
        start(agreement, "north", PAIR["north"])


def test_secrets_are_not_shown():
    state, _ = start(terms(), "north", PAIR["north"])
    assert str(state.secrets.key) not in repr(state) + repr(state.secrets)


def test_lists_of_other_parties_are_refused():
    with pytest.raises(ConfigError, match="expected the lists of north, south, got north"):
        simulate(terms(), {"north": PAIR["north"]})
