"""Several results as one, for a report over runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fedrec.errors import OutputError
from fedrec.report.history import HISTORY_FILE
from fedrec.results import Result, SystemResult, load_result


def load_runs(directories: Sequence[Path]) -> Result:
    """Read the results of several output directories as one.

    The paths of the histories become absolute.

    Raises:
        OutputError: if there is no directory, or no readable result in one of them.
    """
    results = [_located(load_result(directory), Path(directory)) for directory in directories]
    if len(results) == 1:
        return results[0]
    return join(results, " + ".join(dict.fromkeys(result.name for result in results)))


def _located(result: Result, directory: Path) -> Result:
    def located(system: SystemResult) -> SystemResult:
        if system.history is None and system.kind != "federated":
            return system
        file = (directory / (system.history or HISTORY_FILE)).absolute()
        return replace(system, history=str(file))

    return replace(result, systems=tuple(located(s) for s in result.systems))


def join(results: Iterable[Result], name: str = "") -> Result:
    """Put the systems of several results into one.

    The first result gives what is common; systems that are repeated exactly
    (same name, seed and configuration) are taken once.  Where results disagree
    on the data or the split, a note says so, for their figures do not compare.

    Raises:
        OutputError: if there is no result.
    """
    results = list(results)
    if not results:
        raise OutputError("nothing to join: expected at least one result")
    first = results[0]
    systems: dict[tuple[str, int, str], SystemResult] = {}
    notes: list[str] = list(first.notes)
    for result in results:
        for system in result.systems:
            systems.setdefault((system.name, system.seed, result.config_hash), system)
        notes += [n for n in result.notes if n not in notes]
        differing = [
            key
            for key in ("name", "split_hash", "protocol")
            if result.data.get(key) != first.data.get(key)
        ]
        if differing:
            notes.append(
                f"{result.name}: its data differ from those of {first.name} "
                f"({', '.join(differing)}), so their figures must not be compared"
            )
    kept = _distinct_names(systems)
    comparisons = tuple(c for r in results for c in r.comparisons)
    return replace(
        first, name=name or first.name, systems=kept, comparisons=comparisons, notes=tuple(notes)
    )


def _distinct_names(
    systems: Mapping[tuple[str, int, str], SystemResult],
) -> tuple[SystemResult, ...]:
    """Tell systems apart that share name and seed but not their configuration."""
    hashes: dict[str, list[str]] = {}
    for name, _, config_hash in systems:
        known = hashes.setdefault(name, [])
        if config_hash not in known:
            known.append(config_hash)
    return tuple(
        system
        if hashes[name][0] == config_hash
        else replace(system, name=f"{name} ({config_hash})")
        for (name, _, config_hash), system in systems.items()
    )
