"""What merchants have agreed on before anything is computed: one file that all hold alike.

Everything that bears on what is learned stands in it, and every message carries its
digest, so that nobody can be led to answer under other terms.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedrec.errors import ConfigError
from fedrec.storage import replace_file

FORMAT: Literal["fedrec-agreement-1"] = "fedrec-agreement-1"
MAX_PARTIES = 50
Mode = Literal["scope", "match", "union"]
Kind = Literal["items", "customers"]
Rule = Literal["exact", "text", "gtin", "email"]


class Agreement(BaseModel):
    """The terms of one alignment.

    Attributes:
        format: version of this file.
        id: 32 hexadecimal digits that no other agreement has.
        mode: scope (only how many are common), match (which of the own ones are common) or
            union (pseudonyms of everything that anybody has).
        kind: what the identifiers are of.
        basis: for customers: on what ground they may be compared (consent, contract).
        parties: names, in the order of the protocol.
        normalise: how identifiers are written before they are compared, see `fedrec.align.ids`.
        minimum: fewest identifiers of a list.
        ratio: how many times longer than another a list may be.
        limit: most agreements with one party about one kind within `days`.
        days: see `limit`.
        keys: name -> Ed25519 public key in hexadecimal, of all parties or of none; with
            them every message is signed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["fedrec-agreement-1"] = FORMAT
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    mode: Mode
    kind: Kind = "items"
    basis: str = ""
    parties: tuple[str, ...] = Field(strict=False, min_length=2, max_length=MAX_PARTIES)
    normalise: Rule = "exact"
    minimum: int = Field(100, ge=2)
    ratio: float = Field(20.0, ge=1, strict=False)
    limit: int = Field(5, ge=1)
    days: int = Field(365, ge=1)
    keys: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Agreement:
        names = self.parties
        if len(set(names)) < len(names) or not all(map(_is_name, names)):
            raise ValueError("parties: expected different names of letters, digits, '-' and '_'")
        if self.mode == "scope" and len(names) != 2:
            raise ValueError("scope is between two parties; make an agreement for each pair")
        if self.kind == "customers" and not self.basis.strip():
            raise ValueError("customers are compared only on an agreed ground: write it in basis")
        if self.keys and set(self.keys) != set(names):
            raise ValueError("keys: expected one of each party, or none at all")
        if not all(_is_key(key) for key in self.keys.values()):
            raise ValueError("keys: expected 64 hexadecimal digits each")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the terms, 32 bytes; the same whatever the file's layout."""
        text = json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(b"fedrec agreement" + text.encode()).digest()

    @property
    def fingerprint(self) -> str:
        """The first 64 bits of the digest, for reading aloud."""
        text = self.digest.hex()[:16]
        return " ".join(text[at : at + 4] for at in range(0, 16, 4))

    @property
    def in_pair(self) -> bool:
        """Whether two lists are compared directly, else pseudonyms are made in a ring."""
        return self.mode != "union" and len(self.parties) == 2

    def number(self, party: str) -> int:
        """Return the place of a party.

        Raises:
            ConfigError: if it is not in the agreement.
        """
        if party not in self.parties:
            raise ConfigError(
                f"{party!r} is no party of this agreement; its parties are "
                f"{', '.join(self.parties)}"
            )
        return self.parties.index(party)


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= 64 and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    )


def _is_key(key: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", key) is not None


def new_agreement(mode: Mode, parties: tuple[str, ...], **terms: Any) -> Agreement:
    """Draw an id from the operating system and return the agreement.

    Raises:
        ConfigError: if the terms are not usable.
    """
    return checked({"id": os.urandom(16).hex(), "mode": mode, "parties": parties, **terms})


def checked(terms: Mapping[str, Any], source: str = "agreement") -> Agreement:
    """Return terms as an agreement.

    Raises:
        ConfigError: naming the first term that is not usable.
    """
    try:
        return Agreement.model_validate(dict(terms))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{source}: {where + ': ' if where else ''}{first['msg']}") from None


def write_agreement(path: Path, agreement: Agreement) -> None:
    """Write an agreement as JSON.

    Raises:
        ConfigError: if the file exists: an agreement is never changed.
        OutputError: if it cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path} exists: an agreement is never changed. Choose another name")
    replace_file(path, (json.dumps(agreement.model_dump(), indent=2) + "\n").encode())


def read_agreement(path: Path) -> Agreement:
    """Read an agreement.

    Raises:
        ConfigError: if it is missing, no JSON, or not usable.
    """
    try:
        terms = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the agreement {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(
            f"the agreement {path} is not JSON. Make one with: fedrec align agree"
        ) from None
    if not isinstance(terms, dict):
        raise ConfigError(f"the agreement {path} is not a table of terms")
    return checked(terms, str(path))
