"""Samples and batches of many clients at once, leak-free by construction.

A training sample is a function of training interactions and of addressed
randomness only.  The one exception is named so: ``legacy-leaky`` never draws a
held-out item as a negative, which tells the model what is held out; it exists to
reproduce published figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.funnel import without_events
from fedrec.data.population import Population, expand
from fedrec.data.support import query_interactions
from fedrec.data.touched import Touched
from fedrec.rng import Purpose, draw, integers, keys

_BITMAP_BYTES = 1 << 26
_ATTEMPT = 1 << 40  # distance between the counters of two attempts at one negative


@dataclass(frozen=True)
class Sampling:
    """How samples are made of interactions.

    Attributes:
        negatives: K, drawn for each interaction; 0 for ratings.
        pairwise: one sample is a (positive, negative) pair instead of one item.
        leaky: never draw held-out items (see the module).
        all_items: a client's samples are all items (closed-form methods).
        alpha: all_items: weight 1 + alpha of an interaction, 1 of the others.
        pooled: add the column "user" (centralised training, merchant clients).
        fixed: negatives are drawn once, the same in every round.
        window: L, samples are places of sequences in windows of L (see
            `fedrec.data.sequences`); 0: samples stand alone.
        ahead: A, the target of a place is drawn from the next A items.
        support: share of a client's interactions that are support, the others are query
            (see `fedrec.data.support`); 0: they are not split.
        propensity: exponent and clip of the weights of interactions (`propensity_weights`);
            None: all weigh the same.
        mask: window: chance that a place is masked in each of two views of its window, told
            by the label (see `fedrec.data.sequences`); 0: there are no views.
        known: never draw items that nobody has a training interaction with: they are new,
            and come after training.
        own: of merchants' customers: never draw items that the merchant has no training
            interaction with, as it does not sell them.
        views: samples stand in groups, and labels name the masks of two views of an item's
            attributes (see `fedrec.data.views`).
        levels: the label of an interaction is how far it got (`fedrec.data.funnel`), not 1;
            that of a negative is 0.
    """

    negatives: int = 4
    pairwise: bool = False
    leaky: bool = False
    all_items: bool = False
    alpha: float = 0.0
    pooled: bool = False
    fixed: bool = False
    window: int = 0
    ahead: int = 1
    mask: float = 0.0
    support: float = 0.0
    propensity: tuple[float, float] | None = None
    views: bool = False
    levels: bool = False
    known: bool = False
    own: bool = False


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a block of clients, client by client.

    Attributes:
        client: int64 [n], position of the client in the block, ascending.
        fields: column name -> int64 [n] ids ("item", "negative", "user").
        label: float32 [n].
        weight: float32 [n], relative weight of the sample.
        order: uint64 [n], addressed words that decide the order within a client.
        num_clients: C.
        touched: the item rows behind the fields, where they are known already.
        window: so many samples, one after the other, belong together (the places of a
            sequence), and stay together in this order.
        query: bool [n], samples of query interactions; None: they are not split.
    """

    client: NDArray[np.int64]
    fields: dict[str, NDArray[np.int64]]
    label: NDArray[np.float32]
    weight: NDArray[np.float32]
    order: NDArray[np.uint64]
    num_clients: int
    touched: Touched | None = None
    window: int = 1
    query: NDArray[np.bool_] | None = None


def _forbidden(
    population: Population, users: NDArray[np.int64], spec: Sampling
) -> NDArray[np.bool_]:
    """Return bool [M, I]: items that must not be drawn as negatives of `users`."""
    table = np.zeros((len(users), population.num_items), bool)

    def mark(indptr: NDArray[np.int64], items: NDArray, rows: NDArray, owners: NDArray) -> None:
        at = expand(indptr, rows)
        table[np.repeat(owners, indptr[rows + 1] - indptr[rows]), items[at]] = True

    everyone = np.arange(len(users))
    mark(population.indptr, population.items, users, everyone)
    for part in (population.valid, population.test) if spec.leaky else ():
        owners = np.flatnonzero(np.isin(users, part.users))
        mark(part.indptr, part.items, np.searchsorted(part.users, users[owners]), owners)
    if spec.known:
        table[:, population.new_items] = True
    if spec.own:
        table |= ~population.sold[population.shop_of_user[users]]
    return table


