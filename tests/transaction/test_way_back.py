"""A response whose connection has closed (RFC 3261 18.2.2): to the Via's address in the core, not towards phones."""

import asyncio

import pytest
from tests.transaction.nodes import node, request

from redoubt.sim import Network, at_host, run
from redoubt.sip.framing import StreamFramer
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange
from redoubt.transport.flow import Zone


class Listener:
    """A peer that listens on TCP and keeps what it is sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        framer = StreamFramer()
        while data := await reader.read(4096):
            self.statuses += [message.status for message in framer.feed(data) if isinstance(message, Response)]


async def late(asked: Request, exchange: Exchange) -> Response | None:
    """Rings and answers when the caller's connection has been closed."""
    await asyncio.sleep(2)
    if asked.method == "INVITE":
        exchange.upward(asked.response(180, to_tag="b"))
    return asked.response(200, to_tag="b")


@pytest.mark.parametrize(
    ("zone", "method", "expected"),
    [(Zone.CORE, "INVITE", [180, 200]), (Zone.CORE, "MESSAGE", [200]), (Zone.ACCESS, "MESSAGE", [])],
)
def test_a_response_whose_connection_has_closed_goes_to_the_vias_address_in_the_core_only(
    zone: Zone, method: str, expected: list[int]
) -> None:
    async def scene(_network: Network) -> None:
        b = await node("10.0.0.2", late, zone=zone, listen=("tcp",))
        peer = Listener()
        with at_host("10.0.0.1"):
            server = await asyncio.start_server(peer.serve, "10.0.0.1", 5062)
            _, writer = await asyncio.open_connection(*b.address)
        via = "SIP/2.0/TCP 10.0.0.1:5062;branch=z9hG4bKabc;rport"
        writer.write(request(method, b.uri, via=via).to_bytes())
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(10)
        assert peer.statuses == expected
        assert peer.connections == (1 if expected else 0)
        await b.stack.close()
        server.close()

    run(scene, 1)


def test_a_response_that_finds_no_way_back_is_told_of_and_ends() -> None:
    async def scene(_network: Network) -> None:
        b = await node("10.0.0.2", late, listen=("tcp",))
        with at_host("10.0.0.1"):
            _, writer = await asyncio.open_connection(*b.address)
        writer.write(request("MESSAGE", b.uri, via="SIP/2.0/TCP 10.0.0.1:5062;branch=z9hG4bKabc").to_bytes())
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(60)
        assert any("no way back" in str(event) for event in b.events)
        assert (b.stack.server_transactions, b.stack.exchanges) == (0, 0)
        await b.stack.close()

    run(scene, 1)
