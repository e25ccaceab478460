"""Hyper-parameters by validation: as many trials for every system, and a record of each.

Trial 0 is the file itself.  The others are proposed by Optuna's tree-structured Parzen
estimator (Bergstra et al., NIPS 2011), if it is installed, or else drawn at random.  What a
trial proposes follows from its number and the trials before it alone, so that an
interrupted search goes on as if it had not stopped.  The test part of the data is never read.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.board.entries import Choices, Entry, Keys, Range, Space, size
from fedrec.config import Config, Scalar
from fedrec.errors import FedrecError
from fedrec.output import write_atomically
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.systems import train_system

if TYPE_CHECKING:
    import optuna

METRIC = "ndcg@10"
SEED = 0
WARM = 4
"""Trials before the estimator is asked: the file itself, and random ones."""

Measure = Callable[[str, Config], float]


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        settings: dotted key -> value of every key that is searched.
        value: validation NDCG@10 (full ranking); None if it failed.
        seconds: wall-clock time.
        sampler: "file", "optuna" or "random".
        failure: why it failed.
    """

    settings: Keys
    value: float | None
    seconds: float
    sampler: str
    failure: str = ""


def validate(system: str, config: Config) -> float:
    """Train a system and return its validation NDCG@10 at the round that it selects.

    What the training leaves about the test part is deleted unread.
    """
    with tempfile.TemporaryDirectory() as place:
        train_system(system, config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
    return float(left["metrics"]["valid"]["full"][METRIC])


def trial_config(entry: Entry, data: str, settings: Mapping[str, Scalar]) -> Config:
    """Return the configuration of a trial: nothing is computed that it does not need.

    Raises:
        ConfigError: if the settings contradict each other.
    """
    lean: Keys = {"run.seed": SEED, "evaluate.bootstrap": 0, "evaluate.sampled": 0}
    config = entry.config(data, {**settings, **lean})
    if config.privacy.mechanism == "off":
        config = config.with_({"server.checkpoint_every": max(1, config.train.rounds)})
    return config


def search(
    entry: Entry,
    data: str,
    system: str,
    trials: int,
    file: Path,
    measure: Measure = validate,
    tell: Callable[[str], None] = print,
) -> list[Trial]:
    """Make the trials that are missing of a system, and return all.

    Args:
        entry: the method.
        data: a key of `entries.DATA`.
        system: "federated", "centralised" or a baseline.
        trials: the budget; a smaller space is tried whole.
        file: record of all systems of the entry, written after every trial.
        measure: trains and validates.
        tell: called with a line for each trial.

    Returns:
        All trials, in order.

    Raises:
        ConfigError: if the entry's space is not usable.
        FedrecError: if the first trial, the file itself, fails.
    """
    space, mark = entry.space(data, system), entry.fingerprint(data, system)
    done = recorded(file, system, mark)
    while len(done) < min(trials, size(space)):
        settings, sampler = propose(space, done, entry.config(data).flat())
        if settings is None:
            break
        start, value, failure = time.perf_counter(), None, ""
        try:
            value = measure(system, trial_config(entry, data, settings))
        except FedrecError as error:
            if not done:
                raise
            failure = str(error)
        if value is not None and not math.isfinite(value):
            value, failure = None, "the validation metric is not a number"
        seconds = round(time.perf_counter() - start, 1)
        done.append(Trial(settings, value, seconds, sampler, failure))
        _record(file, entry, data, system, mark, done)
        found = failure if value is None else f"{value:.4f}"
        tell(f"{data} {entry.name} {system} trial {len(done) - 1}: {found}, {seconds:.0f} s")
    return done


def best(trials: list[Trial]) -> Trial:
    """Return the trial with the highest validation metric, of equal ones the first."""
    return max(trials, key=lambda t: -math.inf if t.value is None else t.value)


def recorded(file: Path, system: str, mark: str) -> list[Trial]:
    """Return the trials of a system that an earlier start has made, none if its file changed."""
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))["systems"].get(system, {})
    if found.get("fingerprint") != mark:
        return []
    return [Trial(**trial) for trial in found["trials"]]


def _record(
    file: Path, entry: Entry, data: str, system: str, mark: str, trials: list[Trial]
) -> None:
    before = json.loads(file.read_text(encoding="utf-8"))["systems"] if file.is_file() else {}
    own = {"fingerprint": mark, "trials": [asdict(trial) for trial in trials]}
    told: dict[str, Any] = {"method": entry.name, "data": data, "metric": f"valid.full.{METRIC}"}
    told |= {"seed": SEED, "systems": {**before, system: own}}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(told, indent=1, allow_nan=False) + "\n")


def propose(space: Space, done: list[Trial], base: Mapping[str, Scalar]) -> tuple[Keys | None, str]:
    """Return the settings of the next trial, never tried before, and what proposed them.

    Args:
        space: what is searched.
        done: the trials before.
        base: the file's own values.

    Returns:
        Settings, or None if the whole space is tried; and the name of the sampler.
    """
    if not done:
        return {key: base[key] for key in space}, "file"
    tried = [trial.settings for trial in done]
    estimator = find_spec("optuna") is not None and len(done) >= WARM
    sampler = "optuna" if estimator else "random"
    for attempt in range(20):
        rng = generator(SEED, len(done), NO_CLIENT - attempt, Purpose.SEARCH)
        settings = _ask(space, done, rng) if estimator else _draw(space, rng)
        if settings not in tried:
            return settings, sampler
    if not math.isfinite(size(space)):
        return None, sampler
    left = [settings for settings in _grid(space) if settings not in tried]
    if not left:
        return None, sampler
    rng = generator(SEED, len(done), NO_CLIENT, Purpose.SEARCH)
    return left[int(rng.integers(len(left)))], "random"


def _grid(space: Space) -> list[Keys]:
    values = [
        span.values if isinstance(span, Choices) else range(int(span.low), int(span.high) + 1)
        for span in space.values()
    ]
    return [dict(zip(space, chosen, strict=True)) for chosen in product(*values)]


def _draw(space: Space, rng: np.random.Generator) -> Keys:
    """Draw settings uniformly, on a logarithmic scale where the space says so."""
    drawn: Keys = {}
    for key, span in space.items():
        if isinstance(span, Choices):
            drawn[key] = span.values[int(rng.integers(len(span.values)))]
        elif span.log:
            value = math.exp(rng.uniform(math.log(span.low), math.log(span.high)))
            drawn[key] = round(value) if span.whole else value
        else:
            value = rng.uniform(span.low, span.high)
            whole = rng.integers(int(span.low), int(span.high) + 1) if span.whole else 0
            drawn[key] = int(whole) if span.whole else value
    return drawn


def _ask(space: Space, done: list[Trial], rng: np.random.Generator) -> Keys:
    """Ask the estimator, which is told all trials before."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = int(rng.integers(2**31))
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=WARM)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    spans = {key: _distribution(span) for key, span in space.items()}
    for trial in done:
        state = optuna.trial.TrialState
        told = optuna.trial.create_trial(
            params=dict(trial.settings),
            distributions=spans,
            value=trial.value,
            state=state.FAIL if trial.value is None else state.COMPLETE,
        )
        study.add_trial(told)
    return dict(study.ask(spans).params)


def _distribution(span: Choices | Range) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if isinstance(span, Choices):
        return distributions.CategoricalDistribution(span.values)
    if span.whole:
        return distributions.IntDistribution(int(span.low), int(span.high), log=span.log)
    return distributions.FloatDistribution(span.low, span.high, log=span.log)
