"""Tables of what contribution.py and saboteurs.py have measured."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement

TITLES = {
    "shapley-updates": "Shapley from updates, models rebuilt from all rounds",
    "shapley-rounds": "Shapley of single rounds, added up",
    "leave-one-out": "leave-one-out, retrained",
    "groups": "utilities of groups (secure aggregation)",
    "rebuilt": "updates guessed from sums of groups (secure aggregation)",
}

FIGURES = {
    "updates": "contribution from updates",
    "groups": "utilities of groups",
    "rebuilt": "contribution from guessed updates",
    "alignment": "alignment of guessed updates",
}


def contribution_table(root: Path = ROOT) -> str:
    """Return how estimates rank merchants beside exact retraining, and what groups open."""
    figures = measurement("contribution", root)
    if figures is None:
        return ""
    runs: list[Figures] = figures["runs"]
    head = " | ".join(f"seed {run['seed']}" for run in runs)
    lines = [
        f"| estimate | {head} | mean | evaluations |",
        "|---" + "|---:" * (len(runs) + 2) + "|",
    ]
    for name in runs[0]["estimates"]:
        found = [run["estimates"][name] for run in runs]
        lines.append(_row(TITLES[name], [f["spearman"] for f in found], found[0]["evaluations"]))
    grouped = [statistics.fmean(g["spearman"] for g in run["groups"]) for run in runs]
    asked = (
        len(runs[0]["groups"]) and int(figures["config"]["train.rounds"]) * 2 ** figures["groups"]
    )
    lines.append(_row(TITLES["groups"], grouped, asked))
    guessed = [statistics.fmean(g["rebuilt"]["spearman"] for g in run["groups"]) for run in runs]
    spent = runs[0]["groups"][0]["rebuilt"]["evaluations"]
    lines.append(_row(TITLES["rebuilt"], guessed, spent))
    for rounds in runs[0]["longer"]:
        found = [
            statistics.fmean(g["rebuilt"]["spearman"] for g in run["longer"][rounds])
            for run in runs
        ]
        lines.append(_row(f"the same, of {rounds} smaller rounds", found, spent))
    single = [g["rebuilt"]["spearman"] for run in runs for g in run["groups"]]
    exact = "; ".join(
        f"seed {run['seed']}: " + " ".join(f"{v:.3f}".replace("-", "−") for v in run["exact"])
        for run in runs
    )
    first = runs[0]
    told = (
        f"Spearman correlation of {len(first['exact'])} merchants' values with exact Shapley "
        f"values (all {2 ** len(first['exact'])} federations retrained). Of groups: mean of "
        f"{len(first['groups'])} series of random groupings; guessed updates of one series reach "
        f"from {min(single):.2f} to {max(single):.2f}. Exact values: {exact}. Parts of noise in "
        f"the merchants' training interactions: {', '.join(f'{n:g}' for n in figures['noise'])}. "
        f"Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told, "", _opened(runs)])


def _row(title: str, values: list[float], evaluations: int) -> str:
    cells = [f"{value:.2f}" for value in (*values, statistics.fmean(values))]
    return f"| {title} | {' | '.join(cells)} | {evaluations:,} |".replace("-0.", "−0.")


def _opened(runs: list[Figures]) -> str:
    """Say how near an observer comes to single updates, by the rounds in which groups open."""
    usual = str(runs[0]["rounds"])
    series = {usual: [g for run in runs for g in run["groups"]]}
    series |= {n: [g for run in runs for g in run["longer"][n]] for n in runs[0]["longer"]}
    head = "| rounds in groups | cosine: groups | the sum | AUC: groups | the sum | the update |"
    lines = [head, "|---:" * 6 + "|"]
    for rounds, groups in series.items():
        cosine = {n: statistics.fmean(g["cosine"][n] for g in groups) for n in ("groups", "all")}
        area = {
            n: 1 - statistics.fmean(g["items_auc"][n] for g in groups)
            for n in ("groups", "all", "single")
        }
        cells = [rounds, *(f"{v:.2f}" for v in (*cosine.values(), *area.values()))]
        lines.append(f"| {' | '.join(cells)} |")
    told = (
        "What groupings open: *cosine* to a merchant's true mean update, of what sums of groups "
        "let one guess, and of the sum of all. *AUC*: the items that a merchant's customers have "
        "met, told from the others by how little their rows move (the others are pushed as "
        "negatives); from the guess, from the sum of all, and from the update itself."
    )
    return "\n".join([told, "", *lines])


def saboteurs_table(root: Path = ROOT) -> str:
    """Return how saboteurs are found, what they do, and what defends."""
    figures = measurement("saboteurs", root)
    if figures is None:
        return ""
    lines = [
        "| attack | figure | found | false alarms | AUC |",
        "|---|---|---:|---:|---:|",
    ]
    for row in figures["detection"]:
        alarms = f"{row['false_alarms']:.0%}"
        shown = [row["attack"], FIGURES[row["source"]]]
        if row["attack"] == "off":
            shown[0] = "none"
            lines.append(f"| {' | '.join(shown)} | – of {row['honest']} | {alarms} | – |")
            continue
        found = f"{row['detected']:.0%} of {row['attackers']}"
        lines.append(f"| {' | '.join(shown)} | {found} | {alarms} | {row['auc']:.2f} |")
    return "\n".join([*lines, "", *_effects(figures)])


def _effects(figures: Figures) -> list[str]:
    """Return the table of effects and defences, and what it was measured on."""
    effects: list[Figures] = figures["effects"]
    attacks = list(dict.fromkeys(e["attack"] for e in effects))
    titles = ["no attack" if a == "off" else a for a in attacks]
    lines = [
        "| defence | " + " | ".join(f"{t}: ER@10, NDCG@10" for t in titles) + " |",
        "|---" + "|---:" * len(attacks) + "|",
    ]
    for defence in dict.fromkeys(e["defence"] for e in effects):
        cells = []
        for attack in attacks:
            found = [e for e in effects if e["attack"] == attack and e["defence"] == defence]
            if not found:
                cells.append("–")
                continue
            shown = statistics.fmean(e["exposure"] for e in found)
            accuracy = statistics.fmean(e["accuracy"] for e in found)
            cells.append(f"{shown:.1%}, {accuracy:.3f}")
        lines.append(f"| {defence} | {' | '.join(cells)} |")
    out = [e for e in effects if e["defence"] == "leave out"]
    right = sum(e["who"] in e["left_out"] for e in out if e["who"] >= 0)
    wrong = sum(len([i for i in e["left_out"] if i != e["who"]]) for e in out)
    low, high = effects[0]["accuracy_interval"]
    seeds = sorted({e["seed"] for e in effects})
    told = (
        f"Means of {len(seeds)} seeds; the attacker is the biggest merchant; the 95% interval of "
        f"one NDCG@10 over users is ±{(high - low) / 2:.3f}. Left out were {right} of the "
        f"{sum(e['who'] >= 0 for e in out)} attackers, and {wrong} honest merchants in "
        f"{len(out)} federations, by alignment. Measured on {machine_of(figures['machine'])}."
    )
    return [*lines, "", told]
