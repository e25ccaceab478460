"""What a run leaves behind: `result.json`, read and written.

The keys of the file are a contract: they are added to, never renamed.  Keys
that this version does not know are kept when a file is read and written again.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.errors import OutputError
from fedrec.output import write_atomically

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
RESULT_FILE = "result.json"
Interval = tuple[float, float]
Json = dict[str, Any]


@dataclass(frozen=True)
class SystemResult:
    """One trained system, with one seed.

    Attributes:
        name: e.g. "federated-mf"; the seeds of a system share it.
        kind: "federated", "centralised", "local-only" or "baseline".
        seed: seed of its training.
        selected_round: round (or epoch) selected on validation; None if it has none.
        metrics: nested: part -> protocol -> metric, as ``{"test": {"full": {"hr@10": ..}}}``.
            Beside "full", "sampled99" and "rating" stand "beyond", "exposure" (shares of groups
            of items in lists) and "groups".
        ci95: dotted metric ("test.full.hr@10") -> 95% interval over users.
        privacy: "statement", "unit", "epsilon", "delta", "secure_aggregation".
        robust: "attack", "defence", "malicious", "target", "statement"; empty without.
        cold_start: strategies for users whom no training has seen, against what these reveal
            (`fedrec.coldstart.measure.measure_users`); empty without.
        new_merchant: strategies of a merchant that joins after training, by weeks of its own
            (`fedrec.coldstart.newcomer_run.measure_merchant`); empty without.
        exploration: what the boost of new items would show, and what it costs
            (`fedrec.coldstart.boost_run.measure_boost`); empty without.
        cost: "round_s_median", "clients_per_s", "bytes_up_per_client" and
            "bytes_down_per_client" (of a round), "peak_rss_mib"; optionally "total_s".
        history: `rounds.jsonl` of the system, relative to the output directory.
        bootstrap: file with its bootstrap sums, relative to the output directory.
        extra: keys of the file that this version does not know.
    """

    name: str
    kind: str
    seed: int
    selected_round: int | None = None
    metrics: Json = field(default_factory=dict)
    ci95: dict[str, Interval] = field(default_factory=dict)
    privacy: Json = field(default_factory=dict)
    robust: Json = field(default_factory=dict)
    cold_start: Json = field(default_factory=dict)
    new_merchant: Json = field(default_factory=dict)
    exploration: Json = field(default_factory=dict)
    cost: Json = field(default_factory=dict)
    history: str | None = None
    bootstrap: str | None = None
    extra: Json = field(default_factory=dict)

    def flat_metrics(self) -> dict[str, float]:
        """Return the metrics by dotted name, without those that are missing."""
        return dict(_leaves(self.metrics))

    def to_json(self) -> Json:
        """Return the element of `systems` in result.json."""
        return _to_json(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SystemResult:
        """Build a system from an element of `systems`.

        Raises:
            OutputError: if a required key is missing.
        """
        values = _known(SystemResult, data, required=("name", "kind", "seed"))
        values["ci95"] = {k: (float(v[0]), float(v[1])) for k, v in values.get("ci95", {}).items()}
        return SystemResult(**values)


@dataclass(frozen=True)
class Paired:
    """A paired comparison of two systems over the same users: a minus b.

    Attributes:
        a: name of the first system.
        b: name of the second system.
        metric: dotted metric, "test.full.hr@10".
        difference: mean over users (and seeds) of a minus b.
        low: lower end of its 95% interval.
        high: upper end of its 95% interval.
        p_value: two-sided, of this comparison alone.
        p_adjusted: after Holm's correction over all comparisons made; None if not corrected.
        extra: keys of the file that this version does not know.
    """

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float | None = None
    p_adjusted: float | None = None
    extra: Json = field(default_factory=dict)

    @property
    def significant(self) -> bool:
        """Whether the difference is unlikely to be chance, at the 5% level."""
        p = self.p_value if self.p_adjusted is None else self.p_adjusted
        return self.low > 0 or self.high < 0 if p is None else p < 0.05

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Paired:
        """Build a comparison from an element of `comparisons`.

        Raises:
            OutputError: if a required key is missing.
        """
        required = ("a", "b", "metric", "difference", "low", "high")
        return Paired(**_known(Paired, data, required))


@dataclass(frozen=True)
class MetricSummary:
    """One metric of one system over its seeds.

    Attributes:
        system: its name.
        kind: its kind.
        metric: dotted metric.
        mean: mean over seeds.
        low: lower end of the 95% interval over users, averaged over seeds; NaN if none.
        high: upper end, likewise.
        seeds: number of seeds.
        seed_sd: standard deviation over seeds; 0 with one seed.
    """

    system: str
    kind: str
    metric: str
    mean: float
    low: float
    high: float
    seeds: int
    seed_sd: float


@dataclass(frozen=True)
class Result:
    """All systems of one run or comparison, and how they came about.

    Attributes:
        name: name of the run.
        fedrec: version that wrote it.
        config_hash: hash of every key that can change a result.
        data: "name", "users", "items", "interactions", "split_hash", "protocol".
        systems: one for each system and seed.
        comparisons: paired differences between systems.
        leak_guard: "passed", "metric", "value", "random", "standard_errors" and
            "statement"; None if it was not run.
        machine: processor, memory, versions of Python and of the main packages.
        command: what to type to get this result again.
        created: ISO 8601 time.
        account: what cleaning did, line by line.
        notes: what a reader should know, line by line.
        config: the resolved configuration, dotted key -> value.
        extra: keys of the file that this version does not know.
        schema: version of the file's format.
    """

    name: str
    fedrec: str
    config_hash: str
    data: Json
    systems: tuple[SystemResult, ...]
    comparisons: tuple[Paired, ...] = ()
    leak_guard: Json | None = None
    machine: Json = field(default_factory=dict)
    command: str = ""
    created: str = ""
    account: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    config: Json = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> Json:
        """Return the content of result.json; numbers that are not finite become null."""
        return _to_json(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Result:
        """Build a result from the content of result.json.

        Raises:
            OutputError: if a required key is missing or the schema is a later one.
        """
        if int(data.get("schema", SCHEMA)) > SCHEMA:
            raise OutputError(
                f"result.json has schema {data['schema']}, and this fedrec reads up to {SCHEMA}: "
                "upgrade fedrec to read it"
            )
        values = _known(Result, data, ("name", "fedrec", "config_hash", "data", "systems"))
        values["systems"] = tuple(SystemResult.from_json(s) for s in values["systems"])
        values["comparisons"] = tuple(Paired.from_json(c) for c in values.get("comparisons", ()))
        for name in ("account", "notes"):
            values[name] = tuple(values.get(name, ()))
        return Result(**values)

    def summarise(self) -> tuple[MetricSummary, ...]:
        """Return every metric of every system over its seeds, systems in their order."""
        return tuple(_summaries(self.systems))

    def frame(self) -> pd.DataFrame:
        """Return one row for each system, seed and metric.

        Returns:
            Columns system, kind, seed, selected_round, metric, value, low, high;
            `low` and `high` are the 95% interval over users, NaN if there is none.
        """
        import pandas as pd

        nothing = (math.nan, math.nan)
        rows = [
            (s.name, s.kind, s.seed, s.selected_round, m, v, *s.ci95.get(m, nothing))
            for s in self.systems
            for m, v in s.flat_metrics().items()
        ]
        columns = ["system", "kind", "seed", "selected_round", "metric", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns)

    def summary(self) -> pd.DataFrame:
        """Return one row for each system and metric, the mean over seeds.

        Returns:
            Columns system, kind, metric, mean, low, high, seeds, seed_sd (see MetricSummary).
        """
        import pandas as pd

        names = [f.name for f in fields(MetricSummary)]
        return pd.DataFrame(
            [[getattr(row, n) for n in names] for row in self.summarise()], columns=names
        )


def save_result(result: Result, directory: Path) -> Path:
    """Write result.json atomically into an existing directory and return its path.

    Raises:
        OutputError: if it cannot be written.
    """
    path = Path(directory) / RESULT_FILE
    write_atomically(path, json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n")
    return path


def load_result(path: str | Path) -> Result:
    """Read a result.json, or the one in a run's directory.

    Raises:
        OutputError: if there is none, or it is not one.
    """
    path = Path(path)
    file = path / RESULT_FILE if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = (
            "the run has not finished; resume it with: fedrec run --resume " + str(path)
            if (path / "rounds.jsonl").exists()
            else "expected the output directory of 'fedrec run' or 'fedrec compare'"
        )
        raise OutputError(f"there is no {file}: {hint}") from None
    except OSError as error:
        raise OutputError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise OutputError(f"{file} is not valid JSON, it may be corrupted: {error}") from None
    if not isinstance(data, dict):
        raise OutputError(f"{file} is not a fedrec result: expected a JSON object")
    return Result.from_json(data)


def _summaries(systems: Iterable[SystemResult]) -> Iterable[MetricSummary]:
    groups: dict[str, list[SystemResult]] = {}
    for system in systems:
        groups.setdefault(system.name, []).append(system)
    for name, members in groups.items():
        metrics = {m: None for s in members for m in s.flat_metrics()}
        for metric in metrics:
            having = [s for s in members if metric in s.flat_metrics()]
            values = [s.flat_metrics()[metric] for s in having]
            ends = [s.ci95[metric] for s in having if metric in s.ci95]
            low, high = (
                (statistics.fmean(e[0] for e in ends), statistics.fmean(e[1] for e in ends))
                if ends
                else (math.nan, math.nan)
            )
            sd = statistics.stdev(values) if len(values) > 1 else 0.0
            kind = members[0].kind
            yield MetricSummary(
                name, kind, metric, statistics.fmean(values), low, high, len(values), sd
            )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ):
            yield f"{prefix}{key}", float(value)


def _known(kind: type, data: Mapping[str, Any], required: tuple[str, ...]) -> Json:
    """Sort the keys of a JSON object into fields of a dataclass and `extra`."""
    missing = [key for key in required if key not in data]
    if missing:
        raise OutputError(
            f"not a fedrec result: the key {missing[0]!r} of a {kind.__name__} is missing"
        )
    names = {f.name for f in fields(kind)} - {"extra"}
    values = {key: value for key, value in data.items() if key in names}
    values["extra"] = {key: value for key, value in data.items() if key not in names}
    return values


def _to_json(value: Any) -> Any:
    if isinstance(value, Result | SystemResult | Paired):
        own = {f.name: getattr(value, f.name) for f in fields(value) if f.name != "extra"}
        if isinstance(value, Result):
            own = {"schema": own.pop("schema"), **own}
        return {key: _to_json(item) for key, item in {**own, **value.extra}.items()}
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plain_numbers(value: Any) -> Any:
    """Return data as JSON has them: lists for arrays, null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain_numbers(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
