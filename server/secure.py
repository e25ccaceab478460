"""The server of secure aggregation: one session, or with row counts two, in every round.

It hands the messages of the protocol to the nodes that host the parties, and sees masked
vectors and what comes out: the sum over all clients that sent theirs.  A client that is
lost at any stage costs itself alone; with too few left the round is skipped and the
model stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_silo import ALL
from fedrec.errors import SkippedRound
from fedrec.params import Shared
from fedrec.privacy.ring import RingNoise
from fedrec.privacy.secure_statement import Exposure, secure_entry
from fedrec.rng import Purpose, draw, keys, uniform
from fedrec.secure import STAGES, Sums
from fedrec.secure.graph import choose
from fedrec.training.download import as_downloaded
from fedrec.training.exposure import exposure
from fedrec.training.node import Setup, init_personal
from fedrec.training.secure_node import Kept, grid_of, kept_tables, rows_of_round
from fedrec.training.secure_rows import TWO_SESSIONS, chosen_rows, indicator_vector
from fedrec.training.secure_update import (
    INDICATORS,
    Layout,
    check_secure_run,
    client_noise,
    decode_sum,
    make_layout,
)
from fedrec.training.statistics import sums_like
from fedrec.wire import TrainRequest
from server.identities import Identities
from server.roster import Roster
from server.sampling import Sample
from server.secure_evaluation import SecureEvaluator
from server.secure_session import Exchange, SecureRound, Session


class SecureServer:
    """Secure aggregation of a run.

    Args:
        config: of the run.
        setup: model and data sizes.
        shared: the initial parameters.

    Attributes:
        evaluator: of the same clients.

    Raises:
        ConfigError: if the sum could overflow, or a session of so many clients is unsafe.
    """

    def __init__(self, config: Config, setup: Setup, shared: Shared) -> None:
        self._config = config
        self._setup = setup
        self._exposure: Exposure | None = None
        everyone = setup.population.num_clients
        self._identities = Identities(config, everyone)
        first = setup.method.at(1).statistics
        check_secure_run(grid_of(config, first), sums_like(first, shared), everyone)
        like = sums_like(setup.method.at(config.train.rounds).statistics, shared)
        check_secure_run(config, like, everyone)
        self._noise: RingNoise | None = client_noise(config, like, everyone)
        self._least = 0 if self._noise is None else config.server.min_clients
        self._least = config.contribution.least if config.contribution.groups else self._least
        fixed = config.clients.sampling == "fixed"
        choose(min(config.clients.per_round, everyone) if fixed else everyone, *self._graph())
        self.evaluator = SecureEvaluator(config, setup, self._identities, self._graph())

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
        self._identities.register(exchange, roster)
        clients = np.union1d(sample.training, sample.dropped)
        clients = clients[np.isin(clients, list(self._identities.of(clients)))]
        counted, summed = self._losses(sample.dropped, train.round_number)
        kept: Kept | None = rows_of_round(self._setup, train.round_number)
        session = Session(self._config, exchange, roster, done, train, arrays)
        try:
            if self._config.secure.rows in TWO_SESSIONS:
                most = max(len(clients), 1)
                flags = (indicator_vector(self._setup, train.shared, most),)
                counts = session.run(self._identities.of(clients), flags, counted, self._graph())
                kept = chosen_rows(self._setup, train.shared, counts.totals[INDICATORS])
                gone = set(clients.tolist()) - set(session.answered)
                clients = np.array(counts.survivors, np.int64)
                summed |= dict.fromkeys(gone, 0)
                done.bytes_down += sum(rows.nbytes for rows in kept.values()) * len(clients)
            layout = self._layout(train, kept)
            vectors = layout.vectors(max(len(clients), 1))
            known, least = self._identities.of(clients), self._least
            sums = session.run(known, vectors, summed, self._graph(), kept, least)
        except SkippedRound as skip:
            done.skipped = str(skip)
            return done
        total = decode_sum(sums.totals, layout, len(sums.survivors), float(done.bytes_up))
        done.total, done.survivors = total, sums.survivors
        seen = self._config.silo.holds == ALL  # the server of a deployment has no rows
        if seen and self._exposure is None and self._noise is None:
            self._exposure = self._measure(sums, train, kept)
        return done

    def _layout(self, train: TrainRequest, kept: Kept | None) -> Layout:
        """Return how an update lies in the vectors of a round."""
        statistics = self._setup.method.at(train.round_number).statistics
        return make_layout(
            grid_of(self._config, statistics),
            sums_like(statistics, train.shared),
            kept_tables(self._setup, kept),
            self._noise,
            train.round_number,
        )

    def _measure(self, sums: Sums, train: TrainRequest, kept: Kept | None) -> Exposure | None:
        """Return what the sum of a round shows of single clients.

        With compress.rows that depends on personal parameters, which are known here in the
        first round alone, where they are fresh.
        """
        clients, personal = np.array(sums.survivors, np.int64), None
        if self._config.compress.rows:
            if train.round_number != 1:
                return None
            personal = init_personal(self._setup, clients)
        received = as_downloaded(train.shared, self._config.compress.download_bits)
        return exposure(self._setup, received, clients, train.round_number, kept, personal)

    def entry(self, privacy: dict[str, Any]) -> dict[str, Any]:
        """Return the privacy entry of the result, completed by what secure aggregation hides.

        Args:
            privacy: the entry without it.
        """
        fingerprint, clients = self._identities.fingerprint, self._setup.population.num_clients
        entry = secure_entry(
            privacy, self._config, self._exposure, num_clients=clients, fingerprint=fingerprint
        )
        return entry | {"test_evaluation": self.evaluator.told()}

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
        if section.rows not in TWO_SESSIONS:
            return {}, losses
        early = uniform(draw(key, 2)) < 0.5
        first = {int(n): losses[int(n)] for n in dropped[early]}
        return first, {n: stage for n, stage in losses.items() if n not in first}
