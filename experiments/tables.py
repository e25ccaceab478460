"""Write the tables of README.md and experiments/README.md from committed results.

    python experiments/tables.py            # check that they are up to date
    python experiments/tables.py --write    # write them

No figure in these files is typed by hand.  Each comes from experiments/results/:

* `<name>.json`, the result.json of ``fedrec compare experiments/<name>.toml`` (with --merchants
  where the file says so);
* `speed.json`, from ``python experiments/speed.py --json experiments/results/speed.json``;
* `audit*.json`, the audit.json of ``fedrec audit experiments/audit*.toml``;
* `contribution.json` and `saboteurs.json`, from the scripts of these names with --json;
* `robust.json`, from ``python experiments/robust.py --json experiments/results/robust.json``;
* `engines.json`, from ``python experiments/engines.py --json experiments/results/engines.json``;
* `efficient.json` and `fair.json`, from the scripts of these names with --json;
* `align/*.json`, from `alignment_speed.py` and `item_linkage.py`, likewise;
* `tuning/twin_gap.json`, from ``python experiments/twin_gap.py --json`` with its name;
* `cold_start/*.json`, from the scripts `cold_start_*.py`, likewise;
* `multitask.json`, `private_ease.json`, `customer_ease.json`, `adapters.json`,
  `regularisers.json`, `silo_methods.json`, `price_scale.json`, `store_prices.json` and
  `bench/closed_form.json`, likewise;
* `collab/*.json`, from `cross_domain.py` and `vertical.py`, likewise;
* `device/*.json`, from `transfer.py`, `sessions.py`, `reasons.py`, `recommend_speed.py`, likewise;
* `secure/round.json`, from ``python experiments/secure_round.py --json`` with its name;
* `secure/merchants.json`, from ``python experiments/merchants_secure.py --json`` with its name;
* `tuning/merchant_weights.json`, from `merchant_weights.py`, likewise;
* `secure/rows.json`, from ``python experiments/secure_rows.py --json`` with its name;
* `bench/peers.json`, from ``python experiments/peers/compare.py --json`` with its name;
* `bench/gpu.json`, from ``python experiments/gpu.py --json`` with its name;
* `bench/*.json` otherwise and `secure/speed.json`, from ``make bench``.

A generated part stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments.tables_align import alignment_table, linkage_table
from experiments.tables_bench import (
    RESULTS,
    ROOT,
    Figures,
    bench_table,
    machine_of,
    measurement,
    secure_round_table,
    secure_rows_table,
    secure_speed_table,
    speed_table,
    times_table,
)
from experiments.tables_board import gap_table
from experiments.tables_cold_start import boost_table, items_table, joins_table, merchants_table
from experiments.tables_collab import domains_table, vertical_table
from experiments.tables_contribution import contribution_table, saboteurs_table
from experiments.tables_device import reasons_table, sessions_table, speed_on_device, transfer_table
from experiments.tables_efficient import efficient_table, fair_table
from experiments.tables_gpu import gpu_table
from experiments.tables_merchants_secure import merchant_weights_table, merchants_secure_table
from experiments.tables_methods import (
    adapters_table,
    closed_form_table,
    customer_ease_table,
    multitask_table,
    private_ease_table,
    regularisers_table,
    silo_methods_table,
    store_prices_table,
)
from fedrec.report.audit import markdown_audit, markdown_membership
from fedrec.report.headline import headline
from fedrec.report.merchants_table import markdown_merchants
from fedrec.report.merchants_text import KEY
from fedrec.report.tables import markdown
from fedrec.results import Result, load_result

HERE = Path("experiments")
AUDITS = ("audit", "audit_marketplace", "audit_membership", "audit_merchants")
METHODS = ("adapters", "customer_ease", "multitask", "price_scale", "private_ease", "regularisers",
           "silo_methods", "store_prices")  # fmt: skip
MEASUREMENTS = (*AUDITS, *METHODS, "contribution", "efficient", "engines", "fair",
                "privacy_utility", "robust", "saboteurs", "speed")  # fmt: skip
FIRST = "quickstart"


def results(root: Path = ROOT) -> dict[str, Result]:
    """Return the committed results of comparisons and runs, the quickstart first."""
    files = sorted((root / RESULTS).glob("*.json"), key=lambda f: (f.stem != FIRST, f.stem))
    return {f.stem: load_result(f) for f in files if f.stem not in MEASUREMENTS}


def question(name: str, root: Path = ROOT) -> str:
    """Return the first sentence of the comment that an experiment file begins with."""
    words: list[str] = []
    for line in (root / HERE / f"{name}.toml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("# ") or line.startswith("#     "):
            break
        words += line.removeprefix("# ").split()
    text = " ".join(words)
    return re.split(r"(?<=[.?]) (?=[A-Z])", text)[0]


def quickstart_table(root: Path = ROOT) -> str:
    """Return the table of README.md: the quickstart's systems, and where they come from."""
    found = results(root)
    return _comparison(found[FIRST]) if FIRST in found else ""


