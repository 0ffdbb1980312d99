"""Opening connections on the virtual network: servers that listen, and the handshake of whoever dials
them.

The dialler's protocol is told when SYN-ACK is back (RFC 9293 3.5), the server's when the ACK has arrived,
before any octet.
"""

import asyncio
import contextvars
import socket
from collections.abc import Callable
from errno import EADDRINUSE, ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT

from redoubt.sim.addresses import Address, VirtualSocket, concrete, source_host
from redoubt.sim.network import Network
from redoubt.sim.packet import Fate
from redoubt.sim.stream import StreamTransport
from redoubt.sim.tls import DeclaredTls, handshake

ProtocolFactory = Callable[[], asyncio.BaseProtocol]
SYN_TIMEOUT_S = 1.0  # RFC 6298 2.1
SYN_RETRIES = 6  # Linux tcp_syn_retries: 127 s in all


class Listener:
    """One listening address."""

    def __init__(self, network: Network, address: Address, factory: ProtocolFactory, tls: DeclaredTls | None) -> None:
        self.address = address
        self.tls = tls
        self.factory = factory
        self.context = contextvars.copy_context()
        self._network = network
        network.listeners[address] = self

    def accept(self, end: StreamTransport) -> None:
        """The ACK of a dialler is here: make its protocol. No TLS where it is due, or closed since: a
        reset.
        """
        if self._network.listeners.get(self.address) is not self or (end.kind == "tls") != (self.tls is not None):
            end.abort()
            return
        protocol = self.factory()
        end.open(protocol)
        protocol.connection_made(end)

    def close(self) -> None:
        if self._network.listeners.get(self.address) is self:
            del self._network.listeners[self.address]


class SimServer(asyncio.AbstractServer):
    """What `create_server` returns: one listener an address. Closing it leaves its connections alone."""

    def __init__(self, network: Network, addresses: list[Address], factory: ProtocolFactory, tls: DeclaredTls | None):
        self._network = network
        self._addresses = addresses
        self._factory = factory
        self._tls = tls
        self._listeners: list[Listener] = []
        self._closed: asyncio.Future[None] = network.loop.create_future()

    @property
    def sockets(self) -> tuple[VirtualSocket, ...]:
        return tuple(VirtualSocket(socket.SOCK_STREAM, listener.address) for listener in self._listeners)

    def listen(self) -> None:
        """Begin to accept; again does nothing."""
        if not self._listeners and not self._closed.done():
            self._listeners = [Listener(self._network, at, self._factory, self._tls) for at in self._addresses]

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        if not self._closed.done():
            self._closed.set_result(None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    def is_serving(self) -> bool:
        return bool(self._listeners)

    async def start_serving(self) -> None:
        self.listen()

    async def serve_forever(self) -> None:
        """Until cancelled, as in asyncio."""
        self.listen()
        try:
            await self._network.loop.create_future()
        finally:
            self.close()

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)


async def dial(
    network: Network,
    factory: ProtocolFactory,
    target: Address,
    local_addr: tuple[str, int] | None,
    tls: DeclaredTls | None,
    server_hostname: str,
) -> tuple[StreamTransport, asyncio.BaseProtocol]:
    """Connect to one address, or raise what the socket would: refused, timed out, no certificate that is
    trusted.
    """
    local = _claim_source(network, target, local_addr)
    network.outgoing[local] += 1
    try:
        listener = await _reach(network, local, target)
        if tls is not None:
            await asyncio.sleep(network.latency(local.host, target.host) + network.latency(target.host, local.host))
        handshake(tls, listener.tls, server_hostname)
    except BaseException:
        network.outgoing[local] -= 1
        raise
    near = StreamTransport(network, local, target, tls, listener.tls)
    near.dialled = True
    far = listener.context.run(StreamTransport, network, target, local, tls and listener.tls, tls)
    far.accept = listener.accept
    near.outbound.receiver, far.outbound.receiver = far, near
    protocol = factory()
    near.open(protocol)
    near.schedule(protocol.connection_made, near)
    near.outbound.send(b"", "ACK")
    try:
        await asyncio.sleep(0)  # connection_made runs first: asyncio promises that to who awaits
    except BaseException:
        near.close()
        raise
    return near, protocol


def _claim_source(network: Network, target: Address, local_addr: tuple[str, int] | None) -> Address:
    host, port = (concrete(local_addr[0]), local_addr[1]) if local_addr else (source_host(target.host), 0)
    local = Address(host, port or network.free_port("tcp", host))
    if local.family is not target.family:
        raise OSError(EHOSTUNREACH, f"{local} does not reach {target}")
    if (local, target) in network.connections:
        raise OSError(EADDRINUSE, f"{local} is connected to {target} already")
    return local


async def _reach(network: Network, local: Address, target: Address) -> Listener:
    """SYN and SYN-ACK, with the retransmissions of RFC 9293 3.8.1."""
    timeout_s = SYN_TIMEOUT_S
    for _ in range(SYN_RETRIES + 1):
        cut = network.blocked(local.host, target.host)
        network.show("tcp", local, target, b"", Fate.PARTITIONED if cut else Fate.DELIVERED, "SYN")
        if not cut and not network.blocked(target.host, local.host):
            await asyncio.sleep(network.latency(local.host, target.host))
            listener = network.listeners.get(target)
            network.show("tcp", target, local, b"", Fate.DELIVERED, "SYN-ACK" if listener else "RST")
            await asyncio.sleep(network.latency(target.host, local.host))
            if listener is None:
                raise ConnectionRefusedError(ECONNREFUSED, f"nobody listens on tcp {target}")
            return listener
        await asyncio.sleep(timeout_s)
        timeout_s *= 2
    raise TimeoutError(ETIMEDOUT, f"{target} does not answer")
