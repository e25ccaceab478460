"""What a configuration must satisfy beyond the type of each key.

`fedrec.config` applies these rules to every configuration that it reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    for key in ("evaluate.k", "model.mlp", "compare.seeds", "audit.rounds"):
        integers(config, key)
    selection_metric(config)
    explicit = config.data.feedback == "explicit"
    squared = config.model.loss == "squared"
    method = config.train.method
    if explicit and not squared:
        raise ConfigError(
            f"data.feedback = 'explicit' predicts ratings and needs model.loss = 'squared', "
            f"not {config.model.loss!r}"
        )
    if squared and not explicit and method != "fcf":
        raise ConfigError(
            "model.loss = 'squared' is for ratings: set data.feedback = 'explicit', "
            "or train.method = 'fcf'"
        )
    if method == "fcf" and (config.model.name != "mf" or explicit or not squared):
        raise ConfigError(
            "train.method = 'fcf' solves user vectors in closed form: it needs model.name = 'mf', "
            "model.loss = 'squared' and data.feedback = 'implicit'"
        )
    if method == "fcf" and config.clients.unit != "user":
        raise ConfigError(
            f"train.method = 'fcf' is for clients.unit = 'user', not {config.clients.unit!r}: "
            "a client solves one user vector. Use train.method = 'alternating'"
        )
    if method != "fcf" and not explicit and config.train.negatives == 0:
        raise ConfigError("implicit feedback needs train.negatives of at least 1")
    if config.model.name == "keras" and not config.model.source:
        raise ConfigError("model.name = 'keras' needs model.source = 'file.py:function'")
    if config.data.name == "file" and not config.data.path:
        raise ConfigError("data.name = 'file' needs data.path, the file to read")
    _check_privacy(config)
    _check_secure(config)


def _check_privacy(config: Config) -> None:
    """Refuse noise that would not give the guarantee that is accounted.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    privacy, server, clients = config.privacy, config.server, config.clients
    asked = {"noise_multiplier", "epsilon", "clip", "row_clip"}
    if privacy.mechanism == "off":
        for key in sorted(asked):
            if getattr(privacy, key):
                raise ConfigError(
                    f"privacy.{key} has no effect with privacy.mechanism = 'off': "
                    "set it to 'central' or 'local'"
                )
        return
    mechanism = f"privacy.mechanism = {privacy.mechanism!r}"
    if privacy.clip == 0:
        raise ConfigError(
            f"{mechanism} needs privacy.clip above 0: noise hides a client only if its update "
            "is bounded"
        )
    if server.weighting != "equal":
        raise ConfigError(
            f"{mechanism} needs server.weighting = 'equal': the number of samples is private, "
            "and as a weight it is not bounded"
        )
    if server.rows == "touching":
        raise ConfigError(
            f"{mechanism} needs server.rows = 'sum' or 'mean', not 'touching': how many clients "
            "touch a row is private"
        )
    if server.checkpoint_every != 1:
        raise ConfigError(
            f"{mechanism} needs server.checkpoint_every = 1: every round that is spent is recorded"
        )
    if privacy.clip_mode == "adaptive" and privacy.mechanism != "central":
        raise ConfigError(
            "privacy.clip_mode = 'adaptive' needs privacy.mechanism = 'central': "
            "it is the server that follows the norms"
        )
    if privacy.mechanism != "central":
        return
    if clients.sampling == "fixed" and clients.availability < 1:
        raise ConfigError(
            "clients.sampling = 'fixed' with clients.availability below 1: the chance to be drawn "
            "depends on who is reachable. Use clients.sampling = 'poisson'"
        )
    random_size = clients.sampling == "poisson" or clients.availability < 1
    if random_size and server.min_clients > 1:
        raise ConfigError(
            f"{mechanism} needs server.min_clients = 1 where chance decides how many clients "
            "train: their number is private, so no round may be skipped for it"
        )


def _check_secure(config: Config) -> None:
    """Refuse secure aggregation that cannot work, or would not hide single updates.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    secure, clients = config.secure, config.clients
    if secure.mode == "off":
        return
    mode = f"secure.mode = {secure.mode!r}"
    if config.server.rows == "touching":
        raise ConfigError(
            f"{mode} needs server.rows = 'sum' or 'mean', not 'touching': how many clients touch "
            "a row stays hidden"
        )
    if config.privacy.mechanism == "local":
        raise ConfigError(
            f"{mode} with privacy.mechanism = 'local' is not offered: use 'central', whose noise "
            "the server adds to the sum"
        )
    if secure.rows == "threshold" and config.privacy.pseudo_items:
        raise ConfigError(
            "secure.rows = 'threshold' counts who touches a row, and pseudo items falsify it: "
            "set privacy.pseudo_items = 0, or secure.rows = 'dense'"
        )
    if secure.rows == "threshold" and config.privacy.mechanism != "off":
        raise ConfigError(
            "secure.rows = 'threshold' publishes counts without noise, which privacy.mechanism = "
            f"{config.privacy.mechanism!r} does not account for: set secure.rows = 'dense'"
        )
    if clients.sampling != "all" and clients.per_round < 3:
        raise ConfigError(
            f"{mode} needs 3 clients a round or more, not clients.per_round = {clients.per_round}: "
            "of two, each could subtract its own update from the sum and read the other's"
        )
    if secure.neighbours and secure.threshold > secure.neighbours:
        raise ConfigError(
            f"secure.threshold = {secure.threshold} is above secure.neighbours = "
            f"{secure.neighbours}: no secret could be recovered. Lower the threshold or raise the "
            "neighbours"
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
