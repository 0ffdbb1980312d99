"""CANCEL: who may, when it goes out, and its races (RFC 3261 9, requirement row 70)."""

import asyncio

from tests.transaction.nodes import Node, Peer, fixed_latency, node, own_exchange, request

from redoubt.events import Refused
from redoubt.sim import Network, run
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange
from redoubt.transport.flow import Address

VIA = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabc;rport"


class Callee:
    """Plays the next hop by hand."""

    def __init__(self, peer: Peer, provisional_after_s: float | None, on_cancel: int | None) -> None:
        self.peer = peer
        self.invite: Request | None = None
        self._provisional_after_s = provisional_after_s
        self._on_cancel = on_cancel
        peer.answer = self._answer

    def _answer(self, asked: Request, source: Address) -> None:
        if asked.method == "INVITE" and self.invite is None:
            self.invite = asked
            if self._provisional_after_s is not None:
                asyncio.get_running_loop().call_later(
                    self._provisional_after_s, self.peer.send, asked.response(180, to_tag="b"), source
                )
        elif asked.method == "CANCEL":
            self.peer.send(asked.response(200), source)
            if self._on_cancel is not None and self.invite is not None:
                self.peer.send(self.invite.response(self._on_cancel, to_tag="b"), source)


async def call(a: Node, cancel_after_s: float, reason: str | None = None) -> tuple[Response | None, float]:
    exchange = own_exchange(a.stack.context)
    loop = asyncio.get_running_loop()
    loop.call_later(cancel_after_s, exchange.cancelled.happen, reason)
    response = await a.send(request("INVITE", "sip:10.0.0.2"), exchange=exchange)
    return response, loop.time()


def test_cancel_waits_for_a_provisional_response_and_copies_via_and_reason() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await node("10.0.0.1"), await Peer.open("10.0.0.2")
        callee = Callee(peer, provisional_after_s=0.3, on_cancel=487)
        response, _ = await call(a, 0.1, "SIP;cause=200")
        await asyncio.sleep(0.1)
        assert response is not None
        assert response.status == 487
        assert peer.methods == ["INVITE", "CANCEL", "ACK"]
        assert peer.times("CANCEL")[0] > 0.3
        cancel = next(m for _, m in peer.received if isinstance(m, Request) and m.method == "CANCEL")
        assert callee.invite is not None
        assert cancel.get("Via") == callee.invite.get("Via")
        assert cancel.uri == callee.invite.uri
        assert cancel.get("Reason") == "SIP;cause=200"

    run(scene, 1, network=fixed_latency(1))


def test_a_2xx_that_crosses_the_cancel_wins() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await node("10.0.0.1"), await Peer.open("10.0.0.2")
        Callee(peer, provisional_after_s=0.0, on_cancel=200)
        response, _ = await call(a, 0.5)
        assert response is not None
        assert response.status == 200
        assert response.to.tag == "b"

    run(scene, 1, network=fixed_latency(1))


def test_a_cancelled_callee_that_says_nothing_is_given_up_with_487_after_64_t1() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await node("10.0.0.1"), await Peer.open("10.0.0.2")
        Callee(peer, provisional_after_s=0.0, on_cancel=None)
        response, at = await call(a, 1.0)
        assert response is not None
        assert response.status == 487
        assert round(at, 2) == 33.0
        await asyncio.sleep(40)
        assert a.stack.client_transactions == 0

    run(scene, 1, network=fixed_latency(1))


def test_a_call_that_is_given_up_before_it_was_sent_is_never_sent() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await node("10.0.0.1"), await Peer.open("10.0.0.2")
        exchange = own_exchange(a.stack.context)
        exchange.cancelled.happen()
        response = await a.send(request("INVITE", "sip:10.0.0.2"), exchange=exchange)
        assert response is not None
        assert response.status == 487
        await asyncio.sleep(1)
        assert peer.received == []

    run(scene, 1, network=fixed_latency(1))


class Waits:
    """Answers 487 when the caller gives up, 200 otherwise."""

    def __init__(self) -> None:
        self.reason: str | None = None

    async def __call__(self, asked: Request, exchange: Exchange) -> Response | None:
        if asked.method == "ACK":
            return None
        exchange.upward(asked.response(180, to_tag="b"))
        try:
            async with asyncio.timeout(5):
                await exchange.cancelled.wait()
        except TimeoutError:
            return asked.response(200, to_tag="b")
        self.reason = exchange.cancelled.reason
        return asked.response(487, to_tag="b")


def test_a_cancel_is_answered_200_and_its_invite_487() -> None:
    async def scene(_network: Network) -> None:
        service = Waits()
        b, peer = await node("10.0.0.2", service), await Peer.open("10.0.0.1")
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(1)
        cancel = request("CANCEL", b.uri, via=VIA)
        cancel.add("Reason", "SIP;cause=600")
        peer.send(cancel, b.address)
        await asyncio.sleep(0.1)
        assert peer.statuses == [100, 180, 200, 487]
        assert [m.cseq.method for _, m in peer.received if isinstance(m, Response)][2] == "CANCEL"
        assert service.reason == "SIP;cause=600"
        peer.send(request("ACK", b.uri, via=VIA), b.address)
        await asyncio.sleep(40)
        assert b.stack.server_transactions == 0

    run(scene, 1, network=fixed_latency(1))


def test_a_guessed_branch_from_another_address_cancels_nothing() -> None:
    async def scene(_network: Network) -> None:
        b, peer = await node("10.0.0.2", Waits()), await Peer.open("10.0.0.1")
        attacker = await Peer.open("10.0.0.3")
        other_port = await Peer.open("10.0.0.1", 6060)
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(1)
        for stranger in (attacker, other_port):
            stranger.send(request("CANCEL", b.uri, via=VIA), b.address)
        await asyncio.sleep(10)
        assert attacker.statuses == other_port.statuses == [481]
        assert peer.statuses == [100, 180, 200]
        assert [event.status for event in b.of(Refused)] == [481, 481]

    run(scene, 1, network=fixed_latency(1))


def test_a_cancel_that_comes_after_the_answer_changes_nothing() -> None:
    async def scene(_network: Network) -> None:
        b, peer = await node("10.0.0.2", Waits()), await Peer.open("10.0.0.1")
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(6)
        peer.send(request("CANCEL", b.uri, via=VIA), b.address)
        await asyncio.sleep(1)
        assert peer.statuses == [100, 180, 200, 200]

    run(scene, 1, network=fixed_latency(1))


def test_cancel_travels_through_a_proxy_hop_by_hop() -> None:
    async def scene(_network: Network) -> None:
        c = await node("10.0.0.3", Waits())
        proxies: list[Node] = []

        async def proxy(asked: Request, exchange: Exchange) -> Response | None:
            asked.uri = c.uri
            return await proxies[0].stack.outbound(asked, exchange)

        proxies.append(await node("10.0.0.2", proxy))
        a = await node("10.0.0.1")
        exchange = own_exchange(a.stack.context)
        asyncio.get_running_loop().call_later(1, exchange.cancelled.happen)
        invite = request("INVITE", proxies[0].uri, cseq=2)
        response = await a.send(invite, exchange=exchange)
        assert response is not None
        assert response.status == 487
        await asyncio.sleep(40)
        for each in (a, proxies[0], c):
            assert (each.stack.client_transactions, each.stack.server_transactions) == (0, 0)

    run(scene, 1, network=fixed_latency(1))
