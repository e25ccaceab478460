"""Data for speed: popularity by Zipf's law, and a short way to the population."""

import numpy as np
import pytest

from fedrec.config import Config, load_config
from fedrec.config_sections import DataSection
from fedrec.data.load import load_dataset
from fedrec.data.partition import partition
from fedrec.data.population import build_population
from fedrec.data.split import split
from fedrec.data.zipf import draw_rows, has_short_way, zipf_population
from fedrec.training.node import load_population


def section(**changes: int | float) -> DataSection:
    return DataSection(
        name="zipf", **{"users": 200, "items": 90, "events_per_user": 20.0, **changes}
    )


def config(**changes: str | int | float) -> Config:
    keys = {"data.name": "zipf", "data.users": 150, "data.items": 70, "data.events_per_user": 9.0}
    return load_config(None, {**keys, **{k.replace("__", "."): v for k, v in changes.items()}})


def test_the_short_way_gives_the_population_that_splitting_gives() -> None:
    dataset = load_dataset(config())
    short = zipf_population(dataset, config().data)
    parts = partition(dataset, config())
    long = build_population(parts, split(dataset, config()), explicit=False)
    for name in ("indptr", "items", "labels", "client_of_user"):
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name), err_msg=name)
    for part in ("valid", "test"):
        for name in ("users", "indptr", "items", "labels", "seen_indptr", "seen_items"):
            one, other = short.held_out(part), long.held_out(part)
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(getattr(short.split, part), getattr(long.split, part))
    np.testing.assert_array_equal(short.split.train, long.split.train)


def test_a_configuration_takes_the_short_way_only_where_nothing_else_is_asked() -> None:
    assert load_population(config()).num_clients == 150
    assert has_short_way(config())
    for key, value in (
        ("split.protocol", "time"),
        ("clients.unit", "dirichlet"),
        ("data.user_core", 12),
        ("data.name", "marketplace"),
    ):
        assert not has_short_way(config(**{key: value})), key


def test_cleaning_and_other_splits_still_work() -> None:
    population = load_population(config(data__user_core=8))
    assert 0 < population.num_users < 150
    assert load_population(config(split__protocol="cold-items")).split.protocol == "cold-items"


def test_items_are_distinct_within_a_user_and_popular_by_zipf() -> None:
    indptr, items = draw_rows(section(users=3000, items=400))
    assert indptr[-1] == len(items)
    assert np.diff(indptr).mean() == pytest.approx(20, abs=0.5)
    user = np.repeat(np.arange(3000), np.diff(indptr))
    assert len(np.unique(user * 400 + items)) == len(items)
    counts = np.sort(np.bincount(items, minlength=400))[::-1]
    assert counts[0] > 0.5 * 3000  # rank 1 is drawn by most users
    assert 4 < counts[9] / counts[99] < 12  # Zipf says 10; without replacement a little less


def test_a_user_does_not_depend_on_the_others() -> None:
    few, many = draw_rows(section(users=20)), draw_rows(section(users=200))
    # the widest user decides how much is drawn at once, but not what is drawn
    np.testing.assert_array_equal(few[1], many[1][: len(few[1])])
    other = draw_rows(section(data_seed=1))
    assert not np.array_equal(many[1][:50], other[1][:50])


def test_a_user_takes_at_most_half_of_the_items() -> None:
    indptr, items = draw_rows(section(items=12, events_per_user=50.0))
    assert np.diff(indptr).max() == 6
    assert items.max() == 11
