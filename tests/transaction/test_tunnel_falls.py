"""A partner's tunnel falls while transactions run: what is repeated and what is answered stays here (TS 33.210 5)."""

import asyncio

import pytest

from redoubt.config.interconnect import PartnerConfig
from redoubt.events import Bug, EventStream
from redoubt.ndm.next_hops import PartnerHops
from redoubt.ndm.partners import Partners
from redoubt.sip.message import Request, Response
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context, Exchange, originate
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

HERE, THERE = "127.0.0.1", "127.0.0.7"


class Wiretap(asyncio.DatagramProtocol):
    """The partner's node, which never answers."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagram_received(self, data: bytes, _source: object) -> None:
        self.heard.append(data)


def request(method: str, port: int) -> Request:
    lines = [
        ("Via", f"SIP/2.0/UDP {THERE}:{port};branch=z9hG4bKx"), ("Max-Forwards", "70"), ("Call-ID", "c"),
        ("From", "<sip:a@beta.example>;tag=1"), ("To", "<sip:b@alpha.example>"), ("CSeq", f"1 {method}"),
    ]  # fmt: skip
    return Request(method, "sip:b@beta.example", lines)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
async def test_nothing_leaves_in_clear_once_the_tunnel_of_a_running_transaction_is_down(method: str) -> None:
    loop, standing, events = asyncio.get_running_loop(), {"za"}, EventStream()
    transport, tap = await loop.create_datagram_endpoint(Wiretap, local_addr=(THERE, 0))
    host, port = transport.get_extra_info("sockname")
    agreement = PartnerConfig(
        name="beta", domains=("beta.example",), security="gateway", gateway="za", addresses=(THERE,),
        connect=(f"udp:{host}:{port}",),
    )  # fmt: skip
    context = Context("ibcf", events, Clock(loop), SeededRandomness(1))
    partners = Partners(context, (agreement,), lambda name: name in standing)
    hops = PartnerHops(partners, Resolver(context.randomness))
    stack = Stack(context, resolver=hops, neighbours=partners)
    served = asyncio.Event()

    async def serve(asked: Request, _exchange: Exchange) -> Response:
        await served.wait()
        return asked.response(200, to_tag="t")

    address = await stack.listen(Listen.parse(f"udp:{HERE}:0", Zone.BORDER), serve)
    transport.sendto(request(method, port).to_bytes(), address)
    asking = loop.create_task(originate(stack.outbound, request(method, port), context, 3.0))
    await asyncio.sleep(0.2)
    assert any(data.startswith(method.encode()) for data in tap.heard), "while it stands"
    standing.clear()
    tap.heard.clear()
    served.set()
    await asyncio.sleep(1.2)
    assert not tap.heard
    assert not [event for event in events.recent if isinstance(event, Bug)]
    asking.cancel()
    await stack.close()
    transport.close()
