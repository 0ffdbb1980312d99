"""How a phone finds its P-CSCF (TS 24.229 9.2.1, L.2.2.1): by configuration, DHCP, or DNS (requirement row 115).

None of them proves anything: what is found is tried, and believed when it proves its name over TLS, or when AKA and the
security agreement show that it belongs to the card's network. So a false hint costs a registration, never a secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from redoubt import limits
from redoubt.phone.dhcp import SipServers
from redoubt.sip.errors import SipError
from redoubt.sip.resolver import DEFAULT_PORT, Candidate, Resolver
from redoubt.sip.uri import SipUri, is_ip_address, read_hostport


class NotFound(Exception):
    """No P-CSCF was found; the message says what was asked."""


@dataclass(frozen=True, slots=True)
class Place:
    """A P-CSCF to try: its URI, whose host TLS must prove, and where that is."""

    uri: SipUri
    at: Candidate

    @property
    def route(self) -> dict[str, str]:
        """For the phone's resolver: what was found is not looked up again."""
        host = f"[{self.at.host}]" if ":" in self.at.host else self.at.host
        return {f"{self.uri.host}:{self.uri.port}": f"{self.at.transport}:{host}:{self.at.port}"}


def configured(text: str) -> list[Place]:
    """The list that the network gave in the PCO (TS 24.008 10.5.6.3): addresses, with commas. Raises NotFound."""
    places = [_by_address(each.strip()) for each in text.split(",") if each.strip()]
    if not places:
        raise NotFound("it names no address")
    return places[: limits.DISCOVERED]


async def named(names: Sequence[str], resolver: Resolver, *, tls: bool = False) -> list[Place]:
    """The P-CSCFs that DNS has for these names (RFC 3263). Raises NotFound."""
    places = [
        _by_name(name, candidate)
        for name in names[: limits.DISCOVERED]
        for candidate in await resolver.find(SipUri("sip", None, None, name), tls=tls)
    ]
    if not places:
        raise NotFound(f"DNS has no P-CSCF{' with TLS' if tls else ''} for {', '.join(names)}")
    return places[: limits.DISCOVERED]


async def offered(servers: SipServers | None, resolver: Resolver, *, tls: bool = False) -> list[Place]:
    """Those of a DHCP server: its addresses, and its names by DNS. Raises NotFound."""
    if servers is None:
        raise NotFound("no DHCP server answers")
    places = [_by_address(f"[{each}]" if ":" in each else each) for each in servers.addresses]
    if servers.names:
        places += await named(servers.names, resolver, tls=tls)
    if not places:
        raise NotFound("the DHCP server names no SIP server (options 120, 21, 22)")
    return places[: limits.DISCOVERED]


def _by_address(text: str) -> Place:
    try:
        host, port = read_hostport(text if text.count(":") < 2 or text[:1] == "[" else f"[{text}]")
    except SipError:
        host, port = "", None
    if not host or not is_ip_address(host):
        raise NotFound(f"{text} is no IP address of a P-CSCF")
    at = Candidate("udp", host.strip("[]"), port or DEFAULT_PORT["udp"], host.strip("[]"))
    return Place(SipUri("sip", None, None, host, at.port), at)


def _by_name(name: str, at: Candidate) -> Place:
    """Over TLS the name stays, for the certificate to prove; else it says nothing more."""
    host = name if at.transport == "tls" else f"[{at.host}]" if ":" in at.host else at.host
    params = () if at.transport == "udp" else (("transport", at.transport),)
    return Place(SipUri("sip", None, None, host, at.port, params), at)
