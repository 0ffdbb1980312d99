"""A registrar that registers whoever asks: what a hostile network, or a phone's own, answers with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from redoubt.sip.message import Request, parse_message
from redoubt.transport.flow import Address


@asynccontextmanager
async def registrar(*says: tuple[str, str], host: str = "127.66.0.1") -> AsyncIterator[Address]:
    """Its address. Each request is answered with 200, its own contacts and `says`."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Agreeable(says), local_addr=(host, 0)
    )
    try:
        yield transport.get_extra_info("sockname")[:2]
    finally:
        transport.close()


class Agreeable(asyncio.DatagramProtocol):
    """Everything is all right."""

    def __init__(self, says: tuple[tuple[str, str], ...]) -> None:
        self._says = says
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: Address) -> None:
        request = parse_message(data)
        assert self._transport is not None
        if not isinstance(request, Request) or request.method == "ACK":
            return
        bound = [("Contact", f"{contact};expires=600") for contact in request.all("Contact")]
        paths = [("Path", path) for path in request.all("Path")]
        answer = request.response(200, to_tag="agreed", headers=(*bound, *paths, *self._says))
        self._transport.sendto(answer.to_bytes(), source)
