"""What merchants bring and who should pay whom, from contribution.json: text, table, figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedrec.errors import OutputError
from fedrec.report.sections import Grid
from fedrec.report.tables import console
from fedrec.report.view import number, signed

CONTRIBUTION_FILE = "contribution.json"
SCHEMA = 1
TITLES = {
    "shapley-retrained": "Shapley, retrained",
    "shapley-updates": "Shapley, from updates",
    "shapley-rounds": "Shapley, by round",
    "groups": "from sums of groups",
    "groups-rebuilt": "from guessed updates",
    "leave-one-out": "leave-one-out",
}
ALONG = "goes along with others"
ALIGNMENT = (
    f"{ALONG.capitalize()}: the cosine of a merchant's mean update and that of the others. "
    "A merchant that sends noise or pushes an item of its own has a low one, and so has an honest "
    "shop that is unlike the others. fedrec's experiments say how often either is found."
)
SUSPECTS = (
    "Brings nothing, or harms: {names}. So looks a merchant that sends noise, repeats what others "
    "sent or pushes its own items, and so looks an honest one with few or unusual customers: ask "
    "before you exclude anybody. fedrec's experiments say how often this is right."
)


def load_contributions(directory: Path) -> dict[str, Any] | None:
    """Read the contribution.json of a directory; None if there is none.

    Raises:
        OutputError: if it cannot be read.
    """
    file = directory / CONTRIBUTION_FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        newer = int(content["schema"]) > SCHEMA
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{file} holds no contributions of fedrec: {error}") from None
    if newer:
        raise OutputError(
            f"{file} has schema {content['schema']}, and this fedrec reads up to {SCHEMA}: "
            "upgrade fedrec to read it"
        )
    return dict(content)


def contribution_grid(content: Mapping[str, Any]) -> Grid:
    """Return a row for each merchant: what it has, what it brings, what it is paid."""
    estimates = content["estimates"]
    metric = content["metric"].split(".")[-1].upper()
    along = content.get("alignment")
    head = ("merchant", "customers", f"{metric} alone", f"{metric} federated",
            *(TITLES[name] for name in estimates), *([ALONG] if along else []),
            "part of the gain", "part brought", "is paid (+), pays (−)")  # fmt: skip
    paid, rows = content["payments"], []
    for i, merchant in enumerate(content["merchants"]):
        cells = [merchant["name"], f"{merchant['customers']:,}"]
        cells += [number(merchant[key]) for key in ("alone", "federated")]
        cells += [_value(found, i) for found in estimates.values()]
        cells += [f"{along[i]:.2f}".replace("-", "−")] if along else []
        cells += [f"{100 * paid[key][i]:.0f}" for key in ("gains", "shares")]
        cells.append(signed(round(100 * paid["transfers"][i])))
        rows.append(tuple(cells))
    return Grid(head, tuple(rows))


def _value(found: Mapping[str, Any], i: int) -> str:
    error = found["errors"][i]
    told = f" ±{2 * error:.4f}" if error else ""
    return f"{found['values'][i]:.4f}{told}".replace("-", "−")


def contribution_notes(content: Mapping[str, Any]) -> list[str]:
    """Return the sentences under the table: what figures mean, and what they open."""
    metric = content["metric"].removeprefix("valid.")
    told = [
        f"Contributions are parts of {metric} on validation over the customers of all merchants; "
        "± is twice the standard error of what was sampled. Parts are of 100, by "
        f"{TITLES[content['payments']['by']]}."
    ]
    told += [f"{TITLES[n]}: {e['statement']}." for n, e in content["estimates"].items()]
    told += [ALIGNMENT] if content.get("alignment") else []
    suspects = content["suspects"]
    told += [SUSPECTS.format(names=", ".join(suspects))] if suspects else []
    told += [f"Not told apart: {', '.join(some)}." for some in content["alike"]]
    return [*told, content["leak"]]


def markdown_contributions(content: Mapping[str, Any]) -> str:
    """Return the sentence about payments, the table, and the notes as Markdown."""
    grid = contribution_grid(content)
    lines = ["| " + " | ".join(grid.head) + " |", "|---" + "|---:" * (len(grid.head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in grid.rows]
    notes = "\n".join(f"- {note}" for note in contribution_notes(content))
    return "\n\n".join([content["payments"]["sentence"], "\n".join(lines), notes])


def contribution_section(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the template of the section shows."""
    return {
        "sentence": content["payments"]["sentence"],
        "grid": contribution_grid(content),
        "notes": contribution_notes(content),
    }


def contributions_told(content: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what the page of a comparison of merchants shows of contributions; None without.

    Args:
        content: as in contribution.json, or already a "statement" with "columns" and "rows".
    """
    if not content or "columns" in content:
        return None if not content else dict(content)
    return merchants_entry(content)


def merchants_entry(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry `contributions` of a comparison of merchants, from contribution.json.

    Returns:
        "statement", "columns" and "rows" of text.
    """
    grid = contribution_grid(content)
    statement = " ".join([content["payments"]["sentence"], *contribution_notes(content)])
    rows = [list(row) for row in grid.rows]
    return {"statement": statement, "columns": list(grid.head), "rows": rows}


def print_contributions(content: Mapping[str, Any]) -> None:
    """Print the table, the sentence about payments, and what was opened."""
    from rich.table import Table

    to, grid = console(), contribution_grid(content)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, title in enumerate(grid.head):
        table.add_column(title, justify="right" if i else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*row)
    to.print(table)
    said: Sequence[str] = (content["payments"]["sentence"], *contribution_notes(content))
    for sentence in said:
        to.print(f"- {sentence}", highlight=False, markup=False)
