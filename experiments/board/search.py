"""Hyper-parameters by validation: as many trials for every system, and a record of each.

Trial 0 is the file itself.  The others are proposed by Optuna's tree-structured Parzen
estimator (Bergstra et al., NIPS 2011), if it is installed, or else drawn at random.  What a
trial proposes follows from its number and the trials before it alone, so that an
interrupted search goes on as if it had not stopped.  The test part of the data is never read.

A search by halving (Jamieson and Talwalkar, AISTATS 2016, with two rungs) trains all trials
for a share of the rounds and the best few in full; one of these is chosen.  It costs about half.
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
class Halving:
    """How a search saves time.

    Attributes:
        share: of the rounds (centralised: epochs) that every trial is trained for, in (0, 1).
        keep: trials that are then trained in full, the best ones, from 1.
    """

    share: float = 0.2
    keep: int = 2


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        settings: dotted key -> value of every key that is searched.
        value: validation NDCG@10 (full ranking); None if it failed.
        seconds: wall-clock time.
        sampler: "file", "optuna" or "random".
        failure: why it failed.
        share: of the rounds, or epochs, that it was trained for; 1 is in full.
    """

    settings: Keys
    value: float | None
    seconds: float
    sampler: str
    failure: str = ""
    share: float = 1.0


def validate(system: str, config: Config) -> float:
    """Train a system and return its validation NDCG@10 at the round that it selects.

    What the training leaves about the test part is deleted unread.
    """
    with tempfile.TemporaryDirectory() as place:
        train_system(system, config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
    return float(left["metrics"]["valid"]["full"][METRIC])


def trial_config(
    entry: Entry, data: str, settings: Mapping[str, Scalar], share: float = 1.0
) -> Config:
    """Return the configuration of a trial: nothing is computed that it does not need.

    Args:
        entry: the method.
        data: a key of `entries.DATA`.
        settings: what the trial has chosen.
        share: of the rounds and epochs, rounded up.

    Raises:
        ConfigError: if the settings contradict each other.
    """
    lean: Keys = {"run.seed": SEED, "evaluate.bootstrap": 0, "evaluate.sampled": 0}
    config = entry.config(data, {**settings, **lean})
    length = {"train.rounds": config.train.rounds, "central.epochs": config.central.epochs}
    config = config.with_({key: math.ceil(share * whole) for key, whole in length.items()})
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
    halving: Halving | None = None,
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
        halving: how to save time; None: all trials in full.  A search that was begun goes on
            as it was begun, and what cannot be shortened is always tried in full.

    Returns:
        All trials, in order; after halving the full ones last.

    Raises:
        ConfigError: if the entry's space is not usable.
        FedrecError: if the first trial, the file itself, fails.
    """
    space, mark = entry.space(data, system), entry.fingerprint(data, system)
    done = recorded(file, system, mark)
    budget = min(trials, size(space))
    if done:
        halving = _begun(file, system)
    elif budget <= (halving.keep if halving else 0) or not shortened(entry, data, system):
        halving = None

    def make(settings: Keys, sampler: str, share: float) -> None:
        start = time.perf_counter()
        value, failure = _tried(measure, entry, data, system, settings, share, first=not done)
        seconds = round(time.perf_counter() - start, 1)
        done.append(Trial(settings, value, seconds, sampler, failure, share))
        _record(file, entry, data, system, mark, done, halving)
        told = failure if value is None else f"{value:.4f}"
        part = "" if share == 1 else f" (a share of {share:g})"
        tell(f"{data} {entry.name} {system} trial {len(done) - 1}{part}: {told}, {seconds:.0f} s")

    share = halving.share if halving else 1.0
    while len(short := [t for t in done if t.share == share]) < budget:
        settings, sampler = propose(space, short, entry.config(data).flat())
        if settings is None:
            break
        make(settings, sampler, share)
    for trial in kept(done, halving):
        make(trial.settings, trial.sampler, 1.0)
    return done


def shortened(entry: Entry, data: str, system: str) -> bool:
    """Return whether a system is trained in several rounds or epochs, so that it can be cut."""
    config = entry.config(data)
    several = {"federated": config.train.rounds > 1, "centralised": config.central.epochs > 1}
    return several.get(system, False)


def kept(done: list[Trial], halving: Halving | None) -> list[Trial]:
    """Return the short trials that are still to be trained in full, the best first.

    Args:
        done: all trials that have been made.
        halving: how the search saves time; None: there are no short trials.
    """
    if halving is None:
        return []
    short = [t for t in done if t.share < 1 and t.value is not None]
    short.sort(key=lambda t: -(t.value or 0.0))  # stable: of equal ones the first
    full = [t.settings for t in done if t.share == 1]
    return [t for t in short[: halving.keep] if t.settings not in full]


def best(trials: list[Trial]) -> Trial:
    """Return the trial with the highest validation metric, of equal ones the first.

    Trials in full come before short ones, whose metrics are not comparable with theirs.
    """
    return max(trials, key=lambda t: (t.value is not None, t.share, t.value or 0.0))


def settings_tried(trials: list[Trial]) -> int:
    """Return how many settings were tried; one that was tried short and in full counts once."""
    return len({json.dumps(t.settings, sort_keys=True) for t in trials})


def recorded(file: Path, system: str, mark: str) -> list[Trial]:
    """Return the trials of a system that an earlier start has made, none if its file changed."""
    found = _systems(file).get(system, {})
    if found.get("fingerprint") != mark:
        return []
    return [Trial(**trial) for trial in found["trials"]]


def _systems(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["systems"]
    return found


def _begun(file: Path, system: str) -> Halving | None:
    told = _systems(file)[system].get("halving")
    return None if told is None else Halving(**told)


def _tried(
    measure: Measure,
    entry: Entry,
    data: str,
    system: str,
    settings: Keys,
    share: float,
    first: bool,
) -> tuple[float | None, str]:
    """Return the value of a trial, or None and why there is none.

    Raises:
        FedrecError: if the first trial, the file itself, fails.
    """
    try:
        value = measure(system, trial_config(entry, data, settings, share))
    except FedrecError as error:
        if first:
            raise
        return None, str(error)
    if not math.isfinite(value):
        return None, "the validation metric is not a number"
    return value, ""


def _record(
    file: Path,
    entry: Entry,
    data: str,
    system: str,
    mark: str,
    trials: list[Trial],
    halving: Halving | None,
) -> None:
    how = {"halving": asdict(halving)} if halving else {}
    own = {"fingerprint": mark, **how, "trials": [asdict(trial) for trial in trials]}
    told: dict[str, Any] = {"method": entry.name, "data": data, "metric": f"valid.full.{METRIC}"}
    told |= {"seed": SEED, "systems": {**_systems(file), system: own}}
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
