"""Time the rounds of a workload in this process: ``python -m fedrec.bench.measure W1``.

The rounds are a node's `train_node` and the server's own sampling, mean update and
optimiser, one after the other, as an engine calls them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.bench.stopwatch import PHASES, Stopwatch, watched
from fedrec.bench.workloads import Workload, catalogue_workload, clients_workload, find_workload
from fedrec.bench.yardsticks import (
    Centralised,
    Floor,
    Work,
    pooled_columns,
    timed,
    work_of,
)
from fedrec.data.batches import Samples, draw_samples
from fedrec.data.fixed import fixed_samples
from fedrec.engine.server_side import AppServer
from fedrec.errors import ConfigError
from fedrec.machine import peak_memory_mib
from fedrec.params import Personal, Shared
from fedrec.training.node import Setup, evaluate_node, init_personal, init_shared, train_node
from fedrec.training.node import prepare as prepare_setup

WARM_UP = 2
"""Rounds before the clock counts; the first one holds the compilation."""

EVALUATED = 1_000
"""Clients of a round that are ranked, at most, to time an evaluation."""


@dataclass(eq=False)
class Federation:
    """A federation on one node, and its state between rounds.

    Attributes:
        setup: the prepared workload.
        server: the server's half.
        clients: int64 [K], ascending, all that train in any of the rounds.
        shared: what the server holds.
        personal: of the K clients.
        cohorts: who trains in each round.
    """

    setup: Setup
    server: AppServer
    clients: NDArray[np.int64]
    shared: Shared
    personal: Personal
    cohorts: list[NDArray[np.int64]]
    number: int = 0

    def round(self) -> None:
        """Play the next round."""
        cohort = self.cohorts[self.number % len(self.cohorts)]
        self.number += 1
        at = np.searchsorted(self.clients, cohort)
        start = self.personal.take(at)
        total, after = train_node(self.setup, self.shared, start, cohort, self.number)
        for name, value in after.values.items():
            self.personal.values[name][at] = value
        self.shared = self.server.apply(self.shared, total, self.number, in_place=True)

    @property
    def last_cohort(self) -> NDArray[np.int64]:
        """Who trained in the last round."""
        return self.cohorts[(self.number - 1) % len(self.cohorts)]

    def evaluate(self) -> None:
        """Validate some of the clients of the last round."""
        cohort = self.last_cohort[:EVALUATED]
        own = self.personal.take(np.searchsorted(self.clients, cohort))
        evaluate_node(self.setup, self.shared, own, cohort, "valid", bootstrap=0)


def begin(workload: Workload, rounds: int) -> Federation:
    """Load a workload and choose the clients of its rounds."""
    setup = prepare_setup(workload.config)
    shared = init_shared(setup)
    server = AppServer(setup, shared)
    everyone = workload.config.clients.sampling == "all"
    cohorts = [server.sample(n) for n in range(1, 2 if everyone else rounds + 1)]
    clients = np.unique(np.concatenate(cohorts))
    personal = init_personal(setup, clients)
    return Federation(setup, server, clients, shared, personal, cohorts)


def keep_samples(setup: Setup) -> bool:
    """Draw the samples of a run now if the engine keeps them, and return whether it does."""
    seed, spec = setup.config.run.seed, setup.method.sampling
    return fixed_samples(setup.population, seed, spec) is not None


def measure(workload: Workload, rounds: int) -> dict[str, Any]:
    """Measure a workload.

    Args:
        workload: which.
        rounds: timed rounds, after the warm-up.

    Returns:
        Seconds are medians over the timed rounds.  `round_s_median`, `clients_per_s`,
        `samples_per_s`; `compile_s`: what the first round and the first evaluation take
        beyond the median; `load_s`: data, model, initial parameters; `first_round_s`:
        from the start to the end of the first round; `peak_rss_mib`: before the
        yardsticks begin; `ratio_to_centralised` and `ratio_to_floor`: medians over the
        rounds, each held against what was measured right after it (see `_Beside`);
        `phases`: seconds of each, evaluation apart from the round; and for pre-sampled
        workloads `round_drawn_s_median`, with negatives drawn anew within the round, and
        `samples_kept`: whether the engine has kept the drawn ones from round to round.
    """
    start = time.perf_counter()
    federation = begin(workload, WARM_UP + rounds)
    kept = keep_samples(federation.setup)
    load = time.perf_counter() - start
    with watched() as watch:
        first, *_ = [timed(federation.round) for _ in range(WARM_UP)]
        first_evaluation = timed(federation.evaluate)
        peak = peak_memory_mib()
        beside = _Beside(federation, kept=kept)
        lines = [_one_round(federation, watch, beside) for _ in range(rounds)]
        evaluation = statistics.median(timed(federation.evaluate) for _ in range(3))
    figures = _summary(lines, beside.work, len(federation.last_cohort))
    figures["phases"]["evaluate"] = evaluation
    if workload.presampled:
        federation.setup = prepare_setup(replace(workload, presampled=False).config)
        drawn = [timed(federation.round) for _ in range(1 + min(rounds, 5))]
        figures["round_drawn_s_median"] = statistics.median(drawn[1:])
    median = figures["round_s_median"]
    return figures | {
        "compile_s": max(0.0, first - median) + max(0.0, first_evaluation - evaluation),
        "load_s": load,
        "first_round_s": load + first,
        "peak_rss_mib": peak,
        "clients": len(federation.last_cohort),
        "evaluated_clients": min(EVALUATED, len(federation.last_cohort)),
        "about": workload.about,
        "samples_kept": kept,
    }


class _Beside:
    """The yardsticks of a workload, measured right after each round.

    The centralised epoch is over the very samples of the round.  Where a round draws
    its negatives, so would an epoch: drawing them is added to it.
    """

    def __init__(self, federation: Federation, *, kept: bool) -> None:
        self._federation, self._kept = federation, kept
        self._central: Centralised | None = None
        self.work = Work(0, 0, 0, 0)

    def measure(self) -> dict[str, float]:
        """Return the seconds of a centralised epoch, of a copy and of a product."""
        federation, train = self._federation, self._federation.setup.config.train
        start = time.perf_counter()
        samples = self._samples()
        drawing = time.perf_counter() - start
        at = np.searchsorted(federation.clients, federation.last_cohort)
        shared, personal = federation.shared, federation.personal.take(at)
        self.work = work_of(samples, shared, personal)
        columns = pooled_columns(samples)
        if self._central is None:
            model = federation.setup.model
            self._central = Centralised(model, shared, personal, train.lr, train.batch)
            self._central.epoch(columns)  # compile
        central, floor = self._central, Floor(self.work.bytes)
        central.reset(shared, personal)
        epoch = timed(lambda: central.epoch(columns))
        copies = [floor.copy_seconds() for _ in range(4)]  # the first meets fresh pages
        product = statistics.median(floor.flop_seconds() for _ in range(3)) * self.work.flops
        extra = 0.0 if self._kept else drawing
        copy = statistics.median(copies[1:])
        return {"centralised_s": epoch + extra, "copy_s": copy, "product_s": product}

    def _samples(self) -> Samples:
        federation, setup = self._federation, self._federation.setup
        seed, spec = setup.config.run.seed, setup.method.sampling
        number, cohort = federation.number, federation.last_cohort
        return draw_samples(setup.population, cohort, seed, number, spec)


def _one_round(federation: Federation, watch: Stopwatch, beside: _Beside) -> dict[str, float]:
    """Time one round with its phases, and its yardsticks right after it."""
    watch.take()
    seconds = timed(federation.round)
    phases = watch.take()
    return {"round_s": seconds, **phases, **beside.measure()}


def _summary(lines: Sequence[Mapping[str, float]], work: Work, clients: int) -> dict[str, Any]:
    """Put the timed rounds of a workload together."""

    def median(value: Callable[[Mapping[str, float]], float]) -> float:
        return statistics.median(value(line) for line in lines)

    seconds = median(lambda line: line["round_s"])
    floor = {name: median(lambda line, n=name: line[n]) for name in ("copy_s", "product_s")}  # type: ignore[misc]
    return {
        "rounds": len(lines),
        "round_s_median": seconds,
        "round_s_min": min(line["round_s"] for line in lines),
        "clients_per_s": clients / seconds,
        "samples_per_s": work.samples / seconds,
        "ratio_to_centralised": median(lambda line: line["round_s"] / line["centralised_s"]),
        "ratio_to_floor": median(
            lambda line: line["round_s"] / max(line["copy_s"], line["product_s"])
        ),
        "centralised_s_median": median(lambda line: line["centralised_s"]),
        "floor": {**floor, "bytes": work.bytes, "flops": work.flops},
        "samples": work.samples,
        "rows": work.rows,
        "phases": {name: median(lambda line, n=name: line[n]) for name in PHASES},  # type: ignore[misc]
    }


def find_point(name: str) -> Workload:
    """Return a workload, or a point of a curve: ``items=N`` or ``clients=N``.

    Raises:
        ConfigError: for an unknown name.
    """
    kind, equals, number = name.partition("=")
    if not equals:
        return find_workload(name)
    curves = {"items": catalogue_workload, "clients": clients_workload}
    if kind not in curves or not number.isdigit():
        raise ConfigError(f"unknown point {name!r}: expected items=N or clients=N")
    return curves[kind](int(number))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one workload and print its figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m fedrec.bench.measure", description=main.__doc__
    )
    parser.add_argument("name", help="W1 to W5, items=N or clients=N")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")
    given = parser.parse_args(arguments)
    print(json.dumps(measure(find_point(given.name), given.rounds)))


if __name__ == "__main__":
    main()
