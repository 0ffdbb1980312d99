"""Where a request goes: RFC 3263 (NAPTR, SRV, addresses), after static routes and numeric hosts.

A sips: URI leads to TLS or nowhere (RFC 3261 26.2.2), and no fail-over leads from TLS to anything less (requirement row
116). What DNS says comes from a driver that is passed in (`ndm/dns.py`); without one, names are asked of the system
(and, in the simulator, of its network).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from redoubt import limits
from redoubt.sip.dns_records import Dns, LookupFailed, Naptr, Records, Srv, SystemNames
from redoubt.sip.uri import SipUri, is_ip_address
from redoubt.sources import Randomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

T = TypeVar("T")
SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}  # RFC 3263 4.1
SRV_NAMES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}

_Key = tuple[str, str, int | None, str, bool, bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place to try. `name` is what a TLS certificate must prove: the domain that was asked for (RFC 5922 4)."""

    transport: str
    host: str
    port: int
    name: str


class NextHops(Protocol):
    """Who says where a request goes: the resolver, or what stands before it at a border."""

    def known(self, uri: SipUri) -> tuple[Candidate, ...] | None:
        """The next hops that need no look-up; None if one must be made."""
        ...

    async def find(self, uri: SipUri) -> tuple[Candidate, ...]:
        """The next hops, looked up if need be. Empty when there are none."""
        ...


class Resolver:
    """Next hops in the order to try them. Answers are kept for their TTL, within bounds. `tell` hears why there are
    none. A node that does not speak TLS passes over what others offer of it (RFC 3263 4.1), where nobody demands it.
    """

    def __init__(
        self,
        randomness: Randomness,
        routes: Mapping[str, str] | None = None,
        dns: Dns | None = None,
        tell: Callable[[str], None] = lambda _why: None,
        speaks_tls: bool = True,
    ) -> None:
        self._randomness = randomness
        self._routes = {host.lower(): Listen.parse(text, Zone.CORE) for host, text in (routes or {}).items()}
        self._dns = dns or SystemNames()
        self._tell = tell
        self._speaks_tls = speaks_tls
        self._cache: dict[_Key, tuple[float, tuple[Candidate, ...]]] = {}

    def route(self, host: str, to: str) -> None:
        """Adds a static route: `host`, or `host:port`, is reached at TRANSPORT:HOST:PORT."""
        self._routes[host.lower()] = Listen.parse(to, Zone.CORE)

    def has_route(self, uri: SipUri) -> bool:
        """Whether a static route leads there."""
        return self._route(uri) is not None

    def known(self, uri: SipUri, *, authentic: bool = False, tls: bool = False) -> tuple[Candidate, ...] | None:
        """The next hops that need no look-up; None if one must be made."""
        tls = tls or uri.scheme == "sips"
        route = self._route(uri)
        if route is not None:
            if tls and route.transport != "tls":
                return ()
            return (Candidate(route.transport, route.host, route.port, uri.host),)
        host = uri.param("maddr") or uri.host
        if is_ip_address(host):
            transport = _transport_without_dns(uri, tls)
            bare = host.strip("[]")
            return (Candidate(transport, bare, uri.port or DEFAULT_PORT[transport], bare),) if transport else ()
        kept = self._cache.get(_key(uri, authentic, tls))
        if kept is None or kept[0] < asyncio.get_running_loop().time():
            return None
        return kept[1]

    async def find(self, uri: SipUri, *, authentic: bool = False, tls: bool = False) -> tuple[Candidate, ...]:
        """The next hops, looked up if need be. Empty when there are none, or none that is good enough: `authentic`
        demands that DNS proved each step of the way, `tls` that nothing but TLS is used.
        """
        found = self.known(uri, authentic=authentic, tls=tls)
        if found is not None:
            return found
        tls = tls or uri.scheme == "sips"
        search = _Search(self._dns, self._randomness, uri, authentic, tls, self._speaks_tls)
        try:
            candidates, ttl_s = await search.candidates()
        except LookupFailed as failure:
            self._tell(f"no next hop for {uri.host}: {failure}")
            candidates, ttl_s = (), limits.DNS_FAILED_S
        if len(self._cache) >= limits.DNS_CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        shortest_s, longest_s = limits.DNS_CACHE_S
        until = asyncio.get_running_loop().time() + min(max(ttl_s, shortest_s), longest_s)
        self._cache[_key(uri, authentic, tls)] = (until, candidates)
        return candidates

    def _route(self, uri: SipUri) -> Listen | None:
        routes = self._routes
        if not routes:
            return None
        if uri.port is not None:
            found = routes.get(f"{uri.host}:{uri.port}")
            if found is not None:
                return found
        return routes.get(uri.host)


