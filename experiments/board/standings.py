"""The standings of a data set: every system, against the best centralised baseline and its twin.

Differences are paired over users by bootstrap replicates that share their weights.  Their
p-values take the replicates' standard deviation and the normal distribution: counting
replicates could not tell small ones apart, and all are corrected for the number of
comparisons in the table (Holm 1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.board.entries import Entry
from experiments.board.final import PAIRED, current
from fedrec.evaluation.bootstrap import Paired, holm, paired
from fedrec.evaluation.sums import EvaluationSums, ratios
from fedrec.systems import read_sums

Json = dict[str, Any]
METRIC = PAIRED[0]
CENTRAL_MODELS = ("mf", "ncf")
"""Models whose centralised training counts as a baseline, beside the baselines proper."""
LEVEL = 0.05
CLOSE = 0.03
"""Largest relative gap to a centralised twin that is not flagged."""


@dataclass(frozen=True)
class Standing:
    """One system on one data set.

    Attributes:
        row: "fedmf.federated": entry and system.
        entry: its method.
        system: "federated", "centralised" or a baseline.
        result: its entry of the result file; None if it is not run yet.
        against: difference from the best centralised baseline; None for that one itself.
        p_value: of this difference, after Holm's correction over the table.
        twin: difference from the centralised twin; None without a twin that has been run.
        ratio: its metric over that of the twin.
    """

    row: str
    entry: Entry
    system: str
    result: Json | None
    against: Paired | None = None
    p_value: float | None = None
    twin: Paired | None = None
    ratio: float | None = None

    @property
    def name(self) -> str:
        """How the row is called in tables."""
        if self.system == "federated":
            return self.entry.name
        own = self.system == "centralised" or self.varied
        return f"{self.entry.name if own else self.system}, centralised"

    @property
    def varied(self) -> bool:
        """Whether it is a usual baseline with keys that usual ones do not have."""
        return self.entry.name.startswith(f"{self.system}-")

    @property
    def kind(self) -> str:
        """Return "federated", "centralised" or "baseline"."""
        if self.varied:
            return "centralised"
        return self.system if self.system in ("federated", "centralised") else "baseline"

    @property
    def mark(self) -> str:
        """Return "better" or "worse" than the best baseline, "" if that is not clear."""
        if self.against is None or self.p_value is None or self.p_value >= LEVEL:
            return ""
        return "better" if self.against.difference > 0 else "worse"

    @property
    def apart(self) -> bool:
        """Whether it is more than 3% below its twin."""
        return self.ratio is not None and self.ratio < 1 - CLOSE

    @property
    def value(self) -> float:
        """NDCG@10 on the test part, full ranking; below zero if it is not run yet."""
        return -1.0 if self.result is None else float(self.result["metrics"][METRIC]["mean"])


@dataclass(frozen=True)
class Table:
    """All systems of a data set, the best first, those that are not run yet last.

    Attributes:
        data: key of the data set.
        rows: the systems.
        reference: row of the best centralised baseline; None if none is run.
        about: sizes, split hash and protocol, of any result, and the machines of all; empty
            without a result.
    """

    data: str
    rows: tuple[Standing, ...]
    reference: str | None
    about: Json

    @property
    def run(self) -> tuple[Standing, ...]:
        """Those that have been run."""
        return tuple(r for r in self.rows if r.result is not None)


def standings(entries: Sequence[Entry], data: str, folder: Path) -> Table:
    """Return the table of a data set.

    Args:
        entries: the methods of one protocol.
        data: a key of `entries.DATA`.
        folder: where their results are.

    Raises:
        ConfigError: if an entry is not usable.
    """
    rows: list[Standing] = []
    about: Json = {}
    sums: dict[str, EvaluationSums] = {}
    for entry in entries:
        found = current(entry, data, folder)
        if found is not None:
            machines = about.get("machines", [])
            again = found["machine"] in machines
            about = {
                **found["described"],
                "machines": machines if again else [*machines, found["machine"]],
            }
        for system in entry.systems():
            row = f"{entry.name}.{system}"
            own = None if found is None else found["systems"][system]
            rows.append(Standing(row, entry, system, own))
            if own is not None:
                sums[row] = read_sums(folder / f"{row}.npz")
    best = _reference(rows)
    against = {row: compared(s, sums[best]) for row, s in sums.items() if best and row != best}
    corrected = dict(zip(against, holm([p.p_value for p in against.values()]), strict=True))
    placed = [_placed(row, against, corrected, sums) for row in rows]
    placed.sort(key=lambda r: (-r.value, r.row))
    return Table(data, tuple(placed), best, about)


def compared(a: EvaluationSums, b: EvaluationSums) -> Paired:
    """Return the paired difference of two systems, with a p-value of the normal distribution.

    Args:
        a: test sums of the first system, with replicates.
        b: of the second, over the same users.
    """
    pair = paired(a, b, METRIC)
    first, second = (ratios(s.replicates, s.replicate_counts)[METRIC] for s in (a, b))
    spread = float((first - second).std(ddof=1))
    alike = math.isclose(pair.difference, 0.0, abs_tol=1e-12)
    p_value = 1.0 if alike else math.erfc(abs(pair.difference) / (spread * math.sqrt(2)))
    return replace(pair, p_value=p_value)


def _reference(rows: Sequence[Standing]) -> str | None:
    """Return the baseline with the highest test metric: the hardest to beat, by hindsight."""
    known = [r for r in rows if r.result is not None and _is_baseline(r)]
    return max(known, key=lambda r: r.value).row if known else None


def _is_baseline(row: Standing) -> bool:
    if row.kind == "baseline":
        return True
    model = row.entry.settings.get("model.name", "mf")
    return row.kind == "centralised" and model in CENTRAL_MODELS


def _placed(
    row: Standing,
    against: Mapping[str, Paired],
    corrected: Mapping[str, float],
    sums: Mapping[str, EvaluationSums],
) -> Standing:
    twin = row.entry.twin() if row.system == "federated" else None
    known = twin is not None and twin in sums and row.row in sums
    pair = compared(sums[row.row], sums[str(twin)]) if known else None
    ratio = None if pair is None else row.value / (row.value - pair.difference)
    return Standing(
        row.row,
        row.entry,
        row.system,
        row.result,
        against.get(row.row),
        corrected.get(row.row),
        pair,
        ratio,
    )
