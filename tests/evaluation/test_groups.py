"""User groups and the gap between them."""

import numpy as np
import pytest

from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import ConfigError
from fedrec.evaluation.groups import group_gaps, members
from fedrec.evaluation.sums import EvaluationSums


def _profile() -> Catalogue:
    return Catalogue(
        np.array(["a", "b", "c", "d"], object),
        {
            "gender": Attribute("category", np.array([0, 1, -1, 0], np.int32), ("F", "M")),
            "age": Attribute("number", np.array([10, 20, 30, np.nan], np.float32)),
            "likes": Attribute("tags", np.eye(4, 2, dtype=bool), ("tea", "books")),
            "motto": Attribute("text", np.array(["x"] * 4, object)),
        },
    )


def test_members_of_categories_and_tags() -> None:
    groups = {name: mask.tolist() for name, mask in members(_profile(), "gender").items()}
    assert groups == {"gender=F": [1, 0, 0, 1], "gender=M": [0, 1, 0, 0]}
    assert members(_profile(), "likes")["likes=books"].tolist() == [0, 1, 0, 0]


def test_members_of_numbers_are_in_one_group_or_none() -> None:
    groups = members(_profile(), "age")
    assert sum(groups.values()).tolist() == [1, 1, 1, 0]
    assert all(name.startswith("age=") and mask.dtype == np.int32 for name, mask in groups.items())
    ages = np.random.default_rng(0).integers(7, 74, 400).astype(np.float32)
    many = Catalogue(ages.astype(str).astype(object), {"age": Attribute("number", ages)})
    sizes = [mask.sum() for mask in members(many, "age").values()]
    assert len(sizes) == 4
    assert min(sizes) > 80
    assert sum(sizes) == 400


def test_numbers_of_one_value_or_none_form_one_group_or_none() -> None:
    for values, expected in (([5, 5, np.nan], {"age=5..5": [1, 1, 0]}), ([np.nan] * 3, {})):
        profile = Catalogue(
            np.array(["a", "b", "c"], object),
            {"age": Attribute("number", np.array(values, np.float32))},
        )
        assert {n: m.tolist() for n, m in members(profile, "age").items()} == expected


def test_unknown_and_text_attributes_are_refused() -> None:
    with pytest.raises(ConfigError, match="no such attribute. Did you mean 'gender'"):
        members(_profile(), "gendre")
    with pytest.raises(ConfigError, match="is text, which forms no groups"):
        members(_profile(), "motto")
    with pytest.raises(ConfigError, match="no such attribute"):
        members(Catalogue(np.array(["a"], object)), "gender")


def test_gaps_by_hand() -> None:
    sums = EvaluationSums(
        groups={
            "g=F.full.hr@10": 20.0, "g=F.count": 40.0,
            "g=M.full.hr@10": 15.0, "g=M.count": 60.0,
            "g=x.full.hr@10": 3.0, "g=x.count": 3.0,
            "z=1.full.hr@10": 30.0, "z=1.count": 100.0,
        }
    )  # fmt: skip
    gaps = group_gaps(sums, "full.hr@10")
    assert list(gaps) == ["g"]
    assert (gaps["g"].best, gaps["g"].worst, gaps["g"].too_small) == ("g=F", "g=M", ("g=x",))
    assert (gaps["g"].gap, gaps["g"].ratio) == (0.25, 0.5)
    assert group_gaps(sums, "full.hr@10", min_users=1)["g"].best == "g=x"
    assert group_gaps(EvaluationSums(), "full.hr@10") == {}
    with pytest.raises(ConfigError, match="'full.hr@9' was not computed"):
        group_gaps(sums, "full.hr@9")


def test_a_system_that_serves_nobody_is_equal() -> None:
    sums = EvaluationSums(
        groups={"g=a.full.hr@1": 0.0, "g=a.count": 30.0, "g=b.full.hr@1": 0.0, "g=b.count": 30.0}
    )
    gap = group_gaps(sums, "full.hr@1")["g"]
    assert (gap.gap, gap.ratio) == (0.0, 1.0)
