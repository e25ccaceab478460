"""Merchants that sell alike train together, each group by itself.

Clustered federated learning.  Ghosh et al. (NeurIPS 2020, IFCA) let clients choose among
several models by their losses, Sattler et al. (2020) and Briggs et al. (IJCNN 2020) group
them by their updates, which the server has to see one by one.  Here a merchant's profile is
the share of each category in its training sales, nothing held out, and profiles meet in secure
sums alone: one assignment of spherical k-means (`fedrec.coldstart.similar_merchants`), before
any training.  Each group then is a federation of its own: a run over its merchants, or, for a
model that is solved, the sum within the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.similar_merchants import DIRECTIONS, FEWEST, group_merchants, profile_of
from fedrec.config import Scalar
from fedrec.config_sums import SUMMED
from fedrec.errors import ConfigError, DataError, nearest
from fedrec.merchants import solved, trained
from fedrec.merchants.chosen import Candidate
from fedrec.merchants.mixed import by_merchant
from fedrec.merchants.ranked import Field
from fedrec.run import OnEvent, read_system
from fedrec.storage import RunDirectory
from fedrec.training.node import Setup

CLUSTERED = "clustered"


@dataclass(frozen=True, eq=False)
class Clusters:
    """Who trains with whom.

    Attributes:
        of: int64 [M], the group of each merchant, from 0.
        asked: groups that were asked for.
        by: the attribute whose shares make a profile.
        fewest: no group has fewer merchants.
        bytes_up: float, what one merchant sent for the grouping.
    """

    of: NDArray[np.int64]
    asked: int
    by: str
    fewest: int
    bytes_up: float

    @property
    def members(self) -> tuple[NDArray[np.int64], ...]:
        """The merchants of each group, int64, ascending."""
        return tuple(np.flatnonzero(self.of == g) for g in range(int(self.of.max()) + 1))

    @property
    def merged(self) -> str:
        """Why there are fewer groups than asked for; "" if there are not."""
        found = len(self.members)
        if found == self.asked:
            return ""
        return (
            f"{found} of {self.asked} groups: a group of fewer than {self.fewest} merchants would "
            "tell too much of each, so its merchants were put to the likest other group"
        )

    @property
    def statement(self) -> str:
        """What grouping and training in groups reveal."""
        sizes = ", ".join(str(len(m)) for m in self.members)
        return (
            f"Which merchants sell alike is known to all that take part, with the mean shares of "
            f"{self.by} in sales of each group and of all, and how many merchants fall on each "
            f"side of {DIRECTIONS} random cuts; no single profile is. A sum is over the merchants "
            f"of a group ({sizes}) instead of all {len(self.of)}: each hides among fewer."
        )

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what result.json tells of the groups."""
        return {
            "asked": self.asked,
            "by": self.by,
            "groups": [[names[m] for m in group.tolist()] for group in self.members],
            "merged": self.merged,
            "statement": self.statement,
            "bytes_up_per_merchant": self.bytes_up,
        }


def clusters_of(setup: Setup) -> Clusters | None:
    """Group the merchants of a configuration; None if it asks for no groups.

    Raises:
        ConfigError: if there are too few merchants, or so few alike that one group is left.
        DataError: if the items have no such attribute.
    """
    config, population = setup.config, setup.population
    section = config.merchants
    if not section.clusters:
        return None
    fewest, number = max(FEWEST, config.server.min_clients), population.num_clients
    asked = f"merchants.clusters = {section.clusters}"
    if number < fewest * section.clusters:
        raise ConfigError(
            f"{asked} needs {fewest * section.clusters} merchants or more, {fewest} in each group: "
            f"there are {number}. Lower it"
        )
    mode = "semi-honest" if config.secure.mode == "off" else config.secure.mode
    own = profiles(setup)
    found = group_merchants(
        own, seed=config.run.seed, mode=mode, groups=section.clusters, fewest=fewest
    )
    of = np.array([found.of_member(profile) for profile in own], np.int64)
    if len(found.members) < 2:
        raise ConfigError(
            f"{asked}: by merchants.cluster_by = {section.cluster_by!r} no two groups have "
            f"{fewest} of the {number} merchants each. Lower it, name another attribute, or set it "
            "to 0"
        )
    sent = sum(session.bytes_up for session in found.sessions) / number
    return Clusters(of, section.clusters, section.cluster_by, fewest, sent)


