"""What a configuration must satisfy beyond the type of each key.

`fedrec.config` applies these rules to every configuration that it reads.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedrec.config_attacks import NEEDS_SINGLE, OWN
from fedrec.config_coldstart import check_coldstart
from fedrec.config_collab import check_domains, check_vertical
from fedrec.config_contribution import check_contribution
from fedrec.config_control import check_control
from fedrec.config_fair import check_fair
from fedrec.config_features import check_features
from fedrec.config_graph import check_graph
from fedrec.config_item_graph import check_item_graph
from fedrec.config_merchants import check_merchants
from fedrec.config_new_items import check_new_items
from fedrec.config_personal import check_personal
from fedrec.config_protection import check_privacy, check_secure
from fedrec.config_sequence import check_sequence
from fedrec.config_silo import NONE, check_silos
from fedrec.config_sums import SUMMED, check_sums
from fedrec.config_tasks import check_tasks
from fedrec.errors import ConfigError, nearest

if TYPE_CHECKING:
    from fedrec.config import Config

RANKING_METRICS = ("hr", "ndcg", "recall", "precision", "f1", "mrr", "map")
RATING_METRICS = ("rmse", "mae")


def check(config: Config) -> None:
    """Refuse combinations that contradict each other.

    Raises:
        ConfigError: naming both keys and the way out.
    """
    for key in ("evaluate.k", "model.mlp", "compare.seeds", "audit.rounds", "model.tower"):
        integers(config, key)
    positive_numbers(config, "audit.shadow_noise")
    selection_metric(config)
    check_sequence(config)
    check_features(config)
    check_sums(config)
    check_graph(config)
    check_item_graph(config)
    check_tasks(config)
    check_coldstart(config)
    check_new_items(config)
    _check_feedback(config)
    if config.model.name == "keras" and not config.model.source:
        raise ConfigError("model.name = 'keras' needs model.source = 'file.py:function'")
    if config.train.precision == "mixed" and config.model.name == "mf":
        raise ConfigError(
            "train.precision = 'mixed' is for the Dense layers of model.name = 'ncf' or 'keras': "
            "matrix factorisation has none. Set train.precision = 'float32'"
        )
    check_silos(config)
    check_merchants(config)
    check_domains(config)
    check_vertical(config)
    if config.data.name == "file" and not config.data.path and config.silo.holds != NONE:
        raise ConfigError("data.name = 'file' needs data.path, the file to read")
    check_personal(config)
    check_control(config)
    _check_pretrained(config)
    check_fair(config)
    check_privacy(config)
    check_secure(config)
    _check_compression(config)
    _check_robust(config)
    check_contribution(config)


def _check_feedback(config: Config) -> None:
    """Refuse losses, methods and metrics that the feedback does not fit.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    explicit = config.data.feedback == "explicit"
    squared = config.model.loss == "squared"
    method = config.train.method
    if explicit and not squared:
        raise ConfigError(
            f"data.feedback = 'explicit' predicts ratings and needs model.loss = 'squared', "
            f"not {config.model.loss!r}"
        )
    if squared and not explicit and method not in ("fcf", "ials"):
        raise ConfigError(
            "model.loss = 'squared' is for ratings: set data.feedback = 'explicit', "
            "or train.method = 'fcf' or 'ials'"
        )
    if method in ("fcf", "ials") and (config.model.name != "mf" or explicit or not squared):
        raise ConfigError(
            f"train.method = {method!r} solves user vectors in closed form: it needs model.name = "
            "'mf', model.loss = 'squared' and data.feedback = 'implicit'"
        )
    if method in ("fcf", "ials") and config.clients.unit != "user":
        raise ConfigError(
            f"train.method = {method!r} is for clients.unit = 'user', not {config.clients.unit!r}: "
            "a client solves one user vector. Use train.method = 'alternating'"
        )
    if method != "fcf" and not explicit and config.train.negatives == 0:
        raise ConfigError("implicit feedback needs train.negatives of at least 1")
    if config.evaluate.item_group and explicit:
        raise ConfigError(
            f"evaluate.item_group = {config.evaluate.item_group!r} measures lists, and "
            "data.feedback = 'explicit' predicts ratings: leave it out"
        )


