"""UDP sockets of media: packets in, packets out, and no flow for each sender as SIP has them."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from redoubt.transport.flow import Address

OnPacket = Callable[[bytes, Any], None]  # the source is as the socket module has it: pairs, four values for IPv6
BUFFER_OCTETS = 512 * 1024  # a second of video, while the process does something else


class MediaSocket(asyncio.DatagramProtocol):
    """A bound UDP port for RTP, RTCP or whatever else a session description moves."""

    def __init__(self) -> None:
        self.on_packet: OnPacket = _nobody_listens
        self.local: Address = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> "MediaSocket":
        """Binds it. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(cls, local_addr=(host, port))
        return made

    def send(self, packet: bytes, target: Any) -> None:
        """Hands a packet over; one that the system refuses is lost, as media may be."""
        if self._transport is not None:
            try:
                self._transport.sendto(packet, target)
            except (OSError, ValueError):
                return

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.on_packet(data, address)

    def error_received(self, error: Exception) -> None:
        """An ICMP error: the far side is not ready, or gone; signalling says which."""

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None


def _nobody_listens(_packet: bytes, _source: Any) -> None:
    """What comes before anybody wants it is lost."""


def sockaddr(address: Address) -> Any:
    """An address as it arrives with a packet."""
    return (*address, 0, 0) if ":" in address[0] else address
