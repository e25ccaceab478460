"""The leaderboard's page, as Markdown and as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from experiments.board.entries import DATA, LEAKY, Entry
from experiments.board.figure import board_figure
from experiments.board.standings import CLOSE, METRIC, Standing, Table, standings
from experiments.tables_bench import machine_of
from fedrec.output import write_atomically

MARKDOWN, HTML = "README.md", "leaderboard.html"
TEMPLATE = Path(__file__).with_name("page.html")
MISSING = "not run yet"
EQUAL = 0.001  # relative difference from a twin that counts as none
MARKS = {"better": "▲ ", "worse": "▼ ", "": ""}
ACCURACY = (
    ("full.ndcg@10", "NDCG@10"),
    ("full.hr@10", "HR@10"),
    ("full.recall@20", "Recall@20"),
    ("full.mrr@10", "MRR@10"),
    ("sampled99.ndcg@10", "NDCG@10, 1+99"),
    ("sampled99.hr@10", "HR@10, 1+99"),
)
INTRODUCTION = (
    "Written by `python experiments/leaderboard.py --page` from experiments/results/leaderboard; "
    "`make leaderboard` runs what is missing.",
    "Which federated recommender is best, and what does it lose because the data stay on the "
    "clients? Every client is one user. Each user's latest interaction is held out for the test, "
    "the one before it for validation, and no system has learnt from either. NDCG@10 and HR@10 "
    "say how high, and how often, the held-out item is among the first ten of all items that the "
    "user has not met (1+99: among it and 99 drawn ones, an easier task); 1 is perfect. Figures "
    "are means over seeds, ± is half of the 95% interval over users.",
    'A *centralised twin* is the same model trained on pooled data: "of its twin" is what a '
    "federated method keeps of the twin's NDCG@10 (⚑: more than 3% below it; clear: the 95% "
    "interval of the difference leaves out zero). ▲ ▼: significantly better, worse than the best "
    "centralised baseline in NDCG@10, by a paired bootstrap over users, corrected for all "
    "comparisons of the table (Holm). That baseline is the best on the test part itself, so it is "
    "the hardest to beat.",
    "Every system had the same number of trials, chosen on validation NDCG@10 with seed 0; a "
    "smaller space was tried whole. Where the table says that 2 were in full, all had a fifth of "
    "the rounds and the best two were then trained in full (successive halving); where it says "
    "nothing, all were, which is a larger budget and only makes that system harder to beat.",
    "The first trial is the method's file. Its values, and all rounds and epochs, come from the "
    "paper or from earlier trials by hand, on validation with seed 0. Methods that fell below "
    "their twins, and these twins, had more of such trials than others and were then searched "
    "anew. Nothing was chosen on the test part, but for these methods it was read more than once.",
)
TITLES = {
    "ml-100k": "MovieLens 100K (ml-100k)",
    "complete-journey": "dunnhumby, The Complete Journey (complete-journey)",
}
"""Data set -> how it is called in headings."""
COSTS = "What it costs, and how it was chosen"
LEAKY_NOTE = (
    "The figures that these methods were published with come from negatives that never hit a "
    "held-out item, so that ranking it high is learnt without knowing the user. Here they are "
    "trained so, with the settings of their files, beside the honest figures; they are worthless "
    "for anything but comparison with published ones."
)
NOTES = {
    "complete-journey": "An item is a product type; of repeated purchases of a type the latest "
    "counts, so that a user's test item is what was bought last and never appears in training.",
}
"""What a reader should know about a data set."""
Grid = tuple[tuple[str, ...], list[tuple[str, ...]]]


def write_page(entries: Sequence[Entry], results: Path, folder: Path) -> tuple[Path, ...]:
    """Write both files and return their paths.

    Args:
        entries: all methods.
        results: with a directory for each data set.
        folder: where the page goes.

    Raises:
        OutputError: if a file cannot be written.
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    tables, leaky = tables_of(entries, results)
    pages = {MARKDOWN: markdown(tables, leaky), HTML: html(tables, leaky)}
    for name, text in pages.items():
        write_atomically(folder / name, text)
    return tuple(folder / name for name in pages)


def tables_of(
    entries: Sequence[Entry], results: Path
) -> tuple[list[Table], list[tuple[Table, Table]]]:
    """Return the honest table of each data set with a result, and (leaky, honest) pairs."""
    honest = [e for e in entries if not e.leaky]
    published = [e for e in entries if e.leaky]
    named = [d for d in DATA if d != "quick" and (results / d).is_dir()]
    tables = [standings(honest, data, results / data) for data in named]
    pairs = [
        (standings(published, table.data, results / table.data / LEAKY), table)
        for table in tables
        if (results / table.data / LEAKY).is_dir()
    ]
    return tables, pairs


