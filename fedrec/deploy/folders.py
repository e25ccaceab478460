"""The folders of a federation: one for the server, one to hand to each merchant.

All are made in one go beside their place and then moved there, so that they are whole or
not there at all.  No folder holds a secret of another: the server's has public keys of
merchants alone, a merchant's has its own keys alone.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fedrec.config import Config, Scalar, to_toml
from fedrec.config_silo import ALL, LEAST_MERCHANTS, NONE
from fedrec.data.agreed import AGREED, agreed_toml
from fedrec.data.item_list import list_hash, read_item_list
from fedrec.deploy import texts
from fedrec.deploy.certificates import (
    SERVER_DAYS,
    Pem,
    general_name,
    new_authority,
    new_server_certificate,
)
from fedrec.deploy.keys import new_node_key
from fedrec.engine.apps import copy_app
from fedrec.errors import ConfigError, OutputError
from fedrec.secure.graph import LEAST_PARTIES
from fedrec.secure.registry import REGISTRY, write_identities

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHORITY, SERVER, MERCHANTS = "authority", "server", "merchants"
CA, CA_KEY = "ca.crt", "ca.key"
SERVER_CERTIFICATE, SERVER_KEY = "server.crt", "server.key"
NODE_KEY, NODE_PUBLIC = "node.key", "node.pub"
ITEMS, RUN, VERSIONS = "items.jsonl", "run.toml", "versions.toml"
PORT = 9092
ANSWER_S, ABSENT_S = 600.0, 86_400.0
"""How long the server waits for an answer, and for merchants without whom a round is skipped."""

SECRET, PUBLIC, SCRIPT = 0o600, 0o644, 0o755

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")
_COLUMNS = ("user", "item", "rating", "time", "event")


@dataclass(frozen=True)
class Federation:
    """What is to be set up.

    Attributes:
        merchants: names, in the order of client numbers.
        config: the experiment; what concerns data and silos is filled in.
        items: the shared item list.
        hosts: names and addresses under which merchants reach the server, the first in theirs
            configuration.
        port: of the server.
    """

    merchants: tuple[str, ...]
    config: Config
    items: Path
    hosts: tuple[str, ...]
    port: int = PORT

    @property
    def address(self) -> str:
        """Where merchants find the server: host:port."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host.strip("[]") else f"{host}:{self.port}"


def init_federation(directory: Path, plan: Federation, now: datetime | None = None) -> str:
    """Make the folders of a federation.

    Args:
        directory: must not exist, or be empty.
        plan: what is to be set up.
        now: when certificates begin; None: now.

    Returns:
        The fingerprint of the registry of identities; "" if the experiment needs none.

    Raises:
        ConfigError: if a name, a host or the experiment cannot be used.
        DataError: if the item list cannot be read.
        OutputError: if the directory is not empty or cannot be written.
    """
    _check(plan)
    config = run_config(plan)
    authority = new_authority("fedrec federation", now or datetime.now(UTC))
    server = new_server_certificate(authority, plan.hosts, now or datetime.now(UTC))
    with _made_at_once(directory) as place:
        fingerprint = ""
        if _bound(plan.config):
            registry = write_identities(place / "secrets", len(plan.merchants), len(plan.merchants))
            fingerprint = registry.fingerprint
        words = {**_words(plan, fingerprint), "agreed": agreed_toml(config)}
        _write(place / AUTHORITY / CA_KEY, authority.key, SECRET)
        _write(place / AUTHORITY / CA, authority.certificate, PUBLIC)
        _write(place / "README.txt", texts.OVERVIEW.format(**words), PUBLIC)
        _write_server(place, plan, config, Pem(server.key, server.certificate), authority, words)
        for number, name in enumerate(plan.merchants):
            _write_merchant(place, plan, number, name, authority, words)
        shutil.rmtree(place / "secrets", ignore_errors=True)
    return fingerprint


