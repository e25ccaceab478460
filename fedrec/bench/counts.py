"""What a run is made of, counted before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedrec.config import Config
from fedrec.data.batches import Sampling, sample_counts
from fedrec.data.population import Population
from fedrec.secure.graph import choose
from fedrec.training.node import load_population, prepare


@dataclass(frozen=True)
class Counts:
    """The counts of a run.

    Attributes:
        clients: that train in a round, on average.
        samples: that they train on.
        rows: of tables that they touch, each client for itself.
        elements: of all tables and dense weights.
        personal: elements of all personal parameters.
        users: that an evaluation ranks.
        items: I.
        interactions: in the training data.
        neighbours: of a client in secure aggregation; 0 without.
        nodes: Flower nodes.
        rounds: of the run.
        evaluations: validations among them.
        checkpoints: written.
    """

    clients: float
    samples: float
    rows: float
    elements: int
    personal: int
    users: int
    items: int
    interactions: int
    neighbours: int
    nodes: int
    rounds: int
    evaluations: int
    checkpoints: int


def count(config: Config) -> Counts:
    """Count what a run is made of; its data are loaded.

    Raises:
        FedrecError: if the data or the model cannot be had.
    """
    setup = prepare(config)
    population, section = setup.population, config.clients
    everyone = population.num_clients
    chosen = everyone if section.sampling == "all" else min(section.per_round, everyone)
    clients = chosen * (1 - section.dropout)
    if section.sampling == "all":
        clients *= section.availability
    one = population.split.dataset.items.take(np.zeros(1, np.int64))
    shared = setup.model.init_shared(one, 0)
    widths = sum(table.shape[1] for table in shared.tables.values())
    dense = sum(weight.size for weight in shared.weights.values())
    own = setup.model.init_personal(np.zeros(1, np.int64), 0)
    sampling = setup.method.sampling
    rounds = config.train.rounds
    return Counts(
        clients=clients,
        samples=float(sample_counts(population, sampling).mean()) * clients,
        rows=_rows(population, sampling) * clients,
        elements=widths * population.num_items + dense,
        personal=population.num_users * sum(v.size for v in own.values.values()),
        users=_evaluated(config, population),
        items=population.num_items,
        interactions=len(population.items),
        neighbours=_neighbours(config, chosen),
        nodes=config.engine.nodes,
        rounds=rounds,
        evaluations=_times(rounds, config.evaluate.every),
        checkpoints=_times(rounds, config.server.checkpoint_every),
    )


def _times(rounds: int, every: int) -> int:
    """Return how often something happens that is done every few rounds, and in the last."""
    return rounds // every + (rounds % every > 0)


def _evaluated(config: Config, population: Population) -> int:
    users = len(population.test.users)
    return min(users, config.evaluate.clients) if config.evaluate.clients else users


def _rows(population: Population, sampling: Sampling) -> float:
    """Return how many distinct items a client touches, on average, in expectation.

    n interactions are n rows; K n uniform draws among the I - n others meet
    (I - n) (1 - (1 - 1 / (I - n)) ** (K n)) of them.
    """
    if sampling.all_items:
        return float(population.num_items)
    own = population.samples_of_client.astype(float)
    others = np.maximum(population.num_items - own, 0.0)
    missed = np.exp(-sampling.negatives * own / np.maximum(others, 1.0))
    return float(np.minimum(own + others * (1 - missed), population.num_items).mean())


def _neighbours(config: Config, clients: int) -> int:
    secure = config.secure
    if secure.mode == "off":
        return 0
    return choose(
        clients, secure.mode, secure.neighbours or None, secure.threshold or None
    ).neighbours


def features(counts: Counts, term: str) -> list[float]:
    """Return the counts that the seconds (or bytes) of a term are a sum of.

    Args:
        counts: of a run.
        term: "round" (without evaluation and checkpoint), "evaluate" (once),
            "checkpoint" (once), "end" (start, test and export), or "bytes" (of a round,
            in one direction).

    Returns:
        One number for each coefficient, in a fixed order.
    """
    c = counts
    messages = c.elements * (1 + c.nodes) / 2  # every node gets them; the server applies once
    masks = c.clients * (c.neighbours + 2) * c.elements if c.neighbours else 0.0
    ranked = [1.0, c.users, float(c.users) * c.items, float(c.users) * c.neighbours]
    return {
        "round": [1.0, c.clients, c.samples, messages, c.clients * c.neighbours, masks],
        "evaluate": ranked,
        "checkpoint": [1.0, c.elements + c.personal],
        "end": ranked,
        "bytes": [c.clients, c.rows, c.clients * c.elements, c.clients * c.neighbours],
    }[term]


def is_long(config: Config, samples: int = 20_000_000) -> bool:
    """Return whether a run trains on so many samples that its cost is worth foretelling.

    Loads the data.
    """
    if config.train.rounds == 0:
        return False
    population = load_population(config)
    explicit = config.data.feedback == "explicit"
    each = 1 if explicit else 1 + config.train.negatives
    share = 1.0
    if config.clients.sampling != "all":
        share = min(1.0, config.clients.per_round / population.num_clients)
    return len(population.items) * each * share * config.train.rounds >= samples
