"""A TLS server that tells the other side why a handshake failed (RFC 8446 6.2): asyncio closes before the alert is out.

Whoever begins a handshake sets `arriving` to the connection; the loop goes on in that context.
"""

import contextlib
import socket
import ssl
from contextvars import ContextVar

arriving: ContextVar[socket.socket | None] = ContextVar("arriving", default=None)


class TellingObject(ssl.SSLObject):
    """One handshake. What `wrap_bio` knows of it is set there."""

    outgoing: ssl.MemoryBIO
    connection: socket.socket | None

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self._tell()
            raise

    def _tell(self) -> None:
        """All that was written before has left by now: the peer has answered it."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.send(self.outgoing.read())


class TellingContext(ssl.SSLContext):
    """For servers."""

    sslobject_class = TellingObject

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, TellingObject)
        made.outgoing, made.connection = outgoing, arriving.get()
        return made
