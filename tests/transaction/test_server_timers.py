"""Server transactions in virtual time (RFC 3261 17.2, RFC 6026 7.1, RFC 4320)."""

import asyncio
from itertools import pairwise

import pytest
from tests.transaction.nodes import Node, Peer, fixed_latency, node, request

from redoubt.sim import Network, run
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange
from redoubt.transport.flow import Zone

VIA = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabc;rport"


class Answers:
    """A service that answers with a status, after a while, and remembers what it was asked."""

    def __init__(self, status: int, after_s: float = 0.0) -> None:
        self.status = status
        self.after_s = after_s
        self.asked: list[str] = []
        self.exchange: Exchange | None = None

    async def __call__(self, asked: Request, exchange: Exchange) -> Response | None:
        self.asked.append(asked.method)
        self.exchange = exchange
        if asked.method == "ACK":
            return None
        await asyncio.sleep(self.after_s)
        return asked.response(self.status, to_tag="b")


async def scene_of(service: Answers, zone: Zone = Zone.CORE) -> tuple[Node, Peer]:
    return await node("10.0.0.2", service, zone=zone), await Peer.open("10.0.0.1")


def test_a_retransmission_is_answered_from_the_transaction_until_timer_j() -> None:
    async def scene(_network: Network) -> None:
        service = Answers(200)
        b, peer = await scene_of(service)
        for _ in range(3):
            peer.send(request("MESSAGE", b.uri, via=VIA), b.address)
            await asyncio.sleep(10)
        assert peer.statuses == [200, 200, 200]
        assert service.asked == ["MESSAGE"]
        assert b.stack.server_transactions == 1
        await asyncio.sleep(2.1)
        assert b.stack.server_transactions == 0
        peer.send(request("MESSAGE", b.uri, via=VIA), b.address)
        await asyncio.sleep(1)
        assert service.asked == ["MESSAGE", "MESSAGE"]

    run(scene, 1, network=fixed_latency(1))


@pytest.mark.parametrize(("zone", "trying_s"), [(Zone.CORE, 3.5), (Zone.ACCESS, 14.0)])
def test_a_slow_non_invite_is_answered_100_when_its_clients_timer_e_has_reached_t2(zone: Zone, trying_s: float) -> None:
    async def scene(_network: Network) -> None:
        service = Answers(200, after_s=20)
        b, peer = await scene_of(service, zone)
        peer.send(request("MESSAGE", b.uri, via=VIA), b.address)
        await asyncio.sleep(0.5)
        peer.send(request("MESSAGE", b.uri, via=VIA), b.address)
        await asyncio.sleep(30)
        assert peer.statuses == [100, 200]
        assert peer.times(100)[0] == pytest.approx(trying_s + 0.02)
        assert service.asked == ["MESSAGE"]

    run(scene, 1, network=fixed_latency(1))


@pytest.mark.parametrize(("status", "after_s"), [(408, 1.0), (200, 33.0)])
def test_neither_a_408_nor_a_late_answer_is_sent_to_a_non_invite(status: int, after_s: float) -> None:
    async def scene(_network: Network) -> None:
        b, peer = await scene_of(Answers(status, after_s))
        peer.send(request("MESSAGE", b.uri, via=VIA), b.address)
        await asyncio.sleep(100)
        assert [status for status in peer.statuses if status >= 200] == []
        assert b.stack.server_transactions == 0

    run(scene, 1, network=fixed_latency(1))


def test_a_refused_invite_is_repeated_by_timer_g_until_its_ack() -> None:
    async def scene(_network: Network) -> None:
        service = Answers(486)
        b, peer = await scene_of(service)
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(8)
        assert peer.statuses == [100, *[486] * 5]
        times = peer.times(486)
        assert [round(y - x, 2) for x, y in pairwise(times)] == [0.5, 1.0, 2.0, 4.0]
        peer.send(request("ACK", b.uri, via=VIA), b.address)
        await asyncio.sleep(4.9)
        assert b.stack.server_transactions == 1
        await asyncio.sleep(0.2)
        assert b.stack.server_transactions == 0
        assert len(peer.statuses) == 6
        assert service.asked == ["INVITE"]

    run(scene, 1, network=fixed_latency(1))


def test_a_refused_invite_without_ack_ends_by_timer_h() -> None:
    async def scene(_network: Network) -> None:
        b, peer = await scene_of(Answers(486))
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(31.9)
        assert b.stack.server_transactions == 1
        await asyncio.sleep(0.2)
        assert b.stack.server_transactions == 0
        assert len(peer.times(486)) == 11

    run(scene, 1, network=fixed_latency(1))


def test_a_2xx_is_sent_once_and_copies_pass_while_timer_l_runs() -> None:
    async def scene(_network: Network) -> None:
        service = Answers(200)
        b, peer = await scene_of(service)
        invite = request("INVITE", b.uri, via=VIA)
        peer.send(invite, b.address)
        await asyncio.sleep(5)
        peer.send(invite, b.address)
        await asyncio.sleep(5)
        assert peer.statuses == [100, 200]
        assert service.exchange is not None
        service.exchange.upward(invite.response(200, to_tag="other branch"))
        await asyncio.sleep(1)
        assert peer.statuses == [100, 200, 200]
        await asyncio.sleep(118)
        assert b.stack.server_transactions == 0
        service.exchange.upward(invite.response(200, to_tag="too late"))
        await asyncio.sleep(1)
        assert peer.statuses == [100, 200, 200]
        assert service.asked == ["INVITE"]

    run(scene, 1, network=fixed_latency(1))


def test_a_retransmitted_invite_gets_the_last_provisional_response_again() -> None:
    async def scene(_network: Network) -> None:
        async def rings(asked: Request, exchange: Exchange) -> Response | None:
            exchange.upward(asked.response(180, to_tag="b"))
            await asyncio.sleep(5)
            return asked.response(486, to_tag="b")

        b = await node("10.0.0.2", rings)
        peer = await Peer.open("10.0.0.1")
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(0.5)
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(2)
        assert peer.statuses == [100, 180, 180]
        await asyncio.sleep(60)

    run(scene, 1, network=fixed_latency(1))


def test_the_ack_of_a_2xx_reaches_the_service_and_gets_no_answer() -> None:
    async def scene(_network: Network) -> None:
        service = Answers(200)
        b, peer = await scene_of(service)
        peer.send(request("INVITE", b.uri, via=VIA), b.address)
        await asyncio.sleep(1)
        peer.send(request("ACK", b.uri, via=VIA.replace("abc", "def")), b.address)
        await asyncio.sleep(1)
        assert service.asked == ["INVITE", "ACK"]
        assert peer.statuses == [100, 200]

    run(scene, 1, network=fixed_latency(1))


def test_no_provisional_response_but_100_is_sent_to_a_non_invite() -> None:
    async def scene(_network: Network) -> None:
        async def chatty(asked: Request, exchange: Exchange) -> Response | None:
            exchange.upward(asked.response(183))
            return asked.response(200, to_tag="b")

        b = await node("10.0.0.2", chatty)
        peer = await Peer.open("10.0.0.1")
        peer.send(request("MESSAGE", b.uri, via=VIA), b.address)
        await asyncio.sleep(1)
        assert peer.statuses == [200]

    run(scene, 1, network=fixed_latency(1))
