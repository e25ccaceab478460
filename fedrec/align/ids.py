"""Identifiers as a merchant has them, and as they are compared.

Rules of writing, agreed on beforehand:

* exact: Unicode NFC, without spaces at the ends;
* text: Unicode NFKC, case folded, runs of spaces as one;
* gtin: 6 to 14 digits with a right check digit (GS1), written as 14 digits: some tables have
  lost leading zeros, and GTIN-8, -12, -13 and -14 of one article differ by these only;
* email: NFKC, case folded, exactly one @; no guessing about dots or plus signs.  What looks
  like the hash of an address is refused: nobody can see how it was written before it was
  hashed, so equal people would look different, and whoever has the hashes can try addresses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fedrec.align.agreement import Rule
from fedrec.errors import ConfigError, DataError, nearest

_GTIN_LENGTHS = range(6, 15)
MAX_KEY_BYTES = 4096
_DIGEST = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56,128}")
_WAY_OUT = ". Correct or remove it, or agree on another rule (normalise)"
_HASHED = (
    ": it looks like the hash of one. Give the addresses themselves: they are blinded before "
    "anything is sent, and hashes made elsewhere may be of other spellings"
)


@dataclass(frozen=True, eq=False)
class Ids:
    """A list of identifiers.

    Attributes:
        raw: the R different identifiers as the merchant writes them, in their order.
        keys: the n <= R different ones after normalising.
        place: int64 [R], the key of each raw identifier.
    """

    raw: tuple[str, ...]
    keys: tuple[bytes, ...]
    place: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)


def rule(name: str) -> Rule:
    """Return a rule by its name.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in _RULES:
        raise ConfigError(f"normalise = {name!r}: no such rule.{nearest(name, _RULES)}")
    return cast(Rule, name)


def make_ids(raw: Iterable[str], rule: Rule = "exact", source: str = "ids") -> Ids:
    """Normalise identifiers; what is equal afterwards is one key.

    Raises:
        DataError: if there is none, or one is empty or against the rule, saying which.
    """
    words = tuple(dict.fromkeys(raw))
    if not words:
        raise DataError(f"{source}: no identifiers; expected at least one")
    write = _RULES[rule]
    first: dict[bytes, int] = {}
    place = np.empty(len(words), np.int64)
    for number, word in enumerate(words):
        key = write(word)
        if not key or len(key) > MAX_KEY_BYTES:
            told = _HASHED if rule == "email" and _DIGEST.fullmatch(word.strip()) else _WAY_OUT
            raise DataError(f"{source}: identifier {word[:80]!r} {_EXPECTED[rule]}{told}")
        place[number] = first.setdefault(key, len(first))
    return Ids(words, tuple(first), place)


def read_ids(path: Path, column: str = "", rule: Rule = "exact") -> Ids:
    """Read the identifiers of a table; a table of interactions will do, repeats count once.

    Args:
        path: csv, tsv, parquet or RecBole file.
        column: of the identifiers; empty takes the first.
        rule: how they are written.

    Raises:
        DataError: if the file or the column is missing, or an identifier is not usable.
    """
    from fedrec.data.files import read_table
    from fedrec.data.readers import as_words

    frame, _ = read_table(path, text=True)  # leading zeros are part of an id
    names = [str(name) for name in frame.columns]
    if column and column not in names:
        raise DataError(
            f"{path.name}: no column {column!r}; its columns are {', '.join(names)}."
            f"{nearest(column, names)} Name it with --column"
        )
    words = as_words(frame.iloc[:, names.index(column) if column else 0]).dropna()
    return make_ids(words, rule, path.name)


def _exact(word: str) -> bytes:
    return unicodedata.normalize("NFC", word).strip().encode()


def _text(word: str) -> bytes:
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split()).encode()


def _gtin(word: str) -> bytes:
    digits = "".join(word.split()).replace("-", "")
    if len(digits) not in _GTIN_LENGTHS or not (digits.isascii() and digits.isdigit()):
        return b""
    weighed = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(reversed(digits)))
    return digits.zfill(14).encode() if weighed % 10 == 0 else b""


def _email(word: str) -> bytes:
    key = unicodedata.normalize("NFKC", word).casefold().strip()
    local, at, domain = key.partition("@")
    fits = at and local and "." in domain and "@" not in domain and not any(map(str.isspace, key))
    return key.encode() if fits else b""


_RULES: Mapping[Rule, Callable[[str], bytes]] = {
    "exact": _exact,
    "text": _text,
    "gtin": _gtin,
    "email": _email,
}
_EXPECTED = {
    "exact": "is empty or too long",
    "text": "is empty or too long",
    "gtin": "is no GTIN: expected 6 to 14 digits with a right check digit",
    "email": "is no e-mail address",
}
