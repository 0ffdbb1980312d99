"""TLS for SIP (RFC 3261 26.3, RFC 5922): contexts, and the names that a peer's certificate proved."""

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


def peer_of(certificate: Mapping[str, Any] | None, partners: frozenset[str]) -> TlsPeer | None:
    """Who the peer proved to be, if anyone. Names are the SIP URIs' hosts, else DNS (RFC 5922 7.1)."""
    if not certificate:
        return None
    alternatives = certificate.get("subjectAltName", ())
    uris = [value[4:] for kind, value in alternatives if kind == "URI" and value[:4].lower() == "sip:"]
    names = uris or [value for kind, value in alternatives if kind == "DNS"]
    lowered = tuple(name.lower().rstrip(".") for name in names)
    return TlsPeer(lowered, not partners.isdisjoint(lowered))
