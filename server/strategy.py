"""The round loop: sample, train, fold, apply, validate, checkpoint.

Flower's `Strategy.start` has neither checkpoints nor resume, so it is replaced;
`configure_*` and `aggregate_*` keep their meaning.  Clients, not nodes, are
sampled: a node gets one message with its share of the cohort, and answers with
one partial sum; with single updates where a robust rule needs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from fedrec.coldstart.items import with_new_items
from fedrec.config import Config
from fedrec.evaluation.selection import better, selection_metric, selection_value, validates
from fedrec.evaluation.sums import EvaluationSums, means, merge
from fedrec.output import output_directory
from fedrec.params import PartialSum, Shared
from fedrec.robust.checks import check_robust_run, robust_entry
from fedrec.secure.graph import LEAST_PARTIES
from fedrec.storage import RunDirectory
from fedrec.training.download import download_bytes
from fedrec.training.node import Setup
from fedrec.training.statistics import sums_like
from fedrec.wire import (
    EVALUATE,
    NO_ROUND,
    TRAIN,
    EvaluateReply,
    EvaluateRequest,
    Moment,
    TrainRequest,
    pack_shared,
)
from server.aggregation import folded, mean_update, too_few
from server.anchors import optimizer_of
from server.checkpoint import (
    Best,
    Checkpoint,
    ServerState,
    check_hosting,
    load_checkpoint,
    save_checkpoint,
)
from server.contribution import GroupRounds, group_rounds
from server.control import counted_in, first_parameters, none_counted
from server.exchange import Exchange
from server.exposure import steered
from server.journal import Journal, Line, Stopwatch, round_line
from server.outcome import write_outcome
from server.privacy import PrivacyGuard, PrivacyState
from server.robust import RobustRound
from server.roster import FIRST_S, Roster, await_clients, call_roll
from server.sampling import Sample, evaluation_clients, sample_clients
from server.secure import SecureServer
from server.secure_session import SecureRound
from server.solver import refuse_gap
from server.user_graph import needs_single, single_sum


class FedRecStrategy(Strategy):
    """Federated training of a recommender, from the first round to the last file.

    Args:
        config: of the run, with its output directory.
        setup: model and data sizes.

    Raises:
        ConfigError: if the configuration promises a privacy that cannot be kept, or a
            defence that needs more clients.
        MissingExtraError: if it asks for noise and dp-accounting is not installed.
    """

    def __init__(self, config: Config, setup: Setup) -> None:
        self._config = config
        self._setup = setup
        self._files = RunDirectory(output_directory(config))
        self._journal = Journal(self._files.rounds)
        self._messages = Exchange(config.silo.answer_s or None)
        self._roster = Roster({})
        check_robust_run(config, setup.population)
        self._guard = PrivacyGuard(config, setup.population.num_clients)
        self._single = needs_single(config)
        self._robust: RobustRound | None = None
        self._secure: SecureServer | None = None
        self._session: SecureRound | None = None
        self._group_rounds: GroupRounds | None = None
        self._before: PrivacyState | None = None
        self._stopped: str | None = None
        self._sample = Sample(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._total: PartialSum | None = None
        self._skipped: str | None = None
        self._sums = EvaluationSums()

    def start(self, grid: Grid, *_: Any, **__: Any) -> Result:
        """Run all rounds that are left, then test and export the selected one.

        Raises:
            EngineError: if too few nodes come, or all nodes fail.
            CheckpointError: if the output directory holds another or a broken run.
        """
        self._begin(grid)
        for server_round in range(self._state.round_number + 1, self._config.train.rounds + 1):
            if not self._may_begin(grid):
                break
            self._run_round(grid, server_round)
        return self._finish(grid)

    def summary(self) -> None:
        """Log nothing: all that matters stands in the output directory."""

    def _begin(self, grid: Grid) -> None:
        """Meet the nodes, and continue from the checkpoint if there is one."""
        config, num_clients = self._config, self._setup.population.num_clients
        shared = first_parameters(self._setup)
        self._optimizer = optimizer_of(self._setup, shared)
        if config.secure.mode != "off":
            self._secure = SecureServer(config, self._setup, shared)
            parts = (self._setup, self._secure, self._optimizer, self._files.groups)
            self._group_rounds = group_rounds(*parts)
        saved = None
        if self._files.checkpoint.exists():
            saved = load_checkpoint(self._files.checkpoint, config.config_hash())
        least = max(config.server.min_nodes, config.engine.nodes)
        self._roster = call_roll(grid, num_clients, least, max(FIRST_S, config.silo.absent_s))
        hosting = self._roster.digest()
        if saved is None:
            session, privacy = os.urandom(8).hex(), self._guard.begin()
            counted = none_counted(self._setup)
            self._set_state(ServerState(0, shared, None, session, hosting, privacy, counted))
            self._journal.begin(None)
            if privacy is not None:  # what began with one secret never begins with another
                self._save(None)
            return
        if len(self._roster.clients) == num_clients:
            check_hosting(saved.state, hosting)
        self._optimizer.restore(saved.optimizer)
        self._set_state(saved.state)
        self._journal.begin(saved.line)

    def _set_state(self, state: ServerState) -> None:
        self._state = state
        self._arrays = self._packed(state.shared)

    def _packed(self, shared: Shared) -> ArrayRecord:
        return pack_shared(shared, self._config.compress.download_bits)

    def _run_round(self, grid: Grid, server_round: int) -> None:
        clock, valid = Stopwatch(), None
        with clock.phase("sample"):
            self._meet(grid)
            self._sample = self._choose(server_round)
        if self._secure is None:
            with clock.phase("train"):
                asked = self.configure_train(server_round, self._arrays, ConfigRecord(), grid)
                replies = self._exchange(grid, list(asked))
            with clock.phase("aggregate"):
                self.aggregate_train(server_round, replies)
        else:
            with clock.phase("train"):
                done = self._session = self._train_securely(grid, self._secure, server_round)
            with clock.phase("aggregate"):
                self._apply(server_round, done.total, done.skipped, done.survivors)
            if self._group_rounds is not None:
                with clock.phase("evaluate"):
                    moment = Moment(self._state.session, server_round)
                    exchange = partial(self._exchange, grid)
                    self._group_rounds.measure(exchange, self._roster, self._state.shared, moment)
        if validates(self._config, server_round):
            with clock.phase("evaluate"):
                valid = self._validate(grid, server_round)
        line = self._line(server_round, valid)
        if self._checkpoint_due(server_round):
            with clock.phase("checkpoint"):
                self._save(line | clock.stamp())
        self._journal.append(line | clock.stamp())

    def _meet(self, grid: Grid) -> None:
        """See who is there, and wait for merchants while a round would be skipped without them."""
        # Who was silent has to answer first: a SuperLink lists dead nodes for a while.
        known = self._roster.without(self._messages.begin_round())
        secure, num_clients = self._config.secure.mode != "off", self._setup.population.num_clients
        needed = max(LEAST_PARTIES if secure else 1, self._config.server.min_clients)
        patience = self._config.silo.absent_s
        self._roster = await_clients(grid, known, num_clients, needed, patience)

    def _may_begin(self, grid: Grid) -> bool:
        """Return whether the privacy budget allows a round; if not, remember why."""
        privacy = self._state.privacy
        if privacy is None:
            return True
        self._meet(grid)
        self._stopped = self._guard.refusal(privacy, len(self._roster.clients))
        if self._stopped is None:
            return True
        self._state = replace(self._state, privacy=self._guard.close(privacy))
        self._save(self._journal.last())
        return False

    def _choose(self, server_round: int) -> Sample:
        """Sample the clients of a round, which begins here: its privacy is spent."""
        clients, privacy = self._roster.clients, self._state.privacy
        if privacy is None:
            return sample_clients(self._config, clients, server_round)
        self._before, privacy = privacy, self._guard.begin_round(privacy, len(clients))
        self._state = replace(self._state, privacy=privacy)
        if self._guard.counts_attempts:
            self._save(self._journal.last())
        every, lots = self._setup.population.num_clients, self._guard.lots(privacy, server_round)
        return sample_clients(self._config, clients, server_round, population=every, lots=lots)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message for each node with chosen clients.

        When a checkpoint is due every node gets one, so that all save their state.
        """
        due = self._checkpoint_due(server_round)
        for node, hosted in self._roster.hosted.items():
            clients = np.intersect1d(hosted, self._sample.training, assume_unique=True)
            if len(clients) or due:
                request = self._request(server_round, clients)
                yield Message(request.pack(arrays), node, TRAIN, group_id=str(server_round))

    def _request(self, server_round: int, clients: NDArray[np.int64]) -> TrainRequest:
        """Return what some clients are asked to train in a round."""
        state, due = self._state, self._checkpoint_due(server_round)
        saved = server_round if due else NO_ROUND
        moment = Moment(state.session, server_round - 1, state.selected_round, saved)
        clip = 0.0 if state.privacy is None else state.privacy.clip
        told = (moment, clip, self._single, state.counted)
        return TrainRequest(state.shared, server_round, clients, *told)

    def _train_securely(self, grid: Grid, secure: SecureServer, server_round: int) -> SecureRound:
        """Run a secure round; when a checkpoint is due every node saves its state."""
        request = self._request(server_round, np.zeros(0, np.int64))
        exchange = partial(self._exchange, grid)
        run = secure.run if self._group_rounds is None else self._group_rounds.run
        done = run(exchange, self._roster, self._sample, request, self._arrays)
        if self._checkpoint_due(server_round):
            rest = [node for node in self._roster.hosted if node not in done.trained]
            self._exchange(grid, [Message(request.pack(self._arrays), n, TRAIN) for n in rest])
        return done

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Fold the good replies (or apply a robust rule) and apply their mean, or skip the round.

        A skipped round changes no shared parameter; clients keep what they learnt, but no c_i.
        """
        good = self._roster.good(replies)
        if self._single:
            done = single_sum(self._config, self._state.shared, self._roster, self._sample, good)
            self._robust = done
            self._messages.note(done.failures)
            self._apply(server_round, done.total, done.skipped, ())
        else:
            total, counted = folded(good, self._roster, self._sample)
            self._apply(server_round, total, None, counted)
        return self._arrays, MetricRecord(dict(self._total.metrics)) if self._total else None

    def _apply(
        self, server_round: int, total: PartialSum | None, skipped: str | None, of: Iterable[int]
    ) -> None:
        """Apply the sum of a round over the updates of some clients, or skip it."""
        config, least = self._config, self._config.server.min_clients
        reason = None if self._guard.central and least == 1 else too_few(total, least)
        self._total, self._skipped = total, reason and (skipped or reason)
        refuse_gap(statistics := self._setup.method.at(server_round).statistics, self._skipped)
        shared, privacy = self._state.shared, self._state.privacy
        like = sums_like(statistics, shared)
        if self._skipped is None:
            if privacy is not None and self._guard.central and validates(config, server_round):
                noted, privacy = self._guard.note(
                    self._before or privacy, privacy, total, like, server_round
                )
                self._state = replace(self._state, privacy=noted)
                self._save(self._journal.last())  # before nodes see what follows from the sum
            released, privacy = self._guard.release(total, privacy, like, server_round)
            mean = mean_update(released, config.server.rows)
            shared = self._optimizer.apply(shared, mean, in_place=True)  # nobody else holds them
            shared = replace(shared, guides=self._robust.guides if self._robust else None)
            known = counted_in(self._state.counted, of, server_round)
            self._state = replace(self._state, counted=known)
        state = replace(self._state, round_number=server_round, shared=shared, privacy=privacy)
        self._set_state(state)

    def _exchange(self, grid: Grid, messages: list[Message]) -> list[Message]:
        return self._messages.send(grid, self._roster.hosted, messages)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message for each node; `config` names part and replicates."""
        moment = Moment(self._state.session, server_round)
        part, bootstrap = str(config["part"]), int(config["bootstrap"])  # type: ignore[arg-type]
        asked = evaluation_clients(self._config, self._roster.clients, server_round, part)
        for node, hosted in self._roster.hosted.items():
            clients = np.intersect1d(hosted, asked, assume_unique=True)
            if len(clients):
                request = EvaluateRequest(self._state.shared, part, bootstrap, moment, clients)
                yield Message(request.pack(arrays), node, EVALUATE, group_id=str(server_round))

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Fold the evaluation sums of the nodes and return their means."""
        good = self._roster.good(replies)
        self._sums = merge([EvaluateReply.unpack(reply.content).sums for reply in good])
        return MetricRecord(dict(means(self._sums)))

    def _evaluate(
        self, grid: Grid, server_round: int, arrays: ArrayRecord, part: str, bootstrap: int
    ) -> EvaluationSums | None:
        """Return the sums of one part; None if they were to be secure and too few are left."""
        if self._secure is not None:
            moment = Moment(self._state.session, server_round)
            request = EvaluateRequest(self._state.shared, part, bootstrap, moment)
            exchange = partial(self._exchange, grid)
            return self._secure.evaluator.evaluate(exchange, self._roster, request, arrays)
        wanted = ConfigRecord({"part": part, "bootstrap": bootstrap})
        messages = list(self.configure_evaluate(server_round, arrays, wanted, grid))
        self.aggregate_evaluate(server_round, self._exchange(grid, messages))
        return self._sums

    def _validate(self, grid: Grid, server_round: int) -> dict[str, float] | None:
        """Evaluate on validation and remember the round if it is the best so far."""
        scored = with_new_items(self._setup, self._state.shared)
        arrays = self._arrays if scored is self._state.shared else self._packed(scored)
        sums = self._evaluate(grid, server_round, arrays, "valid", 0)
        if sums is None:
            return None
        metrics = means(sums)
        metric, best = selection_metric(self._config), self._state.best
        value = selection_value(metrics, metric)
        if self._guard.private:  # to choose by exact metrics would not be private
            return metrics
        if value is not None and better(value, best.value if best else None, metric):
            best = Best(server_round, value, self._state.shared.copy())
            self._state = replace(self._state, best=best)
        self._set_state(
            replace(self._state, shared=steered(self._setup, self._state.shared, metrics))
        )
        return metrics

    def _checkpoint_due(self, server_round: int) -> bool:
        every, last = self._config.server.checkpoint_every, self._config.train.rounds
        return server_round % every == 0 or server_round == last

    def _save(self, line: Line | None) -> None:
        state, privacy = self._state, self._state.privacy
        if privacy is not None and state.round_number == self._config.train.rounds:
            state = replace(state, privacy=self._guard.close(privacy))
        checkpoint = Checkpoint(state, self._optimizer.state(), line)
        save_checkpoint(self._files.checkpoint, checkpoint, self._config.config_hash())

    def _line(self, server_round: int, valid: dict[str, float] | None) -> Line:
        total, privacy, sample = self._total, self._state.privacy, self._sample
        size = download_bytes(self._state.shared, self._config.compress.download_bits)
        trains = self._setup.method.at(server_round).statistics is None
        line = round_line(server_round, total, sample, size, trains=trains)
        line |= {"skipped": self._skipped, "valid": valid} | self._messages.line()
        if privacy is not None:
            line |= self._guard.line(privacy, total, costly=bool(valid))
        line |= {} if self._robust is None else self._robust.line()
        if self._secure is None or self._session is None:
            return line
        line |= {} if self._group_rounds is None else self._group_rounds.line()
        line["dropped"] = len(sample.training) + len(sample.dropped) - line["clients"]
        told = self._session.line(0.0 if trains else line["bytes_down"])
        return line | told | {"evaluation": self._secure.evaluator.told()}

    def _finish(self, grid: Grid) -> Result:
        """Test the selected round once, export it, and describe the run."""
        state = self._state
        chosen = state.best or Best(state.round_number, float("nan"), state.shared)
        self._meet(grid)
        chosen = replace(chosen, shared=with_new_items(self._setup, chosen.shared))
        arrays, draws = self._packed(chosen.shared), self._config.evaluate.bootstrap
        self._state = replace(state, shared=chosen.shared)
        sums = self._evaluate(grid, chosen.round_number, arrays, "test", draws) or EvaluationSums()
        privacy = self._guard.entry(state.privacy, self._stopped)
        if self._secure is not None:
            privacy = self._secure.entry(privacy)
        population, lines = self._setup.population, self._journal.lines()
        robust = robust_entry(self._config, population)
        write_outcome(self._config, population, self._files, chosen, sums, lines, privacy, robust)
        return Result(arrays=arrays)