def _check_pretrained(config: Config) -> None:
    """Refuse frozen tables that nobody has trained, or whose method must train them.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    model, method = config.model, config.train.method
    key = "adapter_rank" if model.adapter_rank else "freeze"
    frozen = bool(model.adapter_rank) or model.freeze
    if frozen and not model.pretrained:
        raise ConfigError(
            f"model.{key} freezes item tables as they begin: set model.pretrained to the directory "
            "'model' of an earlier run"
        )
    if (model.pretrained and method in SUMMED) or (frozen and method == "fcf"):
        asked = "pretrained" if method in SUMMED else key
        raise ConfigError(
            f"model.{asked} is not for train.method = {method!r}, which solves: use train.method "
            "= 'alternating', or leave it out"
        )
    if model.name != "keras" and model.adapter_rank >= model.dim:
        raise ConfigError(
            f"model.adapter_rank = {model.adapter_rank} saves nothing with rows of model.dim = "
            f"{model.dim} elements: lower it"
        )


def _check_compression(config: Config) -> None:
    """Refuse compression that would have no effect, or spoil a guarantee.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    secure, compress = config.secure, config.compress
    hidden = secure.mode != "off"
    if hidden and compress.rank:
        raise ConfigError(
            f"compress.rank = {compress.rank} is for updates in clear: with secure.mode = "
            f"{secure.mode!r} set secure.rows = 'low-rank' and secure.rank"
        )
    if hidden and compress.bits < 32:
        raise ConfigError(
            f"compress.bits = {compress.bits} is for updates in clear: with secure.mode = "
            f"{secure.mode!r} set secure.bits"
        )
    key = "secure.rank" if hidden and secure.rows == "low-rank" else "compress.rank"
    rank = secure.rank if key == "secure.rank" else compress.rank
    if config.model.name != "keras" and rank >= config.model.dim:
        raise ConfigError(
            f"{key} = {rank} saves nothing with rows of model.dim = {config.model.dim} elements: "
            "lower it"
        )
    narrow = config.model.name != "keras" and config.model.dim < 3
    if compress.download_bits < 32 and narrow:
        raise ConfigError(
            f"compress.download_bits = {compress.download_bits} saves nothing with rows of "
            f"model.dim = {config.model.dim} elements, as each row gets a scale and a zero point: "
            "set it to 32"
        )
    changed = compress.rows or compress.rank or compress.bits < 32
    if changed and config.privacy.mechanism == "local":
        raise ConfigError(
            "compress.rows, compress.rank and compress.bits are not offered with "
            "privacy.mechanism = 'local': its noise fills every row. Set them to 0, 0 and 32"
        )


