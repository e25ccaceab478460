"""The server of secure aggregation: one session, or with row counts two, in every round.

It hands the messages of the protocol to the nodes that host the parties, and sees masked
vectors and what comes out: the sum over all clients that sent theirs.  A client that is
lost at any stage costs itself alone; with too few left the round is skipped and the
model stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import SkippedRound
from fedrec.params import Shared
from fedrec.privacy.secure_statement import Exposure, secure_entry
from fedrec.rng import Purpose, draw, keys, uniform
from fedrec.secure import STAGES, Sums
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
    IDENTITIES,
    IdentitiesReply,
    IdentitiesRequest,
)
from server.roster import Roster
from server.sampling import Sample
from server.secure_session import Exchange, SecureRound, Session


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
        session = Session(self._config, exchange, roster, done, train, arrays)
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
