"""Where a request goes: RFC 3263 (NAPTR, SRV, addresses), after static routes and numeric hosts.

A sips: URI leads to TLS or nowhere (RFC 3261 26.2.2, requirement row 116). What DNS says comes from a driver that is
passed in; without one, names are asked of the system (and, in the simulator, of its network).
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from redoubt import limits
from redoubt.sip.uri import SipUri
from redoubt.sources import Randomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}  # RFC 3263 4.1
SRV_NAMES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}
SYSTEM_TTL_S = 30.0  # the system's resolver names no TTL


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place to try. `name` is what a TLS certificate must prove: the domain that was asked for (RFC 5922 4)."""

    transport: str
    host: str
    port: int
    name: str


@dataclass(frozen=True, slots=True)
class Naptr:
    order: int
    preference: int
    service: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Srv:
    priority: int
    weight: int
    target: str
    port: int


class Dns(Protocol):
    """What the resolver asks. Records and their TTL in seconds; no records where there are none or nobody answers."""

    async def naptr(self, name: str) -> tuple[Sequence[Naptr], float]: ...

    async def srv(self, name: str) -> tuple[Sequence[Srv], float]: ...


class NextHops(Protocol):
    """Who says where a request goes: the resolver, or what stands before it at a border."""

    def known(self, uri: SipUri) -> tuple[Candidate, ...] | None:
        """The next hops that need no look-up; None if one must be made."""
        ...

    async def find(self, uri: SipUri) -> tuple[Candidate, ...]:
        """The next hops, looked up if need be. Empty when there are none."""
        ...