class _Search:
    """One look-up: what it has learned so far, and for how long that holds."""

    def __init__(
        self, dns: Dns, randomness: Randomness, uri: SipUri, authentic: bool, tls: bool, speaks_tls: bool
    ) -> None:
        self._dns = dns
        self._randomness = randomness
        self._uri = uri
        self._host = uri.param("maddr") or uri.host
        self._authentic = authentic
        self._tls = tls
        self._speaks_tls = speaks_tls or tls
        self._ttl_s = limits.DNS_CACHE_S[1]
        self._failure: LookupFailed | None = None

    async def candidates(self) -> tuple[tuple[Candidate, ...], float]:
        """RFC 3263 4.1 and 4.2. Raises LookupFailed when nothing is found and something could not be asked."""
        uri, found = self._uri, list[Candidate]()
        if uri.port is not None:
            transport = _transport_without_dns(uri, self._tls)
            if transport:
                found += await self._addresses(transport, self._host, uri.port)
        else:
            for transport, name in await self._services():
                for record in self._by_weight(await self._targets(name)):
                    if len(found) < limits.CANDIDATES:
                        found += await self._addresses(transport, record.target, record.port)
                if found and transport == "tls":
                    self._tls = True  # fail-over stays there (row 116)
            transport = _transport_without_dns(uri, self._tls)
            if not found and transport and self._failure is None:
                found += await self._addresses(transport, self._host, DEFAULT_PORT[transport])
        if not found and self._failure is not None:
            raise self._failure
        return tuple(found[: limits.CANDIDATES]), self._ttl_s

    async def _services(self) -> list[tuple[str, str]]:
        """(transport, SRV name) in the order of preference (RFC 3263 4.1). What follows TLS is TLS, too: who takes the
        TLS records away, or the connection, does not get the request in clear.
        """
        uri = self._uri
        if uri.param("transport") is not None:
            transport = _transport_without_dns(uri, self._tls)
            return [(transport, f"{SRV_NAMES[transport]}.{self._host}")] if transport else []
        records = self._learned(await self._dns.naptr(self._host), "NAPTR", self._host)
        wanted = sorted(filter(_is_for_srv, records), key=lambda record: (record.order, record.preference))
        services = [(SERVICES[r.service.upper()], r.replacement.rstrip(".")) for r in wanted]
        if not self._speaks_tls:
            services = [each for each in services if each[0] != "tls"]
        transports = [transport for transport, _name in services]
        if "tls" in transports:
            first = transports.index("tls")
            self._tls = self._tls or first == 0
            services = services[:first] + [each for each in services[first:] if each[0] == "tls"]
        if self._tls:
            services = [each for each in services if each[0] == "tls"]
        if services:
            return services
        usable = ("tls",) if self._tls else ("udp", "tcp")
        return [(transport, f"{SRV_NAMES[transport]}.{self._host}") for transport in usable]

    async def _targets(self, name: str) -> Sequence[Srv]:
        try:
            return self._learned(await self._dns.srv(name), "SRV", name)
        except LookupFailed as failure:
            self._failure = failure
            return ()

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

    async def _addresses(self, transport: str, host: str, port: int) -> list[Candidate]:
        """The places of a host; what is proved there is the name that was asked for (RFC 5922 4)."""
        host, name = host.rstrip("."), self._host
        if is_ip_address(host):
            return [Candidate(transport, host.strip("[]"), port, name)]
        try:
            addresses = self._learned(await self._dns.addresses(host), "address", host)
        except LookupFailed as failure:
            self._failure = failure
            return []
        return [Candidate(transport, address, port, name) for address in dict.fromkeys(addresses)]

    def _learned(self, records: Records[T], kind: str, name: str) -> tuple[T, ...]:
        """Notes how long it holds. Raises LookupFailed when it has to be authentic and is not (row 114)."""
        if self._authentic and not records.authentic:
            raise LookupFailed(f"the {kind} records of {name} are not authentic, and they must be")
        self._ttl_s = min(self._ttl_s, records.ttl_s)
        return records.values


def _key(uri: SipUri, authentic: bool, tls: bool) -> _Key:
    transport = (uri.param("transport") or "").lower()
    return (uri.scheme, uri.param("maddr") or uri.host, uri.port, transport, authentic, tls)


def _transport_without_dns(uri: SipUri, tls: bool) -> str:
    """The transport that a URI alone decides (RFC 3263 4.1); "" for one that is unknown or would be a downgrade."""
    wanted = (uri.param("transport") or "").lower()
    if tls:
        return "tls" if wanted in ("", "tcp", "tls") else ""
    return wanted or "udp" if wanted in ("", "udp", "tcp", "tls") else ""


def _is_for_srv(record: Naptr) -> bool:
    """Ends in an SRV look-up for a transport that is spoken here; no expressions (RFC 3263 4.1)."""
    return record.flags.lower() == "s" and not record.regexp and record.service.upper() in SERVICES
