"""``fedrec deploy check``: what is wrong with a folder of a deployment, and what to do."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from fedrec.config import Config, load_config
from fedrec.data.agreed import AGREED, read_agreed
from fedrec.data.item_list import list_hash, read_item_list
from fedrec.data.merchant_file import NAME as NODE
from fedrec.data.merchant_file import MerchantFile, read_merchant_file
from fedrec.deploy import checks_tls as tls
from fedrec.deploy.findings import Finding, check_secret, check_versions, good, tried
from fedrec.deploy.folders import (
    AUTHORITY,
    CA,
    CA_KEY,
    ITEMS,
    MERCHANTS,
    NODE_KEY,
    NODE_PUBLIC,
    RUN,
    SERVER,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    VERSIONS,
)
from fedrec.deploy.keys import public_line
from fedrec.engine.deployed import HOST, answers, as_deployed, read_server_file
from fedrec.engine.deployed import NAME as LINK
from fedrec.errors import ConfigError, FedrecError
from fedrec.secure.registry import REGISTRY, read_identities, read_registry

_IDENTITY = re.compile(r"node-(\d+)-of-(\d+)\.keys")
_PRIVATE = re.compile(rb"PRIVATE KEY|SECRET keys")
_OWN_FILE = f"put your file there, or name it and its columns in {NODE}, section [data]"
_NOT_COPIED = "copy the whole folder that was handed out"


def check_folder(folder: Path, now: datetime | None = None) -> list[Finding]:
    """Look at a whole federation, at the folder of its server, or at that of a merchant.

    A whole one is looked at as it is handed out: without the merchants' files of rows, and
    without calling the server.

    Args:
        folder: as `fedrec deploy init` made it.
        now: the time; None: now.

    Raises:
        ConfigError: if it is none of the three.
    """
    now = now or datetime.now(UTC)
    if (folder / NODE).exists():
        return _check_merchant(folder, now, at_home=True)
    if (folder / LINK).exists():
        return [*_check_server(folder, now), *_check_port(folder)]
    if not (folder / SERVER / LINK).exists():
        raise ConfigError(
            f"{folder} is no folder of a deployment: expected {NODE}, {LINK}, or {SERVER}/ and "
            f"{MERCHANTS}/ in it, as 'fedrec deploy init' makes them"
        )
    found = [check_secret(folder / AUTHORITY / CA_KEY)] if (folder / AUTHORITY).exists() else []
    found += _check_server(folder / SERVER, now)
    for merchant in sorted(path for path in (folder / MERCHANTS).glob("*") if path.is_dir()):
        own = _check_merchant(merchant, now, at_home=False)
        found += [Finding(f.good, f"{merchant.name}: {f.told}", f.todo) for f in own]
    return found


def _check_merchant(folder: Path, now: datetime, *, at_home: bool) -> list[Finding]:
    try:
        file = read_merchant_file(folder / NODE)
    except FedrecError as error:
        return [Finding(False, str(error), f"correct {NODE}, or {_NOT_COPIED}")]
    found = [*check_versions(folder / VERSIONS), check_secret(folder / NODE_KEY)]
    found.append(_check_node_key(folder))
    found += _check_identity(folder)
    authority = tls.read_certificate(folder / CA)
    if isinstance(authority, Finding):
        return [*found, authority]
    found.append(tls.check_dates(CA, authority, now))
    found.append(tried(AGREED, lambda: _agreed(folder, file)))
    items = tried(ITEMS, lambda: _items(folder, file))
    found.append(items)
    if at_home and items.good:
        found.append(tried("rows", lambda: _rows(file), _OWN_FILE))
    if at_home:
        found += tls.check_server(file.superlink, folder / CA)
    return found


def _agreed(folder: Path, file: MerchantFile) -> str:
    """Read what a merchant has agreed to.

    Raises:
        ConfigError: if it cannot be read, or the merchant has no part in it.
    """
    agreed = read_agreed(folder / AGREED)
    names = str(agreed.get("silo.merchants", file.merchant)).split()
    if file.merchant not in names:
        raise ConfigError(
            f"silo.merchants names {', '.join(names)}, and {NODE} the merchant {file.merchant!r}. "
            f"Correct {NODE}, or {_NOT_COPIED}"
        )
    mode = agreed.get("secure.mode", "not agreed: the server decides")
    return f"{len(names)} merchants, secure.mode = {mode!r}"


def _items(folder: Path, file: MerchantFile) -> str:
    """Read the shared item list.

    Raises:
        FedrecError: if it cannot be read, or is not the one that was agreed on.
    """
    count = len(read_item_list(file.items))
    try:
        wanted = read_agreed(folder / AGREED).get("silo.items_hash")
    except ConfigError:
        wanted = None  # told already
    found = list_hash(file.items)
    if wanted and found != wanted:
        raise ConfigError(
            f"another list than the agreed one (SHA-256 {found[:16]}..., agreed "
            f"{str(wanted)[:16]}...). Get {ITEMS} again: all must number the items alike"
        )
    return f"{count:,} items, as agreed" if wanted else f"{count:,} items"


def _check_node_key(folder: Path) -> Finding:
    try:
        own = public_line((folder / NODE_KEY).read_bytes())
        listed = (folder / NODE_PUBLIC).read_bytes()
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        return Finding(False, f"{NODE_KEY}: cannot be read ({error})", _NOT_COPIED)
    todo = f"the two are of different nodes: {_NOT_COPIED}"
    return Finding(
        own.split()[:2] == listed.split()[:2], f"{NODE_KEY}: belongs to {NODE_PUBLIC}", todo
    )


def _check_identity(folder: Path) -> list[Finding]:
    """See that the identity of secure aggregation is the one in the registry."""
    files = [path for path in folder.glob("node-*.keys") if _IDENTITY.fullmatch(path.name)]
    if not files and not (folder / REGISTRY).exists():
        return []
    if len(files) != 1:
        told = f"identities of secure aggregation: {len(files)} files node-*.keys, expected 1"
        return [Finding(False, told, _NOT_COPIED)]
    number, count = re.findall(r"\d+", files[0].name)

    def look() -> str:
        registry = read_registry(folder / REGISTRY, int(count))
        read_identities(folder, [int(number)], f"{number}-of-{count}", registry)
        return f"{count} merchants, fingerprint {registry.fingerprint}"

    return [check_secret(files[0]), tried(REGISTRY, look)]


def _rows(file: MerchantFile) -> str:
    """Read a merchant's own file as its node will.

    Raises:
        FedrecError: if the node could not.
    """
    from fedrec.data.silos import silo_dataset

    others = f"{file.merchant} other-{file.merchant}"
    values = {f"data.{key}": value for key, value in file.data.items()}
    values |= {"data.name": "file", "clients.unit": "merchant", "silo.merchants": others}
    values |= {"silo.holds": file.merchant, "silo.items": str(file.items)}
    data = silo_dataset(Config().with_({**values, "silo.most_users": 2**31}))
    told = f"{len(data.interactions):,} rows of {data.num_users:,} users are used"
    strange = next((line for line in data.account if "not in the shared list" in line), "")
    return f"{told}; {strange.partition(': ')[2]}"


def _check_server(folder: Path, now: datetime) -> list[Finding]:
    found = [*check_versions(folder / VERSIONS), check_secret(folder / SERVER_KEY)]
    pair = [tls.read_certificate(folder / name) for name in (CA, SERVER_CERTIFICATE)]
    found += [one for one in pair if isinstance(one, Finding)]
    certificates = [one for one in pair if isinstance(one, x509.Certificate)]
    if len(certificates) == 2:
        authority, own = certificates
        found += [tls.check_dates(CA, authority, now)]
        found += [tls.check_dates(SERVER_CERTIFICATE, own, now)]
        found += [tls.check_signed(own, authority), tls.check_names(own, HOST)]
        found.append(_check_server_key(folder, own))
    found.append(tried(RUN, lambda: _experiment(folder)))
    return [*found, *_check_strangers(folder)]


def _check_server_key(folder: Path, certificate: x509.Certificate) -> Finding:
    try:
        key = serialization.load_pem_private_key((folder / SERVER_KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        return Finding(False, f"{SERVER_KEY}: cannot be read ({error})", _NOT_COPIED)
    same = key.public_key() == certificate.public_key()
    todo = "the two are not of one pair: copy both again after a renewal"
    return Finding(same, f"{SERVER_KEY}: belongs to {SERVER_CERTIFICATE}", todo)


def _experiment(folder: Path) -> str:
    """Read the experiment and what it names.

    Raises:
        FedrecError: if the run could not begin.
    """
    from fedrec.data.silos import shared_items

    config = as_deployed(load_config(folder / RUN), folder)
    names = config.silo.merchants.split()
    items = shared_items(config)
    if config.secure.registry:
        read_registry(Path(config.secure.registry), len(names))
    missing = [name for name in names if not (folder / "nodes" / f"{name}.pub").is_file()]
    if missing:
        raise ConfigError(f"nodes/{missing[0]}.pub is missing. {_NOT_COPIED.capitalize()}")
    told = f"{len(names)} merchants, {len(items):,} items, secure.mode = {config.secure.mode!r}"
    return told


def _check_strangers(folder: Path) -> list[Finding]:
    """See that no private key but the server's lies in its folder."""
    flower = folder / "flower"
    own = (folder / SERVER_KEY, flower)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != own[0] and own[1] not in path.parents:
            with path.open("rb") as file:
                if _PRIVATE.search(file.read(4096)) and path.suffix in (
                    ".key",
                    ".keys",
                    ".pem",
                    "",
                ):
                    told = f"{path.relative_to(folder)}: a secret that is not the server's"
                    return [Finding(False, told, "delete it here; its owner needs a new one")]
    return [good("no secrets of others here")]


def _check_port(folder: Path) -> list[Finding]:
    """See that the SuperLink answers on its port, or could."""
    try:
        server = read_server_file(folder)
    except FedrecError as error:
        return [Finding(False, str(error), f"correct {LINK}")]
    if answers(server.port):
        return tls.check_server(f"{HOST}:{server.port}", folder / CA)
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((server.host, server.port))
    except OSError as error:
        told = f"port {server.port} on {server.host}: cannot be listened on ({error.strerror})"
        return [Finding(False, told, f"choose another host or port in {LINK}")]
    return [good(f"port {server.port}: free; start the SuperLink with start.sh")]