def profiles(setup: Setup) -> NDArray[np.float64]:
    """Return each merchant's shares of categories in its training sales, float64 [M, F].

    Raises:
        DataError: if the items have no such attribute of categories.
    """
    from scipy.sparse import csr_matrix

    population, name = setup.population, setup.config.merchants.cluster_by
    items = population.split.dataset.items
    fitting = [n for n, one in items.attributes.items() if one.kind == "category"]
    if name not in fitting:
        raise DataError(
            f"merchants.cluster_by = {name!r}: the items have no such attribute of categories."
            f"{nearest(name, fitting)}"
        )
    category = items.attributes[name].values.astype(np.int64)
    shape = (population.num_users, population.num_items)
    bought = csr_matrix(
        (np.ones(len(population.items)), population.items, population.indptr), shape
    )
    everyone = range(population.num_clients)
    return np.stack(
        [profile_of(bought[population.client_of_user == shop], category) for shop in everyone]
    )


def clustered_candidates(
    field: Field, clusters: Clusters, directory: Path, seed: int, engine: str, on_event: OnEvent
) -> list[Candidate]:
    """Return each merchant's customers scored by the model of its group.

    A model that is solved can be solved in every way that the own and the pooled one can; a
    model that is trained is that of the round which the group's run has selected.

    Args:
        field: merchants and customers.
        clusters: who trains with whom.
        directory: gets the runs of the groups.
        seed: of the runs.
        engine: of the runs.
        on_event: progress.
    """
    config = field.setup.config
    number = len(clusters.members)
    if config.train.method in SUMMED:
        grouped = replace(field, merchant=clusters.of[field.merchant])
        return [
            Candidate(way.label, solved.own_scorer(grouped, dict.fromkeys(range(number), way)))
            for way in solved.ways(config)
        ]
    models = []
    for place, shops in zip(_places(directory, clusters, seed), clusters.members, strict=True):
        together = " ".join(map(str, shops.tolist()))
        some: dict[str, Scalar] = {"merchants.only": together, "merchants.clusters": 0}
        trained.run_federated(config.with_(some), place, engine, on_event)
        system = read_system(place)
        scorer = trained.federated_scorer(field.setup, RunDirectory(place), system)
        models.append(Candidate(str(system.selected_round), scorer))
    rounds = "rounds " + ", ".join(model.label for model in models) + " of the groups"
    return [Candidate(rounds, by_merchant(field, models, clusters.of))]


def clustered_cost(
    cost: dict[str, Any], clusters: Clusters, directory: Path, seed: int, seconds: float
) -> dict[str, Any]:
    """Return the cost of the groups' runs: a mean over merchants, and seconds of all.

    Args:
        cost: of the federated run; a merchant of a group that sums once sends the same.
        clusters: who trains with whom.
        directory: with the runs of the groups.
        seed: of the runs.
        seconds: that all of it took.
    """
    places = [p for p in _places(directory, clusters, seed) if RunDirectory(p).system.is_file()]
    told = dict.fromkeys(cost) | {"total_s": seconds}
    runs = [read_system(place).cost for place in places] or [cost]
    for key in ("bytes_up_per_client", "bytes_down_per_client"):
        told[key] = fmean([run.get(key) or 0 for run in runs])
    return told


def _places(directory: Path, clusters: Clusters, seed: int) -> list[Path]:
    return [
        directory / f"{CLUSTERED}-group{g + 1}-seed{seed}" for g in range(len(clusters.members))
    ]
