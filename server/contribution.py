"""Secure rounds in groups: each group's sum is opened, so that contributions can be told.

The groups of a round are sessions of their own, one after the other, and their sums add up to
the sum of all that the server applies.  What the model would be with the sums of some groups
alone is evaluated by all merchants, securely, on validation; the journal keeps the figures,
and `fedrec.contribution.groups` makes contributions of them.  After the last round in groups
models are also put together from what the sums of all rounds let one guess of single merchants
(`fedrec.contribution.rebuilt`), and evaluated likewise; the line of that round keeps their
Shapley values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from flwr.app import ArrayRecord
from numpy.typing import NDArray

from fedrec.contribution.estimates import sampled
from fedrec.contribution.game import Coalition, members_of
from fedrec.contribution.groups import Groups, Measured, check_groups, cut
from fedrec.contribution.rebuilt import alignment, flat, guess, opened_of, replay_guesses
from fedrec.errors import ConfigError, SkippedRound
from fedrec.evaluation.selection import selection_metric, selection_value
from fedrec.evaluation.sums import means
from fedrec.params import PartialSum, Shared
from fedrec.secure.graph import choose
from fedrec.storage import read_arrays, write_arrays
from fedrec.training.aggregate import partial_sum, weight_exponent
from fedrec.training.node import Setup
from fedrec.training.statistics import sums_like
from fedrec.wire import (
    EvaluateRequest,
    Moment,
    TrainRequest,
    flatten_shared,
    pack_shared,
    restore_shared,
)
from server.aggregation import mean_update
from server.anchors import optimizer_of
from server.roster import Roster
from server.sampling import Sample, evaluation_clients
from server.secure import SecureServer
from server.secure_session import Exchange, SecureRound


class Optimizer(Protocol):
    """What keeps a state between rounds."""

    def state(self) -> dict[str, NDArray]:
        """Return the state."""
        ...


class GroupRounds:
    """Secure rounds of a run in groups.

    Args:
        setup: the prepared configuration, with `contribution.groups` above 0.
        secure: runs the sessions.
        optimizer: of the server, whose state is copied before each round.
        directory: where sums of groups are kept.

    Raises:
        ConfigError: if groups would be too small to hide their members, or for a session.
    """

    def __init__(
        self, setup: Setup, secure: SecureServer, optimizer: Optimizer, directory: Path
    ) -> None:
        config = setup.config
        self._config, self._setup, self._secure = config, setup, secure
        self._optimizer = optimizer
        self._players, self._count = setup.population.num_clients, config.contribution.groups
        check_groups(self._players, self._count, config.contribution.least)
        section = config.secure
        graph = (section.mode, section.neighbours or None, section.threshold or None)
        choose(self._players // self._count, *graph)
        self._sums: tuple[PartialSum | None, ...] = ()
        self._groups: Groups = ()
        self._present: list[list[int]] = []
        self._before: tuple[Shared, Mapping[str, NDArray]] = (Shared({}), {})
        self._told: dict[str, Any] | None = None
        self._last = config.contribution.rounds or config.train.rounds
        self._files = directory

    def run(
        self,
        exchange: Exchange,
        roster: Roster,
        sample: Sample,
        train: TrainRequest,
        arrays: ArrayRecord,
    ) -> SecureRound:
        """Run a session for each group, as `SecureServer.run` does for all.

        Raises:
            ConfigError: if a node hosts several merchants.
        """
        if any(len(hosted) > 1 for hosted in roster.hosted.values()):
            raise ConfigError(
                f"contribution.groups = {self._count} needs a node for each merchant, as in a "
                f"deployment: set engine.nodes = {self._players}"
            )
        # the same sums in every round: cut once, or they could be solved for single merchants
        self._sums = ()
        if train.round_number > self._last:
            return self._secure.run(exchange, roster, sample, train, arrays)
        constant = self._setup.method.statistics is not None
        state = {name: value.copy() for name, value in self._optimizer.state().items()}
        self._before = train.shared.copy(), state  # the server changes both in place
        number = 0 if constant else train.round_number
        self._groups = cut(self._config.run.seed, number, self._players, self._count)
        done = []
        for group in self._groups:
            parts = (np.intersect1d(part, group) for part in (sample.training, sample.dropped))
            done.append(self._secure.run(exchange, roster, Sample(*parts), train, arrays))
        self._sums = tuple(one.total for one in done)
        self._present = [list(one.survivors) for one in done]
        if not constant:
            self._keep(train)
        return _together(done)

    def measure(
        self,
        exchange: Exchange,
        roster: Roster,
        after: Shared,
        moment: Moment,
    ) -> None:
        """Evaluate what the groups of the round, and unions of them, make of the model.

        A round in which a group was lost, or an evaluation, tells nothing.

        Args:
            exchange: sends messages and returns the replies.
            roster: the nodes.
            after: the shared parameters after the round.
            moment: of the round.
        """
        self._told, table = None, list[float]()
        if not self._sums or any(total is None for total in self._sums):
            return
        for number in range(2**self._count):
            chosen = [total for k in sorted(members_of(number, self._count))
                      if (total := self._sums[k]) is not None]  # fmt: skip
            whole = len(chosen) == self._count
            shared = after if whole else self._applied(chosen)
            value = self._value(exchange, roster, shared, moment)
            if value is None:
                return
            table.append(value)
        self._told = Measured(self._groups, np.array(table)).to_json()
        last = moment.base_round == min(self._last, self._config.train.rounds)
        if last and self._setup.method.statistics is None:
            rebuilt = self._rebuilt(exchange, roster, moment)
            self._told |= {} if rebuilt is None else {"rebuilt": rebuilt}

    def _keep(self, train: TrainRequest) -> None:
        """Write the sums of a round to the disk, so that a resume still has them."""
        sums = [total for total in self._sums if total is not None]
        at = train.round_number
        if at == 1:
            write_arrays(self._files / "first.ckpt", flatten_shared(train.shared), {})
        if len(sums) < self._count:
            (self._files / f"round-{at:06d}.ckpt").unlink(missing_ok=True)
            return
        arrays = {f"{k}": flat(total, train.shared) for k, total in enumerate(sums)}
        meta = {
            "number": at,
            "groups": self._present,
            "weight": [one.weight for one in sums],
            "clients": [one.num_clients for one in sums],
        }
        write_arrays(self._files / f"round-{at:06d}.ckpt", arrays, meta)

    def _rebuilt(self, exchange: Exchange, roster: Roster, moment: Moment) -> dict[str, Any] | None:
        """Return Shapley values over models of guessed updates; None if an evaluation is lost."""
        first = restore_shared(read_arrays(self._files / "first.ckpt")[0])
        read = (read_arrays(file) for file in sorted(self._files.glob("round-*.ckpt")))
        opened = [opened_of(arrays, meta, first) for arrays, meta in read]
        opened = [one for one in opened if one.number <= moment.base_round]
        guesses = guess(opened, self._players, first)

        def utility(coalition: Coalition) -> float:
            optimizer = optimizer_of(self._setup, first)

            def apply(shared: Shared, total: PartialSum, _: int) -> Shared:
                return optimizer.apply(shared, mean_update(total, self._config.server.rows))

            shared = replay_guesses(guesses, coalition, first, apply)
            value = self._value(exchange, roster, shared, moment)
            if value is None:
                raise SkippedRound("contribution", 0, 0, "an evaluation was lost")
            return value

        try:
            found = sampled(self._setup, utility, 0)
        except SkippedRound:
            return None
        return {"values": found.values.tolist(), "errors": found.errors.tolist(),
                "evaluations": found.evaluations, "rounds": len(opened),
                "alignment": alignment(guesses).tolist()}  # fmt: skip

    def _applied(self, chosen: list[PartialSum]) -> Shared:
        """Return the parameters had the round been that of some groups alone."""
        shared, state = self._before
        statistics = self._setup.method.statistics
        if not chosen and statistics is None:
            return shared
        if not chosen:  # of no sum a model is solved too
            like = sums_like(statistics, shared)
            chosen = [partial_sum(iter(()), like, weight_exponent(self._config))]
        optimizer = optimizer_of(self._setup, shared)
        optimizer.restore(state)
        total = reduce(lambda a, b: a + b, chosen)
        return optimizer.apply(shared, mean_update(total, self._config.server.rows))

    def _value(
        self, exchange: Exchange, roster: Roster, shared: Shared, moment: Moment
    ) -> float | None:
        arrays = pack_shared(shared, self._config.compress.download_bits)
        request = EvaluateRequest(shared, "valid", 0, moment)
        at = moment.base_round
        clients = evaluation_clients(self._config, roster.clients, at, "valid")
        found = self._secure.evaluator.run(exchange, roster, clients, request, arrays)
        if found.sums is None:
            return None
        return selection_value(means(found.sums), selection_metric(self._config))

    def line(self) -> dict[str, Any]:
        """Return what the journal keeps of the round; None where a group was lost."""
        return {"contribution": self._told}


def _together(done: list[SecureRound]) -> SecureRound:
    """Return the sessions of a round as one."""
    whole = SecureRound()
    totals = [one.total for one in done if one.total is not None]
    whole.total = reduce(lambda a, b: a + b, totals) if totals else None
    reasons = [one.skipped for one in done if one.skipped]
    whole.skipped = "; ".join(reasons) if reasons else None
    for one in done:
        for stage, count in one.lost.items():
            whole.lost[stage] = whole.lost.get(stage, 0) + count
        for stage, spent in one.seconds.items():
            whole.seconds[stage] = whole.seconds.get(stage, 0.0) + spent
        whole.bytes_up += one.bytes_up
        whole.bytes_down += one.bytes_down
        whole.trained |= one.trained
        whole.survivors += one.survivors
    return whole


def group_rounds(
    setup: Setup, secure: SecureServer, optimizer: Optimizer, directory: Path
) -> GroupRounds | None:
    """Return the secure rounds in groups of a run; None if it has none."""
    groups = setup.config.contribution.groups
    return GroupRounds(setup, secure, optimizer, directory) if groups else None
