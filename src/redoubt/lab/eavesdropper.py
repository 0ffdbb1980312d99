"""Who has the wire between a phone and its P-CSCF: a router that keeps all that passes, and may change or drop it."""

import asyncio
from collections.abc import Callable
from typing import Self, cast

from redoubt.transport.flow import Address

Change = Callable[[bool, bytes], bytes | None]
"""What becomes of a packet; True: it goes to the P-CSCF. None: nothing does."""


class Eavesdropper(asyncio.DatagramProtocol):
    """Stands between one phone and one UDP port of the P-CSCF."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.address: Address = ("", 0)
        self.seen: list[tuple[bool, bytes]] = []  # True: to the P-CSCF
        self.change: Change = lambda _up, data: data
        self._phone: Address | None = None
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def between(cls, server: Address) -> Self:
        """Opens a port on loopback, which a phone is given for the P-CSCF's."""
        _, made = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: cls(server), local_addr=("127.0.0.1", 0)
        )
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, source: Address) -> None:
        up = source != self.server
        if up:
            self._phone = source
        self.seen.append((up, data))
        changed = self.change(up, data)
        if changed is not None:
            self.inject(up, changed)

    def inject(self, up: bool, data: bytes) -> None:
        """A packet of the attacker's own, to the P-CSCF or to the phone."""
        to = self.server if up else self._phone
        assert self._transport is not None and to is not None
        self._transport.sendto(data, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
