"""Sockets at protected ports, UDP and TCP: beside the kernel's ESP, or on a device. They open within a call.

`UdpEndpoint` is for sockets that stay: it opens as asyncio wants it and remembers flows.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

from redoubt.transport.flow import Address, FlowFailed

DATAGRAM_OCTETS = 65_535
READ_AT_ONCE = 64  # datagrams before others have their turn
BACKLOG = 1024

OnMessage = Callable[[bytes, Address], None]


class UdpPort:
    """Bound to one address and port."""

    def __init__(self, host: str, port: int, receive: OnMessage) -> None:
        """Raises OSError."""
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._socket = bound(host, port, socket.SOCK_DGRAM)
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, data: bytes, to: Address) -> None:
        """Raises FlowFailed."""
        try:
            self._socket.sendto(data, to)
        except OSError as error:
            raise FlowFailed(str(error)) from error

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(READ_AT_ONCE):
            try:
                data, source = self._socket.recvfrom(DATAGRAM_OCTETS)
            except OSError:  # nothing more, or an ICMP error: the transaction's timer decides (RFC 3261 18.4)
                return
            self._receive(data, source[:2])
            if self._socket.fileno() < 0:
                return


def bound(host: str, port: int, kind: socket.SocketKind, device: str = "") -> socket.socket:
    """A socket that does not block, at that place; with a device, it hears and speaks there alone. Raises OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    try:
        made.setblocking(False)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def listener(host: str, port: int, device: str = "") -> socket.socket:
    """A listening TCP socket. Raises OSError."""
    listening = bound(host, port, socket.SOCK_STREAM, device)
    listening.listen(BACKLOG)
    return listening


async def call(host: str, port: int, there: Address, device: str = "") -> socket.socket:
    """A TCP connection from a port, for `create_connection`. Raises OSError."""
    calling = bound(host, port, socket.SOCK_STREAM, device)
    try:
        await asyncio.get_running_loop().sock_connect(calling, there)
    except (OSError, asyncio.CancelledError):
        calling.close()
        raise
    return calling


def is_free(host: str, port: int) -> bool:
    """Whether no process has that UDP port. An address that is no longer this host's has none."""
    try:
        bound(host, port, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True