class Resolver:
    """Next hops in the order to try them. Answers are kept for their TTL, within bounds."""

    def __init__(
        self, randomness: Randomness, routes: Mapping[str, str] | None = None, dns: Dns | None = None
    ) -> None:
        self._randomness = randomness
        self._routes = {host.lower(): Listen.parse(text, Zone.CORE) for host, text in (routes or {}).items()}
        self._dns = dns
        self._cache: dict[tuple[str, str, int | None, str], tuple[float, tuple[Candidate, ...]]] = {}

    def route(self, host: str, to: str) -> None:
        """Adds a static route: `host`, or `host:port`, is reached at TRANSPORT:HOST:PORT."""
        self._routes[host.lower()] = Listen.parse(to, Zone.CORE)

    def known(self, uri: SipUri) -> tuple[Candidate, ...] | None:
        """The next hops that need no look-up; None if one must be made."""
        route = self._route(uri)
        if route is not None:
            if uri.scheme == "sips" and route.transport != "tls":
                return ()
            return (Candidate(route.transport, route.host, route.port, uri.host),)
        host = uri.param("maddr") or uri.host
        if _is_numeric(host):
            transport = _transport_without_dns(uri)
            bare = host.strip("[]")
            return (Candidate(transport, bare, uri.port or DEFAULT_PORT[transport], bare),) if transport else ()
        kept = self._cache.get(_key(uri))
        if kept is None or kept[0] < asyncio.get_running_loop().time():
            return None
        return kept[1]

    async def find(self, uri: SipUri) -> tuple[Candidate, ...]:
        """The next hops, looked up if need be. Empty when there are none."""
        found = self.known(uri)
        if found is not None:
            return found
        candidates, ttl_s = await self._look_up(uri)
        shortest_s, longest_s = limits.DNS_CACHE_S
        if len(self._cache) >= limits.DNS_CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        until = asyncio.get_running_loop().time() + min(max(ttl_s, shortest_s), longest_s)
        self._cache[_key(uri)] = (until, candidates)
        return candidates

    # ---- inside

    def _route(self, uri: SipUri) -> Listen | None:
        routes = self._routes
        if not routes:
            return None
        if uri.port is not None:
            found = routes.get(f"{uri.host}:{uri.port}")
            if found is not None:
                return found
        return routes.get(uri.host)

    async def _look_up(self, uri: SipUri) -> tuple[tuple[Candidate, ...], float]:
        host = uri.param("maddr") or uri.host
        if uri.port is not None or self._dns is None:
            transport = _transport_without_dns(uri)
            if not transport:
                return (), SYSTEM_TTL_S
            return await self._addresses(transport, host, uri.port or DEFAULT_PORT[transport], host), SYSTEM_TTL_S
        found: list[Candidate] = []
        ttl_s = limits.DNS_CACHE_S[1]
        for transport, name in await self._services(uri, host):
            records, record_ttl_s = await self._dns.srv(name)
            ttl_s = min(ttl_s, record_ttl_s)
            for record in self._by_weight(records):
                if len(found) < limits.CANDIDATES:
                    found += await self._addresses(transport, record.target, record.port, host)
        if not found:
            transport = _transport_without_dns(uri) or "udp"
            found += await self._addresses(transport, host, DEFAULT_PORT[transport], host)
            ttl_s = SYSTEM_TTL_S
        return tuple(found[: limits.CANDIDATES]), ttl_s

    async def _services(self, uri: SipUri, host: str) -> list[tuple[str, str]]:
        """(transport, SRV name) in the order of preference (RFC 3263 4.1)."""
        assert self._dns is not None
        if uri.param("transport") is not None:
            transport = _transport_without_dns(uri)
            return [(transport, f"{SRV_NAMES[transport]}.{host}")] if transport else []
        records, _ = await self._dns.naptr(host)
        allowed = [r for r in records if _may_use(uri, SERVICES.get(r.service.upper()))]
        if allowed:
            allowed.sort(key=lambda record: (record.order, record.preference))
            return [(SERVICES[r.service.upper()], r.replacement.rstrip(".")) for r in allowed]
        usable = ("tls",) if uri.scheme == "sips" else ("udp", "tcp")
        return [(transport, f"{SRV_NAMES[transport]}.{host}") for transport in usable]

    def _by_weight(self, records: Sequence[Srv]) -> list[Srv]:
        """RFC 2782: by priority; inside one, by chance in proportion to weight."""
        ordered: list[Srv] = []
        for priority in sorted({record.priority for record in records}):
            left = [record for record in records if record.priority == priority]
            while left:
                total = sum(record.weight for record in left)
                chance = int.from_bytes(self._randomness.octets(4), "big") % (total + 1) if len(left) > 1 else 0
                for record in sorted(left, key=lambda each: each.weight):
                    chance -= record.weight
                    if chance <= 0:
                        break
                left.remove(record)
                ordered.append(record)
        return ordered

    async def _addresses(self, transport: str, host: str, port: int, name: str) -> tuple[Candidate, ...]:
        host = host.rstrip(".")
        if _is_numeric(host):
            return (Candidate(transport, host.strip("[]"), port, name),)
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            return ()
        hosts = dict.fromkeys(str(answer[4][0]) for answer in answers)
        return tuple(Candidate(transport, address, port, name) for address in hosts)


def _key(uri: SipUri) -> tuple[str, str, int | None, str]:
    return (uri.scheme, uri.param("maddr") or uri.host, uri.port, (uri.param("transport") or "").lower())


def _is_numeric(host: str) -> bool:
    if not host[-1:].isdigit() and host[:1] != "[" and ":" not in host:
        return False
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _transport_without_dns(uri: SipUri) -> str:
    """The transport that a URI alone decides (RFC 3263 4.1); "" for one that is unknown or would be a downgrade."""
    wanted = (uri.param("transport") or "").lower()
    if uri.scheme == "sips":
        return "tls" if wanted in ("", "tcp", "tls") else ""
    return wanted or "udp" if wanted in ("", "udp", "tcp", "tls") else ""


def _may_use(uri: SipUri, transport: str | None) -> bool:
    return transport == "tls" if uri.scheme == "sips" else transport is not None
