"""Should these merchants train together?  The call behind ``fedrec compare --merchants``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from fedrec.auditing import check_rounds, rounds_told
from fedrec.compare import Comparison
from fedrec.config import Config, integers
from fedrec.config_merchants import check_comparison, personalised_by
from fedrec.config_sums import SUMMED
from fedrec.contributing import brought
from fedrec.contributing import check as check_contributions
from fedrec.errors import ConfigError
from fedrec.evaluation.summary import system_name
from fedrec.machine import peak_memory_mib
from fedrec.merchants.clustered import CLUSTERED, clustered_cost, clusters_of
from fedrec.merchants.outcome import Outcome
from fedrec.merchants.ranked import PRIMARY, Field, field_of
from fedrec.merchants.summary import Measured, grouped, measured, summary
from fedrec.merchants.systems import (
    ALONE,
    FEDERATED,
    KINDS,
    PERSONALISED,
    Begun,
    outcomes,
    title,
)
from fedrec.merchants.trained import run_federated
from fedrec.results import Paired, SystemResult, plain_numbers, save_result
from fedrec.run import (
    OnEvent,
    done_event,
    make_result,
    read_system,
    reproducing_command,
    resumed_config,
    start_output,
)
from fedrec.systems import STATEMENTS, check_systems
from fedrec.training.node import prepare

FOLDER = "merchants"
PROTOCOL = "merchant"
"""Name of the protocol in metrics: held-out items among those that the merchant sells."""


def compare_merchants(
    config: Config | None = None,
    *,
    engine: str = "in-process",
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> Comparison:
    """Train every merchant alone, all together, together and personalised, and pooled.

    The entry `merchants` of the result tells for each merchant and for all customers what
    training together gains over training alone, with intervals over customers.

    Args:
        config: the configuration, whose clients are merchants; may be left out when resuming.
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
    config, directory = _begun(config, engine, out, resume, overwrite=overwrite)
    seeds = (0,) if config.train.method in SUMMED else integers(config, "compare.seeds")
    seeds = tuple(dict.fromkeys(seeds))
    begun = Begun(directory / FOLDER, clusters_of(prepare(config)), engine, tell)
    runs, found = [], []
    for seed in seeds:
        seeded = config.with_({"run.seed": seed})
        place = begun.directory / f"{FEDERATED}-seed{seed}"
        runs.append(_federated(seeded, place, engine, tell))
        field = field_of(prepare(seeded))
        found.append(outcomes(field, begun, seed))
    told = measured(field, found, config.evaluate.bootstrap)
    entry = summary(told) | {
        "personalised_by": personalised_by(config),
        "settings": _settings(field, found),
        "cost": _cost(config.train.rounds, runs, found),
        "clusters": grouped(told, begun.clusters),
        **_beside(config, begun.directory / f"{FEDERATED}-seed{seeds[0]}", tell),
    }
    seconds = None if resume else time.perf_counter() - start
    result = make_result(
        config,
        tuple(_systems(config, told, begun, seeds, runs, found)),
        command=reproducing_command("compare --merchants", engine),
        seconds=seconds,
        comparisons=_comparisons(config, entry),
    )
    result.extra[FOLDER] = entry
    save_result(result, directory)
    return Comparison(result, directory)


def _begun(
    config: Config | None,
    engine: str,
    out: str | Path | None,
    resume: str | Path | None,
    *,
    overwrite: bool,
) -> tuple[Config, Path]:
    """Return the configuration and the directory of a new or an interrupted comparison."""
    if resume is not None:
        directory = Path(resume).absolute()
        return resumed_config(directory, config), directory
    config = config or Config()
    check_merchants_run(config, engine)
    if config.merchants.clusters:
        clusters_of(prepare(config))  # before anything is written
    directory = start_output(config, out, overwrite=overwrite)
    (directory / FOLDER).mkdir(exist_ok=True)
    return config, directory


def _beside(config: Config, directory: Path, tell: OnEvent) -> dict[str, Any]:
    """Return what merchants bring and what could be inferred, where the configuration asks.

    Args:
        config: of the comparison.
        directory: of the federated run, whose journal tells of groups.
        tell: told of progress.
    """

    def note(text: str) -> None:
        tell({"event": "note", "text": text})

    contributions, audits = None, None
    if config.contribution.compare:
        contributions = plain_numbers(brought(check_contributions(config), directory, note))
    if config.audit.compare:
        note("attacking what the server sees of the merchants")
        title = f"A server that sees updates, in round {config.audit.rounds}"
        audits = [{"title": title, "lines": rounds_told(config, note)}]
    return {"contributions": contributions, "audits": audits}


def check_merchants_run(config: Config, engine: str) -> None:
    """Refuse what cannot be compared merchant by merchant.

    Raises:
        ConfigError: naming the key and what to change.
    """
    check_comparison(config)
    if config.contribution.compare:
        check_contributions(config)
    if config.audit.compare:
        check_rounds(config)
    if config.train.method not in SUMMED:
        check_systems([FEDERATED, "centralised", "local-only"], config)
    if engine == "deployed":
        raise ConfigError(
            "a comparison of merchants pools their rows to tell what pooling would give: run it "
            "where all rows are, or on data that stand for them, with another engine"
        )


