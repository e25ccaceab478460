"""One session of secure aggregation: the protocol's messages to the nodes and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message

from fedrec.config import Config
from fedrec.errors import ConfigError, ProtocolError, SkippedRound
from fedrec.params import PartialSum
from fedrec.secure import STAGES, Coordinator, Sums, Vector
from fedrec.training.download import download_bytes
from fedrec.training.secure_node import Kept
from fedrec.training.secure_update import INDICATORS
from fedrec.wire import EvaluateRequest, TrainRequest
from fedrec.wire_secure import FORGET, SECURE, Messages, SecureReply, SecureRequest
from server.roster import Roster

Exchange = Callable[[list[Message]], list[Message]]
ALIVE = len(STAGES)


@dataclass(eq=False)
class SecureRound:
    """What a round of secure aggregation did.

    Attributes:
        total: the sum of updates; None if the round was skipped.
        skipped: why, or None.
        lost: stage -> clients whose message did not come.
        seconds: stage -> seconds of nodes and server together.
        bytes_up: what all clients sent.
        bytes_down: what the server sent to all clients.
        trained: nodes that were asked to train.
        survivors: clients whose updates are in the sum.
    """

    total: PartialSum | None = None
    skipped: str | None = None
    lost: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    trained: set[int] = field(default_factory=set)
    survivors: tuple[int, ...] = ()

    def line(self, downloaded: float = 0.0) -> dict[str, Any]:
        """Return what the journal keeps.

        Args:
            downloaded: bytes that clients were sent outside the session.
        """
        seconds = {stage: round(value, 6) for stage, value in self.seconds.items()}
        counted = {} if self.total is None else self.total.metrics
        clipped = round(counted["clipped"]) if "clipped" in counted else None
        told = {"lost": self.lost, "seconds": seconds, "clipped": clipped}
        return {
            "bytes_up": float(self.bytes_up),
            "bytes_down": float(self.bytes_down) + downloaded,
            "secure": {**told, "skipped": self.skipped},
        }


class Session:
    """Carries the messages of sessions to the nodes and back."""

    def __init__(
        self,
        config: Config,
        exchange: Exchange,
        roster: Roster,
        done: SecureRound,
        work: TrainRequest | EvaluateRequest,
        arrays: ArrayRecord,
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._roster = roster
        self._done = done
        self._work = work
        self._round = (
            work.round_number if isinstance(work, TrainRequest) else work.moment.base_round
        )
        self._arrays = arrays
        self.answered: tuple[int, ...] = ()

    def run(
        self,
        registry: Mapping[int, bytes],
        vectors: tuple[Vector, ...],
        losses: Mapping[int, int],
        graph: tuple[str, int | None, int | None],
        kept: Kept | None = None,
        least: int = 0,
    ) -> Sums:
        """Run one session.

        Args:
            registry: client number -> public key, of all that are invited.
            vectors: what is summed.
            losses: client -> number of the stage before whose message it vanishes.
            graph: mode, neighbours, threshold.
            kept: rows that take part; None for all.
            least: clients whose input must be in the sum; 0: as the threshold says.

        Raises:
            SkippedRound: if too few clients are left.
        """
        mode, neighbours, threshold = graph
        try:
            coordinator = Coordinator(
                registry,
                vectors,
                round_number=self._round,
                mode=mode,
                neighbours=neighbours,
                threshold=threshold,
                least=least,
            )
        except ConfigError as error:  # chance has left fewer clients than the checked number
            needed = max(3, threshold or 0, least)
            raise SkippedRound("sampling", len(registry), needed, f"{error}.") from None
        self._plan = coordinator.plan.to_bytes()
        self._vectors = self._kind(vectors)
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
        update = masks and self._vectors != "indicators"
        each = (len(self._plan) if first else 0) + (self._download() if update else 0)
        done.bytes_down += sum(len(message) + each for message in asked.values())
        requests = []
        for node, hosted in self._roster.hosted.items():
            mine = {int(n): asked[int(n)] for n in hosted if int(n) in asked}
            if not mine:
                continue
            plan = self._plan if first else b""
            request = SecureRequest(stage, mine, plan, self._vectors)
            if masks:
                request = self._with_work(request, kept)
            content = request.pack(self._arrays)
            requests.append(Message(content, node, SECURE, group_id=str(self._round)))
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

    def _download(self) -> int:
        """Return the bytes of the parameters that each client receives."""
        return download_bytes(self._work.shared, self._config.compress.download_bits)

    def _kind(self, vectors: tuple[Vector, ...]) -> str:
        if isinstance(self._work, EvaluateRequest):
            return "evaluation"
        return "indicators" if vectors[0].name == INDICATORS else "update"

    def _with_work(self, request: SecureRequest, kept: Kept | None) -> SecureRequest:
        """Say at the stage "mask" what is to be trained or evaluated."""
        work = replace(self._work, clients=np.array(list(request.messages), np.int64))
        if isinstance(work, EvaluateRequest):
            return replace(request, evaluate=work)
        return replace(request, train=work, kept=kept)

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
