"""Samples are leak-free, batches complete, and neither depends on who else is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedrec.data.batches import (
    Samples,
    Sampling,
    draw_negatives,
    draw_samples,
    make_blocks,
    sample_counts,
)
from fedrec.data.population import Population
from fedrec.data.tiles import lay_out
from tests.training.cohorts import population_of, random_population

ITEMS = 12
SPECS = (
    Sampling(negatives=3),
    Sampling(negatives=2, pairwise=True),
    Sampling(negatives=0),
    Sampling(negatives=0, all_items=True, alpha=2.0),
    Sampling(negatives=1, pooled=True),
)


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Up to six users with disjoint training, validation and test items."""
    parts: tuple[list, list, list] = ([], [], [])
    for _ in range(draw(st.integers(1, 6))):
        items = draw(st.permutations(range(ITEMS)))
        first, second = sorted(draw(st.tuples(st.integers(1, ITEMS), st.integers(1, ITEMS))))
        parts[0].append(items[:first])
        parts[1].append(items[first:second])
        parts[2].append(items[second : second + 2])
    return population_of(*parts, num_items=ITEMS)


def everyone(population: Population) -> np.ndarray:
    return np.arange(population.num_clients)


def columns(samples: Samples) -> dict[str, list]:
    return {
        "client": samples.client.tolist(),
        **{name: value.tolist() for name, value in samples.fields.items()},
        "label": samples.label.tolist(),
        "weight": samples.weight.tolist(),
        "order": samples.order.tolist(),
    }


def other_held_out(population: Population, generator: np.random.Generator) -> Population:
    """The same training items; what is held out is drawn anew."""
    train = np.split(population.items, population.indptr[1:-1])
    parts: list[list[np.ndarray]] = [[], []]
    for items in train:
        rest = generator.permutation(np.setdiff1d(np.arange(ITEMS), items))
        cut = sorted(generator.integers(0, len(rest) + 1, 2))
        parts[0].append(rest[: cut[0]])
        parts[1].append(rest[cut[0] : cut[1]])
    return population_of(train, *parts, num_items=ITEMS)


@given(populations(), st.integers(0, 2**31), st.sampled_from(SPECS))
def test_held_out_items_change_no_training_batch(
    population: Population, seed: int, spec: Sampling
) -> None:
    other = other_held_out(population, np.random.default_rng(seed))
    ours = draw_samples(population, everyone(population), 3, 1, spec)
    theirs = draw_samples(other, everyone(population), 3, 1, spec)
    assert columns(ours) == columns(theirs)
    first, second = lay_out(ours, 4, 2, 3), lay_out(theirs, 4, 2, 3)
    assert (first.weight == second.weight).all()
    assert (first.source == second.source).all()


@given(populations())
def test_legacy_leaky_never_draws_a_held_out_item(population: Population) -> None:
    spec = Sampling(negatives=3, leaky=True)
    users = everyone(population)
    negatives, possible = draw_negatives(population, users, 0, 1, spec)
    owner = np.repeat(users, np.diff(population.indptr))
    for user, drawn, some in zip(owner, negatives, possible, strict=True):
        known = set(population.items[population.indptr[user] : population.indptr[user + 1]])
        for part in (population.valid, population.test):
            for e in np.flatnonzero(part.users == user):
                known |= set(part.items[part.indptr[e] : part.indptr[e + 1]])
        assert some == (len(known) < ITEMS)
        assert not some or not known & set(drawn.tolist())


def test_legacy_leaky_depends_on_what_is_held_out() -> None:
    train = [[0, 1, 2, 3]]
    first, second = (population_of(train, [[v]], [[9]], ITEMS) for v in (5, 6))
    user = np.array([0])
    leaky, honest = Sampling(negatives=50, leaky=True), Sampling(negatives=50)
    draws = [draw_negatives(p, user, 0, 1, leaky)[0] for p in (first, second)]
    assert (draws[0] != draws[1]).any()
    draws = [draw_negatives(p, user, 0, 1, honest)[0] for p in (first, second)]
    assert (draws[0] == draws[1]).all()
    assert {5, 6, 9} <= set(draws[0].ravel().tolist())


@given(populations(), st.integers(1, 5))
def test_negatives_are_never_training_items(population: Population, count: int) -> None:
    users = everyone(population)
    negatives, possible = draw_negatives(population, users, 7, 2, Sampling(negatives=count))
    owner = np.repeat(users, np.diff(population.indptr))
    assert negatives.shape == (len(population.items), count)
    for user, drawn, some in zip(owner, negatives, possible, strict=True):
        mine = population.items[population.indptr[user] : population.indptr[user + 1]]
        assert some == (len(mine) < ITEMS)
        assert not some or not set(mine) & set(drawn.tolist())


def test_negatives_are_uniform_over_the_other_items() -> None:
    """Chi-square over 4 users x 600 draws each, and over rounds; derandomised."""
    population = random_population((1, 5, 11, 20), 30)
    users = np.arange(4)
    for user in users:
        mine = population.items[population.indptr[user] : population.indptr[user + 1]]
        counts = np.zeros(30)
        for number in range(1, 40):
            drawn, _ = draw_negatives(population, users, 0, number, Sampling(negatives=40))
            at = slice(*population.indptr[user : user + 2])
            counts += np.bincount(drawn[at].ravel(), minlength=30)
        others = np.setdiff1d(np.arange(30), mine)
        assert counts[mine].sum() == 0
        assert chisquare(counts[others]).pvalue > 0.001


