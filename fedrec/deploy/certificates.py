"""A certificate authority of a federation's own, and the certificate of its server.

All keys are on the curve P-384.  The authority signs the server's certificate and nothing
else; merchants need its certificate alone to know that they speak with the server.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedrec.errors import ConfigError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""Longest life of a server's certificate that browsers still accept."""

BACKDATED = timedelta(minutes=10)
"""Certificates begin so long ago, for merchants whose clocks are slow."""

OWN_HOSTS = ("localhost", "127.0.0.1")
"""Names by which the server's own processes reach it."""


@dataclass(frozen=True)
class Pem:
    """A key and its certificate.

    Attributes:
        key: private key, PEM (PKCS 8), not encrypted.
        certificate: PEM.
    """

    key: bytes
    certificate: bytes


def new_authority(name: str, now: datetime) -> Pem:
    """Make an authority.

    Args:
        name: common name.
        now: with a time zone; validity begins shortly before.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _named(name)
    builder = _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _signed(builder, key, key)


def new_server_certificate(authority: Pem, hosts: tuple[str, ...], now: datetime) -> Pem:
    """Make the key and the certificate of the server.

    Args:
        authority: signs it.
        hosts: host names and addresses under which merchants reach the server; its own
            processes reach it by `OWN_HOSTS`, which are added.
        now: with a time zone.

    Raises:
        ConfigError: if a host is neither an address nor a host name.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    loaded = serialization.load_pem_private_key(authority.key, None)
    signer = cast(ec.EllipticCurvePrivateKey, loaded)
    key = ec.generate_private_key(ec.SECP384R1())
    names = [general_name(host) for host in dict.fromkeys((*hosts, *OWN_HOSTS))]
    first = (hosts or OWN_HOSTS)[0]
    builder = _builder(_named(first[:64]), issuer.subject, key.public_key(), now, SERVER_DAYS)
    public = cast(ec.EllipticCurvePublicKey, issuer.public_key())
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(False, None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(names), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
    ]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return _signed(builder, key, signer)


def general_name(host: str) -> x509.GeneralName:
    """Return a host name or an address as it stands in a certificate.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    labels = host.rstrip(".").split(".")
    good = all(part and part.replace("-", "").isalnum() and part.isascii() for part in labels)
    if not good or host.rpartition(".")[2].isdigit():
        raise ConfigError(
            f"host {host!r}: expected a host name such as shops.example, or an address such as "
            "192.0.2.7, without a port"
        )
    return x509.DNSName(host)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
) -> Pem:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made = builder.sign(signer, hashes.SHA384())
    return Pem(private, made.public_bytes(serialization.Encoding.PEM))
