"""``fedrec data list | get | describe``: which data sets there are, and what is in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from fedrec.config import Config, parse_override

if TYPE_CHECKING:
    from fedrec.data.interactions import Dataset

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

Name = Annotated[str, typer.Argument(help="A name of `fedrec data list`, e.g. ml-100k.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[key=value]...", help="Configuration, e.g. data.user_core=5."),
]


@app.command("list")
def list_() -> None:
    """List the known data sets, their size and terms, and whether they are here."""
    from rich.table import Table

    from fedrec.data.directory import cache_directory
    from fedrec.data.registry import ENTRIES
    from fedrec.data.sources import is_cached
    from fedrec.report.tables import console

    directory = cache_directory("")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, style in (("name", "cyan"), ("here", ""), ("holds", ""), ("terms", "dim")):
        table.add_column(title, style=style, no_wrap=title in ("name", "here"), overflow="fold")
    for entry in ENTRIES.values():
        here = ("yes" if is_cached(entry, directory) else "no") if entry.sources else "-"
        table.add_row(entry.name, here, entry.size, entry.terms)
    console().print(table)
    typer.echo(f"cache: {directory} (data.cache or $FEDREC_CACHE)")


@app.command("get")
def get(name: Name, overrides: Overrides = None) -> None:
    """Download a data set into the cache, check it and read it once."""
    from fedrec.data.directory import cache_directory
    from fedrec.data.registry import find_entry

    entry = find_entry(name)
    start = time.perf_counter()
    config = _config(name, overrides)
    dataset = _dataset(config)
    if entry.terms:
        typer.echo(f"terms: {entry.terms}")
    if entry.home:
        typer.echo(f"about: {entry.home}")
    typer.echo(
        f"{name}: {dataset.num_users:,} users, {dataset.num_items:,} items, "
        f"{len(dataset.interactions):,} interactions, ready in "
        f"{time.perf_counter() - start:.1f} s"
    )
    if entry.sources:
        typer.echo(f"cache: {cache_directory(config.data.cache) / name}")


@app.command("describe")
def describe(name: Name, overrides: Overrides = None) -> None:
    """Show what a data set holds, how it was cleaned and how it is split."""
    from fedrec.data import describe as description

    config = _config(name, overrides)
    dataset = _dataset(config)
    shown = description.describe(dataset)
    typer.secho(shown.name, bold=True)
    width = max(len(what) for what, _ in shown.figures)
    for what, value in shown.figures:
        typer.echo(f"  {what:<{width}}  {value}")
    _print_attributes(shown.attributes)
    _print_lines("cleaning", shown.account)
    _print_lines("clients", _clients(dataset, config))
    _print_lines(f"split: {config.split.protocol}", _split(dataset, config))


def _config(name: str, overrides: list[str] | None) -> Config:
    from fedrec.data.registry import find_entry

    find_entry(name)
    pairs = dict(parse_override(text) for text in overrides or ())
    return Config().with_({"data.name": name, **pairs})


def _dataset(config: Config) -> Dataset:
    from fedrec.data.load import load_dataset

    return load_dataset(config)


def _print_attributes(attributes: tuple) -> None:
    if not attributes:
        return
    from rich.table import Table
    from rich.text import Text

    from fedrec.report.tables import console

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 2))
    for title in ("attribute", "of", "kind", "known", "values"):
        table.add_column(title, overflow="fold")
    for line in attributes:
        cells = (line.name, line.of, line.kind, f"{line.coverage:.0%}", line.values)
        table.add_row(*(Text(cell) for cell in cells))
    typer.echo()
    console().print(table)


def _print_lines(title: str, lines: tuple[str, ...]) -> None:
    typer.echo()
    typer.secho(title, bold=True)
    for line in lines:
        typer.echo(f"  {line}")


def _clients(dataset: Dataset, config: Config) -> tuple[str, ...]:
    import numpy as np

    from fedrec.data.partition import partition

    parts = partition(dataset, config)
    rows = np.bincount(
        parts.client_of_user[parts.dataset.interactions.user], minlength=parts.num_clients
    )
    return (
        f"unit: {config.clients.unit}; {parts.num_clients:,} clients host "
        f"{parts.dataset.num_users:,} users",
        f"interactions per client: least {rows.min():,}, median {np.median(rows):g}, "
        f"most {rows.max():,}",
    )


def _split(dataset: Dataset, config: Config) -> tuple[str, ...]:
    from fedrec.data.partition import partition
    from fedrec.data.split import split

    done = split(partition(dataset, config).dataset, config)
    return (
        f"{len(done.train):,} training, {len(done.valid):,} validation, "
        f"{len(done.test):,} test interactions; split hash {done.split_hash}",
        *done.notes,
    )
