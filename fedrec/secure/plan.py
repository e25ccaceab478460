"""What all parties of a session agree on before it starts."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fedrec.errors import ConfigError, ProtocolError
from fedrec.secure import graph
from fedrec.secure.agreement import KEY_BYTES, VERSION
from fedrec.secure.field import PRIME
from fedrec.secure.frames import view
from fedrec.secure.packing import packed_bytes, word_type

MODES = ("off", "semi-honest", "malicious-server")
MAX_WIDTH = 64
NONCE_BYTES = 16
MAX_ELEMENTS = 2**31
MAX_VECTORS = 16
_MAX_NAME = 64
_HEAD = "<BQBIIB"


@dataclass(frozen=True)
class Vector:
    """One vector that every client contributes, and whose sum comes out.

    Attributes:
        name: what it is called; part of the masks' keys.
        length: m, its number of elements.
        width: k, bits of the ring: sums are exact below 2**k.  1 to 64; elements travel in
            k bits each.
        bound: largest element of one client, or None where sums may wrap around (vectors of
            uniformly random elements, of which only "zero or not" matters).
    """

    name: str
    length: int
    width: int
    bound: int | None

    @property
    def num_bytes(self) -> int:
        """Size of the masked vector on the wire."""
        return packed_bytes(self.length, self.width)

    @property
    def dtype(self) -> str:
        """The numpy dtype in which it is masked and summed."""
        return word_type(self.width)

    @property
    def modular(self) -> bool:
        """Whether its sums may wrap around: the one exception to the overflow rule."""
        return self.bound is None


@dataclass(frozen=True)
class Plan:
    """The agreement of one session.  Build it with `make_plan`, which completes and checks it.

    Attributes:
        round_number: the round.
        mode: "semi-honest" or "malicious-server".
        threshold: t: how many holders recover a secret.
        neighbours: k; at n - 1 the graph is complete, whoever is lost early.
        vectors: what is summed.
        registry: (client number, Ed25519 public key), ascending: who is invited.  Against a
            malicious server the keys must come from an earlier registration, not from it.
        coordinator: X25519 public key of the server for this session.
        nonce: 16 bytes that tell apart two attempts at the same round.
        least: clients whose input must be in the sum; with fewer nothing is revealed.  0: as
            the threshold says.
    """

    round_number: int
    mode: str
    threshold: int
    neighbours: int
    vectors: tuple[Vector, ...]
    registry: tuple[tuple[int, bytes], ...]
    coordinator: bytes
    nonce: bytes
    least: int = 0

    @property
    def complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.neighbours >= len(self.registry) - 1

    @property
    def malicious_server(self) -> bool:
        """Whether clients sign the set of survivors before they unmask."""
        return self.mode == "malicious-server"

    @property
    def quorum(self) -> int:
        """How many of a client's holders, itself among them, must take part with it.

        In a sparse graph t neighbours, since t - 1 of them could all work with the server; in
        any graph three clients, of two each would learn the other's input from the sum.  In a
        complete graph it sees all clients, and asks for the `least` too.
        """
        return max(self.threshold, 3, self.least) if self.complete else self.threshold + 1

    @cached_property
    def identities(self) -> dict[int, bytes]:
        """Client number -> registered Ed25519 public key."""
        return dict(self.registry)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over everything that was agreed."""
        return hashlib.sha256(b"fedrec secure plan" + self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Return the plan as bytes, for the way to the parties."""
        head = struct.pack(
            _HEAD,
            VERSION,
            self.round_number,
            MODES.index(self.mode),
            self.threshold,
            self.neighbours,
            len(self.vectors),
        )
        parts = [head, self.coordinator, self.nonce]
        for vector in self.vectors:
            name = vector.name.encode()
            bounds = (vector.modular, vector.bound or 0)
            numbers = struct.pack("<QBBQ", vector.length, vector.width, *bounds)
            parts += [bytes([len(name)]), name, numbers]
        parts.append(struct.pack("<I", len(self.registry)))
        parts += [struct.pack("<I", number) + key for number, key in self.registry]
        if self.least:
            parts.append(struct.pack("<I", self.least))
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Plan:
        """Read a plan and check it again.

        Raises:
            ProtocolError: if it is malformed, or of another version.
            ConfigError: if it breaks a rule of `check_plan`.
        """
        raw = bytes(view(raw))
        try:
            plan = _read(raw)
            whole = plan.to_bytes() == raw
        except (struct.error, IndexError, UnicodeDecodeError):
            whole = False
        if not whole:
            raise ProtocolError("the plan of a session is malformed or of another version")
        check_plan(plan)
        return plan


def make_plan(
    registry: Mapping[int, bytes],
    vectors: tuple[Vector, ...],
    *,
    round_number: int,
    coordinator: bytes,
    nonce: bytes,
    mode: str = "semi-honest",
    neighbours: int | None = None,
    threshold: int | None = None,
    least: int = 0,
) -> Plan:
    """Agree on a session.

    Args:
        registry: client number -> Ed25519 public key, for all invited clients.
        vectors: what is summed.
        round_number: the round.
        coordinator: X25519 public key of the server for this session.
        nonce: 16 fresh bytes.
        mode: "semi-honest" or "malicious-server".
        neighbours: k, or None for the choice of `graph.choose`.
        threshold: t, or None.
        least: clients whose input must be in the sum; 0: as the threshold says.

    Returns:
        The checked plan.

    Raises:
        ConfigError: if the parameters are impossible or unsafe, with what to change.
    """
    size = graph.choose(len(registry), mode, neighbours, threshold)
    clients = tuple((int(number), registry[number]) for number in sorted(registry))
    plan = Plan(
        round_number,
        mode,
        size.threshold,
        size.neighbours,
        vectors,
        clients,
        coordinator,
        nonce,
        least,
    )
    check_plan(plan)
    return plan


def check_plan(plan: Plan) -> None:
    """Refuse what cannot work or does not protect.

    Raises:
        ConfigError: with what was expected and what to change.
    """
    if plan.mode not in MODES[1:]:
        raise ConfigError(f"secure.mode must be one of {', '.join(MODES)}, got {plan.mode!r}")
    numbers = [number for number, _ in plan.registry]
    if len(numbers) < 3 or len(numbers) >= PRIME:
        raise ConfigError(
            f"a session takes 3 to {PRIME - 1} clients, got {len(numbers)}: with fewer than 3 "
            "each could compute the other's input from the sum"
        )
    if numbers != sorted(set(numbers)) or numbers[0] < 0 or numbers[-1] >= 2**32 - 2:
        raise ConfigError("client numbers must be distinct, ascending and below 2**32 - 2")
    sizes = {len(key) for _, key in plan.registry} | {len(plan.coordinator)}
    if sizes != {KEY_BYTES} or len(plan.nonce) != NONCE_BYTES:
        raise ConfigError("public keys must have 32 bytes and the nonce of a session 16")
    graph.check(len(numbers), plan.neighbours, plan.threshold, plan.malicious_server)
    if not 0 <= plan.least <= len(numbers):
        raise ConfigError(
            f"a sum of at least {plan.least} clients cannot come from a session of {len(numbers)}"
        )
    if not 0 < len(plan.vectors) <= MAX_VECTORS:
        raise ConfigError(f"a session sums 1 to {MAX_VECTORS} vectors, got {len(plan.vectors)}")
    if len({vector.name for vector in plan.vectors}) < len(plan.vectors):
        raise ConfigError("the vectors of a session must have different names")
    for vector in plan.vectors:
        _check_vector(vector, len(numbers))


def check_overflow(num_clients: int, bound: int, width: int) -> None:
    """Refuse a ring in which the largest possible sum would wrap around.

    Args:
        num_clients: n.
        bound: largest element of one client: (2**bits - 1) * largest weight.
        width: k: n * bound must stay below 2**k.

    Raises:
        ConfigError: with what to change.
    """
    if num_clients * bound >= 2**width:
        raise ConfigError(
            f"{num_clients} clients with elements up to {bound} can reach a sum of "
            f"{num_clients * bound}, which does not fit into {width} bits. Lower secure.bits or "
            "the largest weight, or invite fewer clients"
        )


def ring_width(num_clients: int, bound: int) -> int:
    """Return k of the smallest ring that holds the largest possible sum.

    Returns:
        ceil(log2(num_clients * bound + 1)), at least 1.

    Raises:
        ConfigError: if that is more than 64.
    """
    check_overflow(num_clients, bound, MAX_WIDTH)
    return max(1, (num_clients * bound).bit_length())


def _check_vector(vector: Vector, num_clients: int) -> None:
    if not 0 < len(vector.name.encode()) <= _MAX_NAME:
        raise ConfigError(f"the name of a vector takes 1 to {_MAX_NAME} bytes: {vector.name!r}")
    if not 1 <= vector.width <= MAX_WIDTH or not 0 < vector.length <= MAX_ELEMENTS:
        raise ConfigError(
            f"a vector has 1 to {MAX_ELEMENTS} elements of 1 to {MAX_WIDTH} bits, "
            f"got {vector.length} of {vector.width}"
        )
    if vector.bound is not None:
        check_overflow(num_clients, vector.bound, vector.width)


def _read(raw: bytes) -> Plan:
    version, round_number, mode, threshold, neighbours, count = struct.unpack_from(_HEAD, raw)
    at = struct.calcsize(_HEAD)
    coordinator, at = raw[at : at + KEY_BYTES], at + KEY_BYTES
    nonce, at = raw[at : at + NONCE_BYTES], at + NONCE_BYTES
    vectors = []
    for _ in range(count):
        name = raw[at + 1 : at + 1 + raw[at]].decode()
        at += 1 + raw[at]
        length, width, wraps, bound = struct.unpack_from("<QBBQ", raw, at)
        at += struct.calcsize("<QBBQ")
        vectors.append(Vector(name, length, width, None if wraps else bound))
    (clients,) = struct.unpack_from("<I", raw, at)
    start, end = at + 4, at + 4 + clients * (4 + KEY_BYTES)
    if version != VERSION or len(raw) not in (end, end + 4):
        raise IndexError
    entries = [raw[i : i + 36] for i in range(start, end, 36)]
    registry = tuple((int.from_bytes(e[:4], "little"), e[4:]) for e in entries)
    return Plan(
        round_number,
        MODES[mode],
        threshold,
        neighbours,
        tuple(vectors),
        registry,
        coordinator,
        nonce,
        int.from_bytes(raw[end:], "little"),
    )
