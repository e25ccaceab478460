"""Known answers of the standards, for the library and for the second implementation."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from fedrec.errors import ProtocolError
from fedrec.secure import agreement
from fedrec.secure.masks import keystream
from tests.secure import pure_integers as pure

KNOWN = json.loads((Path(__file__).parent / "vectors" / "standards.json").read_text())
raw = bytes.fromhex


@pytest.mark.parametrize("case", KNOWN["x25519"])
def test_x25519(case: dict) -> None:
    secret, point = raw(case["scalar"]), raw(case["u"])
    ours = agreement.exchange(
        X25519PrivateKey.from_private_bytes(secret), X25519PublicKey.from_public_bytes(point)
    )
    assert ours.hex() == pure.x25519(secret, point).hex() == case["out"]


def test_x25519_iterated() -> None:
    k = u = pure.BASE
    for _ in range(1000):
        secret = X25519PrivateKey.from_private_bytes(k)
        k, u = agreement.exchange(secret, X25519PublicKey.from_public_bytes(u)), k
    assert k.hex() == KNOWN["x25519_iterated_1000"]


@pytest.mark.parametrize("case", KNOWN["hkdf"])
def test_hkdf(case: dict) -> None:
    for one in (agreement, pure):
        prk = one.extract(raw(case["ikm"]))
        assert prk.hex() == case["prk"]
        assert one.expand(prk, raw(case["info"])).hex() == case["okm"]


@pytest.mark.parametrize("case", KNOWN["hkdf_expand"])
def test_hkdf_expand(case: dict) -> None:
    for one in (agreement, pure):
        assert one.expand(raw(case["prk"]), raw(case["info"])).hex() == case["okm"]


@pytest.mark.parametrize("case", KNOWN["ed25519"])
def test_ed25519(case: dict) -> None:
    identity, message = agreement.Identity(raw(case["secret"])), raw(case["message"])
    assert identity.public.hex() == case["public"]
    assert identity.sign(message).hex() == case["signature"]
    assert pure.sign(raw(case["secret"]), message) == (identity.public, raw(case["signature"]))
    agreement.verify(identity.public, raw(case["signature"]), message)
    with pytest.raises(ProtocolError, match="does not fit"):
        agreement.verify(identity.public, raw(case["signature"]), message + b"\0")
    with pytest.raises(ProtocolError, match="does not fit"):
        agreement.verify(b"\xff" * 31, raw(case["signature"]), message)


def test_aes_256_ctr() -> None:
    case = KNOWN["aes256_ctr"]
    key, counter, plain = raw(case["key"]), raw(case["counter"]), raw(case["plain"])
    library = Cipher(AES(key), CTR(counter)).encryptor().update(plain)
    ours = pure.xor(plain, pure.ctr(key, int.from_bytes(counter, "big"), len(plain)))
    assert library.hex() == ours.hex() == case["cipher"]
    assert keystream(key, 100) == pure.ctr(key, 0, 100)


@pytest.mark.parametrize("case", KNOWN["aes256_gcm"])
def test_aes_256_gcm(case: dict) -> None:
    sealed = agreement.seal(bytes(32), raw(case["plain"]), b"")
    assert (
        sealed.hex() == pure.gcm(bytes(32), bytes(12), raw(case["plain"]), b"").hex() == case["out"]
    )
    assert agreement.unseal(bytes(32), sealed, b"") == raw(case["plain"])
    for key, content, bound in (
        (b"\1" * 32, sealed, b""),
        (bytes(32), sealed[:-1], b""),
        (bytes(32), sealed, b"x"),
    ):
        with pytest.raises(ProtocolError, match="changed or belongs elsewhere"):
            agreement.unseal(key, content, bound)


def test_tags_differ_by_kind_and_key() -> None:
    content = b"content"
    assert agreement.tag(bytes(32), 3, content) == pure.gcm(bytes(32), pure.le(3, 12), b"", content)
    assert agreement.tag(bytes(32), 3, content) != agreement.tag(bytes(32), 4, content)
    with pytest.raises(ProtocolError, match="not who it says"):
        agreement.check_tag(
            b"\1" * 32, 3, memoryview(content), agreement.tag(bytes(32), 3, content)
        )


def test_info_is_unambiguous() -> None:
    session = bytes(32)
    seen = {
        agreement.info(purpose, session, turn, a, b, name, length, width)
        for purpose in (b"mask", b"channel")
        for turn in (0, 1)
        for a, b in ((1, 2), (2, 1))
        for name in (b"", b"x", b"xy")
        for length in (0, 1)
        for width in (32, 64)
    }
    assert len(seen) == 2 * 2 * 2 * 3 * 2 * 2
    assert agreement.info(b"mask", session, 1, 2, 3, b"x", 4, 32) == pure.info(
        b"mask", session, 1, 2, 3, b"x", 4, 32
    )


def test_keys_of_wrong_size_and_low_order_are_refused() -> None:
    for bad in (b"", bytes(31), bytes(32), b"\1" + bytes(31)):
        with pytest.raises(ProtocolError, match="malformed or of low order"):
            agreement.load_public(bad)
    with pytest.raises(ProtocolError, match="low order"):
        agreement.exchange(
            X25519PrivateKey.generate(), X25519PublicKey.from_public_bytes(bytes(32))
        )
