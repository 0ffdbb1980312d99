"""What a resolver asks of DNS (RFC 3403, RFC 2782), by dnspython. Opens sockets of its own; made when first asked."""

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from redoubt import limits
from redoubt.sip.resolver import Naptr, Srv

NOTHING_TTL_S = 30.0  # how long "no records" or "no answer" counts


class DnsQueries:
    """Asks the system's name servers, or those given."""

    def __init__(self, servers: Sequence[str] = (), port: int = 53) -> None:
        self._servers = tuple(servers)
        self._port = port
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def naptr(self, name: str) -> tuple[Sequence[Naptr], float]:
        """Only records that end in an SRV look-up (flag S, RFC 3263 4.1): others may hold an expression."""
        answer = await self._ask(name, "NAPTR")
        if answer is None:
            return (), NOTHING_TTL_S
        records = [
            Naptr(each.order, each.preference, _text(each.service), str(each.replacement))
            for each in answer
            if isinstance(each, NAPTR) and each.flags.lower() == b"s" and not each.regexp
        ]
        return records, float(answer.ttl)

    async def srv(self, name: str) -> tuple[Sequence[Srv], float]:
        """A target of "." says that there is no such service (RFC 2782)."""
        answer = await self._ask(name, "SRV")
        if answer is None:
            return (), NOTHING_TTL_S
        records = [
            Srv(each.priority, each.weight, str(each.target), each.port)
            for each in answer
            if isinstance(each, SRV) and each.target != dns.name.root
        ]
        return records, float(answer.ttl)

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        try:
            return await self._made().resolve(name, kind, lifetime=limits.DNS_QUERY_S, search=False)
        except (dns.exception.DNSException, OSError):
            return None

    def _made(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                self._resolver.nameservers = list(self._servers)
                self._resolver.port = self._port
        return self._resolver


def _text(octets: bytes) -> str:
    return octets.decode("ascii", "replace")
