"""The rules of one party: order, replays, double masks, a server that lies."""

import gc
import itertools

import numpy as np
import pytest

from fedrec.errors import ConfigError, DataError, ProtocolError, SkippedRound
from fedrec.secure import Coordinator, Host, Identity, Party, Vector
from fedrec.secure.agreement import tag
from fedrec.secure.frames import SERVER, Kind
from fedrec.secure.messages import (
    CONFIRM_BYTES,
    MASK_KEY,
    SEED,
    pack_list,
    pack_numbers,
    read_revealed,
)
from fedrec.secure.party import Step
from fedrec.secure.simulate import SeededEntropy
from tests.secure.sessions import NAME, Session, refused


def from_server(session: Session, kind: Kind, number: int, body: bytes, keys: dict) -> bytes:
    """A message that a server with its real keys makes up."""
    content = session.server._roster.address(kind, SERVER, number).header(len(body)) + body
    return content + tag(keys[number][0], kind, content)


def revealed(message: bytes) -> dict[int, int]:
    rows = read_revealed(memoryview(message)[64:-16])
    owners = rows["owner"].tolist()
    assert len(set(owners)) == len(owners)
    return dict(zip(owners, rows["secret"].tolist(), strict=True))


def test_a_party_reveals_one_share_of_each_neighbour_whatever_is_asked() -> None:
    """All 3**5 labellings of five neighbours, each followed by all the other requests."""
    labels = ("survives", "lost", "never shared")
    requests = [list(c) for size in range(6) for c in itertools.combinations(range(1, 6), size)]
    for labelling in itertools.product(labels, repeat=5):
        lost = {
            i + 1: {"lost": "mask", "never shared": "share"}[w]
            for i, w in enumerate(labelling)
            if w != "survives"
        }
        session = Session(6, 2, threshold=2)
        try:
            session.run_to("unmask", lost)
        except SkippedRound:
            assert len(lost) > 3  # of two, each would learn the other's input
            continue
        party, keys = session.parties[0], dict(session.server._keys)
        survivors = {i + 1 for i, word in enumerate(labelling) if word == "survives"}
        shared = {i + 1 for i, word in enumerate(labelling) if word != "never shared"}
        crafted = [
            from_server(
                session, Kind.REQUEST, 0, pack_numbers(np.array([0, *asked])) + pack_list([]), keys
            )
            for asked in requests
        ]
        impossible = [
            raw
            for asked, raw in zip(requests, crafted, strict=True)
            if len(asked) < 2 or set(asked) - shared
        ]
        assert all(refused(party.unmask, raw) for raw in impossible)
        answer = revealed(party.unmask(session.to_party["unmask"][0]))
        assert answer == {0: SEED} | {i: SEED if i in survivors else MASK_KEY for i in shared}
        assert all(refused(party.unmask, raw) for raw in crafted)


def test_every_message_is_accepted_once_and_in_order() -> None:
    for mode in ("semi-honest", "malicious-server"):
        session = Session(5, mode=mode).run_to("finish")
        party = session.parties[0]
        assert repr(party) == "Party(number=0, step=DONE)"
        fresh = Session(5, mode=mode, seed=7)
        messages = {
            stage: raw[0]
            for stage, raw in session.to_party.items()
            if stage != "finish" and 0 in raw
        }
        for stage in messages:
            for other in messages:
                if other != stage:
                    assert refused(fresh.answer, other, 0, messages[other]), (stage, other)
            if stage == "advertise":
                for one in fresh.parties[1:]:
                    one.advertise()
            assert fresh.answer(stage, 0, messages[stage]) == session.to_server[stage][0]
            assert refused(fresh.answer, stage, 0, messages[stage])


def test_messages_of_another_round_session_or_party_are_refused() -> None:
    first, second = Session(5, seed=1).run_to("mask"), Session(5, seed=2).run_to("mask")
    for party, raw in ((0, second.to_party["mask"][0]), (0, first.to_party["mask"][1])):
        with pytest.raises(ProtocolError):
            first.parties[party].mask(raw, {NAME: first.inputs[0]})
    answer = second.answer("mask", 0, second.to_party["mask"][0])
    with pytest.raises(ProtocolError, match="its header says otherwise"):
        first.server.receive(answer)
    with pytest.raises(ProtocolError, match="kind MASKED has 16 to 16 bytes"):
        first.server.receive(first.to_server["share"][0])


