"""UDP on the virtual network, with the semantics of asyncio's own datagram transport."""

import asyncio
import contextvars
import socket
from collections.abc import Callable
from errno import EMSGSIZE, ENETUNREACH
from typing import Any

from redoubt.sim.addresses import Address, VirtualSocket, canonical
from redoubt.sim.network import Network

LARGEST_DATAGRAM_OCTETS = 65_507  # 65,535 less the headers of IPv4 and UDP


class DatagramEndpoint(asyncio.DatagramTransport):
    """A bound UDP port and its protocol."""

    def __init__(
        self, network: Network, protocol: asyncio.DatagramProtocol, local: Address, peer: Address | None
    ) -> None:
        extra: dict[str, object] = {
            "sockname": local.sockaddr,
            "socket": VirtualSocket(socket.SOCK_DGRAM, local, peer),
        }
        if peer is not None:
            extra["peername"] = peer.sockaddr
        super().__init__(extra)
        self.local = local
        self.peer = peer
        self._network = network
        self._protocol = protocol
        self._closing = False
        self._context = contextvars.copy_context()  # the protocol runs where its port was opened, as in asyncio
        network.datagrams[local] = self

    # -- what the owner calls -----------------------------------------------------------------------

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send to `addr`, or to the peer that the port is connected to."""
        if self.peer is not None and addr is not None and Address(canonical(addr[0]), addr[1]) != self.peer:
            raise ValueError(f"invalid address: this port is connected to {self.peer}")
        if self.peer is None and addr is None:
            raise ValueError("a port that is connected to nobody needs the address to send to")
        if self._closing:
            return
        target = self.peer or Address(canonical(addr[0]), addr[1])
        if len(data) > LARGEST_DATAGRAM_OCTETS:
            self._protocol.error_received(OSError(EMSGSIZE, f"datagram of {len(data)} octets is too long"))
        elif target.family is not self.local.family:
            self._protocol.error_received(OSError(ENETUNREACH, f"{self.local} does not reach {target}"))
        else:
            self._network.carry(self.local, target, bytes(data))

    def close(self) -> None:
        self._close(None)

    def abort(self) -> None:
        self._close(None)

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.DatagramProtocol):
            raise TypeError("a datagram endpoint needs a DatagramProtocol")
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_write_buffer_size(self) -> int:
        return 0

    # -- what the network calls -----------------------------------------------------------------------

    def connected(self) -> None:
        self.schedule(self._protocol.connection_made, self)

    def receive(self, source: Address, payload: bytes) -> None:
        """A datagram has arrived; a connected port takes only its peer's."""
        if not self._closing and (self.peer is None or self.peer == source):
            self._context.run(self._protocol.datagram_received, payload, source.sockaddr)

    def report(self, error: OSError) -> None:
        """An ICMP error about something sent earlier."""
        if not self._closing:
            self._context.run(self._protocol.error_received, error)

    def vanish(self) -> None:
        """The host crashed: the port is gone, and nobody is left to be told."""
        self._closing = True
        self._release()

    def schedule(self, callback: Callable[..., object], *args: object) -> None:
        self._network.loop.call_soon(callback, *args, context=self._context)

    def _close(self, error: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._release()
        self.schedule(self._protocol.connection_lost, error)

    def _release(self) -> None:
        if self._network.datagrams.get(self.local) is self:
            del self._network.datagrams[self.local]
