"""What the rounds of a run have cost so far: epsilon at a given delta.

A round is an event of the Gaussian mechanism on a sample of the clients; the
accountant composes them by privacy loss distributions (Koskela et al., AISTATS
2020; Doroshenko et al., PoPETs 2022), as dp-accounting computes them, rounded
pessimistically: what is returned is an upper bound.

Which data sets are neighbours depends on the sampler.  With Poisson sampling and
with all clients one client is added or removed.  With samples of a fixed size one
client is replaced, and as its place goes to another client the sum moves by up to
twice the clip norm: at equal noise this costs far more than Poisson sampling
(Lebeda et al., "Avoiding pitfalls for privacy accounting of subsampled mechanisms
under composition", 2024).

Distributed Skellam noise has no privacy loss distribution in many dimensions; its rounds
are composed by Rényi divergences (see `fedrec.privacy.renyi`).  The data of one client
are taken away, and it takes part with an update of zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from fedrec.errors import CheckpointError, MissingExtraError
from fedrec.privacy.renyi import skellam_epsilon

_INTERVAL = 1e-3  # width of the grid of privacy losses; coarser is faster, never too low

Kind = Literal["gaussian", "replace", "poisson", "fixed", "skellam"]
_REPLACING = ("replace", "fixed")


@dataclass(frozen=True)
class Event:
    """One round, as the accountant sees it.

    Attributes:
        kind: "gaussian" (all clients; one is added or removed), "replace" (all
            clients, or a client on its own; its data are replaced), "poisson" (each
            client with the same chance), "fixed" (a sample without replacement) or
            "skellam" (any sample; noise of the clients inside the secure sum).
        noise_multiplier: standard deviation of the noise over the clip norm; "skellam": of
            the fewest clients with whom a round is accepted.
        population: clients among whom the sample was drawn.
        per_round: clients drawn, for "poisson" on average.
        steps: "skellam": the clip norm in steps of the grid; else 0.
    """

    kind: Kind
    noise_multiplier: float
    population: int
    per_round: int
    steps: float = 0.0


@dataclass(frozen=True)
class Ledger:
    """How often each event has happened.

    Attributes:
        entries: events with their counts, in the order of their first appearance.
    """

    entries: tuple[tuple[Event, int], ...] = ()

    @property
    def rounds(self) -> int:
        """Number of events."""
        return sum(count for _, count in self.entries)

    def add(self, event: Event, count: int = 1) -> Ledger:
        """Return the ledger after `count` more events."""
        counts = dict(self.entries)
        counts[event] = counts.get(event, 0) + count
        return Ledger(tuple(item for item in counts.items() if item[1]))

    def epsilon(self, delta: float) -> float:
        """Return the epsilon spent so far at `delta`; infinite without noise.

        Raises:
            MissingExtraError: if dp-accounting is needed and not installed.
            CheckpointError: if distributed noise and other noise are mixed.
        """
        return spent(self, delta)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the entries for a JSON file."""
        return [{**asdict(event), "count": count} for event, count in self.entries]

    @staticmethod
    def from_json(entries: Sequence[Mapping[str, Any]]) -> Ledger:
        """Rebuild what `to_json` returned.

        Raises:
            CheckpointError: if an entry is not one.
        """
        try:
            rebuilt = []
            for entry in entries:
                fields = {name: value for name, value in entry.items() if name != "count"}
                rebuilt.append((Event(**fields), int(entry["count"])))
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"the privacy ledger of the checkpoint cannot be read ({error}): "
                "start the run again with --overwrite"
            ) from None
        return Ledger(tuple(rebuilt))


@lru_cache(maxsize=256)
def spent(ledger: Ledger, delta: float) -> float:
    """Return the epsilon of a ledger at `delta`, cached.

    Raises:
        MissingExtraError: if dp-accounting is needed and not installed.
        CheckpointError: if distributed noise and other noise are mixed.
    """
    if not ledger.rounds:
        return 0.0
    if any(event.noise_multiplier == 0 for event, _ in ledger.entries):
        return float("inf")
    kinds = {event.kind for event, _ in ledger.entries}
    if kinds == {"skellam"}:
        return skellam_epsilon(
            (
                (e.noise_multiplier, e.steps, e.per_round / e.population, count)
                for e, count in ledger.entries
            ),
            delta,
        )
    if "skellam" in kinds:
        raise CheckpointError(
            "a ledger holds rounds with distributed noise and with other noise, whose neighbouring "
            "data sets differ: their epsilon cannot be added up. Start a run of its own for each"
        )
    require_accountant()
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    replaces = any(event.kind in _REPLACING for event, _ in ledger.entries)
    relation = NeighboringRelation.REPLACE_ONE if replaces else None
    accountant = PLDAccountant(
        relation or NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=_INTERVAL
    )
    for event, count in ledger.entries:
        accountant.compose(_dp_event(event), count)
    return float(accountant.get_epsilon(delta))


def _dp_event(event: Event) -> Any:
    """Return the event in the words of dp-accounting.

    A sample of fixed size m is Poisson sampling with probability 1, cut down to a
    random m, for which dp-accounting has a bound.
    """
    from dp_accounting import dp_event

    noise, population, drawn = event.noise_multiplier, event.population, event.per_round
    gaussian = dp_event.GaussianDpEvent(noise)
    if event.kind in ("gaussian", "replace") or drawn >= population:
        return gaussian
    if event.kind == "poisson":
        return dp_event.PoissonSampledDpEvent(drawn / population, gaussian)
    return dp_event.TruncatedSubsampledGaussianDpEvent(population, 1.0, drawn, noise)


@lru_cache(maxsize=64)
def affordable(ledger: Ledger, event: Event, epsilon: float, delta: float, limit: int) -> int:
    """Return how many more events a budget allows, at most `limit`.

    Args:
        ledger: what has been spent.
        event: what is to happen.
        epsilon: the budget.
        delta: at which it holds.
        limit: search no further.
    """
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if spent(ledger.add(event, middle), delta) <= epsilon:
            low = middle
        else:
            high = middle - 1
    return low


def within_budget(ledger: Ledger, event: Event, epsilon: float, delta: float, rounds: int) -> bool:
    """Return whether one more event keeps the budget.

    Rounds of one kind are looked ahead once, so that asking is cheap afterwards.
    """
    had = dict(ledger.entries).get(event, 0)
    others = Ledger(tuple(entry for entry in ledger.entries if entry[0] != event))
    return had < affordable(others, event, epsilon, delta, max(rounds, had + 1))


def require_accountant() -> None:
    """Check that dp-accounting is there.

    Raises:
        MissingExtraError: if it is not.
    """
    try:
        import dp_accounting  # noqa: F401
    except ImportError:
        raise MissingExtraError("dp-accounting", "privacy", "accounting for noise") from None
