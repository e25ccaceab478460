"""The same answers from openmined-psi, where it is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fedrec.align.agreement import new_agreement
from fedrec.align.ids import make_ids
from fedrec.align.openmined import simulate_openmined
from fedrec.align.simulate import simulate
from fedrec.errors import AlignmentError, ConfigError, MissingExtraError

NAMES = ("north", "south")
CASES = {
    "equal": (["a", "b"], ["a", "b"]),
    "disjoint": (["a", "b"], ["c", "d"]),
    "subset": (["a", "b", "c"], ["b", "c"]),
    "repeated": (["a", "a", "b"], ["b", "b", "c"]),
    "unicode": (["Käse", "Cafe\u0301", "寿司"], ["K\u00e4se", "Caf\u00e9", "🍣"]),
    "longer": ([f"{n}" for n in range(40)], [f"{n}" for n in range(0, 90, 3)]),
}


def terms(mode="match", **more):
    return new_agreement(mode, NAMES, **{"minimum": 2, **more})


def lists(one, other):
    return {"north": make_ids(one), "south": make_ids(other)}


@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_the_own_protocol_finds(case):
    pytest.importorskip("private_set_intersection.python")
    own = lists(*CASES[case])
    theirs = simulate_openmined(terms(), own)
    ours, _ = simulate(terms(), own)
    counts = simulate_openmined(terms("scope"), own)
    for name in NAMES:
        assert theirs[name].shared.tolist() == ours[name].shared.tolist()
        assert theirs[name].common == ours[name].common == counts[name].common
        assert counts[name].shared is None
    rows = [
        {o.ids.keys[k]: int(o.rows[k]) for k in np.flatnonzero(o.shared)} for o in theirs.values()
    ]
    assert rows[0] == rows[1]
    assert theirs["north"].words == theirs["south"].words


def test_two_attempts_have_other_names():
    pytest.importorskip("private_set_intersection.python")
    own = lists(["a", "b"], ["a", "b"])
    one, other = (simulate_openmined(terms(), own)["north"].words for _ in range(2))
    assert set(one).isdisjoint(other)


def test_the_terms_hold_as_ever():
    pytest.importorskip("private_set_intersection.python")
    own = lists(["a", "b", "c"], ["a", "b"])
    with pytest.raises(AlignmentError, match="at least 3"):
        simulate_openmined(terms(minimum=3), own)
    with pytest.raises(AlignmentError, match="1.2 times longer"):
        simulate_openmined(terms(ratio=1.2), own)
    with pytest.raises(ConfigError, match="compares two lists"):
        simulate_openmined(terms("union"), own)
    with pytest.raises(ConfigError, match="expected the lists of north, south"):
        simulate_openmined(terms(), {"north": own["north"]})


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "private_set_intersection.python", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fedrec\[psi\]"'):
        simulate_openmined(terms(), lists(["a", "b"], ["a", "b"]))
