"""The state of a party between messages: a file that only its owner reads.

It holds the secret scalars and the list of identifiers.  It is removed when the
alignment is finished; nothing else of the secrets is ever written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.align.agreement import checked
from fedrec.align.curve import COORDINATE_BYTES
from fedrec.align.ids import Ids
from fedrec.align.party import Secrets, State
from fedrec.errors import CheckpointError, ConfigError
from fedrec.secure.agreement import KEY_BYTES, Identity
from fedrec.storage import read_arrays, write_arrays

_LISTS = ("commitments", "salts", "listed", "others")


def save_state(path: Path, state: State) -> None:
    """Write a state; the file of the stage before is replaced at once.

    Raises:
        OutputError: if it cannot be written.
    """
    secrets, identity = state.secrets, state.identity
    facts: dict[str, Any] = {
        "agreement": state.agreement.model_dump(),
        "me": state.me,
        "stage": state.stage,
        "sizes": sorted(state.sizes.items()),
        "salt": secrets.salt.hex(),
        "key": f"{secrets.key:064x}",
        "mask": f"{secrets.mask:064x}",
        "identity": identity.secret().hex() if identity else "",
        "raw": state.ids.raw,
        "keys": [key.decode() for key in state.ids.keys],
    }
    text = json.dumps(facts).encode()
    arrays: dict[str, NDArray] = {
        "facts": np.frombuffer(text, np.uint8),
        "place": state.ids.place,
        "order": np.array(state.order, np.int64),
        **{name: _packed(getattr(state, name)) for name in _LISTS},
    }
    write_arrays(path, arrays, {"kind": "alignment"}, secret=True)


def load_state(path: Path) -> State:
    """Read a state.

    Raises:
        ConfigError: if there is none.
        CheckpointError: if the file is damaged, or of something else.
    """
    if not path.exists():
        raise ConfigError(
            f"there is no alignment in {path.parent}: begin one with `fedrec align start`, or "
            "name its directory with --state. A finished one is removed with its secrets"
        )
    arrays, meta = read_arrays(path)
    if meta.get("kind") != "alignment":
        raise CheckpointError(f"{path} is no state of an alignment")
    facts = json.loads(arrays["facts"].tobytes())
    identity = bytes.fromhex(facts["identity"])
    keys = tuple(key.encode() for key in facts["keys"])
    return State(
        checked(facts["agreement"], str(path)),
        facts["me"],
        Ids(tuple(facts["raw"]), keys, arrays["place"]),
        Secrets(bytes.fromhex(facts["salt"]), int(facts["key"], 16), int(facts["mask"], 16)),
        Identity(identity) if identity else None,
        facts["stage"],
        order=tuple(arrays["order"].tolist()),
        sizes=dict(facts["sizes"]),
        **{name: _unpacked(arrays[name]) for name in _LISTS},
    )


def _packed(entries: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(entries), np.uint8)


def _unpacked(flat: NDArray[np.uint8]) -> tuple[bytes, ...]:
    raw = flat.tobytes()
    return tuple(raw[at : at + COORDINATE_BYTES] for at in range(0, len(raw), COORDINATE_BYTES))


def read_key(path: Path) -> Identity:
    """Read a secret signing key of `fedrec align keys`; it is never quoted.

    Raises:
        ConfigError: if the file is missing or malformed.
    """
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigError(f"cannot read the key {path}: {error.strerror}") from None
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigError(
            f"{path} is no signing key: expected 64 hexadecimal digits, as `fedrec align keys` "
            "writes them"
        )
    return Identity(secret)
