"""SIP over UDP: one socket, and a flow for each address that sends to it or is sent to."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from redoubt.limits import UDP_FLOWS_REMEMBERED
from redoubt.transport.flow import Address, Flow, FlowFailed, Security
from redoubt.transport.listen import Listen

OnDatagram = Callable[[bytes, Flow], None]
Vouch = Callable[[Listen, str], Security]  # what is known of an address on that socket


class UdpEndpoint(asyncio.DatagramProtocol):
    """A bound UDP socket."""

    def __init__(self, listen: Listen, receive: OnDatagram, vouch: Vouch) -> None:
        self.listen = listen
        self.local: Address = listen.address
        self._receive = receive
        self._vouch = vouch
        self._flows: OrderedDict[Any, Flow] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None
        self._send_to, self._closed = self._send, self._is_closed  # one of each for all flows

    @classmethod
    async def open(cls, listen: Listen, receive: OnDatagram, vouch: Vouch) -> "UdpEndpoint":
        """Binds the socket. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(
            lambda: cls(listen, receive, vouch), local_addr=listen.address
        )
        return endpoint

    def flow_to(self, address: Address) -> Flow:
        """The way from this socket to an address."""
        return self._flows.get(address) or self._new_flow(address)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._receive(data, self._flows.get(address) or self._new_flow(address))

    def error_received(self, error: Exception) -> None:
        """An ICMP error names no datagram; the transaction's timer decides (RFC 3261 18.4)."""

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    # ---- inside

    def _new_flow(self, address: Any) -> Flow:
        """One object an address: IPv6 addresses come with flow label and scope, and are asked for without."""
        plain = address[:2]
        key = plain if len(address) == 2 or not address[3] else address
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= UDP_FLOWS_REMEMBERED:
                self._flows.popitem(last=False)
            flow = Flow(
                "udp",
                self.local,
                plain,
                self.listen.zone,
                self._vouch(self.listen, plain[0]),
                partial(self._send_to, key),
                self._closed,
            )
            self._flows[key] = flow
        return flow

    def _send(self, address: Any, data: bytes) -> None:
        if self._transport is None:
            raise FlowFailed("the socket is closed")
        try:
            self._transport.sendto(data, address)
        except (OSError, ValueError) as error:
            raise FlowFailed(str(error)) from error

    def _is_closed(self) -> bool:
        return self._transport is None
