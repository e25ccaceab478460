"""The clients' public keys, as the server of secure aggregation knows them."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Message
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.secure.registry import read_registry
from fedrec.wire_secure import IDENTITIES, IdentitiesReply, IdentitiesRequest
from server.roster import Roster
from server.secure_session import Exchange


class Identities:
    """Who is who: from a file that nodes have too, or as nodes register their clients.

    Args:
        config: of the run.
        num_clients: of the data set.

    Raises:
        ConfigError: if the registry is missing, malformed, or of another number of clients.
    """

    def __init__(self, config: Config, num_clients: int) -> None:
        path = config.secure.registry
        self._pinned = read_registry(Path(path), num_clients) if path else None
        self._keys = {} if self._pinned is None else dict(self._pinned.keys)

    @property
    def fingerprint(self) -> str | None:
        """Of the registry, for people to compare; None if nodes register."""
        return None if self._pinned is None else self._pinned.fingerprint

    def register(self, exchange: Exchange, roster: Roster) -> None:
        """Ask nodes that are new for the identities of their clients; a registry has all."""
        new = [
            node
            for node, clients in roster.hosted.items()
            if not all(int(n) in self._keys for n in clients)
        ]
        messages = [Message(IdentitiesRequest().pack(), node, IDENTITIES) for node in new]
        for reply in roster.good(exchange(messages)):
            self._keys |= IdentitiesReply.unpack(reply.content).keys

    def of(self, clients: NDArray) -> dict[int, bytes]:
        """Return client number -> public key, of those that are known."""
        return {int(n): self._keys[int(n)] for n in clients if int(n) in self._keys}
