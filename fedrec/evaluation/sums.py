"""Everything that leaves a node in evaluation: sums, never rows of users.

Sums of two disjoint sets of users add up to the sums of their union, whatever
the nodes.  As the bootstrap weights of a user depend on the user alone, sums of
several seeds may be added too: means are then over users and seeds, and the
intervals are over users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import EngineError

Sums = dict[str, float]
Replicates = dict[str, NDArray[np.float64]]

LEVEL = 0.95
"""Coverage of all intervals."""


def _no_items() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class EvaluationSums:
    """Sums over users of one part of one system; `+` joins disjoint users, or seeds.

    Attributes:
        values: "full.hr@10", "sampled99.ndcg@10", "rating.squared_error" -> sum.
        counts: "full", "sampled99" -> users, "rating" -> ratings.
        replicates: as `values` -> float64 [B], sums under bootstrap weights.
        replicate_counts: as `counts` -> float64 [B], counts under these weights.
        recommended: int64 [I], how often an item stood in a list of the K best;
            empty if nothing was ranked.
        groups: "gender=F.full.ndcg@10" -> sum, "gender=F.count" -> users.
    """

    values: Sums = field(default_factory=dict)
    counts: Sums = field(default_factory=dict)
    replicates: Replicates = field(default_factory=dict)
    replicate_counts: Replicates = field(default_factory=dict)
    recommended: NDArray[np.int64] = field(default_factory=_no_items)
    groups: Sums = field(default_factory=dict)

    def __add__(self, other: EvaluationSums) -> EvaluationSums:
        return EvaluationSums(
            _add(self.values, other.values),
            _add(self.counts, other.counts),
            _add_arrays(self.replicates, other.replicates),
            _add_arrays(self.replicate_counts, other.replicate_counts),
            _add_array(self.recommended, other.recommended, "recommended"),
            _add(self.groups, other.groups),
        )


def _add(a: Sums, b: Sums) -> Sums:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in {**a, **b}}


def _add_arrays(a: Replicates, b: Replicates) -> Replicates:
    empty = np.zeros(0)
    return {name: _add_array(a.get(name, empty), b.get(name, empty), name) for name in {**a, **b}}


def _add_array(a: NDArray, b: NDArray, name: str) -> NDArray:
    if not len(a) or not len(b):
        return a if len(a) else b
    if len(a) != len(b):
        raise EngineError(
            f"evaluation sums {name!r} of two nodes have lengths {len(a)} and {len(b)}: "
            "all nodes must use the same data, evaluate.k and evaluate.bootstrap"
        )
    return a + b


def merge(parts: list[EvaluationSums]) -> EvaluationSums:
    """Return the sum of any number of evaluation sums, also of none."""
    total = EvaluationSums()
    for part in parts:
        total = total + part
    return total


def means(sums: EvaluationSums) -> Sums:
    """Return the metrics: sums over their counts.

    Args:
        sums: the folded sums.

    Returns:
        "full.hr@10" and so on -> mean; "rating.rmse" and "rating.mae" in the
        place of the sums of errors.  A protocol without any user is absent.
    """
    return {
        name: float(value[0])
        for name, value in ratios(
            {n: np.array([v]) for n, v in sums.values.items()},
            {n: np.array([c]) for n, c in sums.counts.items()},
        ).items()
        if np.isfinite(value[0])
    }


def ratios(values: Replicates, counts: Replicates) -> Replicates:
    """Return metrics from sums, elementwise over replicates.

    Args:
        values: name -> float64 [B], sums.
        counts: protocol -> float64 [B].

    Returns:
        name of the metric -> float64 [B], NaN where the count is zero.
    """
    out: Replicates = {}
    for name, total in values.items():
        count = counts[name.split(".", 1)[0]]
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        if name == "rating.squared_error":
            out["rating.rmse"] = np.sqrt(mean)
        elif name == "rating.absolute_error":
            out["rating.mae"] = mean
        else:
            out[name] = mean
    return out


def intervals(sums: EvaluationSums) -> dict[str, tuple[float, float]]:
    """Return 95% percentile-bootstrap intervals over users (Efron 1979).

    Args:
        sums: the folded sums, with replicates.

    Returns:
        name as in `means` -> (low, high); empty without replicates.
    """
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    out = {}
    for name, replicates in ratios(sums.replicates, sums.replicate_counts).items():
        finite = replicates[np.isfinite(replicates)]
        if len(finite):
            low, high = np.percentile(finite, [tail, 100.0 - tail])
            out[name] = (float(low), float(high))
    return out


def group_means(sums: EvaluationSums) -> dict[str, Sums]:
    """Return the metrics of each user group.

    Args:
        sums: the folded sums, with groups.

    Returns:
        "gender=F" -> {"count": users, "full.ndcg@10": mean, ...}; a group without
        users is absent.
    """
    out: dict[str, Sums] = {}
    for name, value in sums.groups.items():
        if name.endswith(".count") and value > 0:
            out[name.removesuffix(".count")] = {"count": value}
    for name, value in sums.groups.items():
        if not name.endswith(".count"):
            group, protocol, metric = name.rsplit(".", 2)
            if group in out:
                out[group][f"{protocol}.{metric}"] = value / out[group]["count"]
    return out


_SCALARS = ("values", "counts", "groups")
_STACKED = ("replicates", "replicate_counts")


def to_arrays(sums: EvaluationSums) -> dict[str, NDArray]:
    """Return the sums as a few flat arrays, for the wire or a file.

    Returns:
        field name -> float64 [n] or [n, B] or int64 [I], and "names": uint8, the
        names of the entries as JSON.
    """
    names = {f: list(getattr(sums, f)) for f in (*_SCALARS, *_STACKED)}
    out: dict[str, NDArray] = {
        "names": np.frombuffer(json.dumps(names).encode(), np.uint8).copy(),
        "recommended": sums.recommended,
    }
    for name in _SCALARS:
        out[name] = np.array(list(getattr(sums, name).values()), np.float64)
    for name in _STACKED:
        rows = list(getattr(sums, name).values())
        out[name] = np.stack(rows) if rows else np.zeros((0, 0))
    return out


def from_arrays(arrays: Mapping[str, NDArray]) -> EvaluationSums:
    """Rebuild the sums from what `to_arrays` returned.

    Raises:
        EngineError: if an array is missing or does not fit its names.
    """
    try:
        names = json.loads(np.asarray(arrays["names"], np.uint8).tobytes())
        fields: dict[str, dict] = {}
        for name in _SCALARS:
            fields[name] = dict(zip(names[name], arrays[name].tolist(), strict=True))
        for name in _STACKED:
            fields[name] = dict(zip(names[name], arrays[name], strict=True))
        return EvaluationSums(recommended=np.asarray(arrays["recommended"], np.int64), **fields)
    except (KeyError, ValueError) as error:
        raise EngineError(
            f"evaluation sums cannot be read ({error}): expected the arrays of to_arrays"
        ) from None
