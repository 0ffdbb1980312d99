"""Stream sockets of nodes that speak no SIP: listening and dialling by TCP, TLS, and SCTP where the kernel has it.

SCTP is used one-to-one with one stream (RFC 6458 4), so that it looks like TCP to whoever frames the octets.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

from redoubt import limits
from redoubt.transport.connection import Connection
from redoubt.transport.flow import Address, FlowFailed
from redoubt.transport.listen import Listen

IPPROTO_SCTP = 132
SCTP_DEFAULT_SEND_PARAM = 10  # RFC 6458 8.1.13
PPID_DIAMETER = 46  # RFC 6733 11.4; in clear: DTLS over SCTP is not offered
SEND_PARAM = struct.Struct("=HHHxxIIIIIi")  # struct sctp_sndrcvinfo (RFC 6458 5.3.2)
BACKLOG = 128


class Streams:
    """The listening sockets of one node."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []

    async def listen(self, listen: Listen, make: Callable[[], Connection], tls: Any = None) -> Address:
        """Binds; the address that it got. Raises OSError, ValueError naming what is not configured."""
        loop = asyncio.get_running_loop()
        if listen.transport == "tls" and tls is None:
            raise ValueError(f"{listen} needs a certificate: set certificate, key and authority")
        if listen.transport == "sctp":
            server = await loop.create_server(make, sock=_sctp_listener(listen))
        else:
            server = await loop.create_server(make, listen.host, listen.port, **_secured(listen, tls))
        self._servers.append(server)
        address: Address = server.sockets[0].getsockname()[:2]
        return address

    def close(self) -> None:
        """No new connections; those that are open stay."""
        for server in self._servers:
            server.close()


async def dial(
    target: Listen, make: Callable[[], Connection], tls: Any = None, name: str = "", local: str = ""
) -> Connection:
    """A connection to `target`, by TLS with `name` as the server's. Raises FlowFailed."""
    loop = asyncio.get_running_loop()
    secured = target.transport == "tls"
    if secured and tls is None:
        raise FlowFailed("TLS is not configured: set certificate, key and authority")
    try:
        async with asyncio.timeout(limits.STREAM_CONNECT_S):
            if target.transport == "sctp":
                sock = await _sctp_connected(target)
                _, connection = await loop.create_connection(make, sock=sock)
                return connection
            _, connection = await loop.create_connection(
                make,
                target.host,
                target.port,
                ssl=tls if secured else None,
                server_hostname=name if secured else None,
                local_addr=(local, 0) if local else None,
            )
            return connection
    except (OSError, ValueError) as error:  # TimeoutError and ssl.SSLError are OSErrors
        raise FlowFailed(f"{target}: {str(error) or type(error).__name__}") from error


def _secured(listen: Listen, tls: Any) -> dict[str, Any]:
    """A handshake is not counted as a connection yet, so it has to be quick."""
    if listen.transport != "tls":
        return {}
    patience = {"ssl_handshake_timeout": limits.STREAM_CONNECT_S} if isinstance(tls, ssl.SSLContext) else {}
    return {"ssl": tls, **patience}


def _sctp_socket(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM, IPPROTO_SCTP)
    except OSError as error:
        raise OSError(error.errno, f"this kernel has no SCTP (modprobe sctp), which {listen} needs") from error
    sock.setblocking(False)
    sock.setsockopt(
        IPPROTO_SCTP, SCTP_DEFAULT_SEND_PARAM, SEND_PARAM.pack(0, 0, 0, _network(PPID_DIAMETER), 0, 0, 0, 0, 0)
    )
    return sock


def _sctp_listener(listen: Listen) -> socket.socket:
    sock = _sctp_socket(listen)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(listen.address)
    sock.listen(BACKLOG)
    return sock


async def _sctp_connected(target: Listen) -> socket.socket:
    sock = _sctp_socket(target)
    try:
        await asyncio.get_running_loop().sock_connect(sock, target.address)
    except (OSError, asyncio.CancelledError):
        sock.close()
        raise
    return sock


def _network(number: int) -> int:
    """The kernel passes the PPID as it stands in memory: it must be in network order there (RFC 6458 5.3.2)."""
    return socket.htonl(number)
