"""The same questions answered by another library: OpenMined's PSI, as a check and a choice.

It is the same protocol (Diffie-Hellman over P-256, Meadows 1986) in C++ with messages of
its own, between two parties of whom one learns: here each asks in turn.  Its filters that
save bytes answer wrongly now and then, so the exact form is used.  What it lacks is what an
agreement adds: a joint salt, bounds on lengths, signatures.  Lengths are checked here as
ever; identifiers are salted before they are hashed, so that two attempts do not look alike.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.align.agreement import Agreement
from fedrec.align.curve import SALT_BYTES
from fedrec.align.ids import Ids
from fedrec.align.outcome import Outcome, matched
from fedrec.align.terms import check_own, check_sizes
from fedrec.errors import ConfigError, MissingExtraError

_LABEL = b"fedrec align common name v1"
_RATE = 1e-12  # of false positives; the exact form does not use it


def simulate_openmined(agreement: Agreement, lists: Mapping[str, Ids]) -> dict[str, Outcome]:
    """Scope or match two lists by openmined-psi, with real messages in this process.

    Args:
        agreement: the terms, of scope or match between two parties.
        lists: name -> list, of both.

    Returns:
        name -> what the party learns, as from `fedrec.align.simulate.simulate`; common names
        are hashes of the identifiers under a salt that both draw.

    Raises:
        MissingExtraError: if openmined-psi is not installed.
        ConfigError: for other terms or lists.
        AlignmentError: if a list is shorter or more lopsided than agreed.
    """
    library, names = _library(), agreement.parties
    if not agreement.in_pair:
        raise ConfigError(
            "openmined-psi compares two lists (scope or match), and this agreement is "
            f"{agreement.mode} of {len(names)}: use fedrec's own protocol"
        )
    if set(lists) != set(names):
        raise ConfigError(f"expected the lists of {', '.join(names)}, got {', '.join(lists)}")
    for name in names:
        check_own(agreement, name, lists[name], None)
    check_sizes(agreement, len(lists[names[0]]), 1, len(lists[names[1]]))
    parts = [os.urandom(SALT_BYTES) for _ in names]
    salt = hashlib.sha256(b"".join((agreement.digest, *parts))).digest()
    words = {name: [_word(key, salt) for key in lists[name].keys] for name in names}
    sizes = {name: len(lists[name]) for name in names}
    found = {}
    for name, other in zip(names, reversed(names), strict=True):
        held = _ask(library, words[name], words[other], reveal=agreement.mode == "match")
        if isinstance(held, int):
            found[name] = Outcome(lists[name], sizes, {other: held})
        else:
            own = tuple(bytes.fromhex(word) for word in words[name])
            found[name] = matched(lists[name], sizes, {other: held}, own)
    return found


def _library() -> Any:
    try:
        import private_set_intersection.python as library
    except ImportError:
        raise MissingExtraError("openmined-psi", "psi", "--library openmined") from None
    return library


def _word(key: bytes, salt: bytes) -> str:
    return hashlib.sha256(_LABEL + salt + key).hexdigest()


def _ask(
    library: Any, own: list[str], other: list[str], *, reveal: bool
) -> NDArray[np.bool_] | int:
    """Return which of the own words the other has, or only how many; one side asks."""
    client = library.client.CreateWithNewKey(reveal)
    server = library.server.CreateWithNewKey(reveal)
    setup = server.CreateSetupMessage(_RATE, len(own), other, library.DataStructure.RAW)
    sent = client.CreateRequest(own).SerializeToString()
    response = server.ProcessRequest(_parsed(library.Request, sent))
    response = _parsed(library.Response, response.SerializeToString())
    if not reveal:
        return int(client.GetIntersectionSize(setup, response))
    held = np.zeros(len(own), bool)
    held[np.array(client.GetIntersection(setup, response), np.int64)] = True
    return held


def _parsed(kind: Any, raw: bytes) -> Any:
    message = kind()
    message.ParseFromString(raw)
    return message
