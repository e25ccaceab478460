"""Which federated recommender is best, without a leak, and how far is it from central training?

    python experiments/leaderboard.py [METHOD ...] [--data NAME] [--trials N] [--page]

For every method of experiments/leaderboard/ and every data set: the same number of trials,
chosen on validation (`board/search.py`; with --halving the best two of them in full, the others
for a fifth of the rounds); three seeds with the chosen settings, the test part
read once (`board/final.py`); and the page, experiments/leaderboard/README.md and
leaderboard.html (`board/page.py`).  What an earlier start has finished is kept; a changed
method file begins anew.  Files of experiments/leaderboard/leaky/ are trained as they are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.board.entries import DATA, FOLDER, LEAKY, Entry, read_entries
from experiments.board.final import SEEDS, chosen, current, finish
from experiments.board.page import write_page
from experiments.board.search import Halving, Trial, search
from fedrec.errors import FedrecError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results" / "leaderboard"
WORK = ROOT / "runs" / "leaderboard"
TRIALS = 8


def main(arguments: list[str] | None = None) -> int:
    """Search, train and write the page.

    Returns:
        0, or 1 if a method failed.
    """
    options = _options(arguments)
    entries = read_entries(options.methods_from)
    wanted = [e for e in entries if not options.method or e.name in options.method]
    unknown = set(options.method) - {e.name for e in entries}
    if unknown:
        print(f"no such method: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 1
    failed = []
    for data in [] if options.page else options.data or ["ml-100k", "complete-journey"]:
        for entry in wanted:
            if entry.leaky and data != "ml-100k":
                continue  # figures are published for MovieLens
            try:
                complete(entry, data, options)
            except FedrecError as error:
                failed.append(f"{data} {entry.name}: {error}")
                print(failed[-1], file=sys.stderr, flush=True)
    for file in write_page(entries, options.results, options.methods_from):
        print(f"wrote {file}")
    return int(bool(failed))


def complete(entry: Entry, data: str, options: argparse.Namespace) -> None:
    """Make what is missing of an entry on a data set: trials, then final runs.

    Raises:
        FedrecError: whatever stops it.
    """
    folder = options.results / data / (LEAKY if entry.leaky else "")
    trials = {system: _trials(entry, data, system, folder, options) for system in entry.systems()}
    if options.search_only:
        return
    found = current(entry, data, folder)
    if found is None or not chosen(found, trials):
        place = options.work / (LEAKY if entry.leaky else "honest")
        finish(entry, data, trials, folder, place, options.seeds, _say)


def _trials(
    entry: Entry, data: str, system: str, folder: Path, options: argparse.Namespace
) -> list[Trial]:
    if entry.leaky:  # trained as its file says: there is nothing to choose
        return [Trial({}, None, 0.0, "file")]
    record = folder / f"{entry.name}.search.json"
    halving = Halving() if options.halving else None
    return search(entry, data, system, options.trials, record, tell=_say, halving=halving)


def _say(line: str) -> None:
    print(line, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", nargs="*", help="only these; none: all")
    parser.add_argument("--data", action="append", choices=list(DATA), help="may be repeated")
    parser.add_argument("--trials", type=int, default=TRIALS, help="budget of every system")
    parser.add_argument("--halving", action="store_true", help="shorter trials, the best in full")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="final runs")
    parser.add_argument("--search-only", action="store_true", help="no final runs")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--methods-from", type=Path, default=FOLDER, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