def markdown(tables: Sequence[Table], leaky: Sequence[tuple[Table, Table]]) -> str:
    """Return the page as Markdown."""
    parts = ["# Leaderboard", *INTRODUCTION]
    for table in tables:
        parts += [f"## {title_of(table)}", *sentences(table), *figures_of(table)]
        parts += [
            _markdown(accuracy(table)),
            f"{COSTS}:",
        ]
        parts.append(_markdown(costs(table)))
    for bad, good in leaky:
        parts += [
            f"## {title_of(bad)}, the leaky protocol",
            LEAKY_NOTE,
            _markdown(beside(bad, good)),
        ]
    return "\n\n".join(parts) + "\n"


def html(tables: Sequence[Table], leaky: Sequence[tuple[Table, Table]]) -> str:
    """Return the page as HTML, with a figure for each data set."""
    from fedrec.errors import MissingExtraError

    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise MissingExtraError("jinja2", "report", "the leaderboard's page") from None
    report = files("fedrec.report").joinpath("template.html").read_text(encoding="utf-8")
    style = report.split("<style>")[1].split("</style>")[0]  # one look for all pages
    shown: list[dict[str, Any]] = [
        {
            "title": title_of(table),
            "sentences": [*sentences(table), *figures_of(table)],
            "svg": board_figure(table),
            "grids": [("", accuracy(table)), (COSTS, costs(table))],
        }
        for table in tables
    ]
    shown += [
        {
            "title": f"{title_of(bad)}, the leaky protocol",
            "sentences": [LEAKY_NOTE],
            "svg": "",
            "grids": [("", beside(bad, good))],
        }
        for bad, good in leaky
    ]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(style=style, introduction=INTRODUCTION, parts=shown) + "\n"


def title_of(table: Table) -> str:
    """Return the heading of a data set."""
    return TITLES.get(table.data, table.data)


def figures_of(table: Table) -> list[str]:
    """Return a line about the data of a table."""
    about = table.about
    if not about:
        return []
    noted = [NOTES[table.data]] if table.data in NOTES else []
    unique = sorted({machine_of(machine) for machine in about["machines"]})
    return noted + [
        f"{about['users']:,} users, {about['items']:,} items, {about['interactions']:,} "
        f"interactions; {about['protocol']} split `{about['split_hash']}`. Measured on "
        f"{' and on '.join(unique)}; other work may have run beside, so read seconds with care."
    ]


def sentences(table: Table) -> list[str]:
    """Say who beats the best baseline, who is far from the twin, and what is missing."""
    if table.reference is None:
        return ["No baseline has been run yet."]
    best = next(r for r in table.rows if r.row == table.reference)
    told = [f"Best centralised baseline: {best.name}, NDCG@10 {best.value:.4f}."]
    winners = [r for r in table.run if r.system == "federated" and r.mark == "better"]
    if winners:
        names = ", ".join(_gain(r) for r in winners)
        told.append(f"Federated methods that beat it significantly: {names}.")
        told += [_no_wonder(r) for r in winners if r.ratio is not None and abs(r.ratio - 1) < EQUAL]
    else:
        told.append("No federated method beats it significantly.")
    apart = [r for r in table.run if r.apart]
    if apart:
        names = ", ".join(f"{r.name} ({_ratio(r)})" for r in apart)
        told.append(f"More than {CLOSE:.0%} below the centralised twin: {names}.")
    missing = sorted({r.entry.name for r in table.rows if r.result is None})
    if missing:
        told.append(f"{MISSING[0].upper()}{MISSING[1:]}: {', '.join(missing)}.")
    return told


def _no_wonder(row: Standing) -> str:
    return (
        f"The centralised twin of {row.name} does as well: what it gains over the usual baselines "
        "comes from the model, and federation takes nothing of it away."
    )


def _gain(row: Standing) -> str:
    pair = row.against
    if pair is None:  # the reference itself, which is not federated
        return row.name
    return f"{row.name} ({pair.difference:+.4f}, {pair.low:+.4f} to {pair.high:+.4f})"


