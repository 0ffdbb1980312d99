"""The sockets of the name server for labs: UDP, TCP, and TLS (RFC 7766, RFC 7858), with shared keys (RFC 8945).

Nobody gets more out of it than is good for third parties: answers by UDP are short, and each network gets so many a
second; beyond that every other question is told to come by TCP, which a forger of addresses can't, the rest nothing.
"""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.tsig

from redoubt import limits
from redoubt.ndm.zone_answers import Authority
from redoubt.transport.flow import Address

PREFIXES = {4: 24, 6: 56}  # of source addresses that are counted together
PLAIN_OCTETS = 512  # of an answer by UDP to who says nothing of EDNS (RFC 1035 4.2.1)
STREAM_OCTETS = 65_535
HEADER_OCTETS = 12
PORTS_TRIED = 8  # until one is free for both transports
CUT = 0x02  # the TC bit, in the first octet of the flags


class ZoneServer:
    """Answers over any number of sockets. With `signed_only` questions without a shared key are refused."""

    def __init__(
        self, authority: Authority, keys: Mapping[dns.name.Name, dns.tsig.Key] | None = None, signed_only: bool = False
    ) -> None:
        self.authority = authority
        self.asked = 0
        self.refused = 0
        self._keys = dict(keys or {})
        self._signed_only = signed_only
        self._rates = Rates()
        self._sockets: list[asyncio.BaseTransport | asyncio.Server] = []
        self._connections: dict[_Connection, str] = {}

    async def listen(self, host: str, port: int) -> Address:
        """UDP and TCP at one port; 0 lets the system choose. Raises OSError."""
        for attempt in range(PORTS_TRIED):
            endpoint, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=(host, port)
            )
            address = cast(Address, endpoint.get_extra_info("sockname")[:2])
            try:
                await self.listen_for_streams(*address)
            except OSError:
                endpoint.close()
                if port or attempt == PORTS_TRIED - 1:
                    raise
                continue
            self._sockets.append(endpoint)
            break
        return address

    async def listen_for_streams(self, host: str, port: int, tls: Any = None) -> Address:
        """TCP, or TLS with a context. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), host, port, ssl=tls)
        self._sockets.append(server)
        return cast(Address, server.sockets[0].getsockname()[:2])

    def close(self) -> None:
        for each in (*self._sockets, *self._connections):
            each.close()

    def answered(self, wire: bytes, by_datagram: bool) -> bytes | None:
        """The response; None where none is owed: to what is no question."""
        if len(wire) < HEADER_OCTETS or wire[2] & 0x80:
            return None
        self.asked += 1
        try:
            query = dns.message.from_wire(wire, keyring=self._keys)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadTime, dns.tsig.BadSignature, dns.tsig.PeerError):
            return self._refusal(wire, dns.rcode.NOTAUTH)
        except (dns.exception.DNSException, ValueError):
            return self._refusal(wire, dns.rcode.FORMERR)
        if self._signed_only and not query.had_tsig:
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response = self.authority.answer(query)
        self.refused += response.rcode() == dns.rcode.REFUSED
        octets = min(max(query.payload, PLAIN_OCTETS), limits.DNS_UDP_OCTETS) if by_datagram else STREAM_OCTETS
        try:
            return response.to_wire(max_size=octets)
        except dns.exception.TooBig:
            return _cut(query)

    def answered_to(self, source: str, wire: bytes) -> bytes | None:
        """The same by datagram, for a source that may be forged."""
        verdict = self._rates.judge(source, asyncio.get_running_loop().time())
        if verdict == "answer":
            return self.answered(wire, by_datagram=True)
        if verdict == "drop" or len(wire) < HEADER_OCTETS or wire[2] & 0x80:
            return None
        return _header(wire, CUT, dns.rcode.NOERROR)

    def joined(self, connection: "_Connection", host: str) -> bool:
        """Whether there is room for another connection from there."""
        sources = list(self._connections.values())
        if len(sources) >= limits.DNS_SERVER_CONNECTIONS or sources.count(host) >= limits.DNS_SERVER_PER_SOURCE:
            return False
        self._connections[connection] = host
        return True

    def left(self, connection: "_Connection") -> None:
        self._connections.pop(connection, None)

    def _refusal(self, wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
        self.refused += 1
        return _header(wire, 0, rcode)


class Rates:
    """How much each network asked by UDP of late."""

    def __init__(self, per_s: float = limits.DNS_SERVER_PER_S) -> None:
        self._per_s = per_s
        self._spent: dict[str, tuple[float, float, int]] = {}  # left, when, refusals

    def judge(self, source: str, now: float) -> str:
        """answer, slip (say only: come by TCP) or drop."""
        network = _network(source)
        left, when, refusals = self._spent.pop(network, (self._per_s, now, 0))
        left = min(self._per_s, left + (now - when) * self._per_s)
        verdict = "answer" if left >= 1 else "slip" if refusals % 2 == 0 else "drop"
        if len(self._spent) >= limits.DNS_SERVER_NETWORKS:
            del self._spent[next(iter(self._spent))]
        self._spent[network] = (left - 1, now, 0) if verdict == "answer" else (left, now, refusals + 1)
        return verdict


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: ZoneServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[Any, ...]) -> None:
        response = self._server.answered_to(str(source[0]), data)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, source)


class _Connection(asyncio.Protocol):
    """A stream of questions, answered in their order; idle or unread, it ends."""

    def __init__(self, server: ZoneServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.joined(self, str((transport.get_extra_info("peername") or ("",))[0])):
            self._transport.abort()
            return
        self._rest()

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.left(self)
        if self._idle is not None:
            self._idle.cancel()

    def pause_writing(self) -> None:
        self.close()  # who does not read its answers gets no more

    def data_received(self, data: bytes) -> None:
        self._rest()
        self._buffer += data
        while len(self._buffer) >= 2 and self._transport is not None and not self._transport.is_closing():
            length = int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < 2 + length:
                return
            response = self._server.answered(bytes(self._buffer[2 : 2 + length]), by_datagram=False)
            del self._buffer[: 2 + length]
            if response is None:
                self.close()
                return
            self._transport.write(len(response).to_bytes(2, "big") + response)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(limits.DNS_SERVER_IDLE_S, self.close)


def _network(source: str) -> str:
    """The network of an address; what is none is counted by itself."""
    try:
        version = 6 if ":" in source else 4
        return str(ip_network((source.partition("%")[0], PREFIXES[version]), strict=False))
    except ValueError:
        return source


def _header(wire: bytes, flags: int, rcode: dns.rcode.Rcode) -> bytes:
    """A response that repeats the header alone: never longer than what it answers."""
    return wire[:2] + bytes((0x80 | flags | (wire[2] & 0x79), int(rcode) & 0x0F)) + bytes(8)


def _cut(query: dns.message.Message) -> bytes:
    """Too long for a datagram: come by TCP."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC | dns.flags.AA
    return response.to_wire()
