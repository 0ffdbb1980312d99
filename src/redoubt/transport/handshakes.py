"""TLS connections that come in: handshakes bounded in number and time, each failure told with its cause.

asyncio's own TLS servers lose the error of a handshake; here connections are accepted first, and secured next with the
certificates that the settings hold at that moment: so they can be renewed while calls go on.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from redoubt.limits import STREAM_CONNECT_S, TLS_HANDSHAKES, TLS_HANDSHAKES_PER_SOURCE
from redoubt.transport.connection import Connection
from redoubt.transport.connections import Report
from redoubt.transport.flow import Address
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings
from redoubt.transport.tls_alerts import arriving
from redoubt.transport.tls_causes import cause_of

Make = Callable[[], Connection]
BACKLOG = 1_024
ACCEPTED_AT_ONCE = 64  # before others get their turn
BREATH_S = 1.0  # when this process has no file descriptor left


class Handshakes:
    """Those of one node that have begun and not ended."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._running: set[asyncio.Task[None]] = set()
        self._sources: Counter[str] = Counter()

    async def listen(self, listen: Listen, make: Make, tls: TlsSettings) -> "asyncio.Server | TlsServer":
        """Binds; raises OSError. `make` makes the connection once the other side has proved what it must."""
        loop = asyncio.get_running_loop()
        if not isinstance(tls.server, ssl.SSLContext):  # the simulator's
            return await loop.create_server(make, listen.host, listen.port, ssl=tls.server)
        family, *_, address = (await loop.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM))[0]
        bound = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        return TlsServer(bound, lambda accepted, source: self._begin(accepted, source, make, tls))

    def close(self) -> None:
        for task in list(self._running):
            task.cancel()

    def _begin(self, accepted: socket.socket, source: Address, make: Make, tls: TlsSettings) -> None:
        host = source[0]
        if len(self._running) >= TLS_HANDSHAKES or self._sources[host] >= TLS_HANDSHAKES_PER_SOURCE:
            self._report("too many TLS handshakes at once, one was refused", host)
            accepted.close()
            return
        self._sources[host] += 1
        task = asyncio.get_running_loop().create_task(self._shake(accepted, host, make, tls))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _shake(self, accepted: socket.socket, host: str, make: Make, tls: TlsSettings) -> None:
        arriving.set(accepted)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                make, accepted, ssl=tls.server, ssl_handshake_timeout=STREAM_CONNECT_S
            )
        except OSError as error:  # ssl.SSLError is one
            self._report(cause_of(error), host)
        finally:
            self._sources[host] -= 1
            if not self._sources[host]:
                del self._sources[host]


class TlsServer:
    """A listening socket that hands on what it accepts; as much of asyncio.Server as its users need."""

    def __init__(self, bound: socket.socket, take: Callable[[socket.socket, Address], None]) -> None:
        bound.setblocking(False)
        self.sockets = (bound,)
        self._bound = bound
        self._take = take
        self._waiting: asyncio.TimerHandle | None = None
        self._watch()

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        if self._bound.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._bound)
            self._bound.close()

    def _watch(self) -> None:
        self._waiting = None
        asyncio.get_running_loop().add_reader(self._bound, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._bound)
                self._waiting = loop.call_later(BREATH_S, self._watch)
                return
            accepted.setblocking(False)
            self._take(accepted, address[:2])
