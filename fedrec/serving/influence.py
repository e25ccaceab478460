"""What each item of a history has to do with a score, to first order, without training anew.

Where personal vectors have come to rest, leaving out the samples j of an item moves them by
about ``H^-1 g_j``, with g_j the gradient of these samples' losses and H the curvature of all
(influence functions: Koh and Liang, ICML 2017; of recommenders' user vectors: Cheng et al.,
KDD 2019).  H is Gauss and Newton's, ``J^T diag(c) J + l2``, which is never negative, with J
the slopes of the samples' scores along the personal vectors, taken by small differences: so
all items of a history cost as little as one pass.  What pulls a vector to nothing (l2) belongs
to no item and stays, so that shares say what the history has brought.  Imported with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedrec.data.batches import Samples
from fedrec.models.attributed import Attributed
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.recommender import Recommender, personal_fixed
from fedrec.training.methods import Method, Phase

WIDEST = 256
"""Most personal numbers of a user of which slopes are taken."""
DAMPING = 0.1
"""Of the mean curvature, added to all: few passes leave flat directions where they began.
Of 0 to 10 it agreed best with training anew (NCF on MovieLens-100K; 0 to 0.3 hardly differ)."""
STEP = 1e-2

Floats = NDArray[np.float64]
Score = Callable[[Mapping[str, NDArray[np.float32]], NDArray[np.int64]], NDArray[np.float32]]
"""Personal values [b, ...] and items [m] to scores [b, m]."""


def has_influence(model: Recommender, method: Method) -> bool:
    """Return whether shares can be told so: small vectors, and a loss of plain scores."""
    phases = method.phases
    if not phases or any(p.solver != "gradient" or p.part != "all" for p in phases):
        return False
    if isinstance(model, MatrixFactorisation) and model.explicit:
        return False  # ratings are clipped to their range
    plain = type(model) is KerasRecommender  # others of its kind have losses of their own
    known = plain or isinstance(model, MatrixFactorisation | Attributed)
    if not known or int(getattr(model, "history_length", False)):
        return False
    names = set(model.init_personal(np.zeros(1, np.int64), 0).values) - set(personal_fixed(model))
    vectors = _vectors(model)
    return names == set(vectors) and 0 < sum(vectors.values()) <= WIDEST


def _vectors(model: Recommender) -> dict[str, int]:
    """Return name -> size of the personal vectors that are trained."""
    still = personal_fixed(model)
    return {n: size for n, size in model.personal_vectors.items() if n not in still}


def influence(
    model: Recommender,
    score: Score,
    values: Mapping[str, NDArray[np.float32]],
    samples: Samples,
    phase: Phase,
    items: NDArray[np.int64],
    met: int,
) -> Floats:
    """Return what scores lose without each item that was met, to first order.

    Args:
        model: for which `has_influence`.
        score: of the model.
        values: the user's personal values, [1, ...].
        samples: of the user, equally many for each item met, in the items' order.
        phase: that trained the values.
        items: int64 [k], whose scores are asked for.
        met: n.

    Returns:
        float64 [k, n].
    """
    vector = _flat(model, values)
    seen = samples.fields["item"]
    blocks = [seen, samples.fields["negative"], items] if model.pairwise else [seen, items]
    told, slopes = _slopes(model, score, values, np.concatenate(blocks).astype(np.int64))
    size, wanted = len(seen), slopes[-len(items) :]
    own, at = slopes[:size], told[:size]
    if model.pairwise:
        own, at = own - slopes[size : 2 * size], at - told[size : 2 * size]
    slope, curve = _curved(model, at, samples.label.astype(np.float64))
    weight = samples.weight.astype(np.float64)
    curvature = (own * (weight * curve)[:, None]).T @ own
    curvature += phase.l2 * weight.sum() * np.eye(len(vector))
    curvature += (DAMPING * np.trace(curvature) / len(vector) + 1e-12) * np.eye(len(vector))
    pulls = (weight * slope)[:, None] * own
    pulls = pulls.reshape(met, -1, len(vector)).sum(1)
    found: Floats = -wanted @ np.linalg.solve(curvature, pulls.T)
    return found


def _flat(model: Recommender, values: Mapping[str, Any]) -> Floats:
    every = [np.asarray(values[n], np.float64).ravel() for n in _vectors(model)]
    return np.concatenate(every)


def _slopes(
    model: Recommender, score: Score, values: Mapping[str, Any], items: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the scores of some items, [m], and their slopes along the vectors, [m, p]."""
    vectors = _vectors(model)
    width = sum(vectors.values())
    moved = {n: np.repeat(np.asarray(v, np.float32), width + 1, 0) for n, v in values.items()}
    at = 0
    for name, size in vectors.items():
        moved[name][at + np.arange(size), np.arange(size)] += STEP
        at += size
    found = score(moved, items).astype(np.float64)
    return found[-1], ((found[:-1] - found[-1]) / STEP).T


def _curved(model: Recommender, at: Floats, label: Floats) -> tuple[Floats, Floats]:
    """Return the first and second derivatives of the loss of each sample by its score."""
    kind = getattr(model, "kind", "logistic")
    if kind == "squared":
        return at - label, np.ones_like(at)
    if kind == "hinge":  # of a positive's missing margin and a negative's square
        spread = 2.0 * float(getattr(model, "spreading", 1.0))
        return np.where(label > 0, -1.0 * (at < 1), spread * at), spread * (1.0 - label)
    likely = expit(at)
    return likely - (1.0 if kind == "bpr" else label), likely * (1.0 - likely)
