"""Rules that make numbers of a user's attributes give the numbers of training."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.errors import ModelError
from fedrec.models.build import build_model
from fedrec.models.export_features import FILE, ReadFeatures, read_features, write_features
from fedrec.models.features import feature_options, item_features, user_features
from fedrec.models.recommender import bound

COMMON, AGES = ["x"] * 4 + ["y"] * 3, [20.0, 30.0, np.nan, 40.0, 25.0, 1e6, 31.0, 29.0, 33.0]
CONFIG = from_flat({"model.name": "two-tower", "train.method": "fedavg", "model.text_width": 8})
WORDS = ["a cat", "", "dog", "cat", "b", "c", "d", "e", "f"]


def dataset(with_tags: bool = False) -> Dataset:
    known = {
        "kind": to_category([*COMMON, "rare", None]),
        "age": to_number(AGES),
        "about": to_text(WORDS),
    }
    if with_tags:
        known["likes"] = to_tags([["t"]] * 9)
    users = Catalogue(np.arange(9).astype(str).astype(object), known)
    items = Catalogue(np.array(["i", "j"], object), {"price": to_number([1.0, 2.0])})
    rows = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32))
    return Dataset("toy", rows, items, users)


def written(directory: Path, data: Dataset) -> ReadFeatures:
    write_features(
        directory, CONFIG, data.users, bound(build_model(CONFIG), data.items, data.users)
    )
    return read_features(directory)


def test_the_numbers_are_those_of_training(tmp_path: Path) -> None:
    data = dataset()
    rules = written(tmp_path, data)
    wanted = user_features(data.users, feature_options(CONFIG)).values
    kinds = [*COMMON, "rare", None]
    for user in range(9):
        told = {"kind": kinds[user], "age": AGES[user], "about": WORDS[user]}
        assert rules.profile(told) == pytest.approx(wanted[user], abs=1e-5)
    assert rules.profile({"age": "30"}) == pytest.approx(rules.profile({"age": 30.0}))
    assert rules.profile({"age": 1e9})[rules.fields["age"][0]] == pytest.approx(
        wanted[5, rules.fields["age"][0]], abs=5.0
    )
    items = item_features(data.items, feature_options(CONFIG))
    assert np.array_equal(rules.items.values, items.values)
    assert rules.items.fields == items.fields


def test_no_user_is_in_the_file(tmp_path: Path) -> None:
    rules = written(tmp_path, dataset()).rules
    assert set(rules["age"]) == {"kind", "slope", "mean"}
    assert set(rules["kind"]["columns"]) == {"x", "y", "rare"}
    assert set(rules["about"]) == {"kind", "text"}


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    rules = written(tmp_path, dataset(with_tags=True))
    with pytest.raises(ModelError, match=r"no user of the run had kind = 'xx'"):
        rules.profile({"kind": "xx"})
    with pytest.raises(ModelError, match=r"age = 'old': expected a number"):
        rules.profile({"age": "old"})
    with pytest.raises(ModelError, match=r"'likes' is of kind 'tags', which a session cannot"):
        rules.profile({"likes": "t"})


def test_other_models_have_no_features(tmp_path: Path) -> None:
    write_features(tmp_path, from_flat({}), dataset().users, build_model(from_flat({})))
    assert not (tmp_path / FILE).exists()
