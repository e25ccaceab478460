"""What a data set holds, in figures for a reader."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import EVENTS, Attribute, Catalogue, Dataset


@dataclass(frozen=True)
class AttributeLine:
    """One attribute: of what, its name and kind, how many entities have it, examples."""

    of: str
    name: str
    kind: str
    coverage: float
    values: str


@dataclass(frozen=True)
class Description:
    """Figures of a data set.

    Attributes:
        name: its name.
        figures: (what, value) pairs in reading order.
        attributes: one line for each attribute of items, users and merchants.
        account: what cleaning did.
    """

    name: str
    figures: tuple[tuple[str, str], ...]
    attributes: tuple[AttributeLine, ...]
    account: tuple[str, ...]


def describe(dataset: Dataset) -> Description:
    """Summarise a data set.

    Args:
        dataset: cleaned.

    Returns:
        sizes, density, spread over users and items, ratings, events, times,
        merchants, attributes, and the cleaning account.
    """
    rows = dataset.interactions
    per_user = np.bincount(rows.user, minlength=dataset.num_users)
    per_item = np.bincount(rows.item, minlength=dataset.num_items)
    figures = [
        ("users", f"{dataset.num_users:,}"),
        ("items", f"{dataset.num_items:,}"),
        ("interactions", f"{len(rows):,}"),
        ("density", f"{len(rows) / (dataset.num_users * dataset.num_items):.3%}"),
        ("interactions per user", _spread(per_user)),
        ("interactions per item", _spread(per_item)),
        ("share of the 10% most popular items", f"{_head_share(per_item):.1%}"),
    ]
    if rows.rating is not None:
        figures.append(("ratings", _ratings(rows.rating)))
    if rows.timestamp is not None:
        figures.append(("time", f"{_date(rows.timestamp.min())} to {_date(rows.timestamp.max())}"))
    if rows.event is not None:
        counts = np.bincount(rows.event, minlength=len(EVENTS))
        words = (f"{name} {n:,}" for name, n in zip(EVENTS, counts, strict=True))
        figures.append(("strongest event of a pair", ", ".join(words)))
    if rows.merchant is not None and dataset.merchants is not None:
        figures += _merchants(dataset, rows.merchant)
    if dataset.truth is not None:
        figures.append(("true preferences", "known (an oracle ranking exists)"))
    return Description(dataset.name, tuple(figures), _attributes(dataset), dataset.account)


def _spread(counts: NDArray[np.int64]) -> str:
    low, middle, high = np.percentile(counts, [0, 50, 100])
    return f"least {low:.0f}, median {middle:g}, mean {counts.mean():.1f}, most {high:.0f}"


def _head_share(counts: NDArray[np.int64]) -> float:
    head = max(1, len(counts) // 10)
    return float(np.sort(counts)[::-1][:head].sum() / counts.sum())


def _ratings(rating: NDArray[np.float32]) -> str:
    rated = rating[np.isfinite(rating)]
    if not len(rated):
        return "all missing"
    values, counts = np.unique(rated, return_counts=True)
    spread = f"mean {rated.mean():.2f}, from {values[0]:g} to {values[-1]:g}"
    if len(values) > 11:
        return spread
    shares = (f"{v:g}: {n / len(rated):.0%}" for v, n in zip(values, counts, strict=True))
    return f"{spread} ({', '.join(shares)})"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d")


def _merchants(dataset: Dataset, merchant: NDArray[np.int32]) -> list[tuple[str, str]]:
    number = len(dataset.merchants or ())
    pairs = np.unique(merchant.astype(np.int64) * dataset.num_users + dataset.interactions.user)
    shops_of_user = np.bincount(pairs % dataset.num_users, minlength=dataset.num_users)
    return [
        ("merchants", f"{number:,}"),
        ("interactions per merchant", _spread(np.bincount(merchant, minlength=number))),
        ("merchants per user", _spread(shops_of_user)),
    ]


def _attributes(dataset: Dataset) -> tuple[AttributeLine, ...]:
    kinds: tuple[tuple[str, Catalogue | None], ...] = (
        ("item", dataset.items),
        ("user", dataset.users),
        ("merchant", dataset.merchants),
    )
    return tuple(
        AttributeLine(of, name, attribute.kind, _coverage(attribute), _values(attribute))
        for of, catalogue in kinds
        if catalogue is not None
        for name, attribute in catalogue.attributes.items()
    )


def _coverage(attribute: Attribute) -> float:
    values = attribute.values
    if attribute.kind == "category":
        return float((values >= 0).mean())
    if attribute.kind == "number":
        return float(np.isfinite(values).mean())
    if attribute.kind == "tags":
        return float(values.any(axis=1).mean())
    return float(np.mean([bool(text) for text in values]))


def _values(attribute: Attribute) -> str:
    if attribute.kind == "number":
        known = attribute.values[np.isfinite(attribute.values)]
        return f"{known.min():g} to {known.max():g}" if len(known) else ""
    if attribute.kind == "text":
        return next((str(text) for text in attribute.values if text), "")
    words = attribute.vocabulary
    more = ", ..." if len(words) > 4 else ""
    return f"{len(words):,}: {', '.join(words[:4])}{more}"
