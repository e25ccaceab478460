"""Sums: addition, means, intervals, and the way over the wire."""

import numpy as np
import pytest

from fedrec.errors import EngineError
from fedrec.evaluation.sums import (
    EvaluationSums,
    from_arrays,
    group_means,
    intervals,
    means,
    merge,
    to_arrays,
)


def _sums(
    hr: float = 3.0, users: float = 4.0, shown: tuple[int, ...] = (1, 0, 2)
) -> EvaluationSums:
    return EvaluationSums(
        values={"full.hr@10": hr, "rating.squared_error": 8.0, "rating.absolute_error": 3.0},
        counts={"full": users, "rating": 2.0},
        replicates={"full.hr@10": np.array([1.0, 2.0, 0.0]), "rating.squared_error": np.ones(3)},
        replicate_counts={"full": np.array([2.0, 4.0, 0.0]), "rating": np.full(3, 4.0)},
        recommended=np.array(shown),
        groups={"zip=9.x.full.hr@10": 1.0, "zip=9.x.count": 4.0, "zip=none.count": 0.0},
    )


def test_means_are_sums_over_counts() -> None:
    assert means(_sums()) == {"full.hr@10": 0.75, "rating.rmse": 2.0, "rating.mae": 1.5}


def test_addition_by_hand() -> None:
    total = _sums() + _sums(hr=1.0, users=6.0, shown=(0, 5, 1))
    assert total.values["full.hr@10"] == 4.0
    assert means(total)["full.hr@10"] == 0.4
    assert total.recommended.tolist() == [1, 5, 3]
    assert total.replicates["full.hr@10"].tolist() == [2.0, 4.0, 0.0]
    assert total.groups["zip=9.x.count"] == 8.0


def test_names_found_in_one_operand_only_are_kept() -> None:
    ratings = EvaluationSums({"rating.absolute_error": 2.0}, {"rating": 4.0})
    ranking = EvaluationSums({"full.hr@1": 1.0}, {"full": 2.0}, recommended=np.array([1, 1]))
    for total in (ratings + ranking, ranking + ratings):
        assert means(total) == {"rating.mae": 0.5, "full.hr@1": 0.5}
        assert total.recommended.tolist() == [1, 1]


def test_merging_nothing_gives_nothing() -> None:
    assert means(merge([])) == {}
    assert intervals(merge([])) == {}
    assert means(merge([_sums(), _sums()])) == means(_sums())


def test_intervals_pass_over_replicates_without_users() -> None:
    low, high = intervals(_sums())["full.hr@10"]
    assert (low, high) == (0.5, 0.5)
    assert intervals(_sums())["rating.rmse"] == (0.5, 0.5)


def test_group_means_survive_dots_in_names() -> None:
    assert group_means(_sums()) == {"zip=9.x": {"count": 4.0, "full.hr@10": 0.25}}


def test_the_way_over_the_wire_loses_nothing() -> None:
    for sums in (_sums(), EvaluationSums()):
        arrays = to_arrays(sums)
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
        back = from_arrays(arrays)
        for name in ("values", "counts", "groups"):
            assert getattr(back, name) == getattr(sums, name)
        for name in ("replicates", "replicate_counts"):
            left, right = getattr(back, name), getattr(sums, name)
            assert list(left) == list(right)
            for key in left:
                np.testing.assert_array_equal(left[key], right[key])
        np.testing.assert_array_equal(back.recommended, sums.recommended)


def test_unreadable_arrays_are_refused() -> None:
    arrays = to_arrays(_sums())
    for broken in (
        {k: v for k, v in arrays.items() if k != "values"},
        {**arrays, "values": np.zeros(1)},
        {**arrays, "names": np.array([1, 2], np.uint8)},
    ):
        with pytest.raises(EngineError, match="evaluation sums cannot be read"):
            from_arrays(broken)


def test_sums_of_different_settings_do_not_add_up() -> None:
    with pytest.raises(EngineError, match="'recommended' of two nodes have lengths 3 and 2"):
        _sums() + _sums(shown=(1, 2))
