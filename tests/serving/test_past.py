"""What a device remembers: one row an item, in the order of time."""

import math

import pytest

from fedrec.errors import DataError
from fedrec.serving.past import Diary, Observation, known_items

PLACE = {"a": 0, "b": 1, "c": 2}


def test_events_stand_in_the_order_of_time() -> None:
    diary = Diary(PLACE)
    assert diary.add(Observation("a", time=10.0))
    assert not diary.add(Observation("b", time=5.0))  # earlier: it is not at the end
    assert diary.add(Observation("c"))  # now
    assert diary.seen.tolist() == [1, 0, 2]


def test_a_repeated_item_keeps_its_latest_time_and_strongest_event() -> None:
    diary = Diary(PLACE)
    diary.add(Observation("a", event="purchase"))
    diary.add(Observation("b", event="view"))
    assert not diary.add(Observation("a", event="view"))
    assert diary.past().items.tolist() == [1, 0]
    assert diary.past().levels.tolist() == [1, 3]


def test_weak_events_are_seen_and_not_learnt_from() -> None:
    diary = Diary(PLACE, "cart")
    assert not diary.add(Observation("a", event="view"))
    assert diary.add(Observation("b", event="cart"))
    assert diary.add(Observation("c"))  # unknown: as whatever is learnt from
    assert diary.past().items.tolist() == [1, 2]
    assert diary.seen.tolist() == [0, 1, 2]


def test_ratings() -> None:
    diary = Diary(PLACE, rating_range=(1.0, 5.0))
    diary.add(Observation("a", rating=2.0))
    diary.add(Observation("a", rating=4.0))
    assert diary.past().labels.tolist() == [4.0]
    for rating in (None, 0.5, math.nan):
        with pytest.raises(DataError, match=r"learns from ratings from 1 to 5"):
            diary.add(Observation("b", rating=rating))


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(DataError, match=r"unknown event 'buy'.*view"):
        Diary(PLACE).add(Observation("a", event="buy"))
    with pytest.raises(DataError, match=r"time = nan: expected a finite"):
        Diary(PLACE).add(Observation("a", time=math.nan))
    place = {"item-1": 0, "item-2": 1}
    with pytest.raises(DataError, match=r"2 of 3 items are unknown\)\. Did you mean 'item-1'"):
        known_items(place, [Observation(x) for x in ("item-2", "item1", "y")], "shop")
    with pytest.raises(DataError, match=r"'zzz' is not among the 2 items of 'shop' \(unknown\)\. "
                       r"Known are, for example: item-1, item-2"):  # fmt: skip
        known_items(place, [Observation("zzz")], "shop")