def experiments_table(root: Path = ROOT) -> str:
    """Return the table of all experiment files with what came out."""
    found = results(root)
    lines = ["| experiment | question | what came out | took |", "|---|---|---|---:|"]
    names = sorted((f.stem for f in (root / HERE).glob("*.toml")), key=lambda n: (n != FIRST, n))
    for name in names:
        result = found.get(name)
        told = f"[{headline(result).title}](#{_anchor(name)})" if result else "not recorded"
        if _measured(name, root):
            told = f"[figures](#{_anchor(name)})"
        took = _duration(result) if result else ""
        lines.append(f"| [{name}]({name}.toml) | {question(name, root)} | {told} | {took} |")
    return "\n".join(lines)


def _measured(name: str, root: Path) -> bool:
    """Whether a script has measured an experiment file, which is then no comparison."""
    file = name.replace("cold_start_", "cold_start/", 1)
    return (name in MEASUREMENTS or file != name) and measurement(file, root) is not None


def details(root: Path = ROOT) -> str:
    """Return a section for each result: its systems, and where they come from."""
    parts = [f"### {name}\n\n{_comparison(result)}" for name, result in results(root).items()]
    return "\n\n".join(parts)


def engines_table(root: Path = ROOT) -> str:
    """Return the table of what engines.py has measured."""
    figures = measurement("engines", root)
    if figures is None:
        return ""
    lines = ["| engine | relative difference of the change | took |", "|---|---:|---:|"]
    for run in figures["runs"]:
        difference = f"{run['difference']:.1e}" if run["difference"] else "0"
        lines.append(f"| {run['run']} | {difference} | {run['seconds']:.0f} s |")
    told = (
        f"{figures['rounds']} rounds; at most {figures['limit']:g} is promised. "
        f"Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def audit_table(name: str, root: Path = ROOT) -> str:
    """Return what a committed audit has found: sentences, attacks, membership."""
    found = measurement(name, root)
    if found is None:
        return ""
    shown = markdown_membership(found) if found["membership"] else markdown_audit(found)
    minutes = float(found["seconds"]) / 60
    told = f"Took {minutes:.0f} min on {machine_of(found['machine'])}; fedrec {found['fedrec']}."
    return f"{shown}\n\n{told}"


def privacy_table(root: Path = ROOT) -> str:
    """Return accuracy against epsilon, clients and bytes: a sentence and a table a data set."""
    found = measurement("privacy_utility", root)
    if found is None:
        return ""
    parts = []
    for data in found["data"]:
        about, levels = data["about"], data["levels"]
        beside = ", ".join(f"{name} {v['ndcg@10']['mean']:.3f}" for name, v in levels.items())
        head = "| against | line | at | ε spent | bytes up | NDCG@10 | HR@10 | took |"
        lines = [head, "|---|---|---:|---:|---:|---:|---:|---:|"]
        lines += [_privacy_row(point) for point in data["points"]]
        seeds = len(data["seeds"])
        told = (
            f"{about['clients']:,} clients, {about['items']:,} items, {about['interactions']:,} "
            f"interactions; {about['protocol']} split `{about['split_hash']}`; "
            f"{seeds} seed{'s' if seeds > 1 else ''}. NDCG@10 without federation: {beside}. "
            f"All points took {data['seconds'] / 60:.0f} min."
        )
        begin = f"**{data['data']}.** {_privacy_verdict(data)} {told}"
        parts.append("\n".join([begin, "", *lines]))
    parts.append(f"Measured on {machine_of(found['machine'])}; other work ran beside it.")
    return "\n\n".join(parts)


def _privacy_verdict(data: Figures) -> str:
    """Say where noise takes accuracy down to popularity, and what is left at ε = 4."""
    line = [p for p in data["points"] if p["panel"] == "epsilon" and p["x"] is not None]
    popularity = data["levels"]["popularity"]["ndcg@10"]["mean"]
    above = [p["x"] for p in line if p["metrics"]["ndcg@10"]["low"] > popularity]
    clipped = next(p for p in data["points"] if p["panel"] == "epsilon" and p["x"] is None)
    whole = clipped["metrics"]["ndcg@10"]["mean"]
    kept = [
        f"at ε = {p['x']:g} NDCG@10 is {p['metrics']['ndcg@10']['mean'] / whole:.0%} of that "
        "with clipping alone"
        for p in line
        if p["x"] == 4
    ]
    told = (
        f"NDCG@10 is clearly above popularity (the 95% interval over users) from ε = {min(above):g}"
        if above
        else "At no ε measured here is NDCG@10 clearly above popularity (95% interval over users)"
    )
    return "; ".join([told, *kept]) + "."


def _privacy_row(point: Figures) -> str:
    at = "∞" if point["x"] is None else f"{point['x']:,.6g}"
    spent = "∞" if point["epsilon"] is None else f"{point['epsilon']:.2f}"
    cells = [point["panel"], point["series"], at, spent, f"{point['bytes_up_per_client']:,.0f}"]
    for metric in ("ndcg@10", "hr@10"):
        value = point["metrics"][metric]
        half = (value["high"] - value["low"]) / 2
        cells.append(f"{value['mean']:.3f} ±{half:.3f}")
    cells.append(f"{point['seconds']:.0f} s")
    return f"| {' | '.join(cells)} |"


def robust_table(root: Path = ROOT) -> str:
    """Return what robust.py has measured: exposure and accuracy, by attack and defence."""
    figures = measurement("robust", root)
    if figures is None:
        return ""
    runs: list[Figures] = figures["runs"]
    k, calm = runs[0]["k"], _mean(runs, "accuracy", attack="off", defence="off")
    attacks = list(dict.fromkeys(run["attack"] for run in runs if run["attack"] != "off"))
    head = [f"no attack: NDCG@{k}", *(f"{a}: ER@{k}, NDCG@{k}" for a in attacks)]
    lines = ["| defence | " + " | ".join(head) + " |", "|---" + "|---:" * len(head) + "|"]
    for defence in dict.fromkeys(run["defence"] for run in runs):
        cells = []
        for attack in ("off", *attacks):
            accuracy = _mean(runs, "accuracy", attack=attack, defence=defence)
            change = f"{100 * (accuracy / calm - 1):+.0f}%".replace("-", "−")
            told = f"{accuracy:.3f}" + (
                "" if (attack, defence) == ("off", "off") else f" ({change})"
            )
            shown = _mean(runs, "exposure", attack=attack, defence=defence)
            cells.append(told if attack == "off" else f"{shown:.1%}, {told}")
        lines.append(f"| {defence} | " + " | ".join(cells) + " |")
    seeds = sorted({run["seed"] for run in runs})
    spread = _half(next(r for r in runs if r["attack"] == r["defence"] == "off"), "accuracy")
    told = (
        f"{max(run['malicious'] for run in runs)} malicious clients; in brackets the change of "
        f"NDCG@{k} against no attack and no defence, whose 95% interval over users is "
        f"±{spread:.3f}; {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}; "
        f"norm-bound at {figures['norms']['norm-bound']:g}, row-clip at "
        f"{figures['norms']['row-clip']:g}. Took {sum(r['seconds'] for r in runs) / 60:.0f} min "
        f"on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def _mean(runs: list[Figures], name: str, **wanted: object) -> float:
    found = [run[name] for run in runs if all(run[key] == v for key, v in wanted.items())]
    return sum(found) / len(found)


def _half(run: Figures, name: str) -> float:
    low, high = run[f"{name}_interval"]
    return float(high - low) / 2


def _comparison(result: Result) -> str:
    line = headline(result)
    parts = [f"**{line.title}.** {line.detail}", markdown(result).strip()]
    if KEY in result.extra:
        parts.append(markdown_merchants(result))
    if result.leak_guard:
        parts.append(f"Leak guard: {result.leak_guard['statement']}")
    seeds = sorted({s.seed for s in result.systems})
    told = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    split = f"{result.data['protocol']} split `{result.data['split_hash']}`"
    memory = max((float(s.cost.get("peak_rss_mib") or 0) for s in result.systems), default=0.0)
    parts.append(
        f"{result.data['name']}, {split}; {told}; configuration `{result.config_hash}`; "
        f"{_duration(result)} and {memory:,.0f} MiB at the peak on {machine_of(result.machine)}; "
        f"fedrec {result.fedrec}, {result.created[:10]}."
    )
    return "\n\n".join(parts)


def _duration(result: Result) -> str:
    """Return the wall-clock time of a result, or the sum of its systems if it is not known."""
    trained = sum(float(s.cost.get("total_s") or 0.0) for s in result.systems)
    seconds = float(result.extra.get("seconds") or trained)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _anchor(name: str) -> str:
    return name.lower().replace("_", "-")


PARTS: dict[Path, dict[str, Callable[[Path], str]]] = {
    Path("README.md"): {"quickstart": quickstart_table},
    HERE / "README.md": {
        "experiments": experiments_table,
        "details": details,
        "speed": speed_table,
        "bench": partial(bench_table, "workloads"),
        **{n: partial(bench_table, n) for n in ("peers", "catalogue", "sharding", "estimate")},
        **{n: partial(times_table, n) for n in ("still", "graph")},
        "gpu": gpu_table,
        "secure-speed": secure_speed_table,
        "secure-round": secure_round_table,
        "merchants-secure": merchants_secure_table,
        "merchant-weights": merchant_weights_table,
        "secure-rows": secure_rows_table,
        "efficient": efficient_table,
        "transfer": transfer_table,
        "sessions": sessions_table,
        "recommend-speed": speed_on_device,
        "recommend-reasons": reasons_table,
        "cold-start-items": items_table,
        "cold-start-merchants": merchants_table,
        "cold-start-joins": joins_table,
        "cold-start-boost": boost_table,
        "fair": fair_table,
        "twin-gap": gap_table,
        "multitask": multitask_table,
        "closed-form": closed_form_table,
        "private-ease": private_ease_table,
        "customer-ease": customer_ease_table,
        "adapters": adapters_table,
        "regularisers": regularisers_table,
        "silo-methods": silo_methods_table,
        "store-prices": store_prices_table,
        "price-scale": partial(silo_methods_table, name="price_scale"),
        "alignment": alignment_table,
        "linkage": linkage_table,
        "domains": domains_table,
        "vertical": vertical_table,
        "engines": engines_table,
        **{name.replace("_", "-"): partial(audit_table, name) for name in AUDITS},
        "robust": robust_table,
        "contribution": contribution_table,
        "saboteurs": saboteurs_table,
        "privacy": privacy_table,
    },
}
"""File -> name of a generated part -> what writes it."""


def filled(file: Path, root: Path = ROOT) -> str:
    """Return the text of a file with its generated parts written anew.

    Raises:
        ValueError: if a part's markers are missing.
    """
    text = (root / file).read_text(encoding="utf-8")
    for name, write in PARTS[file].items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if begin not in text or end not in text:
            raise ValueError(f"{file} lacks the lines {begin} and {end}")
        head, tail = text.split(begin)[0], text.split(end)[1]
        body = write(root)
        text = f"{head}{begin}\n{body}{chr(10) if body else ''}{end}{tail}"
    return text


def check_experiments(root: Path = ROOT) -> list[str]:
    """Return the results that belong to no experiment file."""
    known = {f.stem for f in (root / HERE).glob("*.toml")}
    return [name for name in results(root) if name not in known]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write the generated parts, or check that they are up to date.

    Returns:
        0, or 1 if something is not up to date.
    """
    parser = argparse.ArgumentParser(description="The tables of README and experiments/README.")
    parser.add_argument("--write", action="store_true", help="write them")
    write = parser.parse_args(arguments).write
    stale = []
    for file in PARTS:
        text = filled(file, root)
        if text == (root / file).read_text(encoding="utf-8"):
            continue
        if write:
            (root / file).write_text(text, encoding="utf-8")
            print(f"wrote {file}")
        else:
            stale.append(file)
    for file in stale:
        print(f"{file} is not up to date: python experiments/tables.py --write", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
