"""The catalogue map of a merchant: its own item ids, and what they are called in common.

A csv or parquet table with the columns

    item        the merchant's own id, as its files have it
    pseudonym   the common name, 32 hexadecimal digits after `fedrec align`; any text will do
    confidence  1 for equal identifiers, less for items that were linked by their attributes
    merchant    only in files that hold several merchants' rows: whose own id it is

Only the merchant keeps it.  With data.catalogue_map the items of its own file get their
common names as they are read, so that they stand for the rows of a shared item list.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import DataSection
from fedrec.data.files import read_table
from fedrec.data.frames import Columns, Table
from fedrec.data.readers import as_words, to_numbers
from fedrec.errors import DataError
from fedrec.storage import replace_file

if TYPE_CHECKING:
    import pandas as pd

WORD_DIGITS = 32
ITEM, CUSTOMER = "item", "customer"
"""What a map is of, and the name of its first column."""

_COLUMNS = ("pseudonym", "confidence")


@dataclass(frozen=True, eq=False)
class CatalogueMap:
    """Own item ids and their common names.

    Attributes:
        items: object [N], own ids; each once, or once a merchant.
        pseudonyms: object [N]; several own ids may have one.
        confidence: float64 [N], 0 to 1.
        merchants: object [N], or None where the map is of one merchant.
    """

    items: NDArray[np.object_]
    pseudonyms: NDArray[np.object_]
    confidence: NDArray[np.float64]
    merchants: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.items)


def write_map(path: Path, mapped: CatalogueMap, of: str = ITEM) -> None:
    """Write a map; csv, or parquet by the suffix.  Only the owner may read the file.

    Args:
        path: the file.
        mapped: own ids and their common names.
        of: what the ids are of, `ITEM` or `CUSTOMER`.

    Raises:
        DataError: if the suffix is another one.
        OutputError: if it cannot be written.
    """
    import pandas as pd

    names, values = (of, *_COLUMNS), (mapped.items, mapped.pseudonyms, mapped.confidence)
    columns = dict(zip(names, values, strict=True))
    if mapped.merchants is not None:
        columns["merchant"] = mapped.merchants
    frame = pd.DataFrame(columns)
    if path.suffix == ".parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        content = buffer.getvalue()
    elif path.suffix == ".csv":
        content = frame.to_csv(index=False, float_format="%.6g").encode()
    else:
        raise DataError(f"{path.name}: a catalogue map is a .csv or .parquet file")
    replace_file(path, content, secret=True)


def read_map(path: Path, of: str = ITEM) -> CatalogueMap:
    """Read a map.

    Args:
        path: the file.
        of: what its ids are of, `ITEM` or `CUSTOMER`.

    Raises:
        DataError: if it is missing, lacks a column, names an id twice, or has a
            confidence that is not between 0 and 1.
    """
    frame, _ = read_table(path, text=True)
    missing = [name for name in (of, "pseudonym") if name not in frame.columns]
    called, an = ("catalogue map", "an item") if of == ITEM else ("customer map", "a customer")
    if missing:
        raise DataError(
            f"{path.name}: no column {missing[0]!r}: a {called} has the columns {of}, "
            "pseudonym and confidence, as `fedrec align finish` writes it"
        )
    items, pseudonyms = (as_words(frame[name]).to_numpy(object) for name in (of, "pseudonym"))
    by_merchant = "merchant" in frame.columns
    merchants = as_words(frame["merchant"]).to_numpy(object) if by_merchant else None
    confidence = np.ones(len(frame))
    if "confidence" in frame.columns:
        confidence = to_numbers(frame["confidence"], "confidence", path.name)
    if not len(frame) or any(word is None for word in (*items, *pseudonyms)):
        raise DataError(f"{path.name}: expected {an} and a pseudonym in every line")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise DataError(f"{path.name}: expected a confidence from 0 to 1 in every line")
    found = CatalogueMap(items, pseudonyms, confidence.astype(np.float64), merchants)
    index = _index(found)
    if index.has_duplicates:
        twice = index[index.duplicated()][0]
        raise DataError(f"{path.name} names the {of} {twice!r} twice; expected each once")
    return found


def mapped_frame(
    section: DataSection, frame: pd.DataFrame, columns: Columns
) -> tuple[pd.DataFrame, str, CatalogueMap]:
    """Give the rows of a section their common names; returns them, a line, and the map.

    Raises:
        DataError: as `read_map` and `with_common_names`.
    """
    mapped = read_map(Path(section.catalogue_map).expanduser())
    source = Path(section.path).name
    least = section.catalogue_confidence
    return *with_common_names(frame, columns, mapped, least, source), mapped


def with_common_names(
    frame: pd.DataFrame, columns: Columns, mapped: CatalogueMap, least: float, source: str
) -> tuple[pd.DataFrame, str]:
    """Give the items of interactions their common names.

    Args:
        frame: the rows; it is not changed.
        columns: which column is what.
        mapped: the map.
        least: links with less confidence do not count.
        source: the file, for messages.

    Returns:
        the rows of items that have a common name, and a line for the account.

    Raises:
        DataError: if no row is left, or the map is by merchant and the rows are not.
    """
    if mapped.merchants is not None and not columns.merchant:
        raise DataError(
            "the catalogue map is by merchant, and the data name none: set data.merchant_column, "
            "or use the map of one merchant"
        )
    words = as_words(frame[columns.item])
    place = place_of(mapped, words, frame[columns.merchant] if columns.merchant else None)
    weak = (place >= 0) & (mapped.confidence[place] < least)
    kept = (place >= 0) & ~weak
    if not kept.any():
        raise DataError(
            f"{source}: no row has an item of the catalogue map (first item {words.iloc[0]!r}, "
            f"the map begins with {mapped.items[0]!r}). Is it the map of this file?"
        )
    renamed = frame[kept].copy()
    renamed[columns.item] = mapped.pseudonyms[place[kept]]
    return renamed, (
        f"items that are not in the catalogue map: {int((place < 0).sum()):,} rows dropped; linked "
        f"with a confidence below {least:g}: {int(weak.sum()):,} rows dropped"
    )


def table_with_common_names(table: Table, column: str, mapped: CatalogueMap, least: float) -> Table:
    """Give the items of an attribute table their common names; others are left out.

    Raises:
        DataError: if the map is by merchant: the table does not say whose ids it has.
    """
    if mapped.merchants is not None:
        raise DataError(
            f"{table.source}: a catalogue map by merchant does not say whose items the attributes "
            "are of. Leave data.item_file out, or use the map of one merchant"
        )
    key = key_of(table, column)
    place = place_of(mapped, as_words(table.frame.iloc[:, key]), None)
    kept = (place >= 0) & (mapped.confidence[place] >= least)
    frame = table.frame[kept].copy()
    frame[frame.columns[key]] = mapped.pseudonyms[place[kept]]
    parsed = table.parsed and {
        name: replace(one, values=one.values[kept]) for name, one in table.parsed.items()
    }
    return replace(table, frame=frame, parsed=parsed)


def key_of(table: Table, column: str) -> int:
    """Return the place of the id column of an attribute table."""
    names = [str(name) for name in table.frame.columns]
    return names.index(table.key or (column if column in names else names[0]))


def _index(mapped: CatalogueMap) -> pd.Index:
    import pandas as pd

    if mapped.merchants is None:
        return pd.Index(mapped.items, dtype=object)
    return pd.MultiIndex.from_arrays([mapped.merchants, mapped.items])


def place_of(
    mapped: CatalogueMap, words: pd.Series, merchant: pd.Series | None
) -> NDArray[np.int64]:
    """Return the line of the map for each row, -1 where there is none."""
    import pandas as pd

    if mapped.merchants is None or merchant is None:
        wanted: pd.Index = pd.Index(words, dtype=object)
    else:
        wanted = pd.MultiIndex.from_arrays([as_words(merchant), words])
    return _index(mapped).get_indexer(wanted)
