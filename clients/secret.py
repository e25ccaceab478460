"""The secret of a node: what its clients add to their updates must not be guessable."""

from __future__ import annotations

from pathlib import Path

from fedrec.config import Config
from fedrec.errors import OutputError, ProtocolError
from fedrec.privacy.noise import KEY_BYTES, fresh_key
from fedrec.secure import Plan
from fedrec.storage import replace_file

NAME = "privacy.key"


def node_key(config: Config, folder: Path) -> bytes:
    """Return the key of a node's draws; made once, then read, so that a resume repeats it.

    Args:
        config: of the run.
        folder: where the node keeps what belongs to this run.

    Returns:
        32 bytes, or none if clients draw nothing or the seed of the run decides.

    Raises:
        OutputError: if the key cannot be read or written.
    """
    section = config.privacy
    draws = section.mechanism == "local" or section.pseudo_items > 0
    if not draws or section.draws == "seeded":
        return b""
    path = folder / NAME
    if not path.exists():
        replace_file(path, fresh_key())
        path.chmod(0o600)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise OutputError(
            f"{path} is not a key of {KEY_BYTES} bytes: start the run again with --overwrite"
        )
    return key


def forget_key(folder: Path) -> None:
    """Delete the key of a node's draws: no round will be repeated any more."""
    (folder / NAME).unlink(missing_ok=True)


def check_least(config: Config, plan: Plan) -> None:
    """Refuse a session whose sum could hold less noise than is accounted.

    Raises:
        ProtocolError: with distributed noise, if the plan accepts fewer clients than the run.
    """
    least = config.server.min_clients
    if config.privacy.mechanism == "distributed" and plan.least < least:
        raise ProtocolError(
            f"the session accepts a sum of {plan.least} clients, and their shares of the noise "
            f"are meant for server.min_clients = {least}: nothing is sent"
        )
