"""``fedrec bench``: how fast a round is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedrec.cli.quiet import import_tensorflow
from fedrec.errors import ConfigError, nearest

CURVES, SHARDING = "catalogue", "sharding"
NODES = (("in-process", 1, 0), ("ray", 1, 1), ("ray", 2, 1), ("ray", 1, 0), ("ray", 2, 0),
         ("superlink", 1, 1), ("superlink", 2, 1))  # fmt: skip
"""Engine, nodes, and threads of a node (0: those of all cores)."""
SHARDING_ROUNDS = 2


def bench(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Workloads W1 to W5, 'catalogue' (curves over items and clients), or 'sharding'.",
        ),
    ],
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the figures to this file.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Timed rounds, after the warm-up (sharding: at most 3).")
    ] = 7,
) -> None:
    """Time federated rounds beside centralised training on the same samples.

    Each workload runs in a process of its own: fedrec bench W1 W2 --json bench.json.
    """
    known = [n.lower() if n.lower() in (CURVES, SHARDING) else n.upper() for n in names]
    _check(known)
    import_tensorflow()
    from fedrec.bench.show import print_sharding, print_workloads
    from fedrec.bench.suite import bench_curves, bench_sharding, bench_workloads, save_figures
    from fedrec.bench.workloads import WORKLOADS, sharding_workload

    found: dict[str, Any] = {}
    workloads = [name for name in known if name in WORKLOADS]
    if workloads:
        found |= bench_workloads(workloads, rounds, _tell)
        print_workloads(found)
    if CURVES in known:
        curves = bench_curves(rounds, _tell)
        print_workloads({f"{n} {kind}": f for kind, c in curves.items() for n, f in c.items()})
        found[CURVES] = curves
    if SHARDING in known:
        timed = min(rounds, SHARDING_ROUNDS)
        found[SHARDING] = bench_sharding(sharding_workload(), NODES, timed, _tell)
        print_sharding(found[SHARDING])
    if json is not None:
        save_figures(found, json)
        typer.echo(f"\nfigures: {json}")


def _check(names: list[str]) -> None:
    """Refuse unknown names before anything is measured."""
    from fedrec.bench.workloads import WORKLOADS

    allowed = (*WORKLOADS, CURVES, SHARDING)
    for name in names:
        if name not in allowed:
            raise ConfigError(f"nothing to measure is called {name!r}.{nearest(name, allowed)}")


def _tell(name: str, figures: dict[str, Any]) -> None:
    """Say that a measurement is done; the tables come at the end."""
    typer.echo(f"{name}: {figures['round_s_median']:.3f} s a round", err=True)
