"""How a column of times is to be read, found out piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.kinds import kind_of
from fedrec.data.readers import TIME_UNITS, as_dates, as_numbers, no_time, seconds_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TimeRule:
    """How times are read.

    Attributes:
        dates: they are dates or words; else numbers.
        unit: numbers count so many parts of a second.
    """

    dates: bool
    unit: float

    def seconds(self, values: pd.Series) -> NDArray[np.float64]:
        """Read a piece, as `to_times` would the whole column; float64 [N]."""
        if kind_of(values) == "date":
            return seconds_of(values)
        if self.dates:
            return seconds_of(as_dates(values))
        numbers = as_numbers(values)
        return numbers if self.unit == 1 else numbers / self.unit


@dataclass
class _Bound:
    """What lies on both sides of a bound, enough to compare the median with it."""

    above: int = 0
    below_most: float = -np.inf
    above_least: float = np.inf

    def add(self, sizes: NDArray[np.float64], bound: float) -> None:
        over = sizes > bound
        self.above += int(over.sum())
        self.below_most = max(self.below_most, float(sizes[~over].max(initial=-np.inf)))
        self.above_least = min(self.above_least, float(sizes[over].min(initial=np.inf)))

    def median_above(self, bound: float, number: int) -> bool:
        """Return whether the median of so many numbers is above the bound."""
        if self.above * 2 == number:  # the mean of the two in the middle
            return (self.below_most + self.above_least) / 2 > bound
        return self.above * 2 > number


@dataclass
class Moments:
    """What the pieces of a column of times tell."""

    present: int = 0
    finite: int = 0
    parsed: int = 0
    dated: bool = False
    first: object = None
    rows: int = 0
    bounds: dict[float, _Bound] = field(
        default_factory=lambda: {bound: _Bound() for bound in TIME_UNITS}
    )

    def add(self, values: pd.Series) -> None:
        """Take in a piece."""
        if not self.rows and len(values):
            self.first = values.iloc[0]
        self.rows += len(values)
        kind = kind_of(values)
        if kind == "date":
            self.dated = True
            return
        numbers = as_numbers(values)
        sizes = np.abs(numbers[np.isfinite(numbers)])
        self.finite += len(sizes)
        self.present += int(values.notna().sum())
        if kind == "word":
            self.parsed += int(as_dates(values).notna().sum())
        for bound, each in self.bounds.items():
            each.add(sizes, bound)

    def rule(self, column: str, source: str) -> TimeRule:
        """Return how the column is read.

        Args:
            column: its name, for the message.
            source: the file, likewise.

        Raises:
            DataError: if not one value can be read as a time.
        """
        if self.dated or (self.finite * 2 < self.present and self.parsed > self.finite):
            return TimeRule(True, 1.0)
        if not self.finite:
            raise no_time(self.first, column, source)
        for bound, unit in TIME_UNITS.items():
            if self.bounds[bound].median_above(bound, self.finite):
                return TimeRule(False, unit)
        return TimeRule(False, 1.0)
