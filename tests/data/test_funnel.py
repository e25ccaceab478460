"""Events as a funnel: levels, splits by event, and labels that know nothing of what is held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config_tasks import TASKS
from fedrec.data.batches import Sampling, draw_samples
from fedrec.data.funnel import levels, reached
from fedrec.data.interactions import EVENTS, Dataset
from fedrec.data.partition import partition
from fedrec.data.population import Population, build_population
from fedrec.data.split import split
from fedrec.errors import DataError
from tests.data.small_data import config, dataset

VIEW, CART, BUY = range(3)


def shop() -> Dataset:
    """One user with six items in the order of time; three of them bought; a second user."""
    pairs = [(0, item) for item in range(6)] + [(1, 0), (1, 5)]
    return dataset(pairs, time=list(range(8)), event=[BUY, VIEW, BUY, CART, BUY, VIEW, BUY, VIEW])


def test_tasks_are_the_events() -> None:
    assert TASKS == EVENTS


def test_how_far_interactions_got() -> None:
    rows = replace(shop().interactions, event=np.array([2, 0, 2, 1, 2, -1, 2, 0], np.int8))
    assert levels(rows).tolist() == [3, 1, 3, 2, 3, -1, 3, 1]  # type: ignore[union-attr]
    assert reached(rows, "any", "x").all()
    assert reached(rows, "view", "x").all()
    assert np.flatnonzero(reached(rows, "cart", "x")).tolist() == [0, 2, 3, 4, 6]
    assert np.flatnonzero(reached(rows, "purchase", "x")).tolist() == [0, 2, 4, 6]


def test_the_last_purchases_are_held_out_and_nothing_after_the_first_is_trained_on() -> None:
    done = split(shop(), config(split__event="purchase"))
    assert done.test.tolist() == [4]
    assert done.valid.tolist() == [2]
    assert done.train.tolist() == [0, 1, 6, 7]  # the cart between them is in no part
    assert "2 interactions later than the first held-out one" in " ".join(done.notes)
    assert split(shop(), config()).test.tolist() == [5]  # any event


def test_by_time_other_events_are_left_out() -> None:
    pairs = [(0, 0), (0, 1), (1, 2), (1, 3), (2, 0), (2, 3)]
    later = [(0, 2), (1, 0), (0, 3), (1, 1), (2, 1), (2, 2)]
    data = dataset([*pairs, *later], list(range(12)), event=[VIEW] * 6 + [BUY, VIEW] * 3)
    done = split(
        data, config(split__event="purchase", split__protocol="time", split__fraction=0.25)
    )
    assert done.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert done.valid.tolist() == [6, 8]
    assert done.test.tolist() == [10]
    assert "held out are interactions that got as far as a purchase; 3 others" in " ".join(
        done.notes
    )


def population(data: Dataset, train_event: str = "any") -> Population:
    settings = config(split__event="purchase")
    parts = partition(data, settings)
    done = split(parts.dataset, settings)
    return build_population(parts, done, explicit=False, train_event=train_event)


def test_training_on_purchases_alone_ranks_the_same() -> None:
    every, bought = population(shop()), population(shop(), "purchase")
    assert every.items.tolist() == [0, 1, 0, 5]
    assert every.levels.tolist() == [3, 1, 3, 1]  # type: ignore[union-attr]
    assert bought.items.tolist() == [0, 0]
    assert every.valid.seen_items.tolist() == bought.valid.seen_items.tolist() == [0, 1, 0, 5]
    assert every.test.items.tolist() == bought.test.items.tolist() == [4]


def test_labels_are_levels_and_negatives_zero() -> None:
    drawn = draw_samples(population(shop()), np.arange(2), 0, 1, Sampling(2, levels=True))
    assert drawn.label.dtype == np.float32
    assert drawn.label.reshape(-1, 3).tolist() == [[3, 0, 0], [1, 0, 0], [3, 0, 0], [1, 0, 0]]


@given(st.lists(st.integers(0, 2), min_size=16, max_size=16), st.integers(0, 2**31))
def test_held_out_items_and_events_change_no_training_sample(events: list[int], seed: int) -> None:
    """What is held out, or comes later, may be any item: the labels of the tasks do not move."""
    items = np.concatenate([np.random.default_rng(n).permutation(12)[:8] for n in range(2)])
    pairs = [(n // 8, int(item)) for n, item in enumerate(items)] + [(2, n) for n in range(12)]
    every = [*events[:5], BUY, BUY, BUY, *events[8:13], BUY, BUY, BUY, *([VIEW] * 12)]
    data = dataset(pairs, time=list(range(len(pairs))), event=every)
    held = np.array([6, 7, 14, 15])
    rows = data.interactions
    other = rows.item.copy()
    for user in range(2):
        mine = held[rows.user[held] == user]
        kept = rows.item[(rows.user == user) & ~np.isin(np.arange(len(pairs)), mine)]
        rest = np.setdiff1d(np.arange(12), kept)
        other[mine] = np.random.default_rng(seed).permutation(rest)[:2]
    spec = Sampling(3, levels=True)
    changed = replace(data, interactions=replace(rows, item=other))
    ours, theirs = (draw_samples(population(d), np.arange(3), 1, 1, spec) for d in (data, changed))
    assert ours.label.tolist() == theirs.label.tolist()
    assert ours.fields["item"].tolist() == theirs.fields["item"].tolist()
    assert ours.weight.tolist() == theirs.weight.tolist()


def test_data_without_events_say_what_to_do() -> None:
    data = dataset([(0, n) for n in range(5)])
    with pytest.raises(DataError, match="no events .* data.event_column"):
        split(data, config(split__event="purchase"))
    parts = partition(data, config())
    plain = build_population(parts, split(data, config()), explicit=False)
    with pytest.raises(DataError, match="labels of several tasks are asked for"):
        draw_samples(plain, np.arange(1), 0, 1, Sampling(levels=True))
