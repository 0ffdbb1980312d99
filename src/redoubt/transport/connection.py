"""SIP over TCP and TLS: one connection, which hands octets to whoever frames them (RFC 3261 18.3)."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Protocol, cast

from redoubt.limits import PARTNER_SILENT_S, PARTNER_UNHEARD_MS, STREAM_WRITE_BUFFER_OCTETS
from redoubt.transport.flow import Address, Flow, FlowFailed, Security, Zone


class StreamReceiver(Protocol):
    """What frames the octets of a connection. `received`: whether a whole message or ping was among them."""

    def received(self, data: bytes) -> bool: ...

    def closed(self) -> None: ...


class Keeper(Protocol):
    """What admits connections and forgets them: the table."""

    def admit(self, connection: "Connection") -> bool: ...

    def forget(self, connection: "Connection") -> None: ...


OnStream = Callable[[Flow], StreamReceiver]
VouchStream = Callable[[Zone, asyncio.BaseTransport, Address], Security]


class Connection(asyncio.Protocol):
    """One TCP or TLS connection, whoever opened it. What is sent in one turn of the loop leaves together, in one record
    of TLS and one segment.
    """

    def __init__(
        self,
        transport: str,
        zone: Zone,
        keeper: Keeper,
        accept: OnStream,
        vouch: VouchStream,
        unsent_octets: int = STREAM_WRITE_BUFFER_OCTETS,
    ) -> None:
        self.kind = transport
        self.zone = zone
        self.heard_at = self.opened_at = asyncio.get_running_loop().time()
        self.has_spoken = False
        self.flow: Flow | None = None
        self._keeper = keeper
        self._accept = accept
        self._vouch = vouch
        self._unsent_octets = unsent_octets
        self._unsent: list[bytes] = []  # of this turn of the loop
        self._transport: asyncio.Transport | None = None
        self._receiver: StreamReceiver | None = None
        self.error: Exception | None = None  # why it ended, if not by a close

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        remote: Address = transport.get_extra_info("peername")[:2]
        local: Address = transport.get_extra_info("sockname")[:2]
        security = self._vouch(self.zone, transport, remote)
        if self.zone is Zone.BORDER:
            _notice_its_death(transport)
        self.flow = Flow(
            self.kind, local, remote, self.zone, security, self._send, self._is_closed, self.close, abort=self.abort
        )
        if self._keeper.admit(self):
            self._receiver = self._accept(self.flow)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._receiver is not None and self._receiver.received(data):
            self.has_spoken = True
            self.heard_at = asyncio.get_running_loop().time()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.error = error
        receiver, self._receiver = self._receiver, None
        self._keeper.forget(self)
        if receiver is not None:
            receiver.closed()

    # ---- for the flow and the table

    def close(self) -> None:
        """Ends it once what was written has gone out."""
        if self._transport is not None:
            self._write()
            self._transport.close()

    def abort(self) -> None:
        """Ends it at once: the kernel, too, forgets what it has not sent, and repeats nothing."""
        if self._transport is not None:
            raw = self._transport.get_extra_info("socket")
            if raw is not None:  # the simulator has none
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise FlowFailed("the connection is closed")
        if not self._unsent:
            if transport.get_write_buffer_size() > self._unsent_octets:
                transport.abort()
                raise FlowFailed("the peer does not read")
            asyncio.get_running_loop().call_soon(self._write)
        self._unsent.append(data)

    def _write(self) -> None:
        """Hands over what was sent since the loop's last turn."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def _is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()


def _notice_its_death(transport: asyncio.BaseTransport) -> None:
    """A connection that is kept for calls to come is asked now and then whether it lives (RFC 1122 4.2.3.6), and ends
    when what it carries is not received (RFC 5482): the next request then opens another.
    """
    raw = transport.get_extra_info("socket")
    if raw is None:  # the simulator's
        return
    with contextlib.suppress(OSError, AttributeError):  # what a system lacks of it is its default
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PARTNER_SILENT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PARTNER_SILENT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PARTNER_UNHEARD_MS)
