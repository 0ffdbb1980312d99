"""Stream sockets of nodes that speak no SIP: listening and dialling by TCP, TLS and SCTP."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from redoubt import limits
from redoubt.transport import sctp
from redoubt.transport.connection import Connection
from redoubt.transport.flow import Address, FlowFailed
from redoubt.transport.listen import Listen


class Streams:
    """The listening sockets of one node."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server | sctp.SctpServer] = []

    async def listen(self, listen: Listen, make: Callable[[], Connection], tls: Any = None) -> Address:
        """Binds; the address that it got. Raises OSError, ValueError naming what is not configured."""
        if listen.transport == "tls" and tls is None:
            raise ValueError(f"{listen} needs a certificate: set certificate, key and authority")
        server: asyncio.Server | sctp.SctpServer
        if listen.transport == "sctp":
            server = sctp.SctpServer(listen, make)
        else:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(make, listen.host, listen.port, **_secured(listen, tls))
        self._servers.append(server)
        address: Address = server.sockets[0].getsockname()[:2]
        return address

    def close(self) -> None:
        """No new connections; those that are open stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()


async def dial(target: Listen, make: Callable[[], Connection], tls: Any = None, name: str = "") -> Connection:
    """A connection to `target`, by TLS with `name` as the server's. Raises FlowFailed."""
    secured = target.transport == "tls"
    if secured and tls is None:
        raise FlowFailed("TLS is not configured: set certificate, key and authority")
    try:
        async with asyncio.timeout(limits.STREAM_CONNECT_S):
            if target.transport == "sctp":
                associated: Connection = await sctp.connect(target, make)
                return associated
            _, connection = await asyncio.get_running_loop().create_connection(
                make,
                target.host,
                target.port,
                ssl=tls if secured else None,
                server_hostname=name if secured else None,
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
