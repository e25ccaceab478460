"""The server of secure aggregation: one session, or with row counts two, in every round.

It hands the messages of the protocol to the nodes that host the parties, and sees masked
vectors and what comes out: the sum over all clients that sent theirs.  A client that is
lost at any stage costs itself alone; with too few left the round is skipped and the
model stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import ConfigError, ProtocolError, SkippedRound
from fedrec.params import PartialSum, Shared
from fedrec.privacy.secure_statement import Exposure, secure_entry
from fedrec.rng import Purpose, draw, keys, uniform
from fedrec.secure import STAGES, Coordinator, Sums, Vector
from fedrec.secure.graph import choose
from fedrec.training.exposure import exposure
from fedrec.training.node import Setup
from fedrec.training.secure_node import (
    INDICATORS,
    Kept,
    indicator_vector,
    kept_tables,
    split_entities,
)
from fedrec.training.secure_update import check_secure_run, decode_sum, make_layout
from fedrec.wire import TrainRequest
from fedrec.wire_secure import (
    FORGET,
    IDENTITIES,
    SECURE,
    IdentitiesReply,
    IdentitiesRequest,
    Messages,
    SecureReply,
    SecureRequest,
)
from server.roster import Roster
from server.sampling import Sample

Exchange = Callable[[list[Message]], list[Message]]
ALIVE = len(STAGES)


@dataclass(eq=False)
class SecureRound:
    """What a round of secure aggregation did.

    Attributes:
        total: the sum; None if the round was skipped.
        skipped: why, or None.
        lost: stage -> clients whose message did not come.
        seconds: stage -> seconds of nodes and server together.
        bytes_up: what all clients sent.
        bytes_down: what the server sent to all clients.
        trained: nodes that were asked to train.
    """

    total: PartialSum | None = None
    skipped: str | None = None
    lost: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    trained: set[int] = field(default_factory=set)

    def line(self) -> dict[str, Any]:
        """Return what the journal keeps."""
        seconds = {stage: round(value, 6) for stage, value in self.seconds.items()}
        clipped = None if self.total is None else round(self.total.metrics["clipped"])
        told = {"lost": self.lost, "seconds": seconds, "clipped": clipped}
        return {"secure": {**told, "skipped": self.skipped}}


class SecureServer:
    """Secure aggregation of a run.

    Args:
        config: of the run.
        setup: model and data sizes.
        shared: the initial parameters.

    Raises:
        ConfigError: if the sum could overflow, or a session of so many clients is unsafe.
    """

    def __init__(self, config: Config, setup: Setup, shared: Shared) -> None:
        self._config = config
        self._setup = setup
        self._registry: dict[int, bytes] = {}
        self._exposure: Exposure | None = None
        everyone = setup.population.num_clients
        check_secure_run(config, shared, everyone)
        fixed = config.clients.sampling == "fixed"
        choose(min(config.clients.per_round, everyone) if fixed else everyone, *self._graph())

    def _graph(self) -> tuple[str, int | None, int | None]:
        section = self._config.secure
        return section.mode, section.neighbours or None, section.threshold or None

    def run(
        self,
        exchange: Exchange,
        roster: Roster,
        sample: Sample,
        train: TrainRequest,
        arrays: ArrayRecord,
    ) -> SecureRound:
        """Run a round with all chosen clients, those that will be lost among them.

        Args:
            exchange: sends messages and returns the replies.
            roster: the nodes.
            sample: the chosen clients.
            train: what the clients shall train; its clients are ignored.
            arrays: its parameters, packed.

        Returns:
            What came out.

        Raises:
            EngineError: if all nodes failed.
            ModelError: if an update is not finite.
        """
        done = SecureRound()
        self._register(exchange, roster)
        clients = np.union1d(sample.training, sample.dropped)
        clients = clients[np.isin(clients, list(self._registry))]
        counted, summed = self._losses(sample.dropped, train.round_number)
        kept: Kept | None = None
        session = _Session(self._config, exchange, roster, done, train, arrays)
        try:
            if self._config.secure.rows == "threshold":
                flags = (indicator_vector(self._setup, train.shared),)
                counts = session.run(self._known(clients), flags, counted, self._graph())
                kept = self._frequent(counts, train.shared)
                gone = set(clients.tolist()) - set(session.answered)
                clients = np.array(counts.survivors, np.int64)
                summed |= dict.fromkeys(gone, 0)
                done.bytes_down += sum(rows.nbytes for rows in kept.values()) * len(clients)
            layout = make_layout(self._config, train.shared, kept_tables(self._setup, kept))
            vectors = layout.vectors(max(len(clients), 1))
            sums = session.run(self._known(clients), vectors, summed, self._graph(), kept)
        except SkippedRound as skip:
            done.skipped = str(skip)
            return done
        total = decode_sum(sums.totals, layout, len(sums.survivors), float(done.bytes_up))
        done.total = total
        if self._exposure is None:
            survivors = np.array(sums.survivors, np.int64)
            self._exposure = exposure(
                self._setup, train.shared, survivors, train.round_number, kept
            )
        return done

    def entry(self, privacy: dict[str, Any], roster: Roster) -> dict[str, Any]:
        """Return the privacy entry of the result, completed by what secure aggregation hides.

        Args:
            privacy: the entry without it.
            roster: the nodes, some of which may host one client only.
        """
        lonely = any(len(clients) == 1 for clients in roster.hosted.values())
        return secure_entry(privacy, self._config, self._exposure, lonely=lonely)

    def _known(self, clients: NDArray[np.int64]) -> dict[int, bytes]:
        return {int(n): self._registry[int(n)] for n in clients}

    def _register(self, exchange: Exchange, roster: Roster) -> None:
        """Ask nodes that are new for the identities of their clients."""
        new = [
            node
            for node, clients in roster.hosted.items()
            if not all(int(n) in self._registry for n in clients)
        ]
        messages = [Message(IdentitiesRequest().pack(), node, IDENTITIES) for node in new]
        for reply in roster.good(exchange(messages)):
            self._registry |= IdentitiesReply.unpack(reply.content).keys

    def _losses(
        self, dropped: NDArray[np.int64], round_number: int
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Return client -> stage at which it is lost, in the first and in the last session."""
        section, seed = self._config.secure, self._config.run.seed
        stages = [s for s in STAGES if section.mode == "malicious-server" or s != "consistency"]
        key = keys(seed, round_number, dropped, Purpose.DROPOUT)
        drawn = (uniform(draw(key, 1)) * len(stages)).astype(int)
        names = [stages[at] if section.drop_stage == "any" else section.drop_stage for at in drawn]
        losses = {int(n): STAGES.index(name) for n, name in zip(dropped, names, strict=True)}
        if section.rows != "threshold":
            return {}, losses
        early = uniform(draw(key, 2)) < 0.5
        first = {int(n): losses[int(n)] for n in dropped[early]}
        return first, {n: stage for n, stage in losses.items() if n not in first}

    def _frequent(self, counts: Sums, shared: Shared) -> Kept:
        """Return entity -> rows that enough clients touch."""
        parts = split_entities(self._setup, shared, counts.totals[INDICATORS])
        return {e: np.flatnonzero(c >= self._config.secure.tau) for e, c in parts.items()}


