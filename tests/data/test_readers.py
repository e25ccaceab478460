from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.readers import encode_ids, to_events, to_numbers, to_times
from fedrec.errors import DataError


def encoded(values, **kind):
    ids, codes = encode_ids(pd.Series(values, **kind))
    return ids.tolist(), codes.tolist()


def test_whole_numbers_are_numbered_by_value():
    assert encoded([10, 9, 10]) == (["9", "10"], [1, 0, 1])
    assert encoded(["10", "9", " 10"]) == (["9", "10"], [1, 0, 1])


def test_an_integer_column_with_a_gap_keeps_its_integers():
    assert encoded([10.0, np.nan, 9.0]) == (["9", "10"], [1, -1, 0])


def test_words_are_numbered_by_their_characters():
    assert encoded(["b", None, "a10", "", "a9"]) == (["a10", "a9", "b"], [2, -1, 0, -1, 1])


def test_ids_with_leading_zeros_stay_apart():
    assert encoded(["01", "1"])[0] == ["01", "1"]


@given(st.lists(st.one_of(st.text(max_size=5), st.none()), max_size=30))
def test_encoding_can_be_undone(words):
    ids, codes = encode_ids(pd.Series(words, dtype=object))
    back = [ids[code] if code >= 0 else None for code in codes]
    assert back == [(word or "").strip() or None for word in words]
    assert len(set(ids)) == len(ids)


def test_numbers():
    assert to_numbers(pd.Series(["1", "2.5"]), "r", "f").tolist() == [1, 2.5]
    assert np.isnan(to_numbers(pd.Series([1, None]), "r", "f")[1])


def test_a_word_among_numbers_is_named_with_its_row():
    with pytest.raises(
        DataError, match=r"f: column 'r' must hold numbers, but row 2 holds 'good' \(2 such rows\)"
    ):
        to_numbers(pd.Series(["1", "good", "3", "bad"]), "r", "f")


@pytest.mark.parametrize(
    "values",
    [
        [1_700_000_000, 1_700_000_060],
        ["1700000000", "1700000060"],
        [1_700_000_000_000, 1_700_000_060_000],
        [1_700_000_000_000_000, 1_700_000_060_000_000],
        [1_700_000_000_000_000_000, 1_700_000_060_000_000_000],
        ["2023-11-14 22:13:20", "2023-11-14T22:14:20Z"],
        pd.to_datetime(["2023-11-14 22:13:20", "2023-11-14 22:14:20"]),
        pd.to_datetime(["2023-11-14 23:13:20", "2023-11-14 23:14:20"]).tz_localize("Etc/GMT-1"),
    ],
)
def test_times_of_many_kinds(values):
    assert to_times(pd.Series(values), "t", "f").tolist() == [1_700_000_000, 1_700_000_060]


def test_small_numbers_are_times_too():
    assert to_times(pd.Series([0, 1, 2]), "t", "f").tolist() == [0, 1, 2]


def test_broken_times_are_missing():
    times = to_times(pd.Series(["2023-11-14", "yesterday", None]), "t", "f")
    assert np.isnan(times).tolist() == [False, True, True]


def test_no_readable_time_is_an_error():
    with pytest.raises(DataError, match="column 't' holds no readable time .*'never'"):
        to_times(pd.Series(["never", "ever"]), "t", "f")


def test_events():
    events = to_events(pd.Series(["view", "Purchase", "addtocart", "buy"]), "e", "f")
    assert events.tolist() == [0, 2, 1, 2]
    with pytest.raises(DataError, match="holds the event 'purchse'. Did you mean 'purchase'"):
        to_events(pd.Series(["view", "purchse"]), "e", "f")
