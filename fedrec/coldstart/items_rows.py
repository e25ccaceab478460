"""Rows for items that nobody has met, made from the rows of items that were trained.

Every function takes what is known of all items and the trained rows, and returns the rows
of the new ones.  No interaction is looked at: the trained rows are the server's own, and
attributes are those of a catalogue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, integers
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import ModelError, nearest
from fedrec.models.features import Matrix, feature_options, item_features
from fedrec.rng import Purpose, draw, keys
from fedrec.rng import integers as below
from fedrec.training.attribute_net import attribute_net, fit_net

if TYPE_CHECKING:
    import scipy.sparse as sp

_GROUPING = ("category", "tags")
_BLOCK = 1024  # new items whose similarities to all old ones are held at once


def known_of(items: Catalogue) -> NDArray[np.bool_]:
    """Return which items have trained rows, bool [I]."""
    return np.ones(len(items), bool) if items.known is None else items.known


def random_rows(config: Config, items: Catalogue, trained: Matrix) -> Matrix:
    """Return for each new item the row of a trained item, drawn by the seed of the run.

    Args:
        config: the seed.
        items: the I items, `known` saying which are trained.
        trained: float32 [K, w], rows of the K known items.

    Returns:
        float32 [N, w].
    """
    new = np.flatnonzero(~known_of(items))
    words = draw(keys(config.run.seed, 0, new, Purpose.NEW_ITEMS), 0)
    return trained[below(words, len(trained))]


def mean_rows(config: Config, items: Catalogue, trained: Matrix) -> Matrix:
    """Return the mean trained row for each new item; arguments as `random_rows`."""
    new = int((~known_of(items)).sum())
    return np.tile(trained.mean(0, dtype=np.float64).astype(np.float32), (new, 1))


def category_rows(config: Config, items: Catalogue, trained: Matrix) -> Matrix:
    """Return the mean row of the trained items of an item's category, brand and so on.

    From the coarsest level to the finest: the mean of a group of n items is
    ``(sum + s * before) / (n + s)``, where `before` is the mean of the level before (of all
    items, at the first).  So a group that nobody knows, or an item without a value, gets
    what the coarser level says.  An item with several tags gets the mean of their means.

    Args:
        config: `coldstart.levels` and `coldstart.level_shrink`, s.
        items: as `random_rows`.
        trained: as there.

    Returns:
        float32 [N, w].

    Raises:
        ModelError: if a level is no category of these items, or there is none.
    """
    from scipy.sparse import diags

    known, shrink = known_of(items), config.coldstart.level_shrink
    rows = mean_rows(config, items, trained).astype(np.float64)
    for _, groups in levels_of(config, items):
        of_known, of_new = groups[known], groups[~known]
        count = np.asarray(of_known.sum(0)).ravel()
        weight = 1.0 / (count + shrink)
        several = np.asarray(of_new.sum(1)).ravel()
        share = diags(1.0 / np.maximum(several, 1)) @ of_new
        means = weight[:, None] * (of_known.T @ trained.astype(np.float64))
        before = (share @ (shrink * weight))[:, None] * rows
        rows = np.where((several > 0)[:, None], share @ means + before, rows)
    return rows.astype(np.float32)


def levels_of(config: Config, items: Catalogue) -> list[tuple[str, sp.csr_matrix]]:
    """Return the levels from the coarsest to the finest: name, sparse [I, V] of 0 and 1.

    Raises:
        ModelError: as `category_rows`.
    """
    fitting = [n for n, a in items.attributes.items() if a.kind in _GROUPING]
    text, known = config.coldstart.levels.strip(), known_of(items)
    names = text.replace(",", " ").split()
    told = ", ".join(fitting) or "none"
    if not fitting or not names:
        raise ModelError(
            f"coldstart.items = {config.coldstart.items!r} needs categories or tags of items: "
            f"{config.data.name!r} has {told}, and coldstart.levels = {text!r}"
        )
    for name in names:
        if text != "all" and name not in fitting:
            raise ModelError(f"coldstart.levels names {name!r}, and the categories and tags of "
                             f"items are: {told}.{nearest(name, fitting)}")  # fmt: skip
    chosen = {n: _membership(items.attributes[n]) for n in (fitting if text == "all" else names)}
    if text == "all":
        used = {n: int((np.asarray(m[known].sum(0)) > 0).sum()) for n, m in chosen.items()}
        return sorted(chosen.items(), key=lambda level: used[level[0]])
    return list(chosen.items())


def _membership(attribute: Attribute) -> sp.csr_matrix:
    from scipy.sparse import csr_matrix

    number = len(attribute.vocabulary)
    if attribute.kind == "tags":
        return csr_matrix(attribute.values.astype(np.float64))
    row = np.flatnonzero(attribute.values >= 0)
    shape = (len(attribute.values), number)
    return csr_matrix((np.ones(len(row)), (row, attribute.values[row])), shape)


def nearest_rows(config: Config, items: Catalogue, trained: Matrix) -> Matrix:
    """Return the mean row of the trained items whose attributes are most alike.

    Rows are weighted by the cosine of the attributes, text and vectors among them; of
    equal cosines the item of the smaller number comes first.  An item without attributes
    gets the mean row.

    Args:
        config: `coldstart.neighbours`, and the attributes.
        items: as `random_rows`.
        trained: as there.

    Returns:
        float32 [N, w].

    Raises:
        ModelError: if items have no attributes, or these cannot be read.
    """
    features, known = _features(config, items), known_of(items)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1.0)
    number = min(config.coldstart.neighbours, len(trained))
    rows = mean_rows(config, items, trained)
    old, new = unit[known], unit[~known]
    for at in range(0, len(new), _BLOCK):
        alike = np.maximum(new[at : at + _BLOCK] @ old.T, 0.0)
        chosen = np.argsort(-alike, axis=1, kind="stable")[:, :number]
        weight = np.take_along_axis(alike, chosen, 1)
        total = weight.sum(1, keepdims=True)
        mean = np.einsum("nk,nkw->nw", weight, trained[chosen]) / np.where(total > 0, total, 1.0)
        rows[at : at + _BLOCK] = np.where(total > 0, mean, rows[at : at + _BLOCK])
    return rows


def ridge_rows(config: Config, items: Catalogue, trained: Matrix) -> Matrix:
    """Return a linear map of the attributes, fitted to the trained rows with a ridge.

    The mean row is not shrunk: attributes and rows are centred on the known items.

    Args:
        config: `coldstart.item_ridge`, and the attributes.
        items: as `random_rows`.
        trained: as there.

    Returns:
        float32 [N, w].

    Raises:
        ModelError: as `nearest_rows`.
    """
    features, known = _features(config, items).astype(np.float64), known_of(items)
    centre, mean = features[known].mean(0), trained.mean(0, dtype=np.float64)
    x = features[known] - centre
    gram = x.T @ x + config.coldstart.item_ridge * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (trained - mean))
    return ((features[~known] - centre) @ weights + mean).astype(np.float32)


def net_rows(config: Config, items: Catalogue, trained: Matrix) -> Matrix:
    """Return what IFedRec's net of attributes says, fitted once to the trained rows.

    Rows are scaled to a mean square of 1 for the fit, so that the learning rate means the
    same whatever the table.

    Args:
        config: `model.tower`, `coldstart.net_steps` and `coldstart.net_lr`, the attributes
            and the seed of the run.
        items: as `random_rows`.
        trained: as there.

    Returns:
        float32 [N, w].

    Raises:
        ModelError: as `nearest_rows`.
    """
    features, known = _features(config, items), known_of(items)
    mean = trained.mean(0, dtype=np.float64).astype(np.float32)
    scale = float(np.sqrt(np.mean((trained - mean) ** 2))) or 1.0
    target = (trained - mean) / np.float32(scale)
    hidden, section = integers(config, "model.tower"), config.coldstart
    out = trained.shape[1]
    net = attribute_net(features.shape[1], hidden, out, section.net_lr, config.run.seed)
    old, new = features[known], features[~known]
    fit_net(net, old, target, section.net_steps)
    said: Matrix = np.array(net(new), np.float32)
    return said * np.float32(scale) + mean


def _features(config: Config, items: Catalogue) -> Matrix:
    values = item_features(items, feature_options(config)).values
    if not values.shape[1]:
        raise ModelError(
            f"coldstart.items = {config.coldstart.items!r} is made of attributes, and the items of "
            f"{config.data.name!r} have none that are used: set coldstart.items = 'mean', or "
            "model.item_attributes = 'all'"
        )
    return values
