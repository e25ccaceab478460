"""``fedrec audience``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.coldstart.audience import Audience, Reach


def audience(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Output directory of a run.")],
    item: Annotated[str, typer.Option(help="Identifier of the item that is to be shown.")],
    ranks: Annotated[
        str, typer.Option(help="How far down a user's list the item may stand.")
    ] = "10 20 50 100",
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also by an attribute of users, a number as age:30,50; may be repeated.",
        ),
    ] = None,
    users: Annotated[
        int, typer.Option(min=0, help="Show it to at most so many users; 0: no limit.")
    ] = 0,
    fewest: Annotated[
        int, typer.Option(min=3, help="Counts are told in steps of so many users.")
    ] = 10,
    sample: Annotated[
        int, typer.Option(min=0, help="Ask so many users, drawn at random; 0: all.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the devices of a finished run to how many users an item should be shown.

    Each scores it for itself; what leaves them is masked, and only counts come out.
    """
    from fedrec.cli.quiet import import_tensorflow
    from fedrec.serving.load import model_directory

    words = ranks.replace(",", " ").split()
    if not words or not all(word.isdigit() for word in words):
        raise ConfigError(f"--ranks {ranks!r}: expected whole numbers separated by spaces")
    levels = sorted({int(word) for word in words})
    model_directory(run)  # a wrong path is told at once
    import_tensorflow()
    from fedrec.coldstart.audience_run import audience_of

    found = audience_of(run, item, ranks=levels, by=by or (), fewest=fewest, sample=sample)
    if as_json:
        typer.echo(json.dumps(_as_json(found, users), indent=1))
        return
    for line in _lines(found, users):
        typer.echo(line)


def _as_json(found: Audience, users: int) -> dict[str, Any]:
    return {
        "item": found.item,
        "ranks": found.ranks,
        "asked": found.asked,
        "met": found.met,
        "everyone": asdict(found.everyone),
        "segments": {n: {v: asdict(r) for v, r in s.items()} for n, s in found.segments.items()},
        **({"rank_for": {"users": users, "rank": found.rank_for(users)}} if users else {}),
        "step": found.step,
        "bytes_up": sum(s.bytes_up for s in found.sessions),
    }


def _lines(found: Audience, users: int) -> list[str]:
    lines = [f"{found.item}: {found.asked:,} devices asked, {found.met:,} have met it"]
    lines += [_line("everyone", found.everyone, found.ranks)]
    for name, values in found.segments.items():
        lines += [_line(f"{name} = {value}", reach, found.ranks) for value, reach in values.items()]
    if users:
        rank = found.rank_for(users)
        lines.append(
            f"to reach at most {users:,} users, a device shows it among the {rank} best"
            if rank
            else f"even rank {found.ranks[0]} may reach more than {users:,} users"
        )
    lines.append(f"secure counts, in steps of {found.step}: no device's rank, history or "
                 "attribute is known to anybody")  # fmt: skip
    return lines


def _line(name: str, reach: Reach, ranks: tuple[int, ...]) -> str:
    told = (f"top {r}: {n:,}" for r, n in zip(ranks, reach.within, strict=True))
    return f"  {name} ({reach.clients:,}): {', '.join(told)}"
