"""Attributes as rows of numbers: by hand, and every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.features import (
    Options,
    hashed_text,
    item_features,
    many_hot,
    ngrams,
    one_hot,
    standard_score,
    user_features,
)


def ids(number: int) -> NDArray[np.object_]:
    return np.array([f"i{n}" for n in range(number)], object)


def shop() -> Catalogue:
    return Catalogue(
        ids(4),
        {
            "kind": to_category(["a", "a", "a", None]),
            "price": to_number([1.0, np.nan, 3.0, 2.0]),
            "tags": to_tags([["x"], ["x", "y"], ["x"], []]),
            "title": to_text(["Red shoe", "", "red shoes", "lamp"]),
        },
    )


def test_one_column_for_each_common_value_and_one_for_the_others() -> None:
    codes = np.array([0, 0, 0, 1, 2, -1, 3, 3, 3], np.int32)
    expected = [[1, 0, 0]] * 3 + [[0, 0, 1]] * 2 + [[0, 0, 0]] + [[0, 1, 0]] * 3
    assert one_hot(codes, 4, 10).tolist() == expected
    few = one_hot(codes, 4, 2)  # no room: the second most common joins the others
    assert few.tolist() == [[row[0], max(row[1:])] for row in expected]


def test_tags_may_be_several() -> None:
    table = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1]], bool)
    assert many_hot(table, 10).tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1]]
    assert many_hot(table[:, :2], 10).shape == (4, 2)  # nobody is one of the others
    assert many_hot(np.zeros((2, 0), bool), 10).shape == (2, 0)


def test_standard_scores_and_a_flag_of_the_missing() -> None:
    score = standard_score(np.array([1.0, 3.0, np.nan], np.float32))
    assert score.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert standard_score(np.array([1.0, 3.0], np.float32)).shape == (2, 1)
    assert standard_score(np.array([2.0, 2.0], np.float32)).tolist() == [[0.0], [0.0]]
    many = np.zeros(1000, np.float32)
    many[0] = 1e9
    assert standard_score(many).max() == 5.0
    assert standard_score(np.array([np.nan], np.float32)).tolist() == [[0.0, 1.0]]


def test_hashed_text_is_of_length_one_and_alike_where_texts_are() -> None:
    assert list(ngrams("Ab!")) == ["ab", "#<ab", "#ab>"]
    vectors = hashed_text(["red shoe", "Red shoes", "table lamp", ""], 256)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 0])
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.6 > 0.3 > abs(alike[0, 2])
    assert np.array_equal(vectors, hashed_text(["red shoe", "Red shoes", "table lamp", ""], 256))


def test_all_attributes_stand_side_by_side() -> None:
    found = item_features(shop(), Options(width=8))
    assert found.fields == {"kind": (0, 1), "price": (1, 3), "tags": (3, 5), "title": (5, 13)}
    assert found.values.dtype == np.float32
    assert found.values.shape == (4, found.width) == (4, 13)
    some = item_features(shop(), Options(items="tags, price"))
    assert some.fields == {"tags": (0, 2), "price": (2, 4)}
    assert user_features(Catalogue(ids(3)), Options()).values.shape == (3, 0)


def test_an_unknown_attribute_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"model.item_attributes names 'prize'.*Did you mean"):
        item_features(shop(), Options(items="prize"))
    with pytest.raises(ModelError, match=r"model.user_attributes names 'age', .* have none"):
        user_features(Catalogue(ids(2)), Options(users="age"))


def test_a_sentence_model_of_ones_own(tmp_path: Path) -> None:
    source = tmp_path / "sentences.py"
    source.write_text(
        "import numpy as np\n"
        "def length(texts):\n    return np.array([[len(t), 1] for t in texts])\n"
        "def one(texts):\n    return [1.0]\n"
        "def holes(texts):\n    return np.full((len(texts), 2), np.nan)\n"
    )
    found = item_features(shop(), Options(items="title", text=f"{source}:length"))
    assert found.values.tolist() == [[8, 1], [0, 1], [9, 1], [4, 1]]
    with pytest.raises(ModelError, match=r"expected numbers \[4, t\]"):
        item_features(shop(), Options(items="title", text=f"{source}:one"))
    with pytest.raises(ModelError, match="not finite"):
        item_features(shop(), Options(items="title", text=f"{source}:holes"))
    with pytest.raises(ModelError, match=r"model.text: no 'lenght'.*length"):
        item_features(shop(), Options(items="title", text=f"{source}:lenght"))


def written(folder: Path, kind: str) -> Path:
    names, vectors = ["i2", "i0", "other"], np.array([[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]])
    path = folder / f"vectors.{kind}"
    if kind == "npz":
        np.savez(path, ids=np.array(names), vectors=vectors)
    elif kind == "npy":
        np.save(path, vectors)
        (folder / "vectors.ids.txt").write_text("\n".join(names))
    elif kind == "lists.parquet":
        pd.DataFrame({"id": names, "v": list(vectors)}).to_parquet(path)
    else:
        pd.DataFrame({"id": names, "a": vectors[:, 0], "b": vectors[:, 1]}).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["npz", "npy", "parquet", "lists.parquet"])
def test_vectors_of_a_file_are_matched_by_id(tmp_path: Path, kind: str) -> None:
    found = item_features(shop(), Options(items="", vectors=str(written(tmp_path, kind))))
    norm = 13.0**0.5  # of mean square length 1: (1 + 25) / 2
    expected = np.array([[1 / norm, 0, 0], [0, 0, 1], [3 / norm, 4 / norm, 0], [0, 0, 1]])
    assert found.values == pytest.approx(expected)
    assert found.fields == {"vectors": (0, 3)}


def test_unusable_files_of_vectors(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        item_features(shop(), Options(items="", vectors=str(path)))

    with pytest.raises(ModelError, match="cannot read"):
        read(tmp_path / "none.npz")
    with pytest.raises(ModelError, match=r"expected a \.npz, \.npy or \.parquet"):
        read(tmp_path / "vectors.txt")
    np.savez(tmp_path / "strange.npz", ids=["a", "b"], vectors=np.ones((2, 2)))
    with pytest.raises(ModelError, match="none of the ids"):
        read(tmp_path / "strange.npz")
    np.savez(tmp_path / "short.npz", ids=["i0"], vectors=np.ones((2, 2)))
    with pytest.raises(ModelError, match="a row for each id"):
        read(tmp_path / "short.npz")
