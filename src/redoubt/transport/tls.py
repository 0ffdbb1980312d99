"""TLS for SIP (RFC 3261 26.3, RFC 5922) and Diameter (RFC 6733 13): contexts, and names that a certificate proved.

Everywhere the profile of TS 33.310 and TS 33.210 6.2: TLS 1.2 and 1.3, ephemeral keys and authenticated encryption
only, no compression, no renegotiation (RFC 7525 3).
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redoubt.transport.flow import TlsPeer
from redoubt.transport.tls_alerts import TellingContext

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"  # of TLS 1.2; those of TLS 1.3 are all of this kind


@dataclass(slots=True, eq=False)
class TlsSettings:
    """How this node proves itself and whom it believes. In the simulator: `sim.DeclaredTls`.

    Connections take what stands here when they begin: certificates are renewed by `adopt`, under running calls.
    """

    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None
    partners: frozenset[str] = frozenset()  # names whose holders are trusted, lower case

    def adopt(self, other: "TlsSettings") -> None:
        """New connections are made with the other's certificates and authorities."""
        self.server, self.client = other.server, other.client


def mutual(certificate: str, key: str, authority: str, revoked: str = "") -> TlsSettings:
    """Both sides show a certificate that `authority` signed; which names it must hold, the caller checks.

    Paths of PEM files. With `revoked` there must be a revocation list of each authority in a chain, in force: without
    one nothing is believed. Raises ValueError with what is missing or unreadable.
    """
    missing = [name for name, path in (("key", key), ("authority", authority)) if not path]
    if missing:
        raise ValueError(f"a certificate is set, and {' and '.join(missing)} is not")
    server, client = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    for context in (server, client):
        context.verify_mode = ssl.CERT_REQUIRED
        _show(context, certificate, key)
        _believe(context, authority)
        if revoked:
            _believe(context, revoked)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    return TlsSettings(server, client)


def sip_node(certificate: str, key: str, authority: str, partners: frozenset[str]) -> TlsSettings:
    """A SIP node: phones see its certificate (TS 33.203 Annex O), other nodes may show theirs (RFC 5922).

    Paths of PEM files; `partners` are the names whose holders are trusted. Raises ValueError with what is wrong.
    """
    server, client = _context(ssl.PROTOCOL_TLS_SERVER), _client(authority)
    for context in (server, client):
        _show(context, certificate, key)
    if authority:
        server.verify_mode = ssl.CERT_OPTIONAL  # phones have none
        server.load_verify_locations(authority)
    return TlsSettings(server, client, partners)


def phone(authority: str) -> TlsSettings:
    """A phone: it has no certificate, and believes a P-CSCF that proves the name or address it was told."""
    return TlsSettings(client=_client(authority))


def _context(side: int) -> ssl.SSLContext:
    """The profile. No session is resumed: a certificate may have been revoked since (RFC 8446 4.6.1)."""
    context = TellingContext(side) if side == ssl.PROTOCOL_TLS_SERVER else ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context


def _client(authority: str) -> ssl.SSLContext:
    """Believes whom `authority` signed, or whom this machine believes."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        _believe(context, authority)
    else:
        context.load_default_certs()
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        context.load_cert_chain(certificate, key or None)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"{certificate} with {key or 'its key'}: {error}") from error


def _believe(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"{path}: {error}") from error


def dns_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The DNS names of a certificate, in lower case; a wildcard stays one and matches nothing (RFC 6733 13)."""
    alternatives = (certificate or {}).get("subjectAltName", ())
    return tuple(value.lower().rstrip(".") for kind, value in alternatives if kind == "DNS")


def peer_of(certificate: Mapping[str, Any] | None, partners: frozenset[str]) -> TlsPeer | None:
    """Who the peer proved to be, if anyone: the hosts of its SIP URIs, else its DNS names, never CN (RFC 5922 7.1).

    A URI with a user part names a person and no domain; a wildcard stays one and matches nothing (7.2).
    """
    if not certificate:
        return None
    alternatives = certificate.get("subjectAltName", ())
    uris = [value[4:] for kind, value in alternatives if kind == "URI" and value[:4].lower() == "sip:"]
    names = [uri for uri in uris if "@" not in uri] if uris else list(dns_names(certificate))
    lowered = tuple(name.lower().rstrip(".") for name in names)
    return TlsPeer(lowered, not partners.isdisjoint(lowered))


def peer_on(transport: asyncio.BaseTransport) -> TlsPeer | None:
    """Who is at the other end of a connection, with the certificate that says so."""
    peer = peer_of(transport.get_extra_info("peercert"), frozenset())
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if peer is None or secured is None:
        return peer
    return TlsPeer(peer.names, False, secured.getpeercert(True) or b"")
