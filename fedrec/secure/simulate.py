"""A whole session in one process: for tests, benchmarks and papers."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError, DataError, ProtocolError, nearest
from fedrec.secure.agreement import Identity
from fedrec.secure.coordinator import STAGES, Coordinator, Sums
from fedrec.secure.frames import SERVER
from fedrec.secure.host import Host
from fedrec.secure.packing import reduce
from fedrec.secure.party import Party
from fedrec.secure.plan import MAX_WIDTH, MODES, Vector, check_overflow
from fedrec.secure.shamir import Entropy

KEPT_BYTES = 2**26
"""A transcript keeps the content of messages while all masked vectors fit into this."""

VECTOR = "input"


@dataclass(frozen=True)
class Sent:
    """One message of a session.

    Attributes:
        stage: the stage to which it belongs.
        sender: client number, or frames.SERVER.
        receiver: client number, or frames.SERVER.
        num_bytes: its size.
        message: its content; None for masked vectors of large sessions.
    """

    stage: str
    sender: int
    receiver: int
    num_bytes: int
    message: bytes | None = field(repr=False)


@dataclass(frozen=True, eq=False)
class SecureSum:
    """What `simulate` gives.

    Attributes:
        total: uint64 [m]: the sum over the survivors, plain integers.
        survivors: numbers of the clients whose input is in `total`, ascending.
        seconds_by_stage: stage -> seconds of all parties and the server together.
        bytes_up: bytes that all clients sent.
        bytes_down: bytes that the server sent.
        transcript: all messages, in order.
        mode: the mode.
        neighbours: k; 0 with mode "off".
        threshold: t; 0 with mode "off".
    """

    total: NDArray[np.uint64]
    survivors: tuple[int, ...]
    seconds_by_stage: dict[str, float]
    bytes_up: int
    bytes_down: int
    transcript: tuple[Sent, ...]
    mode: str
    neighbours: int
    threshold: int


class SeededEntropy:
    """Bytes that follow from a seed: they make tests repeatable and protect nothing.

    Args:
        seed: any integer.
        number: which stream.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._key = f"fedrec test entropy {seed} {number}".encode()
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        self._calls += 1
        return hashlib.shake_256(self._key + self._calls.to_bytes(8, "little")).digest(size)


def simulate(
    inputs: NDArray,
    *,
    threshold: int | None = None,
    neighbours: int | None = None,
    mode: str = "semi-honest",
    drops: Mapping[int, str] = {},  # noqa: B006 - read only
    seed: int | None = None,
    width: int | None = None,
    modular: bool = False,
) -> SecureSum:
    """Run the protocol among n clients in this process, message by message.

    Without a width the ring is the narrower of 32 and 64 bits in which n times the largest
    input does not wrap around: whole words, the fastest.  Clients share results of key
    agreement as `Host` describes; the messages are those of n separate processes, byte by
    byte.

    Args:
        inputs: unsigned integers [n, m], a row for each client.
        threshold: t, the holders that recover a secret; None for the choice of `graph.choose`.
        neighbours: k; None for the choice of `graph.choose`.
        mode: "semi-honest", "malicious-server", or "off" for a plain sum.
        drops: client -> the stage before whose message it vanishes: "advertise", "share",
            "mask", "consistency" or "unmask".
        seed: makes keys repeatable, for tests only; None draws from the operating system.
        width: bits of the ring, and of an element on the wire, 1 to 64; None: 32 or 64.
        modular: let sums wrap around, so that `total` is modulo 2**width.

    Returns:
        The sum over the clients that sent their vector, and what it cost.

    Raises:
        ConfigError: if the parameters are impossible or unsafe, with what to change.
        DataError: if the inputs are not unsigned integers [n, m].
        SkippedRound: if too few clients are left.

    Example:
        >>> import numpy as np
        >>> simulate(np.array([[1, 2], [3, 4], [5, 6]], np.uint32)).total
        array([ 9, 12], dtype=uint64)
    """
    rows = _checked(inputs, mode, drops)
    vector = _vector(rows, width, modular=modular)
    if mode == "off":
        return _plain(rows, drops, vector)
    return _Simulation(rows, vector, threshold, neighbours, mode, drops, seed).run()


def _vector(rows: NDArray, width: int | None, *, modular: bool) -> Vector:
    """Describe the summed vector."""
    bound = int(rows.max(initial=0))
    if width is None:
        width = 32 if modular or len(rows) * bound < 2**32 else 64
    if not 1 <= width <= MAX_WIDTH:
        raise ConfigError(f"width must be between 1 and {MAX_WIDTH} bits, got {width}")
    if modular and bound >= 2**width:
        raise DataError(f"inputs must be below 2**{width}, the size of the ring, got {bound}")
    if not modular:
        check_overflow(len(rows), bound, width)
    return Vector(VECTOR, rows.shape[1], width, None if modular else bound)


