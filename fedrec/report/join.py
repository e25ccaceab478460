"""Several results as one, for a report over runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedrec.errors import OutputError
from fedrec.results import Result, SystemResult


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
