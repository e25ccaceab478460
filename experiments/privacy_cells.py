"""The cells of the privacy table: every method and model that fit, by every privacy option.

Rows follow from the methods and models that fedrec knows: each pair that the rules accept
without any protection is one.  A model that needs a key of its own is named in `NEEDS`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

from fedrec.config import Config, Scalar, from_flat
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, FedrecError, ModelError
from fedrec.models.build import MODELS, build_model
from fedrec.training.methods import METHODS

Keys = dict[str, Scalar]

TINY: Keys = {
    "data.name": "marketplace",
    "data.users": 24,
    "data.items": 20,
    "data.events_per_user": 8.0,
    "data.merchants": 2,
    "model.dim": 8,
    "model.mlp": "8 4",
    "model.history": 6,
    "train.rounds": 1,
    "train.batch": 16,
    "server.rows": "sum",
    "server.weighting": "equal",
    "evaluate.every": 1,
    "evaluate.sampled": 0,
    "evaluate.bootstrap": 0,
}
"""What every cell is run with: seconds, whatever the protection."""

LOSSES: tuple[Keys, ...] = tuple(
    {"model.loss": loss} for loss in ("logistic", "softmax", "squared", "bpr")
)
"""What a model may learn from; the first that fits is taken."""

OWN_MODEL = str(Path(__file__).with_name("own_model.py"))
NEEDS: dict[str, Keys] = {
    "keras": {"model.source": f"{OWN_MODEL}:build"},
    "lightgcn": {"train.rounds": 2},  # the graph comes first
    "scaffold": {
        "clients.unit": "merchant",
        "train.optimizer": "sgd",
        "train.reduction": "mean",
        "data.merchants": 14,  # enough for shares of noise
        "data.users": 60,
    },
}
"""Method or model -> keys without which it cannot be configured."""

_NOISE: Keys = {"privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}
_SECURE: Keys = {"secure.mode": "semi-honest"}
_CUSTOMERS: Keys = {
    "privacy.unit": "customer",
    "privacy.customers": 40,
    "clients.unit": "merchant",
    "data.merchants": 4,
}

OPTIONS: dict[str, Keys] = {
    "none": {},
    "secure, dense": _SECURE,
    "secure, union": {**_SECURE, "secure.rows": "union"},
    "secure, threshold": {**_SECURE, "secure.rows": "threshold", "secure.tau": 3},
    "secure, low-rank": {**_SECURE, "secure.rows": "low-rank", "secure.rank": 4},
    "malicious server": {"secure.mode": "malicious-server"},
    "central noise": {"privacy.mechanism": "central", **_NOISE},
    "central noise, secure": {"privacy.mechanism": "central", **_NOISE, **_SECURE},
    "adaptive clip": {
        "privacy.mechanism": "central",
        **_NOISE,
        "privacy.clip_mode": "adaptive",
    },
    "local noise": {"privacy.mechanism": "local", **_NOISE},
    "distributed noise": {
        "privacy.mechanism": "distributed",
        **_NOISE,
        **_SECURE,
        "server.min_clients": 12,
    },
    "customers, central": {"privacy.mechanism": "central", **_NOISE, **_CUSTOMERS},
    "customers, central, secure": {
        "privacy.mechanism": "central",
        **_NOISE,
        **_SECURE,
        **_CUSTOMERS,
        "secure.clip": 30.0,
    },
    "customers, local": {"privacy.mechanism": "local", **_NOISE, **_CUSTOMERS},
    "customers, distributed": {
        "privacy.mechanism": "distributed",
        **_NOISE,
        **_SECURE,
        **_CUSTOMERS,
        "secure.clip": 30.0,
        "server.min_clients": 3,
    },
    "pseudo items": {"privacy.pseudo_items": 3},
    "largest rows": {"compress.rows": 5},
    "subspace": {"compress.rank": 4},
    "8 bits": {"compress.bits": 8},
    "8-bit download, secure": {"compress.download_bits": 8, **_SECURE},
    "counts of items, secure": {"evaluate.propensity": 0.5, **_SECURE},
    "norm bound": {"robust.defence": "norm-bound", "robust.norm": 1.0},
    "row clip, secure": {"robust.defence": "row-clip", "robust.norm": 1.0, **_SECURE},
    "median": {"robust.defence": "median"},
    "multi-Krum": {"robust.defence": "multi-krum"},
    "multi-Krum, secure": {"robust.defence": "multi-krum", **_SECURE},
}
"""Column of the table -> what it sets on top of a row."""

Verdict = Literal["works", "accepted", "refused", "failed"]


@dataclass(frozen=True)
class Cell:
    """What became of one combination.

    Attributes:
        verdict: "works" (it ran), "accepted" by the rules and not run yet, "refused" (with a
            reason), or "failed", which is a bug.
        reason: first sentence of the refusal; what is wrong of a failure.
        by: "rules" if the configuration was refused, "run" if the run was.
    """

    verdict: Verdict
    reason: str = ""
    by: str = ""


@lru_cache(maxsize=1)
def rows() -> dict[str, Keys]:
    """Return every row, "fedavg, mf" -> its keys on top of `TINY`."""
    found = {}
    for method, model in product(METHODS, MODELS):
        keys = _fitting(method, model)
        if keys is not None:
            found[f"{method}, {model}"] = keys
    return found


def _fitting(method: str, model: str) -> Keys | None:
    """Return keys with which a method trains a model, None if the rules refuse the pair."""
    named: Keys = {"train.method": method, "model.name": model}
    named |= {**NEEDS.get(method, {}), **NEEDS.get(model, {})}
    for loss in LOSSES:
        try:
            build_model(from_flat({**TINY, **loss, **named}))
        except (ConfigError, ModelError):
            continue
        return {**loss, **named}
    return None


def configuration(row: str, option: str) -> Config:
    """Return the configuration of a cell.

    Raises:
        ConfigError: if the rules refuse it.
    """
    return from_flat({**TINY, **rows()[row], **OPTIONS[option]})


def judged(row: str, option: str) -> Cell | None:
    """Return the refusal of a cell by the rules, None if it may run."""
    try:
        configuration(row, option)
    except ConfigError as error:
        return Cell("refused", first_sentence(str(error)), "rules")
    return None


def tried(row: str, option: str) -> Cell:
    """Run a cell, and check that it says what it promises."""
    refused = judged(row, option)
    if refused is not None:
        return refused
    with tempfile.TemporaryDirectory() as place:
        config = configuration(row, option).with_({"run.out": place})
        try:
            execute(config)
        except (ConfigError, ModelError) as error:
            return Cell("refused", first_sentence(str(error)), "run")
        except FedrecError as error:
            return Cell("failed", first_sentence(str(error)), "run")
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        lines = (Path(place) / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    skipped = json.loads(lines[-1])["skipped"]
    wrong = f"the round was skipped: {skipped}" if skipped else wrong_statement(config, left)
    return Cell("failed", wrong, "run") if wrong else Cell("works")


def wrong_statement(config: Config, left: Mapping[str, Any]) -> str:
    """Return what the statement of a finished run lacks, "" if nothing.

    Args:
        config: of the run.
        left: content of its system.json.
    """
    privacy = left["privacy"]
    if not privacy.get("statement"):
        return "there is no privacy statement"
    mode = config.secure.mode
    expected = "off" if mode == "off" else f"{mode}, {config.secure.rows}"
    if privacy.get("secure_aggregation") != expected:
        return f"the statement calls secure aggregation {privacy.get('secure_aggregation')!r}"
    noisy = config.privacy.mechanism != "off"
    if noisy != (privacy.get("epsilon") is not None):
        return f"the statement gives epsilon {privacy.get('epsilon')}"
    if config.robust.defence != "off" and not left["robust"].get("statement"):
        return "there is no statement of the defence"
    if not left["metrics"]["test"]:
        return "the model was not tested"
    return ""


def first_sentence(text: str) -> str:
    """Return a message up to the end of its first sentence, or to its colon with the way out."""
    for end in (". ", ": set ", ": use ", ": lower ", ": raise ", "; "):
        text = text.split(end)[0]
    return text.removesuffix(".")
