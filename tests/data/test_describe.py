from __future__ import annotations

import numpy as np

from fedrec.data.attributes import to_category, to_number
from fedrec.data.clean import Rules, clean
from fedrec.data.describe import describe
from tests.data.small_data import dataset


def test_figures_by_hand():
    raw = dataset(
        [(0, 0), (0, 1), (1, 0)],
        time=[0, 86_400, 2 * 86_400],
        rating=[1, 5, 5],
        merchant=[0, 1, 1],
        event=[0, 2, 2],
        attributes={"kind": to_category(["a", None]), "price": to_number([2, np.nan])},
    )
    shown = describe(clean(raw, Rules()))
    figures = dict(shown.figures)
    assert figures["users"] == "2"
    assert figures["density"] == "75.000%"
    assert figures["interactions per user"] == "least 1, median 1.5, mean 1.5, most 2"
    assert figures["share of the 10% most popular items"] == "66.7%"
    assert figures["ratings"] == "mean 3.67, from 1 to 5 (1: 33%, 5: 67%)"
    assert figures["time"] == "1970-01-01 to 1970-01-03"
    assert figures["strongest event of a pair"] == "view 1, cart 0, purchase 2"
    assert figures["merchants"] == "2"
    assert figures["merchants per user"] == "least 1, median 1.5, mean 1.5, most 2"
    assert [(a.of, a.name, a.coverage, a.values) for a in shown.attributes] == [
        ("item", "kind", 0.5, "1: a"),
        ("item", "price", 0.5, "2 to 2"),
    ]
    assert shown.account[0] == "read: 3 rows"
