"""Keys of attributes, anchors and new items: what is refused, and why."""

from __future__ import annotations

from typing import Any

import pytest

from fedrec.config import from_flat
from fedrec.errors import ConfigError

COLD = {"split.protocol": "cold-items", "evaluate.candidates": "new", "evaluate.sampled": 0}


@pytest.mark.parametrize(
    "keys",
    [
        {"model.name": "two-tower", "model.loss": "hinge", "model.id_rows": False},
        {"model.name": "deepfm", "model.loss": "bpr", "data.item_vectors": "v.npz"},
        {"model.name": "mf", "model.anchor": 0.1, "model.text_width": 8, "model.tower": "64"},
        {**COLD, "train.negatives_from": "known"},
        {"model.name": "head", "model.anchor": 0.1, "train.method": "pfedrec"},
        {"model.name": "two-tower", "model.id_rows": False, "model.item_attributes": "",
         "data.item_vectors": "v.npz"},
    ],
)  # fmt: skip
def test_what_fits_is_accepted(keys: dict[str, Any]) -> None:
    from_flat(keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.loss": "hinge"}, "'hinge' is for model.name = 'two-tower'"),
        ({"model.name": "deepfm", "model.loss": "hinge"}, "'hinge' is for model.name"),
        ({"model.spread": 2.0}, r"model.spread = 2.0 is for models of attributes"),
        ({"model.item_attributes": "genres"}, r"model.item_attributes = 'genres' is for"),
        ({"model.anchor": 0.1, "model.id_rows": False}, r"model.id_rows = False is for"),
        ({"data.item_vectors": "v.npz"}, "is read by models of attributes"),
        ({"model.name": "two-tower", "model.loss": "squared"}, "'logistic', 'bpr' or 'hinge'"),
        ({"model.name": "two-tower", "train.method": "pfedrec"}, "made for the rows of an item"),
        ({"model.name": "two-tower", "data.feedback": "explicit"}, "ranks items"),
        ({"model.name": "deepfm", "model.id_rows": False}, "is for model.name = 'two-tower'"),
        ({"model.name": "two-tower", "model.id_rows": False, "model.item_attributes": ""},
         "leaves an item its attributes"),
        ({"model.name": "two-tower", "model.tower": "x"}, "model.tower = 'x': expected integers"),
        ({"model.name": "ncf", "model.anchor": 0.1}, "pulls an item table"),
        ({"model.anchor": 0.1, "train.method": "fcf"}, "pulls an item table"),
        ({"model.anchor": 0.1, "model.item_attributes": " "}, "what attributes say"),
        ({"model.anchor": 0.1, "model.freeze": True, "model.pretrained": "d"}, "freeze it"),
        ({"evaluate.candidates": "new"}, "needs split.protocol = 'cold-items'"),
        ({**COLD, "evaluate.sampled": 9}, "needs evaluate.sampled = 0"),
        ({"train.negatives_from": "known"}, "would stand out, as in a leak"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_reason(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat(keys)
