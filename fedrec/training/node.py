"""What a node does in a round, as pure functions of the configuration and its input.

`clients/` calls these from Flower messages; comparisons call them directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, Scalar, integers
from fedrec.data.batches import Samples, draw_samples, make_blocks, sample_counts
from fedrec.data.domains import domain_items
from fedrec.data.population import Population
from fedrec.data.populations import load_population as load_population
from fedrec.evaluation.evaluator import rank_users, rate_users
from fedrec.evaluation.groups import members
from fedrec.evaluation.reduction import UserValues, sum_up
from fedrec.evaluation.sums import EvaluationSums
from fedrec.evaluation.unbiased import with_more
from fedrec.models.adapted import as_configured
from fedrec.models.build import build_model
from fedrec.models.pretrained import begin
from fedrec.models.recommender import Recommender, bound
from fedrec.params import PartialSum, Personal, Shared
from fedrec.privacy.policy import At, build_policy
from fedrec.robust.client import as_sent
from fedrec.robust.exposed import with_robust
from fedrec.training.aggregate import partial_sum, weight_exponent
from fedrec.training.closed_form import solve_cohort
from fedrec.training.cohort import CohortUpdate
from fedrec.training.compress import as_received, top_rows
from fedrec.training.customers import check_customers, train_customers
from fedrec.training.device import block_bytes, ready_device, train_in_parts
from fedrec.training.fairness import fairly_weighted
from fedrec.training.local import train_cohort
from fedrec.training.many_users import train_many_users
from fedrec.training.methods import Method, build_method
from fedrec.training.pooled import Pooled
from fedrec.training.prefetch import Ahead
from fedrec.training.provider_weights import begun, weighted
from fedrec.training.scorer import among
from fedrec.training.scoring import Scorer, rating_predictor
from fedrec.training.statistics import sums_like
from fedrec.training.widths import clients_at_once, row_width

_COPIES = 6  # float32 copies of a sample's rows that a training step holds at once


@dataclass(frozen=True, eq=False)
class Setup:
    """A configuration with all that it names, loaded and built.

    Attributes:
        config: the configuration.
        population: clients, training interactions, held-out items.
        model: the model, written for one client.
        method: which parameters move when.
    """

    config: Config
    population: Population
    model: Recommender
    method: Method

    @property
    def many_users(self) -> bool:
        """Whether a client hosts many users (merchant clients)."""
        return self.config.clients.unit != "user"

    @property
    def trainee(self) -> Recommender:
        """The model as a client trains it: pooled if it hosts many users."""
        return Pooled(self.model) if self.many_users else self.model


def prepare(config: Config) -> Setup:
    """Load the data, partition and split it, and build the model (all cached).

    Raises:
        FedrecError: if the configuration cannot be met.
    """
    neutral: dict[str, Scalar] = {"run.out": "", "run.name": "run", "run.tensorboard": False}
    return _prepare(config.with_(neutral))


@lru_cache(maxsize=8)
def _prepare(config: Config) -> Setup:
    ready_device(config)
    population = load_population(config)
    data = population.split.dataset
    model = bound(as_configured(config, build_model(config)), population.catalogue, data.users)
    check_customers(config, model)
    method = build_method(config, pairwise=model.pairwise, pooled=config.clients.unit != "user")
    return Setup(config, population, model, method)


def init_shared(setup: Setup) -> Shared:
    """Return the initial shared parameters, by the seed of the run or `model.pretrained`."""
    items = setup.population.split.dataset.items
    shared = begin(setup.config, setup.model.init_shared(items, setup.config.run.seed), items)
    return begun(shared, setup.population.num_items) if setup.config.server.exposure else shared


def in_round(setup: Setup, round_number: int) -> Setup:
    """Return the setup with the method of a round, where some rounds sum before others train."""
    if not setup.method.sums_first:
        return setup
    return replace(setup, method=setup.method.at(round_number))


def personal_users(setup: Setup, clients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the local users of clients, ascending, int64.

    The personal parameters of a node are stacked like these users (which are the
    clients themselves unless a client hosts many users).
    """
    return setup.population.users_of(clients)


def init_personal(setup: Setup, clients: NDArray[np.int64]) -> Personal:
    """Return initial personal parameters, stacked like `personal_users(setup, clients)`."""
    users = setup.population.address(personal_users(setup, clients))
    return setup.model.init_personal(users, setup.config.run.seed)


