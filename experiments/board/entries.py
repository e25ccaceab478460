"""What the leaderboard compares: one file a method, with the space that is searched.

A file of experiments/leaderboard/ is an ordinary experiment file and, beside it, may hold

* `[search]`: dotted configuration key -> list of choices, or ``{low = .., high = ..,
  log = true}``;
* `[on.<data set>]`: dotted keys that are set on this data set only;
* ``twin = "<method>"``: its centralised twin is that of another file, of the same model.

All are taken out before the rest is read as a configuration.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrec.config import Config, Scalar, flatten, from_flat
from fedrec.config_sums import ITEM_ITEM
from fedrec.errors import ConfigError
from fedrec.systems import check_systems, names_of
from fedrec.training.baselines import BASELINES

FOLDER = Path(__file__).parents[1] / "leaderboard"
LEAKY = "leaky"
Keys = dict[str, Scalar]

FEDERATION = ("server.", "clients.sampling", "clients.per_round", "train.rounds", "evaluate.every")
"""Beginnings of keys that say how rounds go, which training on pooled data does not have."""
ANCHOR = "server.anchor_"
"""Beginning of keys of the attribute net, which follows the item table of either system."""
NOT_READ: dict[str, tuple[str, ...]] = {"centralised": FEDERATION, "federated": ("central.",)}
"""System -> beginnings of keys that say nothing to it; `compare.` says nothing to any."""

DATA: dict[str, Keys] = {
    "ml-100k": {"data.name": "ml-100k"},
    "complete-journey": {"data.name": "complete-journey", "data.level": "type"},
    "ml-1m": {"data.name": "ml-1m"},
    "quick": {
        "data.name": "marketplace",
        "data.users": 120,
        "data.items": 60,
        "data.events_per_user": 12.0,
        "evaluate.bootstrap": 50,
    },
}
"""Data set -> keys that every method takes from it.  "quick" is for tests of the machinery."""

CENTRAL: dict[str, list[Scalar]] = {
    "central.lr": [0.001, 0.003, 0.01],
    "central.l2": [0.0, 0.001, 0.003, 0.01, 0.03],
}
"""Searched for a centralised twin whose file names no key of `central`."""
OWN_KEYS = {
    "ease": "baseline.ease_",
    "ials": "baseline.ials_",
    "item-knn": "baseline.knn_",
    "user-knn-cosine": "baseline.user_knn_",
    "user-knn-pearson": "baseline.user_knn_",
}
"""Baseline -> beginning of the keys that it takes."""


@dataclass(frozen=True)
class Choices:
    """A key that takes one of some values, the file's own among them."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """A key that takes a number between two; both ends are possible."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it takes integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = dict[str, Choices | Range]


