"""The Zipf population on the disk is the one in memory, number for number."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.config import Config, load_config
from fedrec.data import zipf_store
from fedrec.data.load import load_dataset
from fedrec.data.population import Population
from fedrec.data.populations import load_population
from fedrec.data.split import split
from fedrec.data.zipf_store import expected_bytes, folder_of, on_disk
from fedrec.errors import ConfigError


def config(folder: Path, store: str = "disk", **changes: str | int | float) -> Config:
    keys: dict[str, str | int | float] = {
        "data.name": "zipf",
        "data.users": 150,
        "data.items": 70,
        "data.events_per_user": 9.0,
        "data.store": store,
        "data.cache": str(folder),
    }
    return load_config(None, {**keys, **{k.replace("__", "."): v for k, v in changes.items()}})


def equal(one: Population, other: Population) -> None:
    for name in ("indptr", "items", "labels", "client_of_user"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
        assert mine.dtype == theirs.dtype, name
    for part in ("valid", "test"):
        for name in ("users", "indptr", "items", "labels", "seen_indptr", "seen_items"):
            mine, theirs = getattr(one.held_out(part), name), getattr(other.held_out(part), name)
            np.testing.assert_array_equal(mine, theirs, err_msg=f"{part}.{name}")
            assert mine.dtype == theirs.dtype, f"{part}.{name}"
    for part in ("train", "valid", "test"):
        mine, theirs = one.split.part(part), other.split.part(part)
        np.testing.assert_array_equal(getattr(one.split, part), getattr(other.split, part))
        for name in ("user", "item"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    for name in ("split_hash", "protocol", "notes"):
        assert getattr(one.split, name) == getattr(other.split, name)


def test_disk_and_memory_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipf_store, "_CHUNK", 40)  # four chunks, the last one short
    disk, memory = load_population(config(tmp_path)), load_population(config(tmp_path, "memory"))
    equal(disk, memory)
    assert isinstance(_base(disk.items), np.memmap)
    assert not isinstance(_base(memory.items), np.memmap)
    one, other = load_dataset(config(tmp_path)), load_dataset(config(tmp_path, "memory"))
    assert one.account == other.account
    assert (one.name, one.num_users, one.num_items) == (other.name, 150, 70)
    np.testing.assert_array_equal(np.asarray(one.users.ids), other.users.ids)
    np.testing.assert_array_equal(one.items.ids, other.items.ids)
    assert split(one, config(tmp_path)).split_hash == split(other, config(tmp_path)).split_hash
    size = sum(f.stat().st_size for f in folder_of(config(tmp_path).data).iterdir())
    assert size == pytest.approx(expected_bytes(config(tmp_path).data), rel=0.1)


def _base(array: np.ndarray) -> object:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def test_every_set_of_parameters_has_a_folder_of_its_own(tmp_path: Path) -> None:
    changes: list[dict[str, int | float]] = [
        {"data__users": 151},
        {"data__items": 71},
        {"data__events_per_user": 9.5},
        {"data__data_seed": 1},
    ]
    folders = {folder_of(config(tmp_path, **c).data) for c in ({}, *changes)}
    assert len(folders) == 5
    assert all(tmp_path in folder.parents for folder in folders)


def test_auto_looks_at_the_machines_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = config(tmp_path, "auto").data
    need = expected_bytes(section) * zipf_store.MEMORY_SHARE / 2**30
    for memory, expected in ((need * 1.01, False), (need * 0.99, True), (0.0, False)):
        monkeypatch.setattr(zipf_store, "memory_gib", lambda memory=memory: memory)
        assert on_disk(section) is expected
        assert not on_disk(config(tmp_path, "memory").data)
        assert on_disk(config(tmp_path, "disk").data)
        assert not on_disk(config(tmp_path, "auto", data__user_core=2).data)


@pytest.mark.parametrize(
    "change",
    [
        {"data__name": "marketplace"},
        {"data__user_core": 2},
        {"split__protocol": "time"},
        {"clients__unit": "dirichlet"},
    ],
)
def test_what_only_memory_can_hold_is_refused_on_the_disk(
    tmp_path: Path, change: dict[str, str | int]
) -> None:
    with pytest.raises(ConfigError, match="data.store = 'disk' with .* or data.store = 'memory'"):
        load_population(config(tmp_path, **change))


def test_a_population_tells_user_clients_and_counts_items_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setattr("fedrec.data.population._CHUNK", 64)
    population = load_population(config(tmp_path))
    assert population.user_clients
    assert population.users_of(np.array([9, 3, 9])).tolist() == [3, 9]
    assert population.users_of(np.array([3, 9])).tolist() == [3, 9]
    counts = np.bincount(population.items, minlength=70)
    np.testing.assert_array_equal(population.item_counts, counts)
    turned = replace(population, client_of_user=population.client_of_user[::-1])
    assert not turned.user_clients
    assert turned.users_of(np.array([0, 149])).tolist() == [0, 149]
    assert turned.samples_of_client.tolist() == population.samples_of_client[::-1].tolist()
    assert not replace(population, num_clients=1).user_clients
