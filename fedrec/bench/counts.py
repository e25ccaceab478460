"""What a run is made of, counted before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.batches import Sampling, sample_counts
from fedrec.data.population import Population
from fedrec.evaluation.evaluator import user_blocks
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.secure.graph import choose
from fedrec.training.node import Setup, load_population, prepare, training_blocks


@dataclass(frozen=True)
class Counts:
    """The counts of a run.

    Attributes:
        clients: that train in a round, on average.
        samples: that they train on.
        rows: of tables that they touch, each client for itself.
        blocks: of clients, each trained by one call.
        steps: one after the other, those of the longest client of each block, over all phases.
        block_samples: of the largest block.
        elements: of all tables and dense weights.
        personal: elements of all personal parameters.
        users: that a validation ranks.
        tested: users that the test ranks.
        items: I.
        block_cells: users times items of the largest block that is ranked at once.
        interactions: in the training data, if memory must hold them; else 0.
        mapped: those in mapped files, whose pages the system drops when it needs the memory.
        neighbours: of a client in secure aggregation; 0 without.
        valid_neighbours: likewise, in a secure validation.
        test_neighbours: likewise, in a secure test.
        nodes: Flower nodes.
        rounds: of the run.
        evaluations: validations among them.
        checkpoints: written.
    """

    clients: float
    samples: float
    rows: float
    blocks: int
    steps: int
    block_samples: int
    elements: int
    personal: int
    users: int
    tested: int
    items: int
    block_cells: int
    interactions: int
    mapped: int
    neighbours: int
    valid_neighbours: int
    test_neighbours: int
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
    widths = sum(t.shape[1] for g in (shared.tables, shared.fixed) for t in g.values())
    dense = sum(weight.size for weight in shared.weights.values())
    own = setup.model.init_personal(np.zeros(1, np.int64), 0)
    sampling = setup.method.sampling
    rounds = config.train.rounds
    blocks, steps, largest = _work(setup, round(clients))
    tested, mapped = len(population.test.users), _is_mapped(population.items)
    asked = config.evaluate.clients
    return Counts(
        clients=clients,
        samples=float(sample_counts(population, sampling).mean()) * clients,
        rows=_rows(population, sampling) * clients,
        blocks=blocks,
        steps=steps,
        block_samples=largest,
        elements=widths * population.num_items + dense,
        personal=population.num_users * sum(v.size for v in own.values.values()),
        users=min(tested, asked) if asked else tested,
        tested=tested,
        items=population.num_items,
        block_cells=next((b - a for a, b in user_blocks(tested, population.num_items)), 0)
        * population.num_items,
        interactions=0 if mapped else len(population.items),
        mapped=len(population.items) if mapped else 0,
        neighbours=_neighbours(config, chosen),
        valid_neighbours=_neighbours(config, min(asked, everyone) if asked else everyone),
        test_neighbours=_neighbours(config, everyone),
        nodes=config.engine.nodes,
        rounds=rounds,
        evaluations=_times(rounds, config.evaluate.every),
        checkpoints=_times(rounds, config.server.checkpoint_every),
    )


def _work(setup: Setup, clients: int) -> tuple[int, int, int]:
    """Return blocks, steps and samples of the largest block of a round of drawn clients.

    The blocks are those that the nodes would train: a phase without mini-batches takes one
    step an epoch, another one as many as its longest client has batches.
    """
    everyone = setup.population.num_clients
    draws = generator(0, 0, NO_CLIENT, Purpose.SAMPLING)
    chosen = np.sort(draws.choice(everyone, min(max(1, clients), everyone), replace=False))
    counts = sample_counts(setup.population, setup.method.sampling)
    phases = [p for p in setup.method.phases if p.solver == "gradient"]
    blocks = steps = largest = 0
    for node in range(setup.config.engine.nodes):
        hosted = chosen[chosen % setup.config.engine.nodes == node]
        for block in training_blocks(setup, hosted):
            most = int(counts[block].max())
            blocks += 1
            steps += sum(p.epochs * (-(-most // p.batch) if p.batch else 1) for p in phases)
            largest = max(largest, int(counts[block].sum()))
    return blocks, steps, largest


def _is_mapped(array: NDArray) -> bool:
    """Return whether an array lies in a file."""
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


def _times(rounds: int, every: int) -> int:
    """Return how often something happens that is done every few rounds, and in the last."""
    return rounds // every + (rounds % every > 0)


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
        term: "round" (without evaluation and checkpoint), "evaluate" (once), "test" (the
            same counts, of the test), "checkpoint" (once), "end" (start, export, and of the
            test what a validation does not have), or "bytes" (of a round, in one direction).

    Returns:
        One number for each coefficient, in a fixed order.
    """
    c = counts
    messages = c.elements * (1 + c.nodes) / 2  # every node gets them; the server applies once
    dense = c.clients * c.elements if c.neighbours else 0.0  # encoded, packed, added up
    pairs = c.clients * c.neighbours  # key agreements, sealed shares
    told = c.tested * c.test_neighbours  # pairs of a secure test
    return {
        "round": [1.0, c.clients, c.samples, c.blocks, c.steps, messages,
                  pairs, dense, pairs * c.elements],
        "evaluate": [1.0, c.users, float(c.users) * c.items, c.users * c.valid_neighbours],
        "checkpoint": [1.0, c.elements + c.personal],
        "test": [1.0, c.tested, float(c.tested) * c.items, told],
        "end": [1.0, c.tested, c.elements + c.personal, float(told) * c.items],
        "bytes": [c.clients, c.rows, c.clients * c.elements, pairs],
    }[term]  # fmt: skip


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
