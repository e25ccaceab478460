"""Evaluation under secure aggregation: a session whose vectors are evaluation sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import EngineError, SkippedRound
from fedrec.evaluation.encoding import decode_sums
from fedrec.evaluation.sums import EvaluationSums
from fedrec.secure.graph import choose
from fedrec.training.node import Setup
from fedrec.training.secure_evaluation import evaluation_layout
from fedrec.wire import EvaluateRequest
from server.identities import Identities
from server.roster import Roster
from server.sampling import evaluation_clients
from server.secure_session import Exchange, SecureRound, Session

Graph = tuple[str, int | None, int | None]


@dataclass(frozen=True, eq=False)
class SecureSums:
    """What came out of a secure evaluation.

    Attributes:
        sums: over the clients that were heard; None if too few were left.
        clients: their number.
        done: what the session cost, and why it was skipped.
    """

    sums: EvaluationSums | None
    clients: int
    done: SecureRound

    def line(self) -> dict[str, Any]:
        """Return what the journal keeps."""
        done = self.done
        return {
            "clients": self.clients,
            "lost": done.lost,
            "seconds": {stage: round(value, 6) for stage, value in done.seconds.items()},
            "bytes_up": done.bytes_up,
            "bytes_down": done.bytes_down,
            "skipped": done.skipped,
        }


class SecureEvaluator:
    """Secure evaluations of a run.

    Args:
        config: of the run.
        setup: model and data sizes.
        identities: public keys of the clients.
        graph: mode, neighbours, threshold.

    Raises:
        ConfigError: if a sum could overflow, or a session of so many clients is unsafe.
    """

    def __init__(self, config: Config, setup: Setup, identities: Identities, graph: Graph) -> None:
        self._config = config
        self._setup = setup
        self._identities = identities
        self._graph = graph
        self._last: SecureSums | None = None
        everyone = setup.population.num_clients
        some = min(config.evaluate.clients or everyone, everyone)
        for part, number in (("valid", some), ("test", everyone)):
            choose(number, *graph)
            evaluation_layout(setup, part, number).vectors()

    def told(self) -> dict[str, Any] | None:
        """Return what the last evaluation cost and why it was skipped, once."""
        last, self._last = self._last, None
        return None if last is None else last.line()

    def evaluate(
        self, exchange: Exchange, roster: Roster, request: EvaluateRequest, arrays: ArrayRecord
    ) -> EvaluationSums | None:
        """Evaluate the clients that are due, as `run`, and remember what it cost.

        Returns:
            The sums; None if too few clients were left for a validation.

        Raises:
            EngineError: if too few were left for the test, or all nodes failed.
        """
        at, part = request.moment.base_round, request.part
        clients = evaluation_clients(self._config, roster.clients, at, part)
        found = self.run(exchange, roster, clients, request, arrays)
        self._last = found
        if part == "test" and found.sums is None:
            raise EngineError(
                f"the model is trained and saved, but its test failed: {found.done.skipped}. "
                "Resume the run when more clients are connected: the test alone is left"
            )
        return found.sums

    def run(
        self,
        exchange: Exchange,
        roster: Roster,
        clients: NDArray[np.int64],
        request: EvaluateRequest,
        arrays: ArrayRecord,
        losses: Mapping[int, int] | None = None,
    ) -> SecureSums:
        """Evaluate clients, all of them parties of one session.

        Args:
            exchange: sends messages and returns the replies.
            roster: the nodes.
            clients: int64 [C], who is asked, ascending.
            request: parameters, part and moment; its clients are ignored.
            arrays: its parameters, packed.
            losses: client -> number of the stage before whose message it vanishes.

        Returns:
            What came out; with too few clients left nothing did, and the reason is told.

        Raises:
            EngineError: if all nodes failed.
        """
        done = SecureRound()
        self._identities.register(exchange, roster)
        registry = self._identities.of(clients)
        layout = evaluation_layout(self._setup, request.part, max(len(registry), 1))
        session = Session(self._config, exchange, roster, done, request, arrays)
        try:
            summed = session.run(registry, layout.vectors(), losses or {}, self._graph)
        except SkippedRound as skip:
            done.skipped = str(skip)
            return SecureSums(None, 0, done)
        sums = decode_sums(summed.totals, layout, replicates=request.bootstrap)
        return SecureSums(sums, len(summed.survivors), done)
