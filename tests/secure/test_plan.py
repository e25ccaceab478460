import dataclasses

import pytest

from fedrec.errors import ConfigError, ProtocolError
from fedrec.secure import Plan, Vector
from fedrec.secure.plan import check_overflow, check_plan, make_plan, ring_width

REGISTRY = {i: bytes([i]) * 32 for i in (4, 9, 2, 7)}


def plan(**changes: object) -> Plan:
    good = make_plan(
        REGISTRY, (Vector("u", 5, 32, 100),), round_number=3, coordinator=b"c" * 32, nonce=b"n" * 16
    )
    return dataclasses.replace(good, **changes)


@pytest.mark.parametrize("width", [7, 15, 32, 41, 64])
@pytest.mark.parametrize("n", [3, 5, 17])
def test_overflow_at_the_limit(n: int, width: int) -> None:
    """n * bound < 2**width, where bound is (2**b - 1) * w_max."""
    limit = (2**width - 1) // n
    check_overflow(n, limit - 1, width)
    check_overflow(n, limit, width)
    with pytest.raises(ConfigError, match=f"does not fit into {width} bits"):
        check_overflow(n, limit + 1, width)


def test_the_smallest_ring_that_is_wide_enough_is_taken() -> None:
    """k = ceil(log2(n * bound + 1))."""
    assert ring_width(100, 255) == 15  # 25,500 < 2**15
    assert ring_width(3, (2**32 - 1) // 3) == 32
    assert ring_width(3, (2**32 - 1) // 3 + 1) == 33
    assert ring_width(4, 2**13 - 1) == 15
    assert ring_width(4, 2**13) == 16
    assert ring_width(100, 0) == 1
    with pytest.raises(ConfigError, match="64 bits"):
        ring_width(3, 2**63)


def test_only_a_modular_vector_may_wrap_around_and_the_plan_says_so() -> None:
    exact, modular = Vector("u", 5, 32, 2**31), Vector("u", 5, 32, None)
    assert (exact.modular, modular.modular) == (False, True)
    with pytest.raises(ConfigError, match="does not fit into 32 bits"):
        check_plan(plan(vectors=(exact,)))
    check_plan(plan(vectors=(modular,)))
    bounded = plan(vectors=(Vector("u", 5, 32, 2**20),))
    assert plan(vectors=(modular,)).digest != bounded.digest
    assert Plan.from_bytes(plan(vectors=(modular,)).to_bytes()).vectors == (modular,)


def test_clients_ascend_and_bytes_come_back() -> None:
    one = plan()
    assert [number for number, _ in one.registry] == [2, 4, 7, 9]
    assert one.complete
    assert not one.malicious_server
    assert Plan.from_bytes(one.to_bytes()) == one
    wraps = plan(vectors=(Vector("u", 5, 64, None), Vector("v", 1, 32, 3)), mode="malicious-server")
    assert Plan.from_bytes(wraps.to_bytes()) == wraps
    for bad in (one.to_bytes()[:-1], b"", bytes(200), bytes([255]) * 300):
        with pytest.raises(ProtocolError, match="malformed"):
            Plan.from_bytes(bad)
    with pytest.raises(ProtocolError, match="must be bytes, got str"):
        Plan.from_bytes("plan")  # type: ignore[arg-type]
    off = one.to_bytes()[:9] + b"\0" + one.to_bytes()[10:]
    with pytest.raises(ConfigError, match="secure.mode"):
        Plan.from_bytes(off)


def test_any_change_changes_the_digest() -> None:
    changed = [
        plan(round_number=4),
        plan(threshold=2),
        plan(mode="malicious-server"),
        plan(nonce=b"m" * 16),
        plan(coordinator=b"d" * 32),
        plan(vectors=(Vector("w", 5, 32, 100),)),
        plan(vectors=(Vector("u", 5, 32, 99),)),
        plan(registry=plan().registry[:3]),
    ]
    assert len({one.digest for one in [plan(), *changed]}) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "off"}, "secure.mode must be one of"),
        ({"registry": ((1, b"a" * 32), (2, b"b" * 32))}, "3 to 32770 clients, got 2"),
        ({"registry": tuple((i, b"a" * 32) for i in (1, 3, 2))}, "distinct, ascending"),
        ({"registry": tuple((i, b"a" * 31) for i in range(4))}, "32 bytes"),
        ({"nonce": b""}, "nonce of a session 16"),
        ({"threshold": 5}, "between 2 and 4"),
        ({"vectors": ()}, "1 to 16 vectors, got 0"),
        ({"vectors": (Vector("u", 5, 32, 1), Vector("u", 6, 32, 1))}, "different names"),
        ({"vectors": (Vector("", 5, 32, 1),)}, "1 to 64 bytes"),
        ({"vectors": (Vector("u", 0, 32, 1),)}, "got 0 of 32"),
        ({"vectors": (Vector("u", 5, 0, 0),)}, "got 5 of 0"),
        ({"vectors": (Vector("u", 5, 65, 1),)}, "got 5 of 65"),
        ({"vectors": (Vector("u", 5, 15, 2**13),)}, "does not fit into 15 bits"),
        ({"vectors": (Vector("u", 5, 32, 2**31),)}, "does not fit into 32 bits"),
    ],
)
def test_impossible_plans_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_plan(plan(**changes))