def _checked(inputs: NDArray, mode: str, drops: Mapping[int, str]) -> NDArray:
    rows = np.asarray(inputs)
    if rows.ndim != 2 or rows.dtype.kind != "u" or rows.shape[1] == 0:
        raise DataError(
            "inputs must be an array of unsigned integers [clients, elements], "
            f"got {rows.dtype} {list(rows.shape)}"
        )
    if mode not in MODES:
        raise ConfigError(f"unknown mode {mode!r}.{nearest(mode, MODES)}")
    for number, stage in drops.items():
        if stage not in STAGES:
            raise ConfigError(f"unknown stage {stage!r} in drops.{nearest(stage, STAGES)}")
        if not 0 <= number < len(rows):
            raise ConfigError(f"drops names client {number}, but there are {len(rows)} clients")
    return rows


def _plain(rows: NDArray, drops: Mapping[int, str], vector: Vector) -> SecureSum:
    alive = [n for n in range(len(rows)) if drops.get(n, "unmask") in ("consistency", "unmask")]
    start = time.perf_counter()
    total = rows[alive].sum(axis=0, dtype=np.uint64)
    reduce(total, vector.width)
    seconds = {"mask": time.perf_counter() - start}
    size = rows[0].nbytes
    sent = tuple(Sent("mask", n, SERVER, size, rows[n].tobytes()) for n in alive)
    return SecureSum(total, tuple(alive), seconds, size * len(alive), 0, sent, "off", 0, 0)


class _Simulation:
    """The clients, the server, and the wire between them."""

    def __init__(
        self,
        rows: NDArray,
        vector: Vector,
        threshold: int | None,
        neighbours: int | None,
        mode: str,
        drops: Mapping[int, str],
        seed: int | None,
    ) -> None:
        self._rows = rows
        self._lost = {n: STAGES.index(stage) for n, stage in drops.items()}
        self._sent: list[Sent] = []
        self._seconds: dict[str, float] = {}
        self._mode = mode
        self._keep = len(rows) * vector.num_bytes <= KEPT_BYTES
        sources = [_entropy(seed, n) for n in range(len(rows))]
        identities = [Identity.generate(source) for source in sources]
        self._server = Coordinator(
            {n: identity.public for n, identity in enumerate(identities)},
            (vector,),
            round_number=1,
            mode=mode,
            neighbours=neighbours,
            threshold=threshold,
            entropy=_entropy(seed, SERVER),
        )
        self._host = Host()
        self._parties = [
            Party(self._server.plan, n, identity, host=self._host, entropy=source)
            for n, (identity, source) in enumerate(zip(identities, sources, strict=True))
        ]

    def run(self) -> SecureSum:
        """Run all stages."""
        try:
            sums = self._run_stages()
        finally:
            self._host.wipe()
            for party in self._parties:
                party.wipe()
        up = sum(sent.num_bytes for sent in self._sent if sent.receiver == SERVER)
        down = sum(sent.num_bytes for sent in self._sent if sent.sender == SERVER)
        return SecureSum(
            sums.totals[VECTOR].astype(np.uint64),
            sums.survivors,
            self._seconds,
            up,
            down,
            tuple(self._sent),
            self._mode,
            self._server.plan.neighbours,
            self._server.plan.threshold,
        )

    def _run_stages(self) -> Sums:
        parties, outgoing = self._parties, dict.fromkeys(range(len(self._rows)), b"")
        outgoing = self._stage("advertise", outgoing, lambda n, _: parties[n].advertise())
        outgoing = self._stage("share", outgoing, lambda n, raw: parties[n].share(raw))
        outgoing = self._stage("mask", outgoing, self._mask)
        if self._mode == "malicious-server":
            outgoing = self._stage("consistency", outgoing, lambda n, raw: parties[n].confirm(raw))
        self._deliver("unmask", outgoing, lambda n, raw: parties[n].unmask(raw))
        with self._clock("unmask"):
            return self._server.finish()

    def _mask(self, number: int, message: bytes) -> bytearray:
        return self._parties[number].mask(message, {VECTOR: self._rows[number]})

    def _stage(
        self,
        stage: str,
        outgoing: Mapping[int, bytes],
        reply: Callable[[int, bytes], bytes | bytearray],
    ) -> dict[int, bytes]:
        self._deliver(stage, outgoing, reply)
        with self._clock(stage):
            return self._server.advance()

    def _deliver(
        self,
        stage: str,
        outgoing: Mapping[int, bytes],
        reply: Callable[[int, bytes], bytes | bytearray],
    ) -> None:
        """Hand each client its message, and the server its answer, one after another."""
        with self._clock(stage):
            for number, message in outgoing.items():
                if message:
                    self._record(stage, SERVER, number, message)
                if self._lost.get(number, len(STAGES)) <= STAGES.index(stage):
                    continue
                try:
                    answer = reply(number, message)
                    self._record(stage, number, SERVER, answer)
                    self._server.receive(answer)
                except ProtocolError:
                    continue  # it counts as lost, like a client that is silent

    def _record(self, stage: str, sender: int, receiver: int, message: bytes | bytearray) -> None:
        kept = bytes(message) if self._keep or stage != "mask" else None
        self._sent.append(Sent(stage, sender, receiver, len(message), kept))

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent


def _entropy(seed: int | None, number: int) -> Entropy:
    return os.urandom if seed is None else SeededEntropy(seed, number)
