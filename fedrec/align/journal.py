"""The journal of agreements: who has compared what with whom, and how often.

Each alignment tells both sides something, so lists that change a little from one to the
next could ask about single entries.  A party cannot see whether the other's list has
changed.  Therefore all agreements with one party about one kind of identifiers are
counted, and more than agreed within the agreed time are refused.  The own lists are
noted as a keyed hash, so that the journal says how many different ones were used and
does not say which.

A file of JSON lines that only its owner reads; the first line holds its key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from fedrec.align.agreement import Agreement
from fedrec.align.ids import Ids
from fedrec.errors import AlignmentError
from fedrec.storage import replace_file

ENVIRONMENT = "FEDREC_ALIGN_JOURNAL"
_FORMAT = "fedrec-align-journal-1"
_DAY = 86_400.0


@dataclass(frozen=True)
class Entry:
    """One alignment that was begun.

    Attributes:
        time: seconds since 1970.
        agreement: digest of the terms, hexadecimal.
        party: who this was.
        peers: the others, by key where the agreement names keys, else by name.
        mode: of the agreement.
        kind: items or customers.
        size: length of the own list.
        list: keyed hash of the own list, hexadecimal.
    """

    time: float
    agreement: str
    party: str
    peers: tuple[str, ...]
    mode: str
    kind: str
    size: int
    list: str


def default_journal() -> Path:
    """Return the journal of this user: $FEDREC_ALIGN_JOURNAL or one in the home directory."""
    named = os.environ.get(ENVIRONMENT, "")
    return Path(named) if named else Path.home() / ".local/share/fedrec/align.jsonl"


def note(path: Path, agreement: Agreement, party: str, ids: Ids, now: float) -> Entry:
    """Enter an alignment into the journal before its first message is made.

    Args:
        path: the journal; is made if need be.
        agreement: the terms.
        party: who this is.
        ids: its list.
        now: seconds since 1970.

    Raises:
        AlignmentError: if this party has begun under this agreement before, if there were
            too many agreements with one of the others, or if the journal is damaged.
        OutputError: if it cannot be written.
    """
    key, entries = read_journal(path)
    peers = tuple(agreement.keys.get(n, n) for n in agreement.parties if n != party)
    digest = agreement.digest.hex()
    same = hmac.new(key, b"", hashlib.sha256)
    for word in sorted(ids.keys):
        same.update(len(word).to_bytes(4, "little") + word)
    entry = Entry(
        now, digest, party, peers, agreement.mode, agreement.kind, len(ids), same.hexdigest()
    )
    _check(path, agreement, entry, entries)
    lines = [json.dumps({"format": _FORMAT, "key": key.hex()})]
    lines += [json.dumps(asdict(e)) for e in (*entries, entry)]
    replace_file(path, ("\n".join(lines) + "\n").encode(), secret=True)
    return entry


def _check(path: Path, agreement: Agreement, entry: Entry, entries: list[Entry]) -> None:
    if any((e.agreement, e.party) == (entry.agreement, entry.party) for e in entries):
        raise AlignmentError(
            f"{entry.party} has begun under this agreement before ({path}): an agreement is used "
            "once. Make a new one with: fedrec align agree"
        )
    earliest = entry.time - agreement.days * _DAY
    recent = [
        e for e in entries if e.party == entry.party and e.kind == entry.kind and e.time > earliest
    ]
    for peer in entry.peers:
        met = [e for e in recent if peer in e.peers]
        if len(met) >= agreement.limit:
            lists = len({e.list for e in met} | {entry.list})
            wait = (min(e.time for e in met) - earliest) / _DAY
            raise AlignmentError(
                f"{entry.party} and {peer} have compared {entry.kind} {len(met)} times within "
                f"{agreement.days} days, with {lists} different lists here, and the agreement "
                f"allows {agreement.limit}: each comparison tells more. Wait {wait:.0f} days, or "
                "agree on a higher limit"
            )


def read_journal(path: Path) -> tuple[bytes, list[Entry]]:
    """Return the journal's key and its entries; a new key if there is no journal.

    Raises:
        AlignmentError: if it is damaged: without it nothing is begun.
    """
    if not path.exists():
        return os.urandom(32), []
    try:
        first, *rest = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if first["format"] != _FORMAT:
            raise ValueError(first["format"])
        entries = [Entry(**{**line, "peers": tuple(line["peers"])}) for line in rest]
        return bytes.fromhex(first["key"]), entries
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AlignmentError(
            f"the journal of agreements {path} cannot be read ({error}): restore it from a copy. "
            "Nothing is compared without it"
        ) from None
