"""Keys by which SuperNodes show who they are.

Flower 1.41 reads an ECDSA key on a NIST curve in OpenSSH's formats; a node signs the time
of every request with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class NodeKey:
    """A node's key pair.

    Attributes:
        private: OpenSSH private key, not encrypted; stays with the merchant.
        public: one line as in an OpenSSH .pub file; the server registers it.
    """

    private: bytes
    public: bytes


def new_node_key(merchant: str) -> NodeKey:
    """Draw a key on P-384; the merchant's name is the comment of the public one."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return NodeKey(private, public + b" " + merchant.encode() + b"\n")


def public_line(private: bytes) -> bytes:
    """Return the public half of an OpenSSH private key, without comment.

    Raises:
        ValueError: if it is none.
    """
    key = serialization.load_ssh_private_key(private, None)
    return key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
