"""From evaluation sums to the `metrics` and `ci95` of a system in result.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedrec.config import Config, integers
from fedrec.config_collab import TARGET_ONLY, VERTICAL
from fedrec.config_sums import SUMMED
from fedrec.data.population import Population
from fedrec.evaluation.beyond import beyond
from fedrec.evaluation.evaluator import list_length
from fedrec.evaluation.groups import group_gaps
from fedrec.evaluation.providers import disparity
from fedrec.evaluation.sums import EvaluationSums, group_means, intervals, means

Nested = dict[str, Any]
TRAINED = ("federated", "centralised", "local-only")
"""Systems that train the configured model; all others are baselines."""


OWN_NAMES = ("pfedrec", "fedrecon", "reptile", "fomaml", "gpfedrec", "fedrap")
"""Methods after which a federated system is called, as its model says too little."""


def system_name(config: Config, system: str = "federated") -> str:
    """Return the name of a system in results, events and reports.

    Args:
        config: of the run.
        system: "federated", "target-only", "centralised", "local-only" or a baseline.

    Returns:
        What is trained and how: "federated-mf", "local-only-ncf"; "federated-fcf",
        "federated-ease" for methods that are a way to train federated; a baseline is called
        what it is.  Tables of the clients' own and training on leaky negatives show in the
        name, so that no table can be taken for another.
    """
    if system in ("federated", TARGET_ONLY) and _on_target(config, system):
        whole = config.with_({"domain.train": "all"})
        return f"{TARGET_ONLY}-{system_name(whole).removeprefix('federated-')}"
    if system == VERTICAL:
        return f"{VERTICAL}-{config.model.name}"
    if system not in TRAINED:
        return system
    if system == "federated" and config.train.method in ("fcf", *SUMMED):
        filled = "" if config.coldstart.items == "off" else f"-{config.coldstart.items}"
        return f"federated-{config.train.method}{filled}"  # these draw no negatives
    own = system == "federated" and config.train.method in OWN_NAMES
    name = f"{system}-{config.train.method if own else config.model.name}"
    if system != "local-only" and config.model.anchor:
        name += "-anchored"
    if system == "federated" and config.server.graph_l2:
        name += "-graph"
    if system == "federated" and config.train.method == "scaffold":
        name += "-scaffold"
    if system == "federated" and config.model.local_layers:
        name += "-fedper"
    if system == "federated" and config.evaluate.table == "personalised":
        name += "-personalised"
    if system == "federated" and config.coldstart.items not in ("off", "content-tower", "ifedrec"):
        name += f"-{config.coldstart.items}"  # the two others are how the model is trained
    leaky = config.train.negatives_from == "legacy-leaky" and config.data.feedback == "implicit"
    return f"{name}-{config.train.negatives_from}" if leaky else name


def _on_target(config: Config, system: str) -> bool:
    return system == TARGET_ONLY or config.domain.train == "target"


def nest(flat: Mapping[str, float]) -> Nested:
    """Return dotted metrics by protocol: "full.hr@10" becomes ["full"]["hr@10"]."""
    nested: Nested = {}
    for name, value in flat.items():
        protocol, metric = name.split(".", 1)
        nested.setdefault(protocol, {})[metric] = value
    return nested


def summarise(
    config: Config, population: Population, sums: EvaluationSums, part: str
) -> tuple[Nested, dict[str, list[float]]]:
    """Return all metrics of one part, and their intervals.

    Args:
        config: of the run.
        population: for the popularity of items in training.
        sums: folded over all nodes.
        part: "valid" or "test", the first word of the intervals' names.

    Returns:
        protocol -> metric -> mean over users, with "beyond" and "groups" where they
        were measured; and "test.full.hr@10" -> [low, high].  "gender-gap@10" is the
        difference of NDCG@10 between the best and the worst served group,
        "gender-ratio@10" the worst over the best, and "gender-worst@10" that of the worst
        (`group_gaps`).  With `evaluate.item_group` "exposure" holds the share of each group
        of items in lists, and "beyond" how unequal they are (`disparity`).
    """
    metrics = nest(means(sums))
    if sums.recommended.sum() > 0 and population.num_users:  # a deployment's server has none
        counts = population.item_counts
        k = list_length(integers(config, "evaluate.k"))
        metrics["beyond"] = beyond(sums.recommended, counts, population.num_users, k)
        for attribute, gap in group_gaps(sums, f"full.ndcg@{k}").items():
            metrics["beyond"][f"{attribute}-gap@{k}"] = gap.gap
            metrics["beyond"][f"{attribute}-ratio@{k}"] = gap.ratio
            metrics["beyond"][f"{attribute}-worst@{k}"] = gap.low
        if config.evaluate.item_group:
            metrics["beyond"] |= disparity(config, population, means(sums))
    groups = group_means(sums)
    if groups:
        metrics["groups"] = groups
    ci95 = {f"{part}.{name}": [low, high] for name, (low, high) in intervals(sums).items()}
    return metrics, ci95