def accuracy(table: Table) -> Grid:
    """Return the table of metrics: the best first."""
    first, *titles = (title for _, title in ACCURACY)
    beside = ("of its twin", "against the best baseline", "p (Holm)")
    head = ("system", "kind", first, *beside, *titles)
    body = []
    for row in table.rows:
        if row.result is None:
            body.append((row.name, row.kind, MISSING, *[""] * (len(head) - 3)))
            continue
        figures = [_figure_of(row, metric) for metric, _ in ACCURACY]
        figures[0] = MARKS[row.mark] + figures[0]
        pair = row.against
        gap = "(this)" if pair is None else f"{pair.difference:+.4f}".replace("-", "−")
        p_value = "" if row.p_value is None else f"{row.p_value:.3f}".replace("0.000", "<0.001")
        body.append((row.name, row.kind, figures[0], _ratio(row), gap, p_value, *figures[1:]))
    return head, body


def _figure_of(row: Standing, metric: str) -> str:
    found = (row.result or {})["metrics"].get(metric)
    if found is None:
        return "–"
    half = (found["high"] - found["low"]) / 2
    return f"{found['mean']:.4f} ±{half:.4f}" if metric == METRIC else f"{found['mean']:.3f}"


def _ratio(row: Standing) -> str:
    if row.ratio is None or row.twin is None:
        return ""
    clear = "" if row.twin.low <= 0 <= row.twin.high else ", clear"
    return f"{row.ratio:.1%}{clear}{' ⚑' if row.apart else ''}"


def costs(table: Table) -> Grid:
    """Return the table of bytes, seconds, privacy and settings."""
    head: tuple[str, ...] = (
        "system",
        "up, KiB a client and round",
        "down, KiB",
        "all, MiB",
        "s a round",
        "s in all",
        "secure aggregation",
        "ε",
        "trials",
        "chosen",
        "seeds",
        "configurations",
    )
    body: list[tuple[str, ...]] = []
    for row in table.run:
        found = row.result or {}
        cost, settings = found["cost"], found["settings"]
        whole = cost["bytes_up"] + cost["bytes_down"]
        federated = row.system == "federated"
        epsilon = found["privacy"]["epsilon"]
        body.append(
            (
                row.name,
                _number(cost["bytes_up_per_client"], 1024) if federated else "–",
                _number(cost["bytes_down_per_client"], 1024) if federated else "–",
                _number(whole, 2**20) if federated else "–",
                _number(cost["round_s_median"], 1, 3) if row.kind != "baseline" else "–",
                _number(cost["total_s"], 1),
                _secure(found.get("secure", "–")),
                "none" if epsilon is None else f"{epsilon:.2f}",
                _trials(found),
                " ".join(f"{k}={v}" for k, v in settings.items()) or "–",
                " ".join(map(str, found["seeds"])),
                " ".join(found["config_hashes"]),
            )
        )
    return head, body


def _trials(found: Mapping[str, Any]) -> str:
    """Say how many settings were tried, and how many of them in full if not all."""
    tried, full = found["trials"], found.get("trials_in_full", found["trials"])
    return str(tried) if full >= tried else f"{tried}, {full} in full"


def _secure(offer: str) -> str:
    return offer if offer in ("offered", "–") else f"refused: {offer.split(':')[0]}"


def _number(value: float | None, unit: float, digits: int = 1) -> str:
    return "–" if value is None else f"{value / unit:,.{digits}f}"


def beside(bad: Table, good: Table) -> Grid:
    """Return leaky and honest figures of the methods published under the leaky protocol."""
    head: tuple[str, ...] = (
        "method",
        "NDCG@10, 1+99: leaky",
        "honest",
        "HR@10, 1+99: leaky",
        "honest",
    )
    head += ("HR@10, full: leaky", "honest", "seeds", "configurations")
    honest = {row.row: row for row in good.rows}
    body: list[tuple[str, ...]] = []
    for row in sorted(bad.rows, key=lambda r: r.row):
        if row.result is None:
            body.append((row.name, MISSING, *[""] * (len(head) - 2)))
            continue
        cells = []
        for metric in ("sampled99.ndcg@10", "sampled99.hr@10", "full.hr@10"):
            cells.append(_figure_of(row, metric))
            other = honest.get(row.row)
            known = other is not None and other.result is not None
            cells.append(_figure_of(other, metric) if other and known else MISSING)
        seeds = " ".join(map(str, row.result["seeds"]))
        body.append((row.name, *cells, seeds, " ".join(row.result["config_hashes"])))
    return head, body


def _markdown(grid: Grid) -> str:
    head, body = grid
    lines = ["| " + " | ".join(head) + " |", "|---" * 2 + "|---:" * (len(head) - 2) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join(lines)
