"""``fedrec calibrate``: how much noise a privacy budget asks for, before anything is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from fedrec.errors import ConfigError, nearest
from fedrec.privacy.ledger import Event

SAMPLINGS = ("poisson", "fixed", "all")
MECHANISMS = ("central", "distributed")


def calibrate(
    clients_per_round: Annotated[
        int, typer.Option(min=1, help="Clients that train in a round, on average.")
    ],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to be trained.")],
    population: Annotated[int, typer.Option(min=1, help="All clients.")],
    epsilon: Annotated[
        float | None, typer.Option(help="Budget: print the noise multiplier that keeps it.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Noise multiplier: print the epsilon that it spends.")
    ] = None,
    delta: Annotated[float, typer.Option(help="Delta; 0: population ** -1.1.")] = 0.0,
    sampling: Annotated[
        str, typer.Option(help="How clients are drawn: poisson, fixed or all.")
    ] = "poisson",
    mechanism: Annotated[
        str,
        typer.Option(help="Who adds the noise: central (the server) or distributed (the clients)."),
    ] = "central",
    steps: Annotated[
        float,
        typer.Option(
            help="distributed: the clip norm in steps of the grid, privacy.clip * "
            "(2 ** secure.bits - 1) / (2 * secure.clip); finer grids cost a little less."
        ),
    ] = 1000.0,
) -> None:
    """Print the noise multiplier for an epsilon, or the epsilon of a noise multiplier."""
    from fedrec.privacy.calibrate import default_delta, epsilon_of, noise_for

    event = event_of(sampling, noise or 1.0, population, clients_per_round, mechanism, steps)
    delta = delta or default_delta(population)
    if not 0 < delta < 1:
        raise ConfigError(f"--delta {delta:g}: expected a value between 0 and 1")
    if (epsilon is None) == (noise is None):
        raise ConfigError("give either --epsilon, to get the noise, or --noise, to get epsilon")
    if noise is None:
        budget = float(epsilon or 0.0)
        found = noise_for(event, rounds, budget, delta)
        typer.echo(f"noise multiplier {found:.4f}")
        typer.echo(_explain(event, sampling, rounds, delta, f"epsilon {budget:g}"))
        return
    if noise <= 0:
        raise ConfigError(f"--noise {noise:g}: expected a positive value")
    typer.echo(f"epsilon {epsilon_of(event, rounds, delta):.4f}")
    typer.echo(_explain(event, sampling, rounds, delta, f"noise multiplier {noise:g}"))


def event_of(
    sampling: str,
    noise: float,
    population: int,
    per_round: int,
    mechanism: str = "central",
    steps: float = 1000.0,
) -> Event:
    """Return the round that the options describe.

    Raises:
        ConfigError: for an unknown sampler or mechanism, more clients a round than there are,
            or a grid without steps.
    """
    if sampling not in SAMPLINGS:
        raise ConfigError(f"unknown --sampling {sampling!r}.{nearest(sampling, SAMPLINGS)}")
    if mechanism not in MECHANISMS:
        raise ConfigError(f"unknown --mechanism {mechanism!r}.{nearest(mechanism, MECHANISMS)}")
    if per_round > population:
        raise ConfigError(f"--clients-per-round {per_round} is more than --population {population}")
    drawn = population if sampling == "all" else per_round
    if mechanism == "distributed":
        if not steps > 0:
            raise ConfigError(f"--steps {steps:g}: expected a positive value")
        return Event("skellam", noise, population, drawn, steps)
    if sampling == "all":
        return Event("gaussian", noise, population, population)
    return Event("poisson" if sampling == "poisson" else "fixed", noise, population, drawn)


def _explain(event: Event, sampling: str, rounds: int, delta: float, given: str) -> str:
    relation = "replacing" if event.kind == "fixed" else "adding or removing"
    text = f"{given}, delta {delta:.3g}, {rounds} rounds, sampling {sampling}; "
    if event.kind == "skellam":
        return (
            f"({text}of the fewest clients that a round accepts, towards everyone, the server "
            "too if it follows the protocol; neighbours differ by the data of one client)"
        )
    return f"({text}neighbours differ by {relation} one client)"
