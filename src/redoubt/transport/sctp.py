"""SCTP where the kernel has it, one-to-one with one stream, as asyncio transports (RFC 6458 4, RFC 6733 2.1).

Event loops take SCTP sockets for TCP ones and fail on their options, so that reading and writing is done here. Each
write is one user message with Diameter's payload identifier; who receives frames the octets as on TCP.
"""

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from redoubt.transport.listen import Listen

IPPROTO_SCTP = 132
SCTP_NODELAY, SCTP_DEFAULT_SEND_PARAM = 3, 10  # RFC 6458 8.1.5, 8.1.13
PPID_DIAMETER = 46  # RFC 6733 11.4; in clear: DTLS over SCTP is not offered
SEND_PARAM = struct.Struct("=HHHxxIIIIIi")  # struct sctp_sndrcvinfo (RFC 6458 5.3.2)
BACKLOG = 128
READ_OCTETS = 256 * 1024
MESSAGE_OCTETS = 128 * 1024  # below the usual send buffer; a longer one goes as several, which the framing allows

Make = Callable[[], asyncio.Protocol]


class SctpTransport(asyncio.Transport):
    """One association."""

    def __init__(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "peername": sock.getpeername()})
        self._sock = sock
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes] = deque()
        self._unsent_octets = 0
        self._closing = False
        self._lost = False
        protocol.connection_made(self)
        if not self._lost:
            self._loop.add_reader(sock, self._readable)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        for at in range(0, len(data), MESSAGE_OCTETS):
            self._unsent.append(bytes(data[at : at + MESSAGE_OCTETS]))
        self._unsent_octets += len(data)
        if self._unsent_octets == len(data):
            self._writable()

    def get_write_buffer_size(self) -> int:
        return self._unsent_octets

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Ends it once what was written has gone out."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._sock)
        if not self._unsent:
            self._lose(None)

    def abort(self) -> None:
        self._closing = True
        self._unsent.clear()
        self._lose(None)

    # ---- inside

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_OCTETS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._lose(None)

    def _writable(self) -> None:
        while self._unsent:
            try:
                self._sock.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._sock, self._writable)
                return
            except OSError as error:
                self._lose(error)
                return
            self._unsent_octets -= len(self._unsent.popleft())
        self._loop.remove_writer(self._sock)
        if self._closing:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._closing = self._lost = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._loop.call_soon(self._lost_now, error)

    def _lost_now(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)
        self._sock.close()


class SctpServer:
    """A listening socket."""

    def __init__(self, listen: Listen, make: Make) -> None:
        self._make = make
        self._sock = sctp_socket(listen)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind(listen.address)
            self._sock.listen(BACKLOG)
        except OSError:
            self._sock.close()
            raise
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return (self._sock,)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return  # tried again while somebody waits
            raise
        sock.setblocking(False)
        try:
            SctpTransport(sock, self._make())
        except OSError:  # the association ended before it was looked at
            sock.close()


async def connect(target: Listen, make: Callable[[], Any]) -> Any:
    """The protocol of a new association. Raises OSError."""
    sock = sctp_socket(target)
    try:
        await asyncio.get_running_loop().sock_connect(sock, target.address)
    except (OSError, asyncio.CancelledError):
        sock.close()
        raise
    protocol = make()
    SctpTransport(sock, protocol)
    return protocol


def sctp_socket(listen: Listen) -> socket.socket:
    """Raises OSError saying what is missing."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM, IPPROTO_SCTP)
    except OSError as error:
        raise OSError(error.errno, f"this kernel has no SCTP (modprobe sctp), which {listen} needs") from error
    sock.setblocking(False)
    sock.setsockopt(IPPROTO_SCTP, SCTP_NODELAY, 1)
    # the kernel passes the identifier on as it stands in memory: in network order (RFC 6458 5.3.2)
    sent_with = SEND_PARAM.pack(0, 0, 0, socket.htonl(PPID_DIAMETER), 0, 0, 0, 0, 0)
    sock.setsockopt(IPPROTO_SCTP, SCTP_DEFAULT_SEND_PARAM, sent_with)
    return sock