def draw_negatives(
    population: Population, users: NDArray[np.int64], seed: int, round_number: int, spec: Sampling
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw K negatives for each training interaction of some users.

    Uniform over the items that the user has no training interaction with, by
    rejection.  The draw depends on (seed, round, user, position, attempt) alone.

    Args:
        population: the clients.
        users: int64 [M], local users.
        seed: seed of the run.
        round_number: the round.
        spec: K and whether held-out items are avoided.

    Returns:
        int64 [n, K] items for the n interactions, user by user, and bool [n]:
        whether the user has any item left to draw (if not, item 0 stands there).
    """
    step = max(1, _BITMAP_BYTES // max(1, population.num_items))
    parts = [
        _draw_block(population, users[at : at + step], seed, round_number, spec)
        for at in range(0, len(users), step)
    ]
    if not parts:
        return np.zeros((0, spec.negatives), np.int64), np.zeros(0, bool)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _draw_block(
    population: Population, users: NDArray[np.int64], seed: int, round_number: int, spec: Sampling
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    counts = population.indptr[users + 1] - population.indptr[users]
    owner = np.repeat(np.arange(len(users)), counts)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    forbidden = _forbidden(population, users, spec)
    possible = (np.count_nonzero(forbidden, axis=1) < population.num_items)[owner]
    drawn_in = 0 if spec.fixed else round_number
    key = keys(seed, drawn_in, population.address(users), Purpose.NEGATIVES)[owner]
    counter = (position[:, None] * spec.negatives + np.arange(spec.negatives)).ravel()
    key, owner = np.repeat(key, spec.negatives), np.repeat(owner, spec.negatives)
    items = integers(draw(key, counter), population.num_items)
    flat, base = forbidden.ravel(), owner * population.num_items
    pending = np.flatnonzero(flat[base + items] & np.repeat(possible, spec.negatives))
    attempt = 0
    while len(pending):
        attempt += 1
        again = integers(
            draw(key[pending], counter[pending] + attempt * _ATTEMPT), population.num_items
        )
        items[pending] = again
        pending = pending[flat[base[pending] + again]]
    items[np.repeat(~possible, spec.negatives)] = 0
    return items.reshape(-1, spec.negatives), possible


def draw_samples(
    population: Population,
    clients: NDArray[np.int64],
    seed: int,
    round_number: int,
    spec: Sampling,
) -> Samples:
    """Return the training samples of some clients for one round.

    Args:
        population: the clients.
        clients: int64 [C], ascending.
        seed: seed of the run.
        round_number: the round.
        spec: how samples are made.

    Returns:
        The samples, client by client; where they are fixed, they are kept from round to
        round, which changes nothing but the time it takes.
    """
    from fedrec.data.fixed import fixed_samples  # which draws by `make_samples` below

    kept = fixed_samples(population, seed, spec)
    if kept is not None:
        return kept.take(clients, round_number)
    return make_samples(population, clients, seed, round_number, spec)


def make_samples(
    population: Population,
    clients: NDArray[np.int64],
    seed: int,
    round_number: int,
    spec: Sampling,
) -> Samples:
    """Draw the training samples of some clients; arguments as for `draw_samples`."""
    users = population.users_of(clients)
    if spec.all_items:
        return _all_items(population, users, spec)
    position = np.searchsorted(clients, population.client_of_user[users])
    by_client = np.argsort(position, kind="stable")
    users, position = users[by_client], position[by_client]
    if spec.window:
        from fedrec.data.sequences import window_samples  # which draws negatives as here

        return window_samples(population, users, position, len(clients), seed, round_number, spec)
    counts = population.indptr[users + 1] - population.indptr[users]
    at = expand(population.indptr, users)
    items = population.items[at].astype(np.int64)[:, None]
    label = _labels(population, spec)[at].astype(np.float32)[:, None]
    weight = np.ones_like(label)
    if spec.propensity:
        weight = propensity_weights(population.item_counts, *spec.propensity)[items]
    fields = {"item": items}
    if spec.negatives:
        negatives, possible = draw_negatives(population, users, seed, round_number, spec)
        usable = np.repeat(possible[:, None], spec.negatives, 1).astype(np.float32)
        if spec.pairwise:
            fields = {"item": np.repeat(items, spec.negatives, 1), "negative": negatives}
            label, weight = np.ones_like(usable), usable * weight
        else:
            fields = {"item": np.concatenate([items, negatives], 1)}
            label = np.concatenate([label, np.zeros_like(usable)], 1)
            weight = np.concatenate([weight, usable], 1)
    width = label.shape[1]
    owner = np.repeat(np.repeat(np.arange(len(users)), counts), width)
    if spec.pooled:
        fields["user"] = users[owner].reshape(label.shape)
    addresses = population.address(users)
    order = shuffling_words(seed, round_number, addresses, counts * width)
    columns = {name: value.ravel() for name, value in fields.items()}
    query = None
    if spec.support:
        query = query_interactions(seed, round_number, addresses, counts, spec.support)
        query = np.repeat(query, width)  # negatives go with their positive
    client = position[owner]
    flat = (label.ravel(), weight.ravel(), order)
    samples = Samples(client, columns, *flat, len(clients), query=query)
    if spec.views:
        from fedrec.data.views import in_groups  # which takes samples as made here

        return in_groups(samples, users, counts * width, width, seed, round_number)
    return samples


def propensity_weights(
    counts: NDArray[np.int64], exponent: float, clip: float
) -> NDArray[np.float32]:
    """Return the weights of items against popularity bias.

    An item is met with a propensity taken as (n_i / max n)**exponent, and an interaction
    weighs the inverse (Schnabel et al., ICML 2016; Saito et al., WSDM 2020, who take the
    exponent 0.5), at most `clip`.  Weights are then scaled so that those of all training
    interactions have the mean 1, which keeps learning rates what they were.

    Args:
        counts: int64 [I], training interactions of each item; a sum over clients.
        exponent: above 0.
        clip: largest inverse propensity.
    """
    share = np.maximum(counts, 1) / max(int(counts.max(initial=1)), 1)
    weights = np.minimum(share**-exponent, clip)
    mean = float(counts @ weights) / max(int(counts.sum()), 1)
    return (weights / (mean or 1.0)).astype(np.float32)


def _labels(population: Population, spec: Sampling) -> NDArray:
    """Return the labels of all training interactions, [T]."""
    if not spec.levels:
        return population.labels
    if population.levels is None:
        raise without_events(population.split.dataset.name, "labels of several tasks")
    return population.levels


def shuffling_words(
    seed: int, round_number: int, users: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the words that decide the order of each user's samples, one user after the other.

    Args:
        seed: seed of the run.
        round_number: the round.
        users: int64 [M].
        counts: int64 [M], samples of each.
    """
    key = np.repeat(keys(seed, round_number, users, Purpose.SHUFFLE), counts)
    return draw(key, np.arange(len(key)) - np.repeat(np.cumsum(counts) - counts, counts))


def _all_items(population: Population, users: NDArray[np.int64], spec: Sampling) -> Samples:
    """Every item is a sample of every client (user clients only), in item order."""
    shape = (len(users), population.num_items)
    label = np.zeros(shape, np.float32)
    at = expand(population.indptr, users)
    counts = population.indptr[users + 1] - population.indptr[users]
    owner = np.arange(len(users))
    label[np.repeat(owner, counts), population.items[at]] = population.labels[at]
    items = np.tile(np.arange(population.num_items), len(users))
    return Samples(
        np.repeat(owner, population.num_items),
        {"item": items},
        label.ravel(),
        (1.0 + spec.alpha * label).ravel(),
        items.astype(np.uint64),
        len(users),
    )


def sample_counts(population: Population, spec: Sampling) -> NDArray[np.int64]:
    """Return the number of samples of each client in a round, int64 [num_clients]."""
    if spec.all_items:
        return np.full(population.num_clients, population.num_items, np.int64)
    if spec.window:
        from fedrec.data.sequences import window_counts

        size = window_counts(np.diff(population.indptr), spec.window) * spec.window
        return np.bincount(population.client_of_user, size, population.num_clients).astype(np.int64)
    width = max(1, spec.negatives) if spec.pairwise else 1 + spec.negatives
    if spec.views:
        from fedrec.data.views import grouped_counts

        size = grouped_counts(np.diff(population.indptr) * width, width)
        return np.bincount(population.client_of_user, size, population.num_clients).astype(np.int64)
    return population.samples_of_client * width


def make_blocks(
    counts: NDArray[np.int64], batch: int, epochs: int, max_samples: int, *, alike: bool = False
) -> list[NDArray[np.int64]]:
    """Cut clients into blocks, those with like numbers of steps together.

    Args:
        counts: int64 [C], samples of each client.
        batch: samples a step, 0 for all.
        epochs: passes.
        max_samples: samples that a block may hold; one client may exceed it.
        alike: in a block, numbers of steps differ by at most about a quarter, for
            training whose every step costs all rows of all clients.

    Returns:
        Positions [C'] of the clients of each block, ascending; clients without
        samples are in none.
    """
    some = np.flatnonzero(counts > 0)
    steps = -(-counts[some] // batch) if batch else np.ones(len(some), np.int64)
    kind = np.floor(np.log(steps) / np.log(1.25)).astype(np.int64)
    order = np.argsort(steps, kind="stable")
    held = np.cumsum(counts[some][order] * (epochs if batch else 1))
    blocks = []
    first = 0
    while first < len(order):
        before = held[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(held, before + max_samples, "right")))
        if alike:
            other = np.flatnonzero(kind[order[first:last]] != kind[order[first]])
            last = first + int(other[0]) if len(other) else last
        blocks.append(np.sort(some[order[first:last]]))
        first = last
    return blocks
