"""Several systems on the same split, side by side: the call behind ``fedrec compare``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fedrec.config import Config, integers
from fedrec.config_sums import SUMMED
from fedrec.errors import ConfigError
from fedrec.evaluation.bootstrap import compare_all
from fedrec.evaluation.leak_guard import guard
from fedrec.evaluation.summary import system_name
from fedrec.evaluation.sums import EvaluationSums, merge
from fedrec.results import Paired, Result, SystemResult, save_result
from fedrec.run import (
    OnEvent,
    done_event,
    make_result,
    read_system,
    reproducing_command,
    resumed_config,
    start_output,
)
from fedrec.storage import RunDirectory
from fedrec.systems import (
    check_systems,
    names_of,
    planned_rounds,
    read_sums,
    seeds_of,
    train_system,
)

UNPAIRED = (
    "the federated system was evaluated by secure sums, so its differences from other systems are "
    "not paired over users: their intervals are wider than need be (see secure.intervals)"
)


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        result: the content of result.json, all systems and seeds in it.
        directory: where its files lie.
    """

    result: Result
    directory: Path


def compare(
    config: Config | None = None,
    *,
    systems: list[str] | None = None,
    engine: str = "in-process",
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> Comparison:
    """Train systems with all seeds, test them against each other, and guard the protocol.

    Args:
        config: the configuration; may be left out when resuming.
        systems: names; None: `compare.systems`.
        engine: engine of the federated system.
        out: output directory; None: run.out, else runs/<run.name>.
        resume: directory of an interrupted comparison: finished systems are kept.
        overwrite: replace a run that lies in the output directory.
        on_event: called with progress.

    Returns:
        The result, as also written to result.json.

    Raises:
        FedrecError: whatever stops it, with one clear message.
    """
    tell = on_event or (lambda event: None)
    start = time.perf_counter()
    if resume is not None:
        if systems is not None:
            raise ConfigError("a resumed comparison trains the systems that it was started with")
        directory = Path(resume).absolute()
        config = resumed_config(directory, config)
    else:
        config = config or Config()
        if systems is not None:
            config = config.with_({"compare.systems": " ".join(systems)})
        check_systems(names_of(config), config)
        directory = start_output(config, out, overwrite=overwrite)
        # From the start it tells a comparison from a run, should it be interrupted.
        (directory / "systems").mkdir(exist_ok=True)
    members = [
        _trained(name, config.with_({"run.seed": seed}), directory, engine, tell)
        for name, seed in _plan(config)
    ]
    verdict = _guard(config, tell)
    seconds = None if resume else time.perf_counter() - start
    result = make_result(
        config,
        tuple(members),
        command=reproducing_command("compare", engine),
        seconds=seconds,
        comparisons=_comparisons(config, members, directory),
        leak_guard=verdict,
    )
    if _unpaired(config):
        result = replace(result, notes=(*result.notes, UNPAIRED))
    save_result(result, directory)
    return Comparison(result, directory)


def _unpaired(config: Config) -> bool:
    """Return whether the federated system's replicates are not those of the others."""
    secure = config.secure.mode != "off" and config.secure.intervals == "moments"
    return secure and bool(config.evaluate.bootstrap)


def _plan(config: Config) -> Iterator[tuple[str, int]]:
    seeds = tuple(dict.fromkeys(integers(config, "compare.seeds")))
    for name in names_of(config):
        for seed in seeds_of(name, seeds):
            yield name, seed


def _trained(
    name: str, config: Config, directory: Path, engine: str, tell: OnEvent
) -> SystemResult:
    """Train one system with one seed, unless an interrupted comparison has done it."""
    seed = config.run.seed
    place = directory / "systems" / f"{name}-seed{seed}"
    prefix = f"{place.relative_to(directory).as_posix()}/"
    if RunDirectory(place).system.is_file():
        system = read_system(place, prefix)
        tell({"event": "note", "text": f"{system.name}, seed {seed}: kept, it was finished"})
        return system
    shown, rounds = system_name(config, name), planned_rounds(name, config)
    tell({"event": "system-start", "system": shown, "seed": seed, "rounds": rounds})
    start = time.perf_counter()
    train_system(name, config, place, engine, tell)
    system = read_system(place, prefix)
    tell(done_event(system, time.perf_counter() - start))
    return system


def _guard(config: Config, tell: OnEvent) -> dict[str, object] | None:
    if not config.compare.leak_guard:
        return None
    if config.data.feedback == "explicit":
        text = "not run: ratings are trained without negatives, there is none to leak through"
        tell({"event": "note", "text": f"leak guard: {text}"})
        return None
    if config.train.method in SUMMED:
        text = "not run: sums of interactions are solved without negatives, none can leak"
        tell({"event": "note", "text": f"leak guard: {text}"})
        return None
    tell({"event": "note", "text": "leak guard: training a model without communication"})
    verdict = guard(config)
    tell({"event": "note", "text": f"leak guard: {verdict.statement}"})
    return verdict.to_json()


def _comparisons(
    config: Config, members: list[SystemResult], directory: Path
) -> tuple[Paired, ...]:
    """Compare the first system with all others, on the same users, over all seeds.

    Sums of several seeds are added: every seed weighs a user alike in a replicate,
    so the interval is over users, for the mean over seeds.
    """
    if not config.evaluate.bootstrap or len({m.name for m in members}) < 2:
        return ()
    by_name: dict[str, list[EvaluationSums]] = {}
    for member in members:
        by_name.setdefault(member.name, []).append(read_sums(directory / str(member.bootstrap)))
    merged = {name: merge(parts) for name, parts in by_name.items()}
    first = next((m.name for m in members if m.kind == "federated"), members[0].name)
    reference = merged.pop(first)
    found = []
    for metric in _metrics(config):
        for name, pair in compare_all(reference, merged, metric).items():
            ends = (pair.difference, pair.low, pair.high)
            found.append(Paired(first, name, f"test.{metric}", *ends, None, pair.p_value))
    return tuple(found)


def _metrics(config: Config) -> tuple[str, ...]:
    if config.data.feedback == "explicit":
        return ("rating.rmse", "rating.mae")
    ks = integers(config, "evaluate.k")
    k = 10 if 10 in ks else ks[0]
    return (f"full.hr@{k}", f"full.ndcg@{k}")
