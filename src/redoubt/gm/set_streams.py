"""TCP connections inside association sets: whose they are, and their end with the set (TS 33.203 7.1, 7.4)."""

import asyncio
import contextlib
import socket
import struct

from redoubt.gm.association_set import AssociationSet
from redoubt.gm.paths import Streams
from redoubt.gm.states import Event, Row, State
from redoubt.transport.flow import Address, EspAssociation, Security, Zone

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: nothing is said any more that would leave unprotected


class SetStreams:
    """Vouches for the connections of one end's sets and ends them. A `Listener` of association sets, with `changed`."""

    def __init__(self) -> None:
        self._open: dict[int, set[asyncio.BaseTransport]] = {}

    def voucher(self, streams: Streams) -> "Voucher":
        """A `VouchStream` for connections of that address."""
        return Voucher(self, streams)

    def opened(self, number: int, transport: asyncio.BaseTransport) -> None:
        living = {each for each in self._open.get(number, ()) if not each.is_closing()}
        self._open[number] = living | {transport}

    def changed(self, about: AssociationSet, _before: State, _event: Event, _row: Row | None) -> None:
        if about.state is State.ENDED:
            for transport in self._open.pop(about.number, ()):
                _abort(transport)


class Voucher:
    """What protects a connection: the set that has its ends, or nothing, and then nobody reads it."""

    __slots__ = ("_of", "_streams")

    def __init__(self, of: SetStreams, streams: Streams) -> None:
        self._of = of
        self._streams = streams

    def __call__(self, _zone: Zone, transport: asyncio.BaseTransport, remote: Address) -> Security:
        security = self._streams.security_of(transport.get_extra_info("sockname")[:2], remote)
        if isinstance(security, EspAssociation):
            self._of.opened(security.number, transport)
        return security


def _abort(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    if isinstance(transport, asyncio.WriteTransport) and connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        transport.abort()
