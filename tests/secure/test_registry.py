"""Identities that do not come from the server: files, fingerprints, refusals."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from fedrec.errors import ConfigError, OutputError, ProtocolError
from fedrec.secure import Identity, Vector
from fedrec.secure.plan import Plan, make_plan
from fedrec.secure.registry import (
    REGISTRY,
    Registry,
    read_identities,
    read_registry,
    write_identities,
)


def made(folder: Path, nodes: int | None = None) -> Registry:
    seeds = (bytes([n]) * 32 for n in range(1, 200))
    return write_identities(folder, 5, nodes, entropy=lambda size: next(seeds)[:size])


def plan_of(keys: dict[int, bytes]) -> Plan:
    return make_plan(
        keys, (Vector("x", 1, 32, 1),), round_number=1, coordinator=bytes(32), nonce=bytes(16)
    )


def test_one_file_for_each_client(tmp_path: Path) -> None:
    registry = made(tmp_path / "ids")
    names = sorted(path.name for path in (tmp_path / "ids").iterdir())
    assert names == [f"client-{n}.key" for n in range(5)] + [REGISTRY]
    for path in (tmp_path / "ids").glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ids").stat().st_mode) == 0o700
    again = read_registry(tmp_path / "ids" / REGISTRY, 5)
    assert (
        again.keys == registry.keys == {n: Identity(bytes([n + 1]) * 32).public for n in range(5)}
    )


def test_one_file_for_each_node(tmp_path: Path) -> None:
    registry = made(tmp_path, nodes=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["node-0-of-2.keys", "node-1-of-2.keys", REGISTRY]
    own = read_identities(tmp_path, [1, 3], "1-of-2", registry)
    assert {n: i.public for n, i in own.items()} == {n: registry.keys[n] for n in (1, 3)}
    with pytest.raises(ConfigError, match="holds no identity of client 2"):
        read_identities(tmp_path, [1, 2], "1-of-2", registry)


def test_the_registry_holds_no_secret(tmp_path: Path) -> None:
    made(tmp_path)
    text = (tmp_path / REGISTRY).read_text()
    assert not any((bytes([n]) * 32).hex() in text for n in range(1, 6))


def test_fingerprints_tell_registries_apart(tmp_path: Path) -> None:
    registry = made(tmp_path)
    words = registry.fingerprint.split()
    assert len(words) == 8
    assert all(len(word) == 4 for word in words)
    swapped = {**registry.keys, 0: registry.keys[1], 1: registry.keys[0]}
    assert Registry(swapped).fingerprint != registry.fingerprint
    assert Registry(dict(registry.keys)).fingerprint == registry.fingerprint


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    made(tmp_path)
    before = (tmp_path / "client-0.key").read_text()
    with pytest.raises(OutputError, match="identities are never overwritten"):
        made(tmp_path)
    assert (tmp_path / "client-0.key").read_text() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="exists|cannot write"):
        made(tmp_path / "file" / "below")


def test_a_plan_with_another_identity_is_refused(tmp_path: Path) -> None:
    registry = made(tmp_path)
    registry.check(plan_of(dict(registry.keys)))
    registry.check(plan_of({n: registry.keys[n] for n in (0, 2, 4)}))
    forged = {**registry.keys, 3: Identity(b"x" * 32).public}
    with pytest.raises(ProtocolError, match="identity of client 3 that is not the one"):
        registry.check(plan_of(forged))
    with pytest.raises(ProtocolError, match="identity of client 9"):
        registry.check(plan_of({**registry.keys, 9: registry.keys[0]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 12\n", "line 1 .* is malformed"),
        ("# x\n0 " + "0" * 64 + "\n0 " + "1" * 64, "line 3 .* each once"),
        ("zero " + "0" * 64, "line 1"),
        ("-1 " + "0" * 64, "line 1"),
        ("0 " + "g" * 64, "line 1"),
        ("0  " + "0" * 64, "line 1"),
        ("0 " + "0" * 64 + " more", "line 1"),
        ("1" * 5000 + " " + "0" * 64, "line 1"),
        ("0 " + "0" * 64 + "\n2 " + "1" * 64, "one is missing"),
        ("0 " + "0" * 64 + "\n1 " + "0" * 64, "two clients have the same key"),
        ("", "identities of 0 clients, and the data has 5"),
        ("0 " + "0" * 64, "identities of 1 clients, and the data has 5"),
        ("0 é", "is not text"),
    ],
)
def test_malformed_registries(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / REGISTRY
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_registry(path, 5)
    assert "fedrec identities DIR --clients N" in str(caught.value)


def test_a_missing_registry(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the registry .*No such file"):
        read_registry(tmp_path / "nowhere.txt", 5)


def test_secrets_of_another_registry_and_missing_ones(tmp_path: Path) -> None:
    registry = made(tmp_path / "one")
    other = write_identities(tmp_path / "other", 5)
    with pytest.raises(ConfigError, match="identity of client 0 .* is not the one in the registry"):
        read_identities(tmp_path / "other", [0, 1], "0-of-1", registry)
    (tmp_path / "other" / "client-1.key").unlink()
    with pytest.raises(ConfigError, match="cannot read the file of identities"):
        read_identities(tmp_path / "other", [0, 1], "0-of-1", other)


def test_messages_quote_no_secret(tmp_path: Path) -> None:
    registry = made(tmp_path)
    path = tmp_path / "client-0.key"
    path.write_text(path.read_text().replace("0 01", "0 1", 1))
    with pytest.raises(ConfigError) as caught:
        read_identities(tmp_path, [0], "0-of-1", registry)
    assert "0101" not in str(caught.value)


def test_mutated_registries_are_read_or_refused(tmp_path: Path) -> None:
    registry = made(tmp_path)
    path, draw = tmp_path / REGISTRY, np.random.default_rng(0)
    raw, refused = path.read_bytes(), 0
    for _ in range(2000):
        changed = bytearray(raw)
        at = int(draw.integers(len(raw)))
        kind = draw.integers(4)
        if kind == 0:
            changed[at] ^= 1 << int(draw.integers(8))
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            changed[at:at] = draw.bytes(5)
        else:
            changed[at : at + 4] = changed[:4]
        path.write_bytes(bytes(changed))
        try:
            found = read_registry(path, 5)
        except ConfigError:
            refused += 1
        else:  # a comment, white space or a key is another one: then so is the fingerprint
            assert (found.keys == registry.keys) == (found.fingerprint == registry.fingerprint)
    assert refused > 1000
