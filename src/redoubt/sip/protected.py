"""SIP over TCP inside ESP associations: connections at protected ports, each in the set that its ends belong to."""

import asyncio
import socket

from redoubt.sip.service import Service
from redoubt.sip.stack import Stack
from redoubt.transport.connection import Connection, StreamReceiver, VouchStream
from redoubt.transport.flow import EspAssociation, Flow, FlowFailed, Zone


class ProtectedStreams:
    """A node's TCP under IPsec. A `VouchStream` knows the set of a connection; what has none is closed unread."""

    def __init__(self, stack: Stack, service: Service) -> None:
        self._connections = stack.connections
        self._converse = stack.converses(service)
        self._servers: list[asyncio.Server] = []

    async def listen(self, listening: socket.socket, vouch: VouchStream) -> None:
        """Serves whoever calls at a listening socket."""
        made = asyncio.get_running_loop().create_server(lambda: self._connection(vouch), sock=listening)
        self._servers.append(await made)

    async def join(self, calling: socket.socket, vouch: VouchStream) -> Flow:
        """A connection that this node opened. Raises FlowFailed."""
        try:
            _, made = await asyncio.get_running_loop().create_connection(lambda: self._connection(vouch), sock=calling)
        except OSError as error:
            raise FlowFailed(str(error)) from error
        if made.flow is None or made.flow.is_closed():
            raise FlowFailed("the association set of the connection has ended")
        return made.flow

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def _connection(self, vouch: VouchStream) -> Connection:
        return Connection("tcp", Zone.ACCESS, self._connections, self._accept, vouch)

    def _accept(self, flow: Flow) -> StreamReceiver:
        if not isinstance(flow.security, EspAssociation):
            flow.close()
            return Unread()
        flow.kept = True  # it ends with its set
        return self._converse(flow)


class Unread:
    """Nobody listens to a connection that nothing protects."""

    def received(self, _data: bytes) -> bool:
        return False

    def closed(self) -> None:
        """It has left nothing behind."""
