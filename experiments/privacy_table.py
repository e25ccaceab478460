"""Which protection goes with which method?  Every combination works, or is refused with a reason.

    python experiments/privacy_table.py            # run the cells that are missing, and write
    python experiments/privacy_table.py --fresh    # run all cells anew (some twenty minutes)
    python experiments/privacy_table.py --rules    # run none: seconds, after a new method

A cell that the rules accept is run for one round on a marketplace of 24 users, and what it
leaves must say what it promises.  The outcome is experiments/results/privacy_table/cells.json
and the page experiments/PRIVACY_TABLE.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from experiments.privacy_cells import OPTIONS, TINY, Cell, judged, rows, tried
from fedrec.output import write_atomically

HERE = Path(__file__).parent
CELLS = HERE / "results" / "privacy_table" / "cells.json"
PAGE = HERE / "PRIVACY_TABLE.md"
Cells = dict[str, dict[str, Cell]]

INTRODUCTION = (
    "# Methods and protection",
    "Every combination of a method with a model, and of both with a privacy option: `yes` has run "
    "for one round, and its statement said what it promises; `rules` is accepted by the rules and "
    "not run yet; a number is the reason why it is refused, below. Written by `python "
    "experiments/privacy_table.py`, tested cell by cell.",
)


def read_cells(file: Path = CELLS) -> Cells:
    """Return the recorded cells, row -> option -> cell."""
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {
        row: {option: Cell(**cell) for option, cell in cells.items()}
        for row, cells in found["cells"].items()
    }


def complete(
    before: Cells, save: Callable[[Cells], None] = lambda cells: None, *, run: bool = True
) -> Cells:
    """Return all cells: those of the rules as they are now, others run where not recorded.

    Args:
        before: the recorded cells.
        save: called after each row with all that is known.
        run: whether cells that the rules accept are run, if they are not recorded.
    """
    done: Cells = {}
    for row in rows():
        done[row] = {}
        for option in OPTIONS:
            known = before.get(row, {}).get(option)
            cell = judged(row, option)
            if cell is None:
                cell = known if known is not None and _has_run(known) else None
            if cell is None:
                cell = tried(row, option) if run else Cell("accepted")
            done[row][option] = cell
            if cell != known:
                print(f"{row} / {option}: {cell.verdict} {cell.reason}", flush=True)
        if done[row] != before.get(row):
            save({**before, **done})
    return done


def _has_run(cell: Cell) -> bool:
    return cell.verdict == "works" or (cell.verdict == "refused" and cell.by == "run")


def write_cells(cells: Cells, file: Path = CELLS) -> None:
    """Write the cells as JSON."""
    told = {row: {option: asdict(cell) for option, cell in c.items()} for row, c in cells.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"tiny": TINY, "cells": told}, indent=1) + "\n")


def page(cells: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return the page: the table, and the reasons by number."""
    reasons: dict[str, int] = {}
    lines = ["| method, model | " + " | ".join(OPTIONS) + " |", "|---" * (len(OPTIONS) + 1) + "|"]
    for row, own in cells.items():
        shown = [_shown(own[option], reasons) for option in OPTIONS]
        lines.append(f"| {row} | {' | '.join(shown)} |")
    keys = [
        f"- {option}: " + (" ".join(f"`{k}={v}`" for k, v in asked.items()) or "no protection")
        for option, asked in OPTIONS.items()
    ]
    told = [f"{number}. {reason}." for reason, number in reasons.items()]
    parts = [*INTRODUCTION, "\n".join(lines), "## Why not", "\n".join(told)]
    return "\n\n".join([*parts, "## What a column sets", "\n".join(keys)]) + "\n"


def _shown(cell: Cell, reasons: dict[str, int]) -> str:
    if cell.verdict in ("works", "accepted"):
        return "yes" if cell.verdict == "works" else "rules"
    number = reasons.setdefault(cell.reason, len(reasons) + 1)
    return f"{'FAILS ' if cell.verdict == 'failed' else ''}{number}"


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and write the page.

    Returns:
        0, or 1 if a cell failed.
    """
    parser = argparse.ArgumentParser(description="Which protection goes with which method.")
    parser.add_argument("--fresh", action="store_true", help="run all cells anew")
    parser.add_argument("--rules", action="store_true", help="run none: ask the rules alone")
    options = parser.parse_args(arguments)
    before = {} if options.fresh else read_cells()
    cells = complete(before, write_cells, run=not options.rules)
    write_cells(cells)
    write_atomically(PAGE, page(cells))
    failed = [f"{r} / {o}" for r, own in cells.items() for o, c in own.items() if _bug(c)]
    for name in failed:
        print(f"{name} failed", file=sys.stderr)
    return int(bool(failed))


def _bug(cell: Cell) -> bool:
    return cell.verdict == "failed"


if __name__ == "__main__":
    sys.exit(main())
