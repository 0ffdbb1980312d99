"""UDP sockets of media: packets in, packets out, and no flow for each sender as SIP has them.

They are read without a transport of asyncio where the loop watches sockets: a fifth less CPU for a packet, and a third
of it for opening one. The simulator's loop has transports alone.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from redoubt.limits import MEDIA_PACKET_OCTETS
from redoubt.transport.flow import Address

OnPacket = Callable[[bytes, Any], None]  # the source is as the socket module has it: pairs, four values for IPv6
BUFFER_OCTETS = 512 * 1024  # a second of video, while the process does something else
READ_AT_ONCE = 32  # packets before others have their turn
PACKET_OCTETS = MEDIA_PACKET_OCTETS + 1  # one more shows that a packet is too long


class MediaSocket(Protocol):
    """A bound UDP port for RTP, RTCP or whatever else a session description moves."""

    on_packet: OnPacket
    local: Address

    def send(self, packet: bytes, target: Any) -> None:
        """Hands a packet over; one that the system refuses is lost, as media may be."""

    def close(self) -> None:
        """Twice is once."""


async def open_media(host: str, port: int) -> MediaSocket:
    """Binds a socket; port 0 lets the system choose. Raises OSError."""
    loop = asyncio.get_running_loop()
    if type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader:
        return _Socket(loop, host, port)
    _, made = await loop.create_datagram_endpoint(_Endpoint, local_addr=(host, port))
    return made


def sockaddr(address: Address) -> Any:
    """An address as it arrives with a packet."""
    return (*address, 0, 0) if ":" in address[0] else address


def _nobody_listens(_packet: bytes, _source: Any) -> None:
    """What comes before anybody wants it is lost."""


class _Socket:
    """On a loop that watches sockets."""

    __slots__ = ("_loop", "_receive", "_send", "_socket", "local", "on_packet")

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self.on_packet: OnPacket = _nobody_listens
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._receive, self._send = self._socket.recvfrom, self._socket.sendto
        self.local: Address = self._socket.getsockname()[:2]
        loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, packet: bytes, target: Any) -> None:
        try:
            self._send(packet, target)
        except OSError:
            return

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(READ_AT_ONCE):
            try:
                packet, source = self._receive(PACKET_OCTETS)
            except OSError:  # nothing more, or closed meanwhile
                return
            self.on_packet(packet, source)


class _Endpoint(asyncio.DatagramProtocol):
    """On a loop that has transports alone."""

    def __init__(self) -> None:
        self.on_packet: OnPacket = _nobody_listens
        self.local: Address = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None

    def send(self, packet: bytes, target: Any) -> None:
        if self._transport is not None:
            self._transport.sendto(packet, target)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.on_packet(data, address)

    def error_received(self, error: Exception) -> None:
        """An ICMP error: the far side is not ready, or gone; signalling says which."""

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
