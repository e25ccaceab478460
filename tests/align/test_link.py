"""Linking items by their cards: what travels, what is found, and how sure it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedrec.align.cards import make_cards, read_cards, words_of, write_cards
from fedrec.align.link import FLOOR, link
from fedrec.align.linked import link_own
from fedrec.errors import AlignmentError, ConfigError, DataError

KEY = "words of both shops"
SHELF = ["olive oil", "apple sauce", "rye bread", "oat milk", "dark chocolate", "green tea"]


def table(titles, brands=None):
    return pd.DataFrame({"title": titles, "brand": brands or ["own"] * len(titles)})


def cards(titles, names=None, columns=("title", "brand"), key=KEY, **more):
    own = None if names is None else np.array(names, dtype=object)
    return make_cards(table(titles), columns, key, names=own, **more)


def test_words_and_runs_of_letters():
    assert words_of("Rye 1.5kg") == ["wrye", "w1.5", "wkg", "r_ry", "rrye", "rye_", "r_kg", "rkg_"]
    assert words_of("") == []
    assert words_of("KÄSE") == words_of("Ka\u0308se")


def test_cards_hold_counts_and_no_text_in_an_order_of_their_own(tmp_path):
    made, order = cards(["rye bread rye", "apple", ""])
    bags = made.fields["title"]
    found = {int(row): sorted(bags[place].data.tolist()) for place, row in enumerate(order)}
    assert found[2] == []
    assert found[0].count(2.0) == 4  # wrye r_ry rrye rye_, all but rbre rrea read: met once
    write_cards(tmp_path / "c.npz", made)
    raw = (tmp_path / "c.npz").read_bytes()
    assert b"bread" not in raw
    back = read_cards(tmp_path / "c.npz")
    assert back.digest == made.digest
    assert (back.fields["title"] != bags).nnz == 0
    turned, _ = cards(["apple", "", "rye bread rye"])
    assert turned.digest == made.digest  # the order of the table does not show
    other, _ = cards(["rye bread rye", "apple", ""], key="other words here")
    assert other.digest != made.digest


def test_similar_titles_are_linked_and_unlike_ones_are_not():
    one, rows = cards([*SHELF, "yard hose"])
    other, others = cards(["BREAD, rye", "aple sauce", "oil (olive)", "motor bike"])
    found = link(one, other)
    pairs = {(int(rows[a]), int(others[b])) for a, b in zip(found.one, found.other, strict=True)}
    assert {(2, 0), (1, 1), (0, 2)} <= pairs
    assert not found.calibrated
    assert (found.score >= FLOOR).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_a_card_is_used_once_and_the_sum_is_largest():
    """Greedy would give "green tea" the first; together the two pairs are closer."""
    one, rows = cards(["green tea leaves", "green tea"], columns=("title",))
    other, others = cards(["green tea", "green tea leaves loose"], columns=("title",))
    found = link(one, other)
    assert sorted(found.one) == sorted(found.other) == [0, 1]
    pairs = {(int(rows[a]), int(others[b])) for a, b in zip(found.one, found.other, strict=True)}
    assert pairs == {(0, 1), (1, 0)}


def test_both_sides_give_the_same_names():
    one, rows = cards([*SHELF, "yard hose"])
    other, others = cards(["BREAD, rye", "aple sauce", "oil (olive)", "motor bike"])
    mine, theirs = link_own(one, other, 0.0), link_own(other, one, 0.0)
    assert mine.listing == theirs.listing
    assert set(mine.names) | set(theirs.names) == set(mine.listing)
    of_mine = dict(zip(rows.tolist(), mine.names, strict=True))
    of_theirs = dict(zip(others.tolist(), theirs.names, strict=True))
    assert of_mine[2] == of_theirs[0]
    assert of_mine[6] not in of_theirs.values()
    strict = link_own(one, other, 1.0)
    assert (strict.partner == -1).all()
    assert len(strict.listing) == len(one) + len(other)


def noisy(seed, number=400):
    """Two shops with `number` items each, half common; every twelfth letter of one is lost."""
    draw = np.random.default_rng(seed)
    syllables = ["ba", "ko", "li", "mu", "ne", "ra", "so", "ti", "vu", "za"]
    titles = [
        " ".join("".join(draw.choice(syllables, 3)) for _ in range(2))
        for _ in range(3 * number // 2)
    ]
    mine, theirs = titles[:number], titles[number // 2 :]
    lost = ["".join(c for c in title if draw.random() > 0.08) for title in theirs]
    return mine, lost, number


def test_confidence_is_fitted_on_known_pairs_and_holds_for_the_others():
    mine, theirs, number = noisy(0, 800)
    half = number // 2
    truth = {half + n: n for n in range(half)}  # row of one side -> row of the other
    known = {half + n: f"p{n}" for n in range(0, half, 2)}
    names = [known.get(n, "") for n in range(number)]
    others = ["" if n >= half or n % 2 else f"p{n}" for n in range(number)]
    one, rows = cards(mine, names, columns=("title",))
    other, cols = cards(theirs, others, columns=("title",))
    found = link(one, other)
    assert found.calibrated
    right = np.array(
        [
            truth.get(int(rows[a])) == int(cols[b])
            for a, b in zip(found.one, found.other, strict=True)
        ]
    )
    assert not any(one.names[found.one])  # known ones are not linked again
    sure = found.confidence >= 0.9
    assert right[sure].mean() > 0.85
    assert sure.sum() > 50
    assert abs(right.mean() - found.confidence.mean()) < 0.08


def test_few_known_pairs_calibrate_nothing():
    one, _ = cards(SHELF, ["p"] + [""] * 5)
    assert not link(one, one).calibrated


def test_what_does_not_fit_is_refused(tmp_path):
    one, _ = cards(SHELF)
    with pytest.raises(AlignmentError, match="different keys"):
        link(one, cards(SHELF, key="other words here")[0])
    with pytest.raises(AlignmentError, match="different columns"):
        link(one, cards(SHELF, columns=("brand", "title"))[0])
    with pytest.raises(ConfigError, match="expected 8 or more"):
        cards(SHELF, key="short")
    with pytest.raises(ConfigError, match="need the names"):
        cards(SHELF, columns=())
    with pytest.raises(DataError, match="no column 'titel'. Did you mean 'title'"):
        cards(SHELF, columns=("titel",))
    with pytest.raises(DataError, match="there are no cards"):
        read_cards(tmp_path / "none")
    assert len(link(cards(["aaa"])[0], cards(["zzz"], columns=("title", "brand"))[0])) <= 1


def test_text_is_shown_only_where_asked():
    made, order = cards(SHELF, shown=("title",))
    assert made.shown.tolist() == [SHELF[row] for row in order]
    assert set(cards(SHELF)[0].shown) == {""}
