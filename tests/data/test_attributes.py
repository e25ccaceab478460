from __future__ import annotations

import numpy as np
import pandas as pd

from fedrec.data.attributes import (
    guess_attribute,
    to_category,
    to_number,
    to_tags,
    to_text,
)


def test_the_four_kinds():
    category = to_category(["b", None, "a", "b"])
    assert (category.values.tolist(), category.vocabulary) == ([1, -1, 0, 1], ("a", "b"))
    assert to_number([1, np.nan]).values.dtype == np.float32
    tags = to_tags([["x", "y"], [], ["y"]])
    assert tags.vocabulary == ("x", "y")
    assert tags.values.tolist() == [[True, True], [False, False], [False, True]]
    assert to_text(["a", None]).values.tolist() == ["a", ""]


def test_columns_are_typed_by_what_they_hold():
    assert guess_attribute(pd.Series([1, 2.5, None])).kind == "number"
    assert guess_attribute(pd.Series(["a", "b", None] * 10)).kind == "category"
    assert guess_attribute(pd.Series([True, False])).vocabulary == ("False", "True")
    tags = guess_attribute(pd.Series(["a|b", "b", None]))
    assert (tags.kind, tags.vocabulary) == ("tags", ("a", "b"))
    assert tags.values.sum(axis=1).tolist() == [2, 1, 0]
    assert guess_attribute(pd.Series([f"title {n}" for n in range(50)])).kind == "text"