def run_config(plan: Federation) -> Config:
    """Return the experiment of a federation: as given, with the rows at the merchants.

    Paths in it are relative to the server's folder.

    Raises:
        ConfigError: if it cannot be run so.
        DataError: if the item list cannot be read.
    """
    count, secure = len(plan.merchants), plan.config.secure.mode != "off"
    if secure and count < 3:
        raise ConfigError(
            f"secure.mode = {plan.config.secure.mode!r} needs 3 merchants or more, not {count}: of "
            "two, each could subtract its own update from the sum and read the other's"
        )
    read_item_list(plan.items)
    values: dict[str, Scalar] = {
        "data.name": "file",
        "data.path": "",
        "data.merchant_column": "",
        "clients.unit": "merchant",
        "silo.merchants": " ".join(plan.merchants),
        "silo.holds": NONE,
        "silo.items": ITEMS,
        "silo.items_hash": list_hash(plan.items),
        "silo.answer_s": plan.config.silo.answer_s or ANSWER_S,
        "silo.absent_s": plan.config.silo.absent_s or ABSENT_S,
        "engine.nodes": 1,
        "server.min_nodes": max(plan.config.server.min_nodes, count),
        "server.min_clients": _fewest(plan.config),
        "secure.registry": REGISTRY if _bound(plan.config) else "",
        "run.out": "",
    }
    return plan.config.with_(values)


def _fewest(config: Config) -> int:
    """Return of how many merchants a sum must be, or the round is skipped.

    A sum of one is its own update, also in the change of the model that all receive; of two,
    each finds the other's by taking its own off, so masked sums are of three or more.  Where
    central noise hides who has taken part, no round may be skipped for it.

    Raises:
        ConfigError: if no round has so many.
    """
    asked, clients = config.server.min_clients, config.clients
    by_chance = clients.sampling == "poisson" or clients.availability < 1
    if config.privacy.mechanism == "central" and by_chance:
        return asked
    least = max(asked, LEAST_MERCHANTS if config.secure.mode == "off" else LEAST_PARTIES)
    if clients.sampling == "fixed" and clients.per_round < least:
        raise ConfigError(
            f"clients.per_round = {clients.per_round}: a round of fewer than {least} merchants "
            "would show a single one's update, so it is skipped, as all would be. Raise it"
        )
    return least


def renew(directory: Path, hosts: tuple[str, ...], now: datetime | None = None) -> None:
    """Give the server a new key and certificate, signed by the authority of a federation.

    Args:
        directory: with authority/ and server/.
        hosts: names and addresses under which merchants reach the server.
        now: when the certificate begins; None: now.

    Raises:
        OutputError: if the authority is not there, or the server's folder cannot be written.
        ConfigError: if a host cannot be used.
    """
    try:
        authority = Pem(*((directory / AUTHORITY / n).read_bytes() for n in (CA_KEY, CA)))
        made = new_server_certificate(authority, hosts, now or datetime.now(UTC))
        pieces = ((SERVER_KEY, made.key, SECRET), (SERVER_CERTIFICATE, made.certificate, PUBLIC))
        for name, content, mode in pieces:
            fresh = directory / SERVER / f"{name}.new"
            fresh.unlink(missing_ok=True)
            _write(fresh, content, mode)
        for name, _, _ in pieces:
            (directory / SERVER / f"{name}.new").replace(directory / SERVER / name)
    except OSError as error:
        raise OutputError(
            f"cannot renew the certificate: {error.filename}: {error.strerror}. Expected a "
            "directory with authority/ and server/, as 'fedrec deploy init' makes it"
        ) from None


def _bound(config: Config) -> bool:
    """Return whether nodes get identities, which bind them to runs that need these."""
    return config.secure.mode == "malicious-server"


def _check(plan: Federation) -> None:
    names = plan.merchants
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"--merchants {' '.join(names)}: expected two names or more, each once")
    for name in names:
        if not _NAME.fullmatch(name) or name in (ALL, NONE):
            raise ConfigError(
                f"merchant {name!r}: expected up to 41 letters, digits, - and _, beginning with a "
                f"letter or digit, and neither {ALL!r} nor {NONE!r}"
            )
    if not plan.hosts:
        raise ConfigError("--host: expected a name or an address by which merchants reach it")
    for host in plan.hosts:
        general_name(host)
    if not 0 < plan.port < 2**16:
        raise ConfigError(f"--port {plan.port}: expected 1 to 65535")


