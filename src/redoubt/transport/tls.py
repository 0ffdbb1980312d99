"""TLS for SIP (RFC 3261 26.3, RFC 5922) and Diameter (RFC 6733 13): contexts, and names that a certificate proved."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redoubt.transport.flow import TlsPeer


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How this node proves itself and whom it believes. In the simulator: `sim.DeclaredTls`."""

    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None
    partners: frozenset[str] = frozenset()  # names whose holders are trusted, lower case


def mutual(certificate: str, key: str, authority: str) -> TlsSettings:
    """Both sides show a certificate that `authority` signed; which names it must hold, the caller checks.

    Paths of PEM files. Raises ValueError with what is missing or unreadable.
    """
    missing = [name for name, path in (("key", key), ("authority", authority)) if not path]
    if missing:
        raise ValueError(f"a certificate is set, and {' and '.join(missing)} is not")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"{certificate} with {key}: {error}") from error
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise ValueError(f"{authority}: {error}") from error
    return TlsSettings(server, client)


def sip_node(certificate: str, key: str, authority: str, partners: frozenset[str]) -> TlsSettings:
    """A SIP node: phones see its certificate (TS 33.203 Annex O), other nodes may show theirs (RFC 5922).

    Paths of PEM files; `partners` are the names whose holders are trusted. Raises ValueError with what is wrong.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), _client(authority)
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    for context in (server, client):
        try:
            context.load_cert_chain(certificate, key or None)
        except OSError as error:
            raise ValueError(f"{certificate} with {key or 'its key'}: {error}") from error
    if authority:
        server.verify_mode = ssl.CERT_OPTIONAL  # phones have none
        server.load_verify_locations(authority)
    return TlsSettings(server, client, partners)


def phone(authority: str) -> TlsSettings:
    """A phone: it has no certificate, and believes a P-CSCF that proves the name or address it was told."""
    return TlsSettings(client=_client(authority))


def _client(authority: str) -> ssl.SSLContext:
    """Believes whom `authority` signed, or whom this machine believes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not authority:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(authority)
    except OSError as error:
        raise ValueError(f"{authority}: {error}") from error
    return context


def dns_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The DNS names of a certificate, in lower case; a wildcard stays one and matches nothing (RFC 6733 13)."""
    alternatives = (certificate or {}).get("subjectAltName", ())
    return tuple(value.lower().rstrip(".") for kind, value in alternatives if kind == "DNS")


def peer_of(certificate: Mapping[str, Any] | None, partners: frozenset[str]) -> TlsPeer | None:
    """Who the peer proved to be, if anyone. Names are the SIP URIs' hosts, else DNS (RFC 5922 7.1)."""
    if not certificate:
        return None
    alternatives = certificate.get("subjectAltName", ())
    uris = [value[4:] for kind, value in alternatives if kind == "URI" and value[:4].lower() == "sip:"]
    names = uris or [value for kind, value in alternatives if kind == "DNS"]
    lowered = tuple(name.lower().rstrip(".") for name in names)
    return TlsPeer(lowered, not partners.isdisjoint(lowered))
