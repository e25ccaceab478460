"""``fedrec align cards`` and ``link``: items without a common id, by their attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedrec.align.cards import Cards
    from fedrec.align.linked import Linked

Items = Annotated[Path, typer.Argument(help="Table of the own items, one row an item.")]
Columns = Annotated[str, typer.Option(help="Columns that are compared, in the agreed order.")]
Key = Annotated[Path, typer.Option("--key", help="File with the agreed key words, kept secret.")]
IdColumn = Annotated[str, typer.Option("--id", help="Column of the own ids; without: the first.")]
Map = Annotated[Path | None, typer.Option("--map", help="Own catalogue map: items known already.")]
Show = Annotated[str, typer.Option(help="Columns whose text is shown as it stands.")]


def cards(
    items: Items,
    columns: Columns,
    key: Key,
    out: Annotated[Path, typer.Option("--out", help="The cards to send.")],
    identifier: IdColumn = "",
    known: Map = None,
    show: Show = "",
) -> None:
    """Make cards of the own items, for another merchant to link with its own."""
    from fedrec.align.cards import write_cards

    made, _ = _made(items, columns, key, identifier, known, show)
    write_cards(out, made)
    named = int((made.names != "").sum())
    typer.echo(f"{out}: {len(made):,} cards, {named:,} of them with a common name already")
    typer.echo(
        f"shows, to whoever has the key, which words of {columns} an item has; to others how many"
        + (f"; and the text of {show}" if show else "")
    )


def link(
    items: Items,
    columns: Columns,
    key: Key,
    other: Annotated[Path, typer.Option("--with", help="The cards of the other merchant.")],
    out: Annotated[Path, typer.Option("--out", help="The own catalogue map, .csv or .parquet.")],
    identifier: IdColumn = "",
    known: Map = None,
    show: Show = "",
    least: Annotated[
        float, typer.Option("--confidence", min=0, max=1, help="Least confidence of a link.")
    ] = 0.9,
    review: Annotated[
        Path | None, typer.Option(help="Table of all links, unsure ones too, for the eyes.")
    ] = None,
    listing: Annotated[
        Path | None, typer.Option("--items", help="The shared item list, .jsonl.")
    ] = None,
) -> None:
    """Link own items with the cards of another merchant; give the same options as for cards."""
    from fedrec.align.cards import read_cards
    from fedrec.align.linked import link_own
    from fedrec.data.catalogue_map import write_map
    from fedrec.data.item_list import write_item_list

    made, ids = _made(items, columns, key, identifier, known, show)
    theirs = read_cards(other)
    found = link_own(made, theirs, least)
    write_map(out, found.catalogue_map(ids))
    if review is not None:
        _review(review, ids, made, theirs, found)
    if listing is not None:
        write_item_list(listing, list(found.listing))
    linked = int((found.partner >= 0).sum())
    typer.echo(
        f"{len(made):,} own items and {len(theirs):,} of the other: {linked:,} linked with a "
        f"confidence of {least:g} or more, {len(found.links) - linked:,} below it left alone"
    )
    if not found.links.calibrated:
        typer.echo(
            "the confidence is not calibrated, it only orders links: match what has a common id "
            "first (fedrec align match) and name the map with --map on both sides"
        )


def _made(
    items: Path, columns: str, key: Path, identifier: str, known: Path | None, show: str
) -> tuple[Cards, NDArray[np.object_]]:
    """Return the own cards, and the own ids in their order."""
    import numpy as np

    from fedrec.align.cards import make_cards
    from fedrec.data.catalogue_map import read_map
    from fedrec.data.files import read_table
    from fedrec.data.readers import as_words
    from fedrec.errors import ConfigError, DataError, nearest

    frame, _ = read_table(items, text=True)
    columns_of = [str(name) for name in frame.columns]
    if identifier and identifier not in columns_of:
        raise DataError(f"{items.name}: no column {identifier!r}.{nearest(identifier, columns_of)}")
    try:
        secret = key.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the key {key}: {error}") from None
    ids = as_words(frame[identifier] if identifier else frame.iloc[:, 0])
    if ids.isna().any() or ids.duplicated().any():
        raise DataError(f"{items.name}: expected an id in every row, each once")
    own = ids.to_numpy(object)
    names = np.full(len(own), "", object)
    if known is not None:
        found = read_map(known)
        words = dict(zip(found.items, found.pseudonyms, strict=True))
        names = np.array([words.get(one, "") for one in own], dtype=object)
    made, order = make_cards(frame, columns.split(), secret, names=names, shown=show.split())
    return made, own[order]


def _review(path: Path, ids: NDArray[np.object_], own: Cards, other: Cards, found: Linked) -> None:
    """Write all links, the least sure last."""
    import pandas as pd

    from fedrec.storage import replace_file

    links = found.links
    table = pd.DataFrame(
        {
            "item": ids[links.one],
            "shown": own.shown[links.one],
            "their_card": links.other,
            "their_shown": other.shown[links.other],
            "confidence": links.confidence,
            "score": links.score,
            "lead": links.lead,
        }
    ).sort_values("confidence", ascending=False, kind="stable")
    content = table.to_csv(index=False, float_format="%.4g").encode()
    replace_file(path, content, secret=True)
