"""A list of the clients' identities that does not come from the server, and their secrets.

A file holds one line for each client: its number and a key of 32 bytes in hexadecimal.
Lines that start with # are comments.

    # fedrec identities, public keys
    0 5f0c...
    1 77ab...

The registry holds public keys and is copied to every node; a file of secrets, of one
client or of all clients of a node, stays where it is and only its owner may read it.
Nothing is signed: people compare the fingerprint that every copy of the registry has.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fedrec.errors import ConfigError, OutputError, ProtocolError
from fedrec.secure.agreement import KEY_BYTES, Identity
from fedrec.secure.plan import Plan
from fedrec.secure.shamir import Entropy

REGISTRY = "registry.txt"
_MAX_LINE = 10 + 1 + 2 * KEY_BYTES
_NEW = "Make a new one with: fedrec identities DIR --clients N"


@dataclass(frozen=True, eq=False)
class Registry:
    """Who is who, by public key.

    Attributes:
        keys: client number, 0 to N - 1 -> Ed25519 public key.
    """

    keys: Mapping[int, bytes]

    @cached_property
    def fingerprint(self) -> str:
        """The first 128 bits of a hash of all keys, in groups for reading aloud."""
        content = b"".join(n.to_bytes(4, "little") + self.keys[n] for n in sorted(self.keys))
        digest = hashlib.sha256(b"fedrec registry" + content).hexdigest()[:32]
        return " ".join(digest[at : at + 4] for at in range(0, 32, 4))

    def check(self, plan: Plan) -> None:
        """Refuse a session with anybody who is not in the registry.

        Raises:
            ProtocolError: naming the first client whose key is another one.
        """
        for number, key in plan.registry:
            if self.keys.get(number) != key:
                raise ProtocolError(
                    f"the server names an identity of client {number} that is not the one in the "
                    f"registry (fingerprint {self.fingerprint}): the session is refused"
                )


def read_registry(path: Path, num_clients: int | None = None) -> Registry:
    """Read a registry.

    Args:
        path: the file.
        num_clients: N that is expected; None for any.

    Raises:
        ConfigError: if it is missing, malformed, or of another number of clients.
    """
    keys = _read(path, "registry")
    if sorted(keys) != list(range(len(keys))):
        raise ConfigError(f"{path}: clients are numbered from 0, and one is missing. {_NEW}")
    if len(set(keys.values())) < len(keys):
        raise ConfigError(f"{path}: two clients have the same key. {_NEW}")
    if num_clients is not None and len(keys) != num_clients:
        raise ConfigError(
            f"{path} holds the identities of {len(keys)} clients, and the data has {num_clients}. "
            f"{_NEW}"
        )
    return Registry(keys)


def read_identities(
    directory: Path, clients: Iterable[int], node: str, registry: Registry
) -> dict[int, Identity]:
    """Read the secrets of a node's clients.

    Args:
        directory: where they lie.
        clients: client numbers.
        node: name of the node, as "0-of-2"; its file is preferred to those of single clients.
        registry: what their public keys must be.

    Returns:
        Client number -> identity.

    Raises:
        ConfigError: if a secret is missing, malformed, or of another registry.
    """
    wanted, whole = list(clients), _node_file(directory, node)
    secrets: dict[int, bytes] = {}
    for path in [whole] if whole.exists() else [_client_file(directory, n) for n in wanted]:
        secrets |= _read(path, "file of identities")
    missing = [number for number in wanted if number not in secrets]
    if missing:
        raise ConfigError(f"{whole} holds no identity of client {missing[0]}. {_NEW} --nodes n")
    identities = {number: Identity(secrets[number]) for number in wanted}
    for number, identity in identities.items():
        if identity.public != registry.keys.get(number):
            raise ConfigError(
                f"the identity of client {number} in {directory} is not the one in the registry "
                f"(fingerprint {registry.fingerprint}): use the files that were made together"
            )
    return identities


def write_identities(
    directory: Path, num_clients: int, nodes: int | None = None, *, entropy: Entropy = os.urandom
) -> Registry:
    """Draw identities and write them, with their registry; nothing is overwritten.

    Args:
        directory: is made, if need be.
        num_clients: N.
        nodes: number of nodes with a file each, as clients are spread over nodes; None for
            a file for each client.
        entropy: source of secret bytes: the operating system, except in tests.

    Raises:
        OutputError: if a file exists or cannot be written.
    """
    secrets = {number: entropy(KEY_BYTES) for number in range(num_clients)}
    registry = Registry({n: Identity(secret).public for n, secret in secrets.items()})
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in range(nodes or 0):
            own = {n: secrets[n] for n in range(place, num_clients, nodes or 1)}
            _write(_node_file(directory, f"{place}-of-{nodes}"), own, "SECRET keys", 0o600)
        for number, secret in secrets.items() if nodes is None else ():
            _write(_client_file(directory, number), {number: secret}, "SECRET keys", 0o600)
        _write(directory / REGISTRY, registry.keys, "public keys", 0o644)
    except FileExistsError as error:
        raise OutputError(
            f"{error.filename} exists: identities are never overwritten. Choose another directory"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {error.filename}: {error.strerror}") from None
    return registry


def _client_file(directory: Path, number: int) -> Path:
    return directory / f"client-{number}.key"


def _node_file(directory: Path, node: str) -> Path:
    return directory / f"node-{node}.keys"


def _write(path: Path, keys: Mapping[int, bytes], what: str, mode: int) -> None:
    lines = [f"# fedrec identities, {what}", *(f"{n} {key.hex()}" for n, key in keys.items())]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def _read(path: Path, what: str) -> dict[int, bytes]:
    """Return client number -> key.

    Raises:
        ConfigError: if the file is missing or malformed; no key is ever quoted.
    """
    try:
        text = path.read_bytes().decode("ascii")
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {path}: {error.strerror}. {_NEW}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the {what} {path} is not text. {_NEW}") from None
    keys: dict[int, bytes] = {}
    for place, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        number, key = _parse(line)
        if number < 0 or number in keys:
            raise ConfigError(
                f"line {place} of the {what} {path} is malformed: expected a client number, each "
                f"once, and {2 * KEY_BYTES} hexadecimal digits. {_NEW}"
            )
        keys[number] = key
    return keys


def _parse(line: str) -> tuple[int, bytes]:
    """Return number and key of a line, or -1 and nothing if it is malformed."""
    words = line.split(" ") if len(line) <= _MAX_LINE else []
    if len(words) != 2 or not words[0].isdigit() or len(words[1]) != 2 * KEY_BYTES:
        return -1, b""
    try:
        return int(words[0]), bytes.fromhex(words[1])
    except ValueError:
        return -1, b""
