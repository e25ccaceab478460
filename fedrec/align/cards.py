"""Cards: what a merchant shows of its items so that they can be linked without a common id.

A card holds, for each agreed column, how often each hashed word and each hashed run of
three letters occurs; the hash is keyed with words that only the parties know.  So the text
itself does not travel, but it is no secret from the other parties: whoever has the key can
try texts and see which fit.  A card has no identifier.  It may carry the common name of an
item that was matched before, and plain text for the eyes of whoever reviews links.
Sources: hashing of features, Weinberger et al., ICML 2009; runs of letters in record
linkage, Schnell, Bachteler and Reiher 2009 (whose attacks are those of hashed text here).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError, DataError, nearest
from fedrec.storage import read_arrays, write_arrays

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

BUCKETS = 1 << 20
"""Numbers that words are hashed to, for each column."""
LEAST_KEY = 8
_KIND = "cards"
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+")


@dataclass(frozen=True, eq=False)
class Cards:
    """The cards of N items, in an order that tells nothing.

    Attributes:
        names: object [N], common names of items that were matched by an identifier, else "".
        shown: object [N], text that the merchant shows, "" for none.
        fields: column -> float32 [N, BUCKETS], counts of hashed words and runs of letters.
        key: 32 bytes, a digest of the agreed key.
    """

    names: NDArray[np.object_]
    shown: NDArray[np.object_]
    fields: Mapping[str, csr_matrix]
    key: bytes

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> bytes:
        """32 bytes that tell two sets of cards apart."""
        state = hashlib.sha256(self.key + "\n".join(self.names).encode())
        for name, bags in self.fields.items():
            state.update(name.encode() + bags.indptr.tobytes() + bags.indices.tobytes())
        return state.digest()


def make_cards(
    frame: pd.DataFrame,
    columns: Sequence[str],
    key: str,
    *,
    names: NDArray[np.object_] | None = None,
    shown: Sequence[str] = (),
) -> tuple[Cards, NDArray[np.int64]]:
    """Make the cards of a table of items.

    Args:
        frame: one row an item.
        columns: those that are hashed; the parties agree on them.
        key: words that the parties agree on and keep to themselves.
        names: object [N], common names of the rows; "" for none; None: there are none.
        shown: columns whose text is shown as it stands.

    Returns:
        the cards, and int64 [N], the row of each card.

    Raises:
        DataError: if a column is missing, or there are no rows.
        ConfigError: if the key is too short, or no columns are named.
    """
    if len(key) < LEAST_KEY:
        raise ConfigError(f"the key of cards has {len(key)} letters; expected {LEAST_KEY} or more")
    if not columns:
        raise ConfigError("cards need the names of the columns that are compared (--columns)")
    known = [str(name) for name in frame.columns]
    for column in (*columns, *shown):
        if column not in known:
            raise DataError(f"the items have no column {column!r}.{nearest(column, known)}")
    if not len(frame):
        raise DataError("no items; expected at least one")
    secret = hashlib.sha256(b"fedrec cards" + key.encode()).digest()
    fields = {c: _bags(_texts(frame, c), c, secret) for c in columns}
    own = np.full(len(frame), "", object) if names is None else names
    text = [" | ".join(parts) for parts in zip(*(_texts(frame, c) for c in shown), strict=True)]
    plain = np.array(text or [""] * len(frame), dtype=object)
    order = _order(fields, own, secret)
    bags = {c: found[order] for c, found in fields.items()}
    digest = hashlib.sha256(b"fedrec cards key" + secret).digest()
    return Cards(own[order], plain[order], bags, digest), order


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text, and the runs of three letters of each word."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    runs = [f"_{w}_"[at : at + 3] for w in found if not w[0].isdigit() for at in range(len(w))]
    return [f"w{word}" for word in found] + [f"r{run}" for run in runs]


def _texts(frame: pd.DataFrame, column: str) -> list[str]:
    return frame[column].astype("string").fillna("").tolist()


def _bags(texts: list[str], column: str, secret: bytes) -> csr_matrix:
    """Return counts of hashed words, float32 [N, BUCKETS]."""
    from scipy.sparse import csr_matrix

    place: dict[str, int] = {}
    prefix = column.encode() + b"\0"

    def bucket(word: str) -> int:
        if word not in place:
            state = hashlib.blake2b(prefix + word.encode(), key=secret, digest_size=8)
            place[word] = int.from_bytes(state.digest(), "little") % BUCKETS
        return place[word]

    rows = [[bucket(word) for word in words_of(text)] for text in texts]
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.array([one for row in rows for one in row], np.int64)
    shape = (len(texts), BUCKETS)
    found = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape)
    found.sum_duplicates()
    return found


def _order(
    fields: Mapping[str, csr_matrix], names: NDArray[np.object_], secret: bytes
) -> NDArray[np.int64]:
    """Return an order of rows by a keyed hash of what is on them; of equal ones as they come."""
    marks = [hashlib.blake2b(str(name).encode(), key=secret, digest_size=16) for name in names]
    for bags in fields.values():
        for mark, start, end in zip(marks, bags.indptr, bags.indptr[1:], strict=False):
            mark.update(bags.indices[start:end].tobytes() + bags.data[start:end].tobytes())
    digests = [mark.digest() for mark in marks]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)


def write_cards(path: Path, cards: Cards) -> None:
    """Write cards to send.

    Raises:
        OutputError: if the file cannot be written.
    """
    facts = {
        "names": cards.names.tolist(),
        "shown": cards.shown.tolist(),
        "columns": list(cards.fields),
        "key": cards.key.hex(),
    }
    arrays: dict[str, NDArray] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    for number, bags in enumerate(cards.fields.values()):
        arrays |= {f"{part}{number}": getattr(bags, part) for part in _PARTS}
    write_arrays(path, arrays, {"kind": _KIND})


_PARTS = ("indptr", "indices", "data")


def read_cards(path: Path) -> Cards:
    """Read the cards of another merchant.

    Raises:
        DataError: if there is no such file, or it is of something else.
        CheckpointError: if it is damaged.
    """
    from scipy.sparse import csr_matrix

    if not path.exists():
        raise DataError(f"there are no cards {path}. Make some with: fedrec align cards")
    arrays, meta = read_arrays(path)
    if meta.get("kind") != _KIND:
        raise DataError(f"{path} holds no cards; expected a file of `fedrec align cards`")
    facts = json.loads(arrays["facts"].tobytes())
    names = np.array(facts["names"], dtype=object)
    fields = {}
    for number, column in enumerate(facts["columns"]):
        indptr, indices, data = (arrays[f"{part}{number}"] for part in _PARTS)
        fits = len(indptr) == len(names) + 1 and (not len(indices) or indices.max() < BUCKETS)
        if not fits:
            raise DataError(f"{path}: the column {column!r} does not fit {len(names):,} cards")
        fields[column] = csr_matrix((data, indices, indptr), (len(names), BUCKETS))
    return Cards(names, np.array(facts["shown"], dtype=object), fields, bytes.fromhex(facts["key"]))
