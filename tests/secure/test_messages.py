"""Mutated, forged and misplaced messages: ProtocolError, and nothing changes."""

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fedrec.errors import ProtocolError, SkippedRound
from fedrec.secure.agreement import tag
from fedrec.secure.frames import HEADER_BYTES, Kind
from fedrec.secure.plan import Plan
from tests.secure.sessions import Session, refused

TO_PARTY = {"share": "ROSTER", "mask": "INBOX", "consistency": "SURVIVORS", "unmask": "REQUEST"}
TO_SERVER = {
    "advertise": "ADVERTISE",
    "share": "SHARES",
    "mask": "MASKED",
    "consistency": "CONFIRM",
    "unmask": "REVEAL",
}
CASES = [(stage, False) for stage in TO_PARTY] + [(stage, True) for stage in TO_SERVER]
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


def mutations(raw: bytes, others: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Bit flips, cuts, additions, spliced and swapped fields, huge lengths, low-order points."""
    draw = np.random.default_rng(seed)
    yield from (b"", raw[:HEADER_BYTES], raw + b"\0", raw[:-1], raw[1:], raw * 2, *others)
    for _ in range(count):
        changed = bytearray(raw)
        kind, at = draw.integers(7), int(draw.integers(len(raw)))
        if kind <= 1:
            changed[at] ^= 1 << int(draw.integers(8))
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            changed[at : at + 8] = draw.bytes(8)
        elif kind == 4:
            changed[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == 5:
            other = others[draw.integers(len(others))]
            changed[at : at + 40] = other[at : at + 40]
        else:
            at = HEADER_BYTES + 32 * int(draw.integers(max(1, (len(raw) - HEADER_BYTES) // 32)))
            changed[at : at + 32] = LOW_ORDER[draw.integers(len(LOW_ORDER))]
        if bytes(changed) != raw:
            yield bytes(changed)


def reach(stage: str, width: int) -> Session:
    """A session whose parties 0 and 1 have still to answer, or be heard, at a stage."""
    return Session(4, 3, mode="malicious-server", seed=11, width=width).run_to(stage)


def target(
    stage: str, up: bool, width: int = 32
) -> tuple[Session, bytes, list[bytes], Callable[[bytes], object]]:
    session = reach(stage, width)
    if not up:
        raw = session.to_party[stage]
        return (
            session,
            raw[0],
            [m for n, m in raw.items() if m != raw[0]],
            lambda m: session.answer(stage, 0, m),
        )
    answers = {n: bytes(session.answer(stage, n, m)) for n, m in session.to_party[stage].items()}
    session.server.receive(answers[1])
    return session, answers[0], [answers[1]], session.server.receive


def check(stage: str, up: bool, count: int, width: int = 32) -> None:
    session, raw, others, take = target(stage, up, width)
    others += [bytes(m) for s in session.to_server.values() for m in s.values()][-4:]
    others += [m for s in session.to_party.values() for m in s.values() if m and m != raw][-4:]
    for number, changed in enumerate(mutations(raw, others, count, seed=hash(stage) % 97)):
        if changed != raw:
            assert refused(take, changed), (stage, up, number)
    take(raw)  # what was refused has changed nothing
    assert refused(take, raw)


@pytest.mark.parametrize(("stage", "up"), CASES)
def test_mutated_messages_are_refused(stage: str, up: bool) -> None:
    check(stage, up, 300)


def test_mutated_messages_of_a_packed_ring_are_refused() -> None:
    check("mask", True, 300, width=9)


def test_padding_and_a_wrong_width_are_refused_behind_a_right_tag() -> None:
    """3 elements of 9 bits are 27 bits: the last 5 of 4 bytes must be zero."""
    session, raw, _, take = target("mask", up=True, width=9)
    key = session.server._keys[0][1]

    def sealed(body: bytes) -> bytes:
        head = raw[: HEADER_BYTES - 8] + len(body).to_bytes(8, "little")
        return head + body + tag(key, Kind.MASKED, head + body)

    body = bytes(raw[HEADER_BYTES:-16])
    assert len(body) == 4
    before = session.server._totals["x"].copy()
    for bit in range(3, 8):
        with pytest.raises(ProtocolError, match="bits follow the last element"):
            take(sealed(body[:-1] + bytes([body[-1] | 1 << bit])))
    for other in (b"", body[:-1], body + b"\0", body * 3):
        assert refused(take, sealed(other))
    assert np.array_equal(session.server._totals["x"], before)
    take(sealed(body))


def test_a_second_vector_with_padding_spoils_the_first_one_too() -> None:
    """Nothing of a refused message is added."""
    session = Session(4, 3, seed=2, width=9, second=5).run_to("mask")
    raw = bytes(session.answer("mask", 0, session.to_party["mask"][0]))
    content = raw[:-17] + bytes([raw[-17] | 0x80])
    with pytest.raises(ProtocolError, match="bits follow"):
        session.server.receive(content + tag(session.server._keys[0][1], Kind.MASKED, content))
    assert not any(total.any() for total in session.server._totals.values())


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "up"), CASES)
def test_ten_thousand_mutated_messages_are_refused(stage: str, up: bool) -> None:
    check(stage, up, 10_000)


def well_tagged(count: int) -> None:
    """Behind a right tag: a malicious client's own content reaches the parser."""
    for stage, kind in (("share", Kind.SHARES), ("mask", Kind.MASKED), ("unmask", Kind.REVEAL)):
        session, raw, others, take = target(stage, up=True)
        key, done = session.server._keys[0][1], False
        for changed in mutations(raw, others, count, seed=5):
            content = raw[:HEADER_BYTES] + changed[HEADER_BYTES:-16]
            size = (len(content) - HEADER_BYTES).to_bytes(8, "little")
            content = content[: HEADER_BYTES - 8] + size + content[HEADER_BYTES:]
            try:
                take(content + tag(key, kind, content))
                done = True  # well-formed: wrong inputs cannot be told from right ones
                break
            except ProtocolError:
                continue
        assert done or stage != "mask"


def test_well_tagged_nonsense_is_refused_or_harmless() -> None:
    well_tagged(300)


def test_things_that_are_not_bytes_are_refused() -> None:
    for stage, up in CASES:
        _, _, _, take = target(stage, up)
        for bad in (
            None,
            7,
            "text",
            [1, 2],
            {},
            np.zeros(80),
            memoryview(np.zeros((9, 9), np.uint8)),
        ):
            assert refused(take, bad), (stage, up, bad)


def test_huge_lengths_allocate_nothing() -> None:
    session, raw, _, take = target("share", up=True)
    tracemalloc.start()
    for at in (HEADER_BYTES - 8, HEADER_BYTES + 32):
        changed = bytearray(raw)
        changed[at : at + 4] = b"\xff\xff\xff\x7f"
        assert refused(take, bytes(changed))
    content = raw[: HEADER_BYTES + 32] + b"\xff\xff\xff\xff" + raw[HEADER_BYTES + 36 : -16]
    assert refused(lambda: take(content + tag(session.server._keys[0][1], Kind.SHARES, content)))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused(point: bytes) -> None:
    session = Session(4)
    good = session.parties[0].advertise()
    for at in (HEADER_BYTES, HEADER_BYTES + 32):
        content = good[:at] + point + good[at + 32 : -64]
        forged = content + session.identities[0].sign(content)
        with pytest.raises(ProtocolError, match="low order"):
            session.server.receive(forged)
    session.server.receive(good)


def test_a_key_advertised_twice_is_refused() -> None:
    session = Session(4)
    good = [party.advertise() for party in session.parties]
    session.server.receive(good[0])
    copied = good[1][:HEADER_BYTES] + good[0][HEADER_BYTES : HEADER_BYTES + 64]
    with pytest.raises(ProtocolError, match="already in use"):
        session.server.receive(copied + session.identities[1].sign(copied))
    one = good[1][HEADER_BYTES : HEADER_BYTES + 32]
    equal = good[1][:HEADER_BYTES] + one + one
    with pytest.raises(ProtocolError, match="one key for two purposes"):
        session.server.receive(equal + session.identities[1].sign(equal))
    for raw in good[2:]:
        session.server.receive(raw)
    assert set(session.server.advance()) == {0, 2, 3}


def test_a_garbled_party_costs_only_itself() -> None:
    session, garbled = Session(7, seed=3), {("share", 3), ("mask", 5)}
    for stage in ("advertise", "share", "mask", "unmask"):
        for number, raw in session.to_party[stage].items():
            answer = bytearray(session.answer(stage, number, raw))
            if (stage, number) in garbled:
                answer[80] ^= 1
                assert refused(session.server.receive, answer)
            else:
                session.server.receive(answer)
        if stage != "unmask":
            outgoing = session.server.advance()
            session.to_party[session.server.stage] = outgoing
    sums = session.server.finish()
    assert sums.survivors == (0, 1, 2, 4, 6)
    assert np.array_equal(sums.totals["x"], session.inputs[[0, 1, 2, 4, 6]].sum(axis=0))


def test_one_wrong_share_is_outvoted_and_too_many_skip_the_round() -> None:
    for wrong, ends in ((1, "sum"), (3, "skip")):
        session = Session(7, 3, threshold=5).run_to("unmask")
        for number, raw in session.to_party["unmask"].items():
            answer = session.answer("unmask", number, raw)
            if number < wrong:
                content = bytearray(answer[:-16])
                content[HEADER_BYTES + 9] ^= 1
                answer = bytes(content) + tag(
                    session.server._keys[number][1], Kind.REVEAL, bytes(content)
                )
            session.server.receive(answer)
        if ends == "sum":
            assert np.array_equal(session.server.finish().totals["x"], session.inputs.sum(axis=0))
        else:
            with pytest.raises(SkippedRound, match="do not fit what it has published"):
                session.server.finish()


@pytest.mark.parametrize(("width", "masked"), [(32, 36), (11, 13), (63, 71), (64, 72)])
def test_only_what_the_protocol_needs_is_on_the_wire(width: int, masked: int) -> None:
    """Every byte that leaves a client belongs to a field that is named here."""
    n, m = 6, 9
    session = Session(n, m, mode="malicious-server", seed=1, width=width).run_to("finish")
    header, signature, gmac, sealed = 64, 64, 16, 2 * 36 + 16
    sizes = {
        "advertise": header + 32 + 32 + signature,
        "share": header + 32 + 4 + (n - 1) * (4 + sealed) + gmac,
        "mask": header + masked + gmac,
        "consistency": header + 32 + signature,
        "unmask": header + 4 + n * (4 + 1 + 36) + gmac,
    }
    assert {s: {len(x) for x in raw.values()} for s, raw in session.to_server.items()} == {
        stage: {size} for stage, size in sizes.items()
    }
    same = Session(n, m, mode="malicious-server", seed=1, width=width)
    same.inputs = np.zeros_like(same.inputs)
    same.run_to("finish")
    differing = [s for s in sizes if same.to_server[s] != session.to_server[s]]
    assert differing == ["mask"]  # the input is in the masked vector and nowhere else


def test_plans_travel_as_bytes() -> None:
    plan = Session(4).server.plan
    raw = plan.to_bytes()
    assert Plan.from_bytes(raw) == plan
    for bad in (b"", raw[:-1], raw + b"\0", b"\x02" + raw[1:], raw[:40]):
        with pytest.raises(ProtocolError, match="malformed or of another version"):
            Plan.from_bytes(bad)