def test_the_roster_must_hold_the_partys_own_keys() -> None:
    session = Session(5).run_to("share")
    other = Session(5, seed=8).run_to("share")
    with pytest.raises(ProtocolError):
        session.parties[0].share(other.to_party["share"][0])
    plan, source = session.server.plan, SeededEntropy(99, 0)
    double = Party(plan, 0, session.identities[0], entropy=source)
    double.advertise()
    with pytest.raises(ProtocolError, match="other keys of client 0"):
        double.share(session.to_party["share"][0])


def test_a_party_left_out_or_called_lost_says_nothing() -> None:
    session = Session(5, threshold=3).run_to("unmask")
    keys = session.server._keys
    for numbers in ([1, 2, 3, 4], [0, 1]):
        body = pack_numbers(np.array(numbers)) + pack_list([])
        with pytest.raises(ProtocolError, match="called lost|fewer than the 3 that"):
            session.parties[0].unmask(from_server(session, Kind.REQUEST, 0, body, keys))
    partial = Session(5, threshold=3)
    for party in partial.parties[1:]:
        partial.server.receive(party.advertise())
    partial.parties[0].advertise()
    roster = partial.server.advance()
    with pytest.raises(ProtocolError, match="client 0 is missing"):
        partial.parties[0].share(roster[1])


def equivocate(split: tuple[bool, ...], withhold: bool) -> list[dict[int, int] | None]:
    """Show some clients that everybody survives, and the others that client 5 does not."""
    session = Session(6, 2, mode="malicious-server").run_to("consistency")
    keys, everybody = session.server._keys, set(range(6))
    shown = {i: everybody if split[i] or i == 5 else everybody - {5} for i in everybody}
    signed = {}
    for i in sorted(everybody):
        body = pack_numbers(np.array(sorted(shown[i])))
        signed[i] = session.parties[i].confirm(from_server(session, Kind.SURVIVORS, i, body, keys))
    answers: list[dict[int, int] | None] = []
    for i in sorted(everybody):
        proofs = [signed[j] for j in sorted(everybody) if not withhold or shown[j] == shown[i]]
        body = pack_numbers(np.array(sorted(shown[i]))) + pack_list(proofs)
        raw = from_server(session, Kind.REQUEST, i, body, keys)
        try:
            answers.append(revealed(session.parties[i].unmask(raw)))
        except ProtocolError as error:
            answers.append(None)
            caught = "another set of survivors" in str(error)
            answers[i] = None if withhold or caught else {}
            ended = session.parties[i].step is Step.DONE
            if ended != caught:
                raise AssertionError("a lie that is proved ends the session") from error
    return answers


def test_a_server_that_shows_different_survivors_gets_nothing() -> None:
    """t = 5 of 6: two groups cannot both have five equal signatures."""
    for split in itertools.product((True, False), repeat=5):
        if all(split):
            continue
        assert equivocate((*split, True), withhold=False) == [None] * 6
        answers = equivocate((*split, True), withhold=True)
        told = [answer[5] for answer in answers if answer]
        assert len(set(told)) <= 1  # nobody's two secrets are asked for
        lied_to = [answers[i] for i in range(5) if not split[i]]
        assert lied_to == [None] * len(lied_to) or sum(split) == 0


def test_forged_and_foreign_signatures_do_not_count() -> None:
    session = Session(6, 2, mode="malicious-server").run_to("unmask")
    keys, good = session.server._keys, session.server._confirmations
    numbers = pack_numbers(np.arange(6))

    def ask(proofs: list[bytes]) -> bool:
        raw = from_server(session, Kind.REQUEST, 0, numbers + pack_list(proofs), keys)
        return refused(session.parties[0].unmask, raw)

    forged = good[1][:-1] + bytes([good[1][-1] ^ 1])
    assert ask([good[i] for i in range(4)])
    assert ask([good[0], forged, *[good[i] for i in range(2, 6)]])
    assert ask([good[0]] * 6)
    assert ask([good[i] for i in (1, 0, 2, 3, 4, 5)])
    assert ask([bytes(CONFIRM_BYTES)] * 6)
    assert not ask([good[i] for i in range(6)])


def test_inputs_that_were_not_agreed_are_refused_before_anything_is_sent() -> None:
    session = Session(5).run_to("mask")
    raw = session.to_party["mask"][0]
    for bad, words in (
        (np.full(4, 100, np.uint32), "above the agreed bound of 99"),
        (np.zeros(3, np.uint32), "array of 4 elements"),
        (np.zeros(4, np.int64), "unsigned integers"),
        (None, "array of 4 elements"),
    ):
        with pytest.raises(DataError, match=words):
            session.parties[0].mask(raw, {} if bad is None else {NAME: bad})
    assert len(session.answer("mask", 0, raw)) == 64 + 16 + 16