def _words(plan: Federation, fingerprint: str) -> dict[str, object]:
    return {
        "count": len(plan.merchants),
        "names": ", ".join(plan.merchants),
        "address": plan.address,
        "port": plan.port,
        "fedrec": version("fedrec"),
        "flwr": version("flwr"),
        "days": SERVER_DAYS,
        "answer_s": plan.config.silo.answer_s or ANSWER_S,
        "absent_s": plan.config.silo.absent_s or ABSENT_S,
        "fingerprint": fingerprint or "(none: secure.mode is not 'malicious-server')",
    }


def _write_server(
    place: Path,
    plan: Federation,
    config: Config,
    own: Pem,
    authority: Pem,
    words: Mapping[str, object],
) -> None:
    folder = place / SERVER
    _write_common(folder, place, plan, authority, words)
    _write(folder / SERVER_KEY, own.key, SECRET)
    _write(folder / SERVER_CERTIFICATE, own.certificate, PUBLIC)
    listens = "::" if ":" in plan.hosts[0] else "0.0.0.0"
    _write(folder / "server.toml", texts.server_toml(listens, plan.port, plan.merchants), PUBLIC)
    _write(folder / RUN, to_toml(config), PUBLIC)
    _write(folder / "start.sh", texts.LINK_SCRIPT, SCRIPT)
    _write(folder / "run.sh", texts.RUN_SCRIPT, SCRIPT)
    _write(folder / "README.txt", texts.SERVER.format(**words), PUBLIC)
    copy_app(folder / "app")


def _write_merchant(
    place: Path,
    plan: Federation,
    number: int,
    name: str,
    authority: Pem,
    words: Mapping[str, object],
) -> None:
    folder = place / MERCHANTS / name
    _write_common(folder, place, plan, authority, words)
    key = new_node_key(name)
    _write(folder / NODE_KEY, key.private, SECRET)
    _write(folder / NODE_PUBLIC, key.public, PUBLIC)
    _write(place / SERVER / "nodes" / f"{name}.pub", key.public, PUBLIC)
    identity = f"node-{number}-of-{len(plan.merchants)}.keys"
    secret = place / "secrets" / identity
    if secret.exists():
        _write(folder / identity, secret.read_bytes(), SECRET)
    columns = {f"{c}_column": str(getattr(plan.config.data, f"{c}_column")) for c in _COLUMNS}
    _write(folder / AGREED, str(words["agreed"]), PUBLIC)
    _write(folder / "node.toml", texts.node_toml(name, plan.address, columns), PUBLIC)
    _write(folder / "start.sh", texts.NODE_SCRIPT, SCRIPT)
    told = texts.MERCHANT.format(**words, name=name)
    if secret.exists():
        told += texts.IDENTITY.format(**words, identity=identity)
    _write(folder / "README.txt", told, PUBLIC)


def _write_common(
    folder: Path, place: Path, plan: Federation, authority: Pem, words: Mapping[str, object]
) -> None:
    """Write what the server and all merchants have alike, all of it public among them."""
    _write(folder / CA, authority.certificate, PUBLIC)
    _write(folder / ITEMS, plan.items.read_bytes(), PUBLIC)
    told = texts.versions_toml(str(words["fedrec"]), str(words["flwr"]))
    _write(folder / VERSIONS, told, PUBLIC)
    registry = place / "secrets" / REGISTRY
    if registry.exists():
        _write(folder / REGISTRY, registry.read_bytes(), PUBLIC)


def _write(path: Path, content: bytes | str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    path.chmod(mode)


@contextmanager
def _made_at_once(directory: Path) -> Iterator[Path]:
    """Give a temporary directory that takes the place of `directory` once all went well.

    Raises:
        OutputError: if it is not empty, or cannot be written.
    """
    directory = directory.absolute()
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise OutputError(
                f"{directory} exists and is not empty: keys are never overwritten. Name a new "
                "directory"
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror}") from None
    try:
        yield place
        with suppress(FileNotFoundError):
            directory.rmdir()  # refused if somebody has put something there
        place.rename(directory)
    except OSError as error:
        raise OutputError(f"cannot write {error.filename}: {error.strerror}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
