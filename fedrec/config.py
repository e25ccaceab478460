"""The one schema of a run, read from experiment files and the command line.

The keys themselves stand in `fedrec.config_sections`, `fedrec.config_model` and
`fedrec.config_attacks`.

An experiment file is TOML and is exactly a Flower run-config: scalars in dotted
tables, lists written as space-separated strings.  `load_config` reads it,
applies overrides and refuses unknown keys, naming the nearest known one.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedrec.config_attacks import AuditSection, RobustSection
from fedrec.config_baselines import BaselineSection, CompareSection
from fedrec.config_coldstart import ColdstartSection
from fedrec.config_collab import DomainSection, VerticalSection
from fedrec.config_contribution import ContributionSection
from fedrec.config_merchants import MerchantsSection
from fedrec.config_model import CentralSection, LocalSection, ModelSection, TrainSection
from fedrec.config_protection import PrivacySection
from fedrec.config_rules import check as check
from fedrec.config_rules import integers as integers
from fedrec.config_rules import positive_numbers as positive_numbers
from fedrec.config_sections import (
    ClientsSection,
    CompressSection,
    DataSection,
    EngineSection,
    EvaluateSection,
    RunSection,
    Section,
    SecureSection,
    ServerSection,
    SplitSection,
)
from fedrec.config_silo import SiloSection
from fedrec.errors import ConfigError, nearest

Scalar = str | int | float | bool

LATER: dict[str, Scalar] = {"server.schedule": "constant", "central.schedule": "constant"}
"""Keys that came after results had been recorded, with values that change nothing: a
configuration that leaves them so keeps its hash."""


class Config(Section):
    """The full configuration of a run."""

    run: RunSection = RunSection()
    data: DataSection = DataSection()
    silo: SiloSection = SiloSection()
    merchants: MerchantsSection = MerchantsSection()
    split: SplitSection = SplitSection()
    clients: ClientsSection = ClientsSection()
    domain: DomainSection = DomainSection()
    vertical: VerticalSection = VerticalSection()
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    server: ServerSection = ServerSection()
    privacy: PrivacySection = PrivacySection()
    secure: SecureSection = SecureSection()
    compress: CompressSection = CompressSection()
    central: CentralSection = CentralSection()
    local: LocalSection = LocalSection()
    evaluate: EvaluateSection = EvaluateSection()
    coldstart: ColdstartSection = ColdstartSection()
    baseline: BaselineSection = BaselineSection()
    compare: CompareSection = CompareSection()
    robust: RobustSection = RobustSection()
    audit: AuditSection = AuditSection()
    contribution: ContributionSection = ContributionSection()
    engine: EngineSection = EngineSection()

    def flat(self) -> dict[str, Scalar]:
        """Return the configuration as a Flower run-config: dotted key -> scalar."""
        return flatten(self.model_dump())

    def with_(self, overrides: Mapping[str, Scalar] | None = None, **sections: Any) -> Config:
        """Return a copy with dotted keys replaced, validated again.

        Raises:
            ConfigError: for an unknown key or an unusable value.
        """
        return from_flat({**self.flat(), **(overrides or {}), **sections})

    def config_hash(self) -> str:
        """Return 16 hex digits over all keys that can change a result.

        Where the run is written, how clients and rows are spread over nodes, and what is
        audited cannot; nor can a key that came later (`LATER`) and is as it was before.
        """
        neutral = {"run.out", "run.name", "run.tensorboard", "data.cache", "train.device"}
        neutral |= {"robust.attacks", "robust.defences", "robust.rounds"}
        neutral |= {
            f"contribution.{key}"
            for key in ("retrain", "permutations", "tolerance", "by_round", "compare")
        }
        neutral |= {"silo.holds", "silo.items", "silo.answer_s", "silo.absent_s"}
        neutral |= {key for key, before in LATER.items() if self.flat()[key] == before}
        apart = ("engine.", "audit.")
        keys = {
            k: v for k, v in self.flat().items() if k not in neutral and not k.startswith(apart)
        }
        return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:16]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Return nested tables as dotted keys, in their order."""
    flat: dict[str, Scalar] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def known_keys() -> list[str]:
    """Return all dotted keys of the schema, in its order."""
    return list(Config().flat())


def from_flat(flat: Mapping[str, Scalar], *, whole: bool = True) -> Config:
    """Build a configuration from a Flower run-config.

    Args:
        flat: dotted key -> scalar; keys that are absent keep their default.
        whole: also check whether the keys go together.

    Raises:
        ConfigError: for an unknown key or an unusable value.
    """
    defaults = Config().flat()
    nested: dict[str, dict[str, Scalar]] = {}
    for key, value in flat.items():
        if key not in defaults:
            raise ConfigError(f"unknown configuration key {key!r}.{nearest(key, defaults)}")
        section, name = key.split(".", 1)
        if isinstance(defaults[key], str) and isinstance(value, int | float):
            value = value if isinstance(value, bool) else str(value)  # compare.seeds=0: a list
        nested.setdefault(section, {})[name] = value
    try:
        config = Config.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where} = {first['input']!r}: {first['msg']}") from None
    if whole:
        check(config)
    return config


def parse_override(text: str) -> tuple[str, Scalar]:
    """Parse ``key=value`` as given on the command line.

    The value is read as TOML (``3``, ``0.5``, ``true``, ``"text"``), otherwise
    as a plain string.

    Raises:
        ConfigError: if there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"override {text!r}: expected key=value, for example train.rounds=50")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value
    if not isinstance(parsed, str | int | float | bool):
        parsed = value
    return key.strip(), parsed


def load_config(
    path: str | Path | None = None, overrides: Mapping[str, Scalar] | None = None
) -> Config:
    """Read an experiment file and apply overrides.

    Args:
        path: TOML file, or None for the defaults.
        overrides: dotted key -> value, applied last.

    Raises:
        ConfigError: if the file cannot be read, is not TOML, or has an unknown
            key or an unusable value.
    """
    flat: dict[str, Scalar] = {}
    if path is not None:
        try:
            flat = flatten(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"cannot read the experiment {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return from_flat({**flat, **(overrides or {})})


def to_toml(config: Config) -> str:
    """Return the fully resolved configuration as TOML, every key present."""
    lines: list[str] = []
    for section, keys in config.model_dump().items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {scalar_toml(value)}" for key, value in keys.items()]
        lines.append("")
    return "\n".join(lines)


def scalar_toml(value: Scalar) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # TOML knows no surrogate pairs, and no raw DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
