"""The systems that are put side by side for every merchant."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedrec.config import Config
from fedrec.config_merchants import numbers_of, personalised_by
from fedrec.config_sums import SUMMED
from fedrec.evaluation.summary import system_name
from fedrec.merchants import linked, mixed, solved, trained
from fedrec.merchants.chosen import Candidate, Chosen, choose
from fedrec.merchants.clustered import CLUSTERED, Clusters, clustered_candidates
from fedrec.merchants.outcome import Outcome, load_outcome, save_outcome
from fedrec.merchants.ranked import Field
from fedrec.run import OnEvent, read_system
from fedrec.storage import RunDirectory

ALONE, FEDERATED, PERSONALISED, POOLED = "alone", "federated", "personalised", "pooled"
LINKED = "linked"
KINDS = {
    ALONE: "local-only",
    FEDERATED: "federated",
    PERSONALISED: "federated",
    CLUSTERED: "federated",
    POOLED: "centralised",
    LINKED: "centralised",
}


@dataclass(frozen=True, eq=False)
class Begun:
    """A comparison that trains.

    Attributes:
        directory: holds the finished federated runs, and gets the rest.
        clusters: who trains with whom in the system "clustered"; None: there is none.
        engine: of runs of groups.
        on_event: progress.
    """

    directory: Path
    clusters: Clusters | None
    engine: str
    on_event: OnEvent


def names(field: Field, clusters: Clusters | None = None) -> tuple[str, ...]:
    """Return the systems of a comparison, in the order in which they are trained."""
    grouped = () if clusters is None else (CLUSTERED,)
    base = (ALONE, FEDERATED, PERSONALISED, *grouped, POOLED)
    return (*base, LINKED) if linked.possible(field) else base


def title(config: Config, name: str) -> str:
    """Return the name of a system in results."""
    what = config.train.method if config.train.method in SUMMED else config.model.name
    if name == FEDERATED:
        return system_name(config)
    if name == PERSONALISED:
        return f"{system_name(config)}-personalised"
    if name == CLUSTERED:
        return f"{system_name(config)}-clustered"
    return f"{name}-{what}"


def outcomes(field: Field, begun: Begun, seed: int) -> dict[str, Outcome]:
    """Return what each system gives with one seed; what is in the directory is kept.

    Args:
        field: merchants and customers, prepared with the seed.
        begun: the comparison, whose federated run of the seed is finished.
        seed: of the systems.
    """
    config, directory, on_event = field.setup.config, begun.directory, begun.on_event
    found: dict[str, Outcome] = {}
    split_hash = field.setup.population.split.split_hash
    builders = _solved if config.train.method in SUMMED else _trained
    for name in names(field, begun.clusters):
        place = directory / f"{name}-seed{seed}"
        known = load_outcome(place, split_hash)
        if known is None:
            shown = title(config, name)
            on_event({"event": "system-start", "system": shown, "seed": seed, "rounds": 0})
            start = time.perf_counter()
            candidates = builders(field, begun, seed, found)[name]()
            chosen = choose(field, candidates, config.merchants.choice)
            known = _outcome(chosen, time.perf_counter() - start)
            save_outcome(place, known, split_hash)
            metrics = {f"test.{m}": float(v.mean()) for m, v in field.measure(known.ranks).items()}
            event = {"event": "system-done", "system": shown, "seed": seed, "metrics": metrics}
            on_event({**event, "seconds": known.seconds})
        found[name] = known
    return found


def _outcome(chosen: Chosen, seconds: float) -> Outcome:
    return Outcome(chosen.ranks, chosen.labels, chosen.place, chosen.valid, seconds)


Builders = Mapping[str, Callable[[], list[Candidate]]]


def _solved(field: Field, begun: Begun, seed: int, found: Mapping[str, Outcome]) -> Builders:
    config, files = field.setup.config, RunDirectory(begun.directory / f"{FEDERATED}-seed{seed}")

    def federated() -> list[Candidate]:
        scorer = trained.federated_scorer(field.setup, files, read_system(files.path))
        return [Candidate(f"ridge {config.baseline.ease_l2:g}", scorer)]

    def mixed() -> list[Candidate]:
        place = found[ALONE].place
        return solved.mixed_candidates(field, federated()[0].scorer, place)

    return {
        ALONE: lambda: solved.own_candidates(field),
        FEDERATED: federated,
        PERSONALISED: mixed,
        CLUSTERED: lambda: _clustered(field, begun, seed),
        POOLED: lambda: solved.pooled_candidates(field),
        LINKED: lambda: linked.linked_candidates(field, numbers_of(config, "ridges")),
    }


def _trained(field: Field, begun: Begun, seed: int, found: Mapping[str, Outcome]) -> Builders:
    files = RunDirectory(begun.directory / f"{FEDERATED}-seed{seed}")
    way = personalised_by(field.setup.config)

    def federated() -> list[Candidate]:
        system = read_system(files.path)
        scorer = trained.federated_scorer(field.setup, files, system)
        return [Candidate(f"round {system.selected_round}", scorer)]

    def tuned() -> list[Candidate]:
        system = read_system(files.path)
        run = trained.load_run(field.setup, files, system)
        train = trained.pulled_candidates if way == "ditto" else trained.tuned_candidates
        return train(field, federated()[0].scorer, *run)

    def mix() -> list[Candidate]:
        own = mixed.by_merchant(field, trained.alone_candidates(field), found[ALONE].place)
        shares = numbers_of(field.setup.config, "mixtures")
        return mixed.mixtures(own, federated()[0].scorer, shares)

    return {
        ALONE: lambda: trained.alone_candidates(field),
        FEDERATED: federated,
        PERSONALISED: mix if way == "mix" else tuned,
        CLUSTERED: lambda: _clustered(field, begun, seed),
        POOLED: lambda: trained.pooled_candidates(field),
    }


def _clustered(field: Field, begun: Begun, seed: int) -> list[Candidate]:
    if begun.clusters is None:
        raise ValueError("no groups")
    return clustered_candidates(
        field, begun.clusters, begun.directory, seed, begun.engine, begun.on_event
    )
