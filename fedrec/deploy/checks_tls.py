"""Checks of certificates, of the way to the server, and of the clock."""

from __future__ import annotations

import http.client
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fedrec.deploy.findings import Finding, good

PATIENCE_S = 5.0
SOON = timedelta(days=30)
AHEAD_S, BEHIND_S = 4.0, 300.0
"""How far a node's clock may be from the server's: Flower refuses requests beyond."""


def read_certificate(path: Path) -> x509.Certificate | Finding:
    """Return a certificate, or the finding that it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Finding(False, f"{path.name}: not a certificate ({error})", "get the file again")


def check_dates(name: str, certificate: x509.Certificate, now: datetime) -> Finding:
    """See that a certificate is valid now, and for a while."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    told = f"{name}: valid {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    if now < first:
        return Finding(
            False, told, f"it begins later than now ({now:%Y-%m-%d %H:%M}): set the clock"
        )
    if now > last:
        return Finding(False, told, "it has ended: fedrec deploy renew DIR, where authority/ is")
    days = (last - now).days
    return good(told if last - now > SOON else f"{told}, ENDS IN {days} DAYS: renew it soon")


def check_signed(server: x509.Certificate, authority: x509.Certificate) -> Finding:
    """See that the authority has signed the server's certificate."""
    todo = "the files are of two federations: copy ca.crt and server.crt of the same one"
    try:
        server.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return Finding(False, "server.crt: not signed by ca.crt", todo)
    return good("server.crt: signed by ca.crt")


def check_names(server: x509.Certificate, wanted: str) -> Finding:
    """See that a certificate names a host or an address."""
    held = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = [*held.get_values_for_type(x509.DNSName)]
    names += [str(address) for address in held.get_values_for_type(x509.IPAddress)]
    told = f"server.crt: for {', '.join(names)}"
    todo = f"{wanted} is missing: fedrec deploy renew DIR --host {wanted}, with all other names"
    return Finding(wanted in names, told, todo)


def split_address(address: str) -> tuple[str, int] | None:
    """Return host and port of ``host:port``; None if it is none."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return (host, int(port)) if host and port.isdigit() and 0 < int(port) < 2**16 else None


def check_server(address: str, ca: Path) -> list[Finding]:
    """Call the server as a node does: port, certificate, clock.

    Args:
        address: host:port.
        ca: certificate of the authority.
    """
    where = split_address(address)
    if where is None:
        todo = 'write superlink = "host:port" into node.toml'
        return [Finding(False, f"superlink = {address!r}: not host:port", todo)]
    host, port = where
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except OSError as error:
        todo = "is the SuperLink running, and may this machine reach it through the firewalls?"
        return [Finding(False, f"server {address}: not reachable ({error})", todo)]
    found = [good(f"server {address}: reachable")]
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        return [*found, Finding(False, f"{ca.name}: not usable ({error})", "get the file again")]
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)
    try:
        connection.request("GET", "/")
        date = connection.getresponse().getheader("date")
    except ssl.SSLCertVerificationError as error:
        todo = (
            "this is not the server of ca.crt, or it is called by a name that its certificate "
            f"does not hold (fedrec deploy renew DIR --host {host}): send nothing until it is clear"
        )
        return [*found, Finding(False, f"TLS: {error.verify_message}", todo)]
    except (OSError, http.client.HTTPException) as error:
        todo = "what listens there speaks no TLS: start the SuperLink with server/start.sh"
        return [*found, Finding(False, f"TLS: no handshake ({error})", todo)]
    finally:
        connection.close()
    found.append(good("TLS: the server's certificate is signed by ca.crt and has its name"))
    return [*found, check_clock(date, datetime.now(UTC))]


def check_clock(date: str | None, now: datetime) -> Finding:
    """Compare this machine's time with the server's.

    Args:
        date: header of a response; None if it had none.
        now: this machine's time.
    """
    if date is None:
        return good("clock: the server does not tell its time")
    theirs = parsedate_to_datetime(date).astimezone(UTC)
    ahead = (now - theirs).total_seconds()
    told = f"clock: {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    todo = "nodes sign the time of every request: set the clock (ntp)"
    return Finding(-BEHIND_S < ahead < AHEAD_S, told, todo)