class _Session:
    """Carries the messages of sessions to the nodes and back."""

    def __init__(
        self,
        config: Config,
        exchange: Exchange,
        roster: Roster,
        done: SecureRound,
        train: TrainRequest,
        arrays: ArrayRecord,
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._roster = roster
        self._done = done
        self._train = train
        self._arrays = arrays
        self.answered: tuple[int, ...] = ()

    def run(
        self,
        registry: Mapping[int, bytes],
        vectors: tuple[Vector, ...],
        losses: Mapping[int, int],
        graph: tuple[str, int | None, int | None],
        kept: Kept | None = None,
    ) -> Sums:
        """Run one session.

        Args:
            registry: client number -> public key, of all that are invited.
            vectors: what is summed.
            losses: client -> number of the stage before whose message it vanishes.
            graph: mode, neighbours, threshold.
            kept: rows that take part; None for all.

        Raises:
            SkippedRound: if too few clients are left.
        """
        mode, neighbours, threshold = graph
        try:
            coordinator = Coordinator(
                registry,
                vectors,
                round_number=self._train.round_number,
                mode=mode,
                neighbours=neighbours,
                threshold=threshold,
            )
        except ConfigError as error:  # chance has left fewer clients than the checked number
            least = max(3, threshold or 0)
            raise SkippedRound("sampling", len(registry), least, f"{error}.") from None
        self._plan = coordinator.plan.to_bytes()
        self._vectors = "indicators" if vectors[0].name == INDICATORS else "update"
        outgoing: Messages = dict.fromkeys(registry, b"")
        touched: set[int] = set()
        stage = coordinator.stage
        try:
            while True:
                start = time.perf_counter()
                at = STAGES.index(stage)
                asked = {n: m for n, m in outgoing.items() if losses.get(n, ALIVE) > at}
                touched |= self._ask(coordinator, stage, asked, kept)
                if stage == "unmask":
                    sums = coordinator.finish()
                    self._clock(stage, start)
                    return sums
                outgoing = coordinator.advance()
                self._clock(stage, start)
                stage = coordinator.stage
        finally:
            self._forget(touched, complete=stage == "unmask")

    def _ask(
        self, coordinator: Coordinator, stage: str, asked: Messages, kept: Kept | None
    ) -> set[int]:
        """Send a stage's messages to the nodes, and take what comes back."""
        done, first, masks = self._done, stage == "advertise", stage == "mask"
        update = masks and self._vectors == "update"
        each = (len(self._plan) if first else 0) + (self._train.shared.num_bytes if update else 0)
        done.bytes_down += sum(len(message) + each for message in asked.values())
        requests = []
        for node, hosted in self._roster.hosted.items():
            mine = {int(n): asked[int(n)] for n in hosted if int(n) in asked}
            if not mine:
                continue
            train = replace(self._train, clients=np.array(list(mine))) if masks else None
            plan = self._plan if first else b""
            request = SecureRequest(
                stage, mine, plan, self._vectors, train, kept if masks else None
            ).pack(self._arrays)
            requests.append(Message(request, node, SECURE, group_id=str(self._train.round_number)))
        nodes = {request.metadata.dst_node_id for request in requests}
        if update:
            done.trained |= nodes
        answered = []
        for reply in self._roster.good(self._exchange(requests)):
            for message in SecureReply.unpack(reply.content).messages.values():
                done.bytes_up += len(message)
                try:
                    answered.append(coordinator.receive(message))
                except ProtocolError:
                    continue  # it counts as lost, like a client that is silent
        self.answered = tuple(answered)
        done.lost[stage] = done.lost.get(stage, 0) + len(coordinator.expected)
        return nodes

    def _clock(self, stage: str, start: float) -> None:
        spent = time.perf_counter() - start
        self._done.seconds[stage] = self._done.seconds.get(stage, 0.0) + spent

    def _forget(self, nodes: set[int], *, complete: bool) -> None:
        """Wipe what nodes still hold: all but those that have answered the last stage."""
        last = set(self.answered) if complete else set()
        rest = [
            node
            for node, clients in self._roster.hosted.items()
            if node in nodes and last.isdisjoint(clients.tolist())
        ]
        if rest:
            content = SecureRequest(FORGET, {})
            self._exchange([Message(content.pack(), node, SECURE) for node in rest])