def _federated(config: Config, directory: Path, engine: str, tell: OnEvent) -> SystemResult:
    seed = config.run.seed
    shown, rounds = system_name(config), config.train.rounds
    tell({"event": "system-start", "system": shown, "seed": seed, "rounds": rounds})
    start = time.perf_counter()
    run_federated(config, directory, engine, tell)
    system = read_system(directory, f"{FOLDER}/{directory.name}/")
    tell(done_event(system, time.perf_counter() - start))
    return system


def _systems(
    config: Config,
    told: Measured,
    begun: Begun,
    seeds: Sequence[int],
    runs: Sequence[SystemResult],
    found: Sequence[Mapping[str, Outcome]],
) -> list[SystemResult]:
    """Return an element of `systems` for each system and seed."""
    out = []
    for name, kind in KINDS.items():
        for seed, run, outcome in zip(seeds, runs, (s.get(name) for s in found), strict=True):
            if outcome is None:
                continue
            values = told.field.measure(outcome.ranks)
            metrics = {m: float(v.mean()) for m, v in values.items()}
            federated = kind == "federated"
            out.append(
                SystemResult(
                    title(config, name),
                    kind,
                    seed,
                    run.selected_round if federated and name != CLUSTERED else None,
                    {
                        "test": {PROTOCOL: metrics},
                        "valid": {PROTOCOL: {PRIMARY: outcome.valid}},
                    },
                    _intervals(told, values),
                    privacy=_privacy(name, run, begun),
                    cost=_system_cost(name, run, outcome, begun, seed),
                    history=run.history if name == FEDERATED else None,
                    bootstrap=run.bootstrap if name == FEDERATED else None,
                )
            )
    return out


def _privacy(name: str, run: SystemResult, begun: Begun) -> dict[str, Any]:
    """Return the privacy entry of a system; `run` is the federated one of the same seed."""
    kind = KINDS[name]
    if kind != "federated":
        nothing = dict.fromkeys(("unit", "epsilon", "delta"))
        return {"statement": STATEMENTS[kind], **nothing, "secure_aggregation": "off"}
    if name == CLUSTERED and begun.clusters is not None:
        both = f"{run.privacy.get('statement')} {begun.clusters.statement}"
        return {**run.privacy, "statement": both}
    return run.privacy


def _system_cost(
    name: str, run: SystemResult, outcome: Outcome, begun: Begun, seed: int
) -> dict[str, Any]:
    if name == FEDERATED:
        return run.cost
    if name == PERSONALISED:  # on top of the federated run
        return {**run.cost, "total_s": run.cost.get("total_s", 0.0) + outcome.seconds}
    if name == CLUSTERED and begun.clusters is not None:
        return clustered_cost(run.cost, begun.clusters, begun.directory, seed, outcome.seconds)
    sent = 0 if name == ALONE else None
    return {
        "round_s_median": None,
        "clients_per_s": None,
        "bytes_up_per_client": sent,
        "bytes_down_per_client": sent,
        "peak_rss_mib": round(peak_memory_mib(), 1),
        "total_s": outcome.seconds,
    }


def _intervals(told: Measured, values: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return the 95% interval of each metric over customers, as people."""
    draws = told.weights.values
    out = {}
    for name, value in values.items():
        low, high = np.percentile(value @ draws / draws.sum(axis=0), [2.5, 97.5])
        out[f"test.{PROTOCOL}.{name}"] = (float(low), float(high))
    return out


def _comparisons(config: Config, entry: Mapping[str, Any]) -> tuple[Paired, ...]:
    """Return the tested gains over all customers, federated minus the other."""
    pairs = []
    for one in entry["overall"]["gains"]:
        a, b = title(config, one["a"]), title(config, one["b"])
        ends = (one[key] for key in ("difference", "low", "high", "p_value", "p_adjusted"))
        pairs.append(Paired(a, b, f"test.{PROTOCOL}.{one['metric']}", *ends))
    return tuple(pairs)


def _settings(field: Field, found: Sequence[Mapping[str, Outcome]]) -> dict[str, Any]:
    """Return what was chosen on validation: system -> merchant -> setting for each seed."""
    return {
        name: {
            shop: [seed[name].labels[place] for seed in found]
            for place, shop in enumerate(field.names)
        }
        for name in found[0]
    }


def _cost(
    rounds: int, runs: Sequence[SystemResult], found: Sequence[Mapping[str, Outcome]]
) -> dict[str, Any]:
    """Return bytes of one merchant a round, and hours of all, means over seeds.

    Hours are those of this machine, on which all merchants took turns.
    """
    costs = [run.cost for run in runs]
    up = fmean(c.get("bytes_up_per_client") or 0 for c in costs)
    down = fmean(c.get("bytes_down_per_client") or 0 for c in costs)
    total = fmean(c.get("total_s") or 0.0 for c in costs)
    seconds = {name: fmean(seed[name].seconds for seed in found) for name in found[0]}
    seconds[FEDERATED] = total
    return {
        "bytes_up_per_round": up,
        "bytes_down_per_round": down,
        "rounds": rounds,
        "hours": {name: s / 3600 for name, s in seconds.items()},
    }
