"""``fedrec config``: every key of an experiment, with its default and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedrec.config import Config, known_keys, to_toml
from fedrec.errors import ConfigError, nearest


@dataclass(frozen=True)
class Key:
    """One key of the schema: its dotted name, type or choices, default and meaning."""

    name: str
    kind: str
    default: Any
    meaning: str


def config(
    key: Annotated[
        str | None, typer.Argument(help="A key or a section, e.g. train.rounds or train.")
    ] = None,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print a complete experiment file with the defaults.")
    ] = False,
) -> None:
    """Explain the keys of an experiment file: all, a section (train) or one (train.rounds)."""
    if toml:
        typer.echo(to_toml(Config()), nl=False)
        return
    chosen = select_keys(key)
    if len(chosen) == 1:
        _print_one(chosen[0])
    else:
        _print_table(chosen)


def select_keys(name: str | None) -> list[Key]:
    """Return all keys, those of a section, or one key.

    Raises:
        ConfigError: if there is no such key or section.
    """
    keys = list(schema_keys())
    if name is None:
        return keys
    chosen = [k for k in keys if name in (k.name, k.name.split(".")[0])]
    if not chosen:
        words = {*known_keys(), *(k.name.split(".")[0] for k in keys)}
        raise ConfigError(f"unknown configuration key {name!r}.{nearest(name, words)}")
    return chosen


def schema_keys() -> Iterator[Key]:
    """Return every key of the schema, in its order."""
    for section, info in Config.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, entry in model.model_fields.items():
                kind = _kind(entry)
                yield Key(f"{section}.{name}", kind, entry.default, entry.description or "")


def _kind(entry: FieldInfo) -> str:
    """Return the type of a key with its bounds, or its choices."""
    if get_origin(entry.annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(entry.annotation))
    kind = getattr(entry.annotation, "__name__", str(entry.annotation))
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(part, word)}"
        for part in entry.metadata
        for word, sign in signs.items()
        if getattr(part, word, None) is not None
    ]
    return f"{kind} {', '.join(bounds)}" if bounds else kind


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else f"{value:g}"


def _print_one(key: Key) -> None:
    typer.echo(f"{key.name} = {_shown(key.default)}\n  {key.kind}\n  {key.meaning}")


def _print_table(keys: list[Key]) -> None:
    from rich.table import Table
    from rich.text import Text

    from fedrec.report.tables import console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, options in (
        ("key", {"no_wrap": True, "style": "cyan"}),
        ("default", {"overflow": "fold", "max_width": 24}),
        ("type", {"overflow": "fold", "max_width": 30}),
        ("meaning", {"overflow": "fold"}),
    ):
        table.add_column(title, **options)  # type: ignore[arg-type]
    section = ""
    for key in keys:
        if section and key.name.split(".")[0] != section:
            table.add_section()
            table.add_row()
        section = key.name.split(".")[0]
        table.add_row(key.name, Text(_shown(key.default)), Text(key.kind), Text(key.meaning))
    console().print(table)