@dataclass(frozen=True)
class Entry:
    """One method of the leaderboard.

    Attributes:
        name: of its file, "fedmf".
        about: the comment that its file begins with, in one line.
        settings: dotted key -> value, as the file sets them.
        searched: dotted key -> list or table, as the file writes them.
        on: data set -> dotted keys that it sets there.
        leaky: whether it is trained under the leaky protocol, for comparison with
            published figures; nothing is searched for it.
        shared_twin: the method whose centralised twin is its own as well; "" for none.
    """

    name: str
    about: str
    settings: Keys
    searched: dict[str, Any] = field(default_factory=dict)
    on: dict[str, Keys] = field(default_factory=dict)
    leaky: bool = False
    shared_twin: str = ""

    def keys(self, data: str) -> Keys:
        """Return the keys of a data set: its own, the file's, and the file's for it."""
        return {**DATA[data], **self.settings, **DATA[data], **self.on.get(data, {})}

    def config(self, data: str, settings: Mapping[str, Scalar] | None = None) -> Config:
        """Return the configuration on a data set.

        Args:
            data: a key of `DATA`.
            settings: dotted keys on top, those that a trial has chosen.

        Raises:
            ConfigError: if it is none.
        """
        named = {"run.name": self.name, **self.keys(data)}
        return from_flat({**named, **(settings or {})})

    def systems(self) -> tuple[str, ...]:
        """Return the systems that this entry trains.

        They are the federated system, its centralised twin, and baselines that carry the
        entry's name, or whose name it extends: "ease-near" trains "ease" with keys of its own.
        Other baselines of `compare.systems` have files of their own.

        Raises:
            ConfigError: for a system that there is not.
        """
        config = self.config("quick")
        names = names_of(config)
        check_systems(names, config)
        return tuple(n for n in names if n in ("federated", "centralised") or self._own(n))

    def twin(self) -> str | None:
        """Return the row of the centralised twin, "fedmf.centralised"; None without one."""
        names = names_of(self.config("quick"))
        if "federated" not in names or self.leaky:
            return None
        if self.shared_twin:
            return f"{self.shared_twin}.centralised"
        if "centralised" in names:
            return f"{self.name}.centralised"
        method = str(self.settings.get("train.method", ""))
        wanted = {"fcf": "ials"}.get(method, method)
        if wanted not in names:
            return None
        return f"{self.name if self._own(wanted) else wanted}.{wanted}"

    def space(self, data: str, system: str) -> Space:
        """Return what is searched for a system: only keys that it looks at.

        The federated system takes all but `central.*` (and `baseline.*`, unless its method
        takes its settings from there), the twin `central.*`, `model.*` and the number of
        negatives, a baseline its own keys.

        Raises:
            ConfigError: if a key of the space is unknown, or its range does not hold the
                file's value.
        """
        if self.leaky:
            return {}
        searched = dict(self.searched)
        if system == "centralised" and not any(k.startswith("central.") for k in searched):
            searched |= CENTRAL
        base = self.config(data).flat()
        return {
            key: _span(key, value, base)
            for key, value in searched.items()
            if self._takes(system, key)
        }

    def fingerprint(self, data: str, system: str) -> str:
        """Return 16 hex digits over what the file says about a system on a data set.

        Unlike the configuration's hash it stays as it is when fedrec gets a new key, so
        that trials are not lost to it.  A centralised twin is not told what the federation
        alone reads, and the federation not what the twin alone reads (`NOT_READ`), and
        none which others are trained.
        """
        others = ("compare.", *NOT_READ.get(system, ()))
        keys = {
            k: v
            for k, v in self.keys(data).items()
            if k.startswith(ANCHOR) or not k.startswith(others)
        }
        told = [keys, {k: v for k, v in self.searched.items() if self._takes(system, k)}]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _own(self, baseline: str) -> bool:
        mine, its = f"{self.name}-", f"{baseline}-"
        return baseline in BASELINES and (its.startswith(mine) or mine.startswith(its))

    def _takes(self, system: str, key: str) -> bool:
        if system == "centralised":
            return key.startswith(("central.", "model.")) or key == "train.negatives"
        if system in BASELINES:
            return system in OWN_KEYS and key.startswith(OWN_KEYS[system])
        summed = self.settings.get("train.method") in ITEM_ITEM
        return not key.startswith("central.") and (summed or not key.startswith("baseline."))


def _span(key: str, value: Any, base: Mapping[str, Scalar]) -> Choices | Range:
    if key not in base:
        raise ConfigError(f"[search] names {key!r}, which is no configuration key")
    own = base[key]
    if isinstance(value, Mapping):
        span = Range(value["low"], value["high"], bool(value.get("log", False)))
        if isinstance(own, str) or not span.low <= own <= span.high:
            raise ConfigError(
                f"[search] {key}: the file's own value {own!r} is not between {span.low} and "
                f"{span.high}: widen the range, the first trial is the file itself"
            )
        return span
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"[search] {key} = {value!r}: expected a list of choices, or {{low, high, log}}"
        )
    return Choices(tuple(dict.fromkeys([own, *value])))


def size(space: Space) -> float:
    """Return how many settings a space holds; infinite with a range of real numbers."""
    sizes = [
        len(span.values)
        if isinstance(span, Choices)
        else (span.high - span.low + 1 if span.whole else math.inf)
        for span in space.values()
    ]
    return math.prod(sizes)


_BESIDE: dict[str, type] = {"search": dict, "on": dict, "twin": str}
"""What a file holds beside the experiment -> what it is where it is missing."""


def read_entry(file: Path, *, leaky: bool = False) -> Entry:
    """Read a method's file.

    Raises:
        ConfigError: if it is no TOML, or holds a key that there is not.
    """
    text = file.read_text(encoding="utf-8")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    searched, on, twin = (tree.pop(n, kind()) for n, kind in _BESIDE.items())
    unknown = [name for name in on if name not in DATA]
    if unknown:
        raise ConfigError(f"{file}: [on.{unknown[0]}] is none of {', '.join(DATA)}")
    settings = flatten(tree)
    return Entry(file.stem, _about(text), settings, searched, on, leaky, twin)


def read_entries(folder: Path = FOLDER) -> tuple[Entry, ...]:
    """Return all entries, the honest ones first, each part by name."""
    honest = [read_entry(file) for file in sorted(folder.glob("*.toml"))]
    leaky = [read_entry(file, leaky=True) for file in sorted((folder / LEAKY).glob("*.toml"))]
    return (*honest, *leaky)


def _about(text: str) -> str:
    comment = re.match(r"((?:#.*\n)*)", text)
    lines = (comment.group(1) if comment else "").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines).strip()
