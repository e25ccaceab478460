"""A first look at a file that is too large for memory: its identifiers, and how to read it.

Only the distinct identifiers of users, items and merchants are kept.  With them the file
is read a second time into the codes and numbers that reading it as a whole would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrec.config_sections import DataSection
from fedrec.data.chunks import read_pieces
from fedrec.data.files import usual_columns, what_to_read
from fedrec.data.frames import Columns, check_columns, without_rows
from fedrec.data.interactions import Interactions
from fedrec.data.kinds import Distinct, forced_type, kind_of
from fedrec.data.moments import Moments, TimeRule
from fedrec.data.readers import to_events, to_numbers

if TYPE_CHECKING:
    import pandas as pd

_IDS = ("user", "item", "merchant")


@dataclass(frozen=True, eq=False)
class Plan:
    """How a file is read.

    Attributes:
        path: the file.
        header: whether its first line names the columns.
        columns: which column is what.
        forced: column -> type that it must be read with.
        ids: role -> its distinct identifiers.
        times: how times are read; None without.
        rows: of the file.
    """

    path: Path
    header: bool
    columns: Columns
    forced: Mapping[str, str]
    ids: Mapping[str, Distinct]
    times: TimeRule | None
    rows: int

    def read(self) -> Iterator[Interactions]:
        """Yield the rows in their order, uncleaned, as `from_frames` would number them.

        Raises:
            DataError: as `from_frames`.
        """
        at, name = 0, self.path.name
        for frame in read_pieces(self.path, header=self.header, forced=self.forced):
            yield self._interactions(frame, at, name)
            at += len(frame)

    def _interactions(self, frame: pd.DataFrame, at: int, name: str) -> Interactions:
        columns = self.columns
        codes = {role: each.codes(frame[getattr(columns, role)]) for role, each in self.ids.items()}
        rating, event = columns.rating, columns.event
        numbers = to_numbers(frame[rating], rating, name, at) if rating else None
        return Interactions(
            **codes,
            rating=None if numbers is None else numbers.astype(np.float32),
            timestamp=self.times.seconds(frame[columns.time]) if self.times else None,
            event=to_events(frame[event], event, name) if event else None,
        )


@dataclass
class _Look:
    """What a look over all pieces has found."""

    columns: Columns
    kinds: dict[str, set[str]] = field(default_factory=dict)
    ids: dict[str, Distinct] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)
    rows: int = 0

    def add(self, frame: pd.DataFrame) -> None:
        self.rows += len(frame)
        for role, name in self.columns.given().items():
            values = frame[name]
            self.kinds.setdefault(name, set()).add(kind_of(values))
            if role in _IDS:
                self.ids.setdefault(role, Distinct()).add(values)
            if role == "time":
                self.moments.add(values)

    def forced(self) -> dict[str, str]:
        """Return the types of columns whose pieces differ."""
        found = {name: forced_type(kinds) for name, kinds in self.kinds.items()}
        return {name: kind for name, kind in found.items() if kind is not None}


def scan(section: DataSection) -> Plan:
    """Look at all rows of `data.path`, and again where pieces differ in their types.

    Args:
        section: the `data` section.

    Raises:
        DataError: as `read_files` and `from_frames`.
    """
    path, columns, header = what_to_read(section)
    look = _look(path, columns, header, {})
    forced = look.forced()
    if forced:
        look = _look(path, columns, header, forced)
    columns = look.columns
    times = look.moments.rule(columns.time, path.name) if columns.time else None
    ids = {role: look.ids[role].numbered() for role in _IDS if role in look.ids}
    return Plan(path, header, columns, forced, ids, times, look.rows)


def _look(path: Path, columns: Columns, header: bool, forced: Mapping[str, str]) -> _Look:
    look: _Look | None = None
    for frame in read_pieces(path, header=header, forced=forced):
        if look is None:
            chosen = usual_columns(columns, frame) if path.suffix == ".inter" else columns
            check_columns(frame, chosen, path.name)
            look = _Look(chosen)
        look.add(frame)
    if look is None or not look.rows:
        raise without_rows(path.name)
    return look