def test_a_seed_is_not_taken_for_entropy() -> None:
    session = Session(4)
    with pytest.raises(ConfigError, match="A seed is accepted in simulations only"):
        Party(session.server.plan, 0, session.identities[0], entropy=7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not registered"):
        Party(session.server.plan, 0, session.identities[1])
    with pytest.raises(ConfigError, match="entropy must be a function"):
        Coordinator({}, (), round_number=1, entropy=7)  # type: ignore[arg-type]


def test_parties_that_share_a_host_send_the_same_bytes() -> None:
    for mode in ("semi-honest", "malicious-server"):
        lost = {1: "mask", 2: "unmask"}
        alone, together = (
            Session(7, mode=mode, share_host=share, threshold=5) for share in (False, True)
        )
        assert np.array_equal(alone.finish(lost), together.finish(lost))
        assert alone.to_server == together.to_server
        assert alone.to_party == together.to_party


def reachable(*roots: object) -> list[object]:
    """Everything that can be reached from objects, without modules, types and functions."""
    seen: dict[int, object] = {}
    queue = list(roots)
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(
            one, type | type(gc) | type(refused) | SeededEntropy | Identity
        ):
            continue
        seen[id(one)] = one
        queue += gc.get_referents(one)
    return list(seen.values())


def test_after_a_round_no_secret_is_reachable() -> None:
    drawn: list[bytes] = []

    def recorded(self: SeededEntropy, size: int) -> bytes:
        drawn.append(original(self, size))
        return drawn[-1]

    original = SeededEntropy.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeededEntropy, "__call__", recorded)
        session = Session(6, 2, threshold=4).run_to("finish", {1: "mask"})
        secrets = set(drawn) - {session.server.plan.nonce}
        host = session.parties[0]._host
        session.server.finish()
        host.wipe()
    for party in session.parties:
        party.wipe()  # the one that was lost forgets when its owner ends the session
    left = reachable(*session.parties, session.server, host)
    found = [one for one in left if isinstance(one, bytes | bytearray) and bytes(one) in secrets]
    assert len(secrets) >= 6 * 4
    assert found == []
    assert not [one for one in left if "PrivateKey" in type(one).__name__]


def test_what_is_printed_of_a_party_is_no_secret() -> None:
    session = Session(4).run_to("unmask")
    party = session.parties[0]
    assert repr(party._keyring) == "Keyring(number=0)"
    assert repr(party._host) == "Host(parties=4)"
    assert session.identities[0].public.hex() in repr(session.identities[0])
    assert session.identities[0].secret().hex() not in repr(session.identities[0])


def test_keys_never_repeat() -> None:
    from os import urandom

    from fedrec.secure.keyring import Keyring

    host, seen = Host(), set()
    for _ in range(10_000):
        ring = Keyring(0, host, urandom)
        seen |= {ring.channel_public, ring.mask_public}
    assert len(seen) == 20_000


def test_several_vectors_of_both_widths_in_one_session() -> None:
    vectors = (Vector("a", 3, 32, 9), Vector("b", 5, 64, 2**40), Vector("c", 2, 32, None))
    identities = [Identity.generate(SeededEntropy(0, i)) for i in range(4)]
    server = Coordinator(
        {i * 10: one.public for i, one in enumerate(identities)}, vectors, round_number=0
    )
    parties = {i * 10: Party(server.plan, i * 10, one) for i, one in enumerate(identities)}
    for party in parties.values():
        server.receive(party.advertise())
    for number, raw in server.advance().items():
        server.receive(parties[number].share(raw))
    values = {
        "a": np.full(3, 9, np.uint8),
        "b": np.full(5, 2**40, np.uint64),
        "c": np.full(2, 2**31, np.uint32),
    }
    for number, raw in server.advance().items():
        server.receive(parties[number].mask(raw, values))
    for number, raw in server.advance().items():
        server.receive(parties[number].unmask(raw))
    sums = server.finish()
    assert sums.survivors == (0, 10, 20, 30)
    assert sums.totals["a"].tolist() == [36] * 3
    assert sums.totals["b"].tolist() == [2**42] * 5
    assert sums.totals["c"].tolist() == [0, 0]  # four times 2**31, modulo 2**32
