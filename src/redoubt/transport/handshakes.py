"""TLS connections that come in: handshakes bounded in number and time, each failure told with its cause.

asyncio's own TLS servers lose the error of a handshake; here a connection is accepted in clear, and secured next, with
the certificates that the settings hold at that moment: so they can be renewed while calls go on.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from typing import cast

from redoubt.limits import STREAM_CONNECT_S, TLS_HANDSHAKES, TLS_HANDSHAKES_PER_SOURCE
from redoubt.transport.connection import Connection
from redoubt.transport.connections import Report
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings
from redoubt.transport.tls_causes import cause_of


class Handshakes:
    """Those of one node that have begun and not ended."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._running: set[asyncio.Task[None]] = set()
        self._sources: Counter[str] = Counter()

    async def listen(self, listen: Listen, make: Callable[[], Connection], tls: TlsSettings) -> asyncio.Server:
        """Binds; raises OSError. `make` makes the connection once the other side has proved what it must."""
        loop = asyncio.get_running_loop()
        if not isinstance(tls.server, ssl.SSLContext):  # the simulator's
            return await loop.create_server(make, listen.host, listen.port, ssl=tls.server)
        return await loop.create_server(lambda: Arrival(self, make, tls), listen.host, listen.port)

    def close(self) -> None:
        for task in list(self._running):
            task.cancel()

    def begin(self, transport: asyncio.Transport, make: Callable[[], Connection], tls: TlsSettings) -> None:
        """Secures a connection that has just been accepted."""
        source = str((transport.get_extra_info("peername") or ("",))[0])
        if len(self._running) >= TLS_HANDSHAKES or self._sources[source] >= TLS_HANDSHAKES_PER_SOURCE:
            self._report("too many TLS handshakes at once, one was refused", source)
            transport.abort()
            return
        self._sources[source] += 1
        task = asyncio.get_running_loop().create_task(self._shake(transport, make(), tls, source))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _shake(self, transport: asyncio.Transport, connection: Connection, tls: TlsSettings, source: str) -> None:
        try:
            assert isinstance(tls.server, ssl.SSLContext)
            secured = await asyncio.get_running_loop().start_tls(
                transport, connection, tls.server, server_side=True, ssl_handshake_timeout=STREAM_CONNECT_S
            )
            if secured is not None:
                connection.connection_made(secured)
        except OSError as error:  # ssl.SSLError is one
            self._report(cause_of(error), source)
            transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]


class Arrival(asyncio.Protocol):
    """A connection until its handshake begins: nothing is read meanwhile."""

    def __init__(self, handshakes: Handshakes, make: Callable[[], Connection], tls: TlsSettings) -> None:
        self._handshakes, self._make, self._tls = handshakes, make, tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.pause_reading()
        self._handshakes.begin(stream, self._make, self._tls)
