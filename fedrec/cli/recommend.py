"""``fedrec recommend``."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.errors import DataError

if TYPE_CHECKING:
    from fedrec.config import Config
    from fedrec.serving.load import LoadedRecommender
    from fedrec.serving.past import Observation
    from fedrec.serving.reasons import Reason, Recommendation
    from fedrec.serving.session import Session


def recommend(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Output directory of a run.")],
    history: Annotated[
        str, typer.Option(help="Items that the user has met, oldest first, separated by spaces.")
    ] = "",
    user_attributes: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An attribute of the user; may be repeated."),
    ] = None,
    rating: Annotated[
        list[float] | None,
        typer.Option(help="Models of ratings: the rating of each item of the history, in order."),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many items.")] = 10,
    adapt: Annotated[
        str,
        typer.Option(help="Models 'mf': closed-form, steps, or auto (as the run made vectors)."),
    ] = "auto",
    start: Annotated[
        str,
        typer.Option(
            help="What to begin with: model, a strategy that the run has learnt (coldstart.users: "
            "prototypes, mixture, popularity, ...), or auto (its mixture, else the model)."
        ),
    ] = "auto",
    new: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ITEM[=SHOWN]",
            help="A new item to try, and how often it was shown so far; may be repeated. Its boost "
            "and the budget are coldstart.boost* of the run.",
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recommend items to one user with the model of a finished run.

    Everything happens on this device: the history goes nowhere. An identifier with a
    space in it stands in quotes: --history "12 'green tea' 7".
    """
    from fedrec.config import load_config
    from fedrec.serving.explore import explored
    from fedrec.serving.load import model_directory

    events = _events(_words(history), rating)
    config = load_config(model_directory(run) / "config.toml")
    attributes = dict(_attribute(word) for word in user_attributes or [])
    session = _recommender(run, config, adapt).session(
        history=events, attributes=attributes, start=start
    )
    explore = explored(config, [_shown(word) for word in new]) if new else None
    found = session.recommend(k, explain=explain, explore=explore)
    if as_json:
        typer.echo(json.dumps(_as_json(session, found), indent=1))
        return
    for line in _lines(session, found):
        typer.echo(line)


def _recommender(run: Path, config: Config, adapt: str) -> LoadedRecommender:
    """Load a run's model, with TensorFlow only where it needs it."""
    from fedrec.cli.quiet import import_tensorflow
    from fedrec.serving.load import load_recommender, needs_tensorflow

    if needs_tensorflow(config, adapt):
        import_tensorflow()
    return load_recommender(run, adapt=adapt)


def _events(items: list[str], rating: list[float] | None) -> list[Observation]:
    from fedrec.serving.past import Observation

    ratings: list[Any] = rating or [None] * len(items)
    if len(ratings) != len(items):
        raise DataError(
            f"--rating was given {len(ratings)} times for {len(items)} items of --history: "
            "expected one for each"
        )
    return [Observation(i, rating=r) for i, r in zip(items, ratings, strict=True)]


def _words(history: str) -> list[str]:
    try:
        return shlex.split(history)
    except ValueError as error:
        raise DataError(f"--history {history!r}: {error}; close every quote") from None


def _attribute(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise DataError(f"--user-attributes {word!r}: expected NAME=VALUE, for example age=30")
    return name.strip(), value.strip()


def _shown(word: str) -> tuple[str, int]:
    name, _, times = word.rpartition("=") if "=" in word else (word, "", "0")
    if not times.strip().isdigit():
        raise DataError(f"--new {word!r}: expected ITEM or ITEM=SHOWN, for example item-7=120")
    return name.strip(), int(times)


def _as_json(session: Session, found: list[Recommendation]) -> dict[str, Any]:
    return {
        "starts_from": session.starts_from,
        "how": session.how,
        **({"about": session.about} if session.about else {}),
        "items": [asdict(one) for one in found],
    }


_STARTS = {
    "popularity": "no history: the most popular items, by the counts that the run has told",
    "attributes": "no history: what the user's attributes say",
    "start": "no history: the start of a client in the run, which knows nothing of the user",
}


def _lines(session: Session, found: list[Recommendation]) -> list[str]:
    lines = _begun(session)
    for number, one in enumerate(found, 1):
        mark = "  (new, boosted)" if one.boosted else ""
        lines.append(f"{number:3}. {_called(one.item, one.title)}  {one.score:.4g}{mark}")
        lines += [f"       {_because(reason)}" for reason in one.reasons]
    if found and found[0].reasons:
        told = {
            "exact": "all shares of an item add up to its score; the largest are shown",
            "leave-one-out": "a share is what the score loses without its source",
            "influence": "a share is what the score loses without its source, to first order",
        }
        lines.append(f"shares: {told[found[0].shares]}")
    return lines


def _begun(session: Session) -> list[str]:
    """Return what recommendations begin with, where it is not the history alone."""
    name, about = session.starts_from, session.about
    if "weights" in about:
        told = ", ".join(f"{part} {weight:.2f}" for part, weight in about["weights"].items())
        return [f"begins with a mixture at {about['events']} events: {told}"]
    if "prototype" in about:
        near, weight = about["prototype"] + 1, about["weight"]
        return [
            f"begins with prototype {near} of {about['prototypes']}, the nearest, which counts "
            f"{weight:.0%} beside the user's own vector"
        ]
    if session.chosen:
        return [f"begins with {name}: {session.how}"]
    return [_STARTS[name]] if name in _STARTS else []


def _called(name: str, title: str) -> str:
    return f"{title} [{name}]" if title and title != name else name


def _because(reason: Reason) -> str:
    what = {
        "history": f"because you met {_called(reason.name, reason.title)}",
        "attribute": f"its {reason.name}",
        "user attribute": f"your {reason.name}",
        "start": "before anything was known of you",
        "popularity": "clients who met it",
    }[reason.kind]
    return f"{reason.share:+.4g}  {what}"