def test_negatives_are_drawn_anew_in_each_round_and_for_each_seed() -> None:
    population = random_population((10, 10), 60)
    spec, users = Sampling(negatives=4), np.arange(2)
    first = draw_negatives(population, users, 0, 1, spec)[0]
    assert (first == draw_negatives(population, users, 0, 1, spec)[0]).all()
    assert (first != draw_negatives(population, users, 0, 2, spec)[0]).mean() > 0.9
    assert (first != draw_negatives(population, users, 1, 1, spec)[0]).mean() > 0.9
    assert (first[:10] != first[10:]).mean() > 0.9


def test_no_users_no_negatives() -> None:
    population = random_population((3,), 9)
    items, possible = draw_negatives(population, np.zeros(0, np.int64), 0, 1, Sampling(negatives=2))
    assert items.shape == (0, 2)
    assert possible.shape == (0,)


@given(populations(), st.sampled_from(SPECS[:3]), st.data())
def test_samples_do_not_depend_on_who_else_is_there(
    population: Population, spec: Sampling, data: st.DataObject
) -> None:
    together = draw_samples(population, everyone(population), 5, 3, spec)
    chosen = sorted(data.draw(st.sets(st.sampled_from(everyone(population).tolist()), min_size=1)))
    apart = draw_samples(population, np.array(chosen), 5, 3, spec)
    for position, client in enumerate(chosen):
        mine, theirs = apart.client == position, together.client == client
        for name in together.fields:
            assert (apart.fields[name][mine] == together.fields[name][theirs]).all()
        assert (apart.label[mine] == together.label[theirs]).all()
        assert (apart.weight[mine] == together.weight[theirs]).all()
        assert (apart.order[mine] == together.order[theirs]).all()


def test_samples_by_hand() -> None:
    population = population_of([[4, 2], [0, 1, 2, 3, 4, 5]], num_items=6)
    one = draw_samples(population, np.arange(2), 0, 1, Sampling(negatives=2))
    assert one.client.tolist() == [0] * 6 + [1] * 18
    assert one.fields["item"][[0, 3]].tolist() == [4, 2]
    assert one.label.tolist() == [1.0, 0.0, 0.0] * 8
    assert one.weight[:6].tolist() == [1.0] * 6
    assert one.weight[6:].tolist() == [1.0, 0.0, 0.0] * 6  # has all items: no negative
    pairs = draw_samples(population, np.arange(2), 0, 1, Sampling(negatives=2, pairwise=True))
    assert pairs.fields["item"][:4].tolist() == [4, 4, 2, 2]
    assert pairs.label.tolist() == [1.0] * 16
    assert pairs.weight.tolist() == [1.0] * 4 + [0.0] * 12
    whole = draw_samples(population, np.array([0]), 0, 1, SPECS[3])
    assert whole.fields["item"].tolist() == [0, 1, 2, 3, 4, 5]
    assert whole.label.tolist() == [0, 0, 1, 0, 1, 0]
    assert whole.weight.tolist() == [1, 1, 3, 1, 3, 1]  # 1 + alpha for an interaction


def test_ratings_are_their_own_samples() -> None:
    population = population_of([[3, 1], [2]], ratings=True, num_items=5)
    samples = draw_samples(population, np.arange(2), 0, 1, Sampling(negatives=0))
    assert samples.fields["item"].tolist() == [3, 1, 2]
    assert samples.label.tolist() == [2.0, 3.0, 1.0]
    assert samples.weight.tolist() == [1.0] * 3


def test_clients_of_many_users_name_the_user() -> None:
    population = population_of([[0], [1, 2], [3]], num_items=6, clients=[1, 0, 1])
    samples = draw_samples(population, np.arange(2), 0, 1, Sampling(negatives=1, pooled=True))
    assert samples.client.tolist() == [0] * 4 + [1] * 4
    assert samples.fields["user"].tolist() == [1, 1, 1, 1, 0, 0, 2, 2]
    assert samples.fields["item"][::2].tolist() == [1, 2, 0, 3]


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=40),
    st.integers(0, 300),
    st.integers(1, 3),
    st.integers(1, 20000),
    st.booleans(),
)
def test_blocks_hold_each_client_once(
    counts: list[int], batch: int, epochs: int, limit: int, alike: bool
) -> None:
    sizes = np.array(counts)
    blocks = make_blocks(sizes, batch, epochs, limit, alike=alike)
    members = np.concatenate([*blocks, np.zeros(0, np.int64)])
    assert sorted(members) == np.flatnonzero(sizes).tolist()
    last = 0
    for block in blocks:
        assert (np.diff(block) > 0).all()
        assert len(block) == 1 or sizes[block].sum() * (epochs if batch else 1) <= limit
        steps = -(-sizes[block] // batch) if batch else np.ones(len(block))
        assert steps.min() >= last
        last = steps.max()
        assert not alike or steps.max() <= 1.25 * steps.min() + 1e-9


def test_as_few_blocks_as_fit() -> None:
    blocks = make_blocks(np.array([3, 9, 4, 2]), 0, 1, 9)
    assert [b.tolist() for b in blocks] == [[0], [1], [2, 3]]  # all of one step: their order
    blocks = make_blocks(np.array([3, 9, 4, 2]), 4, 1, 9)
    assert [b.tolist() for b in blocks] == [[0, 2, 3], [1]]


@pytest.mark.parametrize("spec", SPECS)
def test_sample_counts_are_those_of_the_samples(spec: Sampling) -> None:
    population = random_population((3, 1, 6), ITEMS)
    samples = draw_samples(population, np.arange(3), 0, 1, spec)
    expected = np.bincount(samples.client, minlength=3)
    assert sample_counts(population, spec).tolist() == expected.tolist()