def _check_robust(config: Config) -> None:
    """Refuse defences that cannot see what they need, and attacks that cannot be measured.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    robust, mechanism = config.robust, config.privacy.mechanism
    asked = f"robust.defence = {robust.defence!r}"
    works = " or ".join(repr(name) for name in OWN)
    if robust.attack != "off" and config.data.feedback == "explicit":
        raise ConfigError(
            f"robust.attack = {robust.attack!r} is measured by whom an item is recommended to: "
            "set data.feedback = 'implicit'"
        )
    if robust.defence in OWN and robust.norm == 0:
        raise ConfigError(
            f"{asked} needs robust.norm above 0: a client bounds its update by itself and does "
            "not know the norms of the others"
        )
    if robust.defence not in NEEDS_SINGLE:
        return
    if config.secure.mode != "off":
        raise ConfigError(
            f"{asked} compares single updates, and secure.mode = {config.secure.mode!r} shows the "
            f"server their sum alone: set secure.mode = 'off', or robust.defence = {works}, which "
            "each client applies itself"
        )
    if mechanism == "central":
        raise ConfigError(
            f"{asked} with privacy.mechanism = 'central' is not accounted: the noise fits a sum "
            "of bounded updates, and one client can move a robust rule's result by more. Use "
            f"robust.defence = {works}, or privacy.mechanism = 'off'"
        )
    if mechanism != "off":
        raise ConfigError(
            f"{asked} with privacy.mechanism = {mechanism!r} is not offered: noise is added to "
            f"the sum of a node, and there is none. Use robust.defence = {works}, or "
            "privacy.mechanism = 'off'"
        )
    if config.server.fairness:
        raise ConfigError(
            f"{asked} compares updates, and server.fairness = {config.server.fairness:g} makes "
            f"them unlike: use robust.defence = {works}, or server.fairness = 0"
        )
    if config.server.weighting != "equal":
        raise ConfigError(
            f"{asked} needs server.weighting = 'equal': the number of samples is what a client "
            "claims, and as a weight it is not bounded"
        )


def integers(config: Config, key: str) -> tuple[int, ...]:
    """Return a list-valued key as integers.

    Args:
        config: the configuration.
        key: dotted key whose value is a space-separated string.

    Raises:
        ConfigError: if a word is not a positive integer (0 is allowed for seeds).
    """
    text = str(config.flat()[key])
    lowest = 0 if key.endswith("seeds") else 1
    words = text.replace(",", " ").split()
    if not words or not all(w.isdigit() and int(w) >= lowest for w in words):
        raise ConfigError(
            f"{key} = {text!r}: expected integers of at least {lowest}, separated by spaces"
        )
    return tuple(int(word) for word in words)


def positive_numbers(config: Config, key: str) -> tuple[float, ...]:
    """Return a list-valued key as numbers; none is allowed.

    Args:
        config: the configuration.
        key: dotted key whose value is a space-separated string.

    Raises:
        ConfigError: if a word is not a positive, finite number.
    """
    text = str(config.flat()[key])
    try:
        values = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        values = (math.nan,)
    if not all(0 < value < math.inf for value in values):
        raise ConfigError(f"{key} = {text!r}: expected positive numbers, separated by spaces")
    return values


def measured_metrics(config: Config) -> tuple[str, ...]:
    """Return the dotted metrics that a validation yields, as "full.ndcg@10"."""
    if config.data.feedback == "explicit":
        return tuple(f"rating.{name}" for name in RATING_METRICS)
    sampled = config.evaluate.sampled
    protocols = ("full", f"sampled{sampled}") if sampled else ("full",)
    ks = integers(config, "evaluate.k")
    return tuple(f"{p}.{name}@{k}" for p in protocols for name in RANKING_METRICS for k in ks)


def selection_metric(config: Config) -> str:
    """Return the dotted validation metric that selects the round.

    `evaluate.select` may leave the protocol out: "ndcg@10" is "full.ndcg@10".  If it
    is empty it is NDCG at 10, or at the first cut-off where 10 is none; RMSE for
    ratings.

    Raises:
        ConfigError: if it is not measured, naming the nearest that is.
    """
    measured, select = measured_metrics(config), config.evaluate.select
    explicit = config.data.feedback == "explicit"
    if not select:
        ks = integers(config, "evaluate.k")
        select = "rmse" if explicit else f"ndcg@{10 if 10 in ks else ks[0]}"
    for name in (select, f"full.{select}", f"rating.{select}"):
        if name in measured:
            return name
    short = [name.removeprefix("full.").removeprefix("rating.") for name in measured]
    cause = (
        "data.feedback = 'explicit'"
        if explicit
        else f"evaluate.k = {config.evaluate.k!r} and evaluate.sampled = {config.evaluate.sampled}"
    )
    raise ConfigError(
        f"evaluate.select = {select!r} is not measured with {cause}.{nearest(select, short)}"
    )
