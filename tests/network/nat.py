"""A NAT between a phone and one UDP port of the P-CSCF, on loopback: its outside has an address of its own."""

import asyncio
from typing import Self, cast

from redoubt.transport.flow import Address


class _Side(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.other: _Side | None = None
        self.peer: Address | None = None
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: Address) -> None:
        if self.peer is None:
            self.peer = source
        if self.other is not None and self.other.transport is not None:
            self.other.transport.sendto(data, self.other.peer)


class Nat:
    """`address` is given to the phone for the P-CSCF's."""

    def __init__(self, inside: _Side, outside: _Side) -> None:
        self._sides = inside, outside
        inside.other, outside.other = outside, inside
        assert inside.transport is not None
        self.address: Address = inside.transport.get_extra_info("sockname")[:2]

    @classmethod
    async def between(cls, server: Address, outside: str) -> Self:
        loop = asyncio.get_running_loop()
        _, inner = await loop.create_datagram_endpoint(_Side, local_addr=(server[0], 0))
        _, outer = await loop.create_datagram_endpoint(_Side, local_addr=(outside, 0))
        outer.peer = server
        return cls(inner, outer)

    def close(self) -> None:
        for side in self._sides:
            if side.transport is not None:
                side.transport.close()