def training_blocks(setup: Setup, clients: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the blocks of clients of like size that are trained in one call each.

    Clients without samples are in none.
    """
    statistics = setup.method.statistics
    if statistics is not None:
        costs = statistics.costs(setup.population)[clients]
        for block in make_blocks(costs, 0, 1, block_bytes(setup.config) // (4 * _COPIES)):
            yield clients[block]
        return
    counts = sample_counts(setup.population, setup.method.sampling)[clients]
    width = sum(row_width(setup.model, r) for r in setup.model.row_inputs)
    width += int(getattr(setup.model, "activations", 0))
    limit = block_bytes(setup.config) // (4 * _COPIES * max(1, width))
    phases = [p for p in setup.method.phases if p.solver == "gradient"]
    batch = min(p.batch for p in phases)
    epochs = max(p.epochs for p in phases if p.batch == batch)
    controls = setup.method.controls
    dense = controls or any(p.prox_mu > 0 or p.optimizer != "sgd" for p in phases)
    whole = setup.population.num_items if controls else 0
    most = clients_at_once(setup.model, block_bytes(setup.config) // _COPIES, whole)
    for block in make_blocks(counts, batch, epochs, limit, alike=dense):
        for at in range(0, len(block), most):
            yield clients[block[at : at + most]]


def train_node(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
    at: At | None = None,
) -> tuple[PartialSum, Personal]:
    """Train the chosen clients of a node for one round, and bound their updates.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        round_number: the round, from 1.
        at: clip norm and key of the privacy policy; None: as the configuration says,
            with draws that follow from its seed.

    Returns:
        The partial sum of the clients' updates, and the new personal parameters.
    """
    setup = in_round(setup, round_number)
    policy = build_policy(setup.config, setup.population.num_clients)
    at = at or policy.at(round_number)
    updates, now = client_updates(setup, shared, personal, clients, round_number, at)
    like = sums_like(setup.method.statistics, shared)
    total = partial_sum((u for _, u in updates), like, weight_exponent(setup.config))
    return policy.on_cohort(total, like, clients, at), now


def client_updates(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
    at: At,
) -> tuple[Iterator[tuple[NDArray[np.int64], CohortUpdate]], Personal]:
    """Return blocks of clients and their updates as sent, and what becomes personal by and by.

    Malicious clients attack (`robust.attack`); then every update is bounded, and compressed.
    """
    setup = in_round(setup, round_number)
    policy = build_policy(setup.config, setup.population.num_clients)
    users = personal_users(setup, clients)
    values = {name: value.copy() for name, value in personal.values.items()}
    own = {name: value.copy() for name, value in personal.own.items()}
    now = Personal(values, own)
    ahead = Ahead(lambda b: block_samples(setup, b, round_number), on=setup.config.train.prefetch)

    def train(block: NDArray[np.int64]) -> tuple[CohortUpdate, Personal]:
        mine = np.searchsorted(users, personal_users(setup, block))
        held = now.take(mine, np.searchsorted(clients, block))
        if policy.by_customer:
            bounded = partial(policy.on_customers, at=at)
            return train_customers(setup, shared, held, block, ahead.take(block), bounded)
        return train_block(setup, shared, held, block, round_number, samples=ahead.take(block))

    def sent(block: NDArray[np.int64], update: CohortUpdate) -> CohortUpdate:
        start = partial(init_shared, setup)
        update = as_sent(setup.config, setup.population, shared, update, block, round_number, start)
        update = fairly_weighted(setup.config, setup.method, update)
        if policy.by_customer:
            return update
        update = policy.on_update(top_rows(update, setup.config.compress.rows), block, at)
        if setup.config.secure.mode == "off":
            update = as_received(setup.config, update, shared, block, round_number)
        return policy.within(update, at)

    def updates() -> Iterator[tuple[NDArray[np.int64], CohortUpdate]]:
        with closing(ahead.over(training_blocks(setup, clients))) as blocks:
            for block, (update, new) in train_in_parts(blocks, train):
                mine = np.searchsorted(users, personal_users(setup, block))
                for name, value in new.values.items():
                    values[name][mine] = value
                for name, value in new.own.items():
                    own[name][np.searchsorted(clients, block)] = value
                yield block, sent(block, update)

    return updates(), now


def block_samples(setup: Setup, clients: NDArray[np.int64], round_number: int) -> Samples:
    """Draw the samples of a block of clients (int64 [C], ascending) for a round."""
    seed, sampling = setup.config.run.seed, setup.method.sampling
    return draw_samples(setup.population, clients, seed, round_number, sampling)


def train_block(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
    *,
    copies: NDArray[np.int64] | None = None,
    samples: Samples | None = None,
) -> tuple[CohortUpdate, Personal]:
    """Train one block of clients; each client's update stays its own.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        round_number: the round.
        copies: int64 [C]: tables hold copies [copies * I, d], one after the other, and
            this is the one that each client trains on; None: there is one.
        samples: as `block_samples` draws them; None: they are drawn now.

    Returns:
        The updates, and the new personal parameters.
    """
    setup = in_round(setup, round_number)
    if samples is None:
        samples = block_samples(setup, clients, round_number)
    samples = weighted(samples, shared)
    if setup.method.fresh:  # nothing is carried over from earlier rounds
        personal = init_personal(setup, clients)
    if shared.guides is not None:
        shared = replace(shared, guides=shared.guides.take(clients))
    if copies is not None:
        shift = copies[samples.client] * setup.population.num_items
        fields = {n: v if n == "user" else v + shift for n, v in samples.fields.items()}
        samples = replace(samples, fields=fields)
    method = setup.method.at(round_number)
    if not setup.many_users or method.statistics is not None:
        update = train_cohort(
            setup.model, shared, personal, samples, method, solve_personal=solve_cohort
        )
        return update, update.personal
    return train_many_users(setup, shared, personal, clients, samples)


def evaluate_node(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    part: str,
    *,
    bootstrap: int,
    round_number: int = 0,
) -> EvaluationSums:
    """Evaluate the clients of a node on their held-out items; only sums come out.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        part: "valid" or "test".
        bootstrap: number of bootstrap replicates, 0 for none.
        round_number: the round that `shared` comes from.

    Returns:
        Sums over users.

    Raises:
        ModelError: if scores are not finite.
    """
    from fedrec.training.tuning import client_scorer  # which trains by `train_block` above

    users = personal_users(setup, clients)
    scorer = client_scorer(setup, shared, personal, clients, round_number)
    return evaluate_scorer(setup, scorer, users, part, bootstrap=bootstrap)


def evaluate_scorer(
    setup: Setup, scorer: Scorer, users: NDArray[np.int64], part: str, *, bootstrap: int
) -> EvaluationSums:
    """Evaluate any scorer as the configuration asks: ratings or ranking.

    Args:
        setup: the prepared configuration.
        scorer: local users -> scores of all items.
        users: int64, local users to evaluate, ascending.
        part: "valid" or "test".
        bootstrap: number of bootstrap replicates, 0 for none.

    Returns:
        Sums over users.
    """
    values = measure(setup, scorer, users, part)
    explicit = setup.config.data.feedback == "explicit"
    num_items = 0 if explicit else setup.population.num_items
    return sum_up(values, bootstrap, num_items, user_groups(setup))


def measure(setup: Setup, scorer: Scorer, users: NDArray[np.int64], part: str) -> UserValues:
    """Evaluate users as the configuration asks, and keep the values of each apart.

    Args:
        setup: the prepared configuration.
        scorer: local users -> scores of all items.
        users: int64, local users, ascending.
        part: "valid" or "test".
    """
    config, population = setup.config, setup.population
    held_out = population.held_out(part)
    if config.data.feedback == "explicit":
        return rate_users(rating_predictor(scorer), held_out, users)
    if config.evaluate.candidates == "new":
        scorer = among(scorer, np.unique(held_out.items))
    if config.domain.by:
        scorer = among(scorer, domain_items(population.split.dataset, config.domain))
    values = rank_users(
        scorer, held_out, users, num_items=population.num_items, ks=integers(config, "evaluate.k"),
        sampled=config.evaluate.sampled, seed=config.run.seed, part=part,
    )  # fmt: skip
    values = with_robust(config, population, scorer, values)
    return with_more(config, population, scorer, values, part)


def user_groups(setup: Setup) -> dict[str, NDArray[np.int32]]:
    """Return the groups of users that are compared: name -> int32 [U], non-zero for members."""
    config = setup.config
    if not config.evaluate.group or config.data.feedback == "explicit":
        return {}
    return members(setup.population.split.dataset.users, config.evaluate.group)
