"""What the figures of an audit say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedrec.audit.poisoning import left_out
from fedrec.config import Config

Figures = Sequence[Mapping[str, Any]]


def findings(content: Mapping[str, Figures], config: Config) -> list[str]:
    """Return one sentence for each thing that a reader must know.

    Args:
        content: "measurements", "masks", "robustness" and "membership" of audit.json.
        config: that was audited.
    """
    measurements = content["measurements"]
    said = [
        _support(measurements, "no negatives"),
        _support(measurements, "as trained", config.train.negatives),
        _sign(measurements),
        _singletons(measurements),
        *_leaks(measurements),
        *_sums(measurements),
        *_masks(content["masks"]),
        _exposure(content["robustness"]),
        _left_out(content["robustness"], config),
        *_epsilon(content["membership"]),
    ]
    return [sentence for sentence in said if sentence]


def pick(figures: Figures, **wanted: object) -> list[Mapping[str, Any]]:
    """Return the figures that have all wanted values."""
    return [f for f in figures if all(f[key] == value for key, value in wanted.items())]


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _support(figures: Figures, samples: str, negatives: int = 0) -> str:
    found = pick(figures, audit="support", samples=samples, protection="off", metric="f1")
    if not found:
        return ""
    f1 = _span([f["value"] for f in found])
    if not negatives:
        return (
            f"Without protection and without negatives, the rows of an update are the client's "
            f"interactions: support F1 {f1}."
        )
    return (
        f"With {negatives} sampled negatives for each interaction the same guess has F1 {f1}: it "
        f"misses nothing, and about one row in {1 + negatives} is an interaction. Negatives hide "
        "nothing by themselves, as the sign shows."
    )


def _sign(figures: Figures) -> str:
    found = pick(figures, audit="sign", protection="off", metric="auc")
    if not found:
        return ""
    return (
        "Without protection the direction of a row tells interactions from sampled negatives: "
        f"AUC {_span([f['value'] for f in found])}."
    )


def _singletons(figures: Figures) -> str:
    found = [f for f in figures if f["audit"] == "singletons" and f["protection"] == "secure sum"]
    worst = {
        metric: max((f["value"] for f in found if f["metric"] == metric), default=0.0)
        for metric in ("rows", "users")
    }
    if not found:
        return ""
    return (
        f"In a secure sum up to {worst['rows']:.0%} of the touched rows come from one client "
        f"alone, and up to {worst['users']:.0%} of the clients have such a row: a sum hides "
        "nothing there."
    )


def _leaks(figures: Figures) -> list[str]:
    """Say for each protection which attacks beat guessing, which means: what is individual."""
    said = []
    for protection in dict.fromkeys(f["protection"] for f in figures):
        if protection == "off":
            continue
        tried = [f for f in pick(figures, protection=protection) if f["verdict"]]
        tried = [f for f in tried if f["metric"].split(",")[0] in ("f1", "auc")]
        better = [f for f in tried if f["verdict"] == "better than guessing"]
        against = "guessing" if not _of_sum(protection) else "the same sum without the client"
        if not tried:
            continue
        if not better:
            said.append(f"Under {protection}, none of {len(tried)} attacks beats {against}.")
            continue
        beat = "beats" if len(better) == 1 else "beat"
        worst = max(better, key=lambda f: f["value"] - f["guess"])
        said.append(
            f"Under {protection}, {len(better)} of {len(tried)} attacks {beat} {against}; the "
            f"strongest ({worst['audit']}, round {worst['round_number']}) has {worst['metric']} "
            f"{worst['value']:.3f} against {worst['guess']:.3f}."
        )
    return said


def _of_sum(protection: str) -> bool:
    return protection.startswith("secure sum")


def _sums(figures: Figures) -> list[str]:
    """Say what the values of a sum add to its counts, and how much of that is individual."""
    said = []
    for protection in dict.fromkeys(f["protection"] for f in figures):
        found = pick(figures, protection=protection, audit="sign")
        told = pick(found, metric="auc, rows told")
        both = pick(found, metric="auc, rows and counts told")
        if not both or "noise" in protection:
            continue
        alone, counts = (_span([f[key] for f in told]) for key in ("value", "side"))
        present, absent = (_span([f[key] for f in both]) for key in ("value", "guess"))
        popular = min(f["side"] for f in told) > 0.55
        why = ", for popular items are more often positives" if popular else ""
        said.append(
            f"Under {protection}, an attacker who knows which rows a client touches, and of the "
            f"sum only how many clients touch each, tells positives with AUC {counts}{why}. The "
            f"values of the sum alone give {alone}, both together {present}; with the client taken "
            f"out of the sum, both together give {absent}. That difference is individual; the rest "
            "is about the group, which a sum is there to publish. The more clients in a round, the "
            "smaller is the share of each, and only noise bounds it."
        )
    return said


def _masks(found: Figures) -> list[str]:
    said = []
    for f in found:
        verdict = "look like random words" if f["sound"] else "DO NOT look like random words"
        said.append(
            f"{f['words']:,} masked words of a real update {verdict}: p = {f['kolmogorov']:.2g} "
            f"(Kolmogorov-Smirnov) and {f['chi_square']:.2g} (chi-square), linear complexity "
            f"{f['complexity']:,} of {f['bits']:,} low bits; a classifier tells the update from "
            f"no update with AUC {f['auc']:.3f}, and without masks with {f['auc_clear']:.3f}."
        )
    return said


def _exposure(outcomes: Figures) -> str:
    attacked = [o for o in outcomes if o["attack"] in ("promote", "replace")]
    open_ = [o for o in attacked if o["defence"] == "off"]
    if not open_:
        return ""
    worst = max(open_, key=lambda o: o["exposure"])
    defended = [o for o in pick(attacked, attack=worst["attack"]) if o["defence"] != "off"]
    sentence = (
        f"{worst['malicious']} malicious clients bring an unpopular item into the first "
        f"{worst['k']} of {worst['exposure']:.0%} of the honest users ({worst['attack']})"
    )
    if not defended:
        return f"{sentence}."
    best = min(defended, key=lambda o: (o["exposure"], -o["accuracy"]))
    return f"{sentence}; with the defence {best['defence']}, of {best['exposure']:.0%}."


def _left_out(outcomes: Figures, config: Config) -> str:
    names = left_out(config)
    if not outcomes or not names:
        return ""
    return (
        f"Left out with secure.mode = {config.secure.mode!r}: {', '.join(names)}. They compare "
        "single updates, and the server sees their sum alone; norm-bound and row-clip, which "
        "each client applies itself, work."
    )


def _epsilon(members: Figures) -> list[str]:
    said = []
    for found in members:
        limit = "" if found["epsilon"] is None else f"; accounted are {found['epsilon']:.2f}"
        said.append(
            f"Membership of a user in the final model, {found['protection']}, from "
            f"{found['shadows']} shadow models: AUC {found['auc']:.2f}, true positives at 0.1% "
            f"false ones {found['tpr']['0.001']:.1%}, at 1% {found['tpr']['0.01']:.1%}; "
            f"epsilon is at least {found['epsilon_low']:.2f}{limit}."
        )
    return said
