"""Public and symmetric work that the parties inside one process need only do once.

A node that hosts many clients runs each of them as a party with its own keys.
Two things may be shared between the parties of one process, and nothing else:

* checking the roster, which is public and the same for everybody;
* the result of a Diffie-Hellman agreement between two of them, which is the same
  32 bytes at both ends by definition.  The first end computes it, the second
  takes it, and it is forgotten.

The messages are the same bytes as without sharing.  A phone, which hosts one
client, shares nothing.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedrec.secure.agreement import exchange, verify
from fedrec.secure.frames import HEADER_BYTES, Kind, require, view
from fedrec.secure.messages import body_limits
from fedrec.secure.plan import Plan
from fedrec.secure.session import Roster, read_roster


class Host:
    """What the parties of one process share during one session."""

    def __init__(self) -> None:
        self._local: set[bytes] = set()
        self._waiting: dict[bytes, bytes] = {}
        self._roster: Roster | None = None
        self._verified: set[bytes] = set()

    def __repr__(self) -> str:
        return f"Host(parties={len(self._local) // 2})"

    def join(self, *public: bytes) -> None:
        """Register the public keys of a party of this process."""
        self._local.update(public)

    def agree(
        self, secret: X25519PrivateKey, own: bytes, peer: bytes, point: X25519PublicKey
    ) -> bytes:
        """Return the X25519 result of a local secret and a peer's public key.

        Args:
            secret: the local secret.
            own: its public key.
            peer: the public key of the peer.
            point: `peer`, loaded.

        Returns:
            32 bytes; computed once for two ends in this process.
        """
        pair = min(own, peer) + max(own, peer)
        if pair in self._waiting:
            return self._waiting.pop(pair)
        result = exchange(secret, point)
        if peer in self._local and own in self._local:
            self._waiting[pair] = result
        return result

    def roster(self, plan: Plan, message: object) -> Roster:
        """Return the checked roster of a ROSTER message.

        Raises:
            ProtocolError: if anything is wrong with it.
        """
        flat = view(message)
        most = HEADER_BYTES + body_limits(Kind.ROSTER, plan)[1]
        require(len(flat) <= most, f"a list of clients has at most {most} bytes, got {len(flat)}")
        raw = message if isinstance(message, bytes) else bytes(flat)
        known = self._roster
        if known is not None and known.plan == plan and known.message == raw:
            return known
        self._roster = read_roster(plan, raw)
        return self._roster

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        """Check a signature, once for all parties of this process.

        Raises:
            ProtocolError: if it is wrong.
        """
        triple = public + signature + message
        if triple not in self._verified:
            verify(public, signature, message)
            self._verified.add(triple)

    def wipe(self) -> None:
        """Forget everything; results that only one end has taken are secret."""
        self._local.clear()
        self._waiting.clear()
        self._verified.clear()
        self._roster = None
