"""Next hops, fail-over and transports (RFC 3261 16.6, 16.7, 18.1.1; RFC 3263 4.3; RFC 5626 5.3)."""

import asyncio

import pytest
from tests.transaction.nodes import Node, Peer, fixed_latency, node, own_exchange, request

from redoubt.sim import Network, run
from redoubt.sip.fields import ROUTE, VIA
from redoubt.sip.message import Request, Response
from redoubt.sip.resolver import Candidate, Resolver
from redoubt.sip.service import Exchange
from redoubt.sip.uri import SipUri
from redoubt.sources import SeededRandomness
from redoubt.transport.flow import Zone


class Two(Resolver):
    """Two next hops for every name."""

    def known(self, uri: SipUri) -> tuple[Candidate, ...] | None:
        return tuple(Candidate("udp", host, 5060, uri.host) for host in ("10.0.0.2", "10.0.0.3"))


class Records:
    """A service that keeps what it got."""

    def __init__(self, status: int = 200) -> None:
        self.got: list[Request] = []
        self.status = status

    async def __call__(self, asked: Request, exchange: Exchange) -> Response | None:
        self.got.append(asked)
        return None if asked.method == "ACK" else asked.response(self.status, to_tag="b")


async def two_hops() -> tuple[Node, Peer, Records]:
    service = Records()
    a = await node("10.0.0.1", resolver=Two(SeededRandomness(1)))
    await node("10.0.0.3", service)
    return a, await Peer.open("10.0.0.2"), service


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_a_503_leads_to_the_next_candidate_with_a_branch_of_its_own(method: str) -> None:
    async def scene(_network: Network) -> None:
        a, peer, service = await two_hops()
        peer.answer = lambda asked, source: peer.send(asked.response(503, to_tag="x"), source)
        response = await a.send(request(method, "sip:home1.net"))
        assert response is not None
        assert response.status == 200
        first = next(m for _, m in peer.received if isinstance(m, Request))
        assert first.need(VIA).branch != service.got[0].need(VIA).branch
        assert len(service.got[0].every(VIA)) == 1
        await asyncio.sleep(60)

    run(scene, 1, network=fixed_latency(1))


def test_silence_leads_to_the_next_candidate_after_64_t1() -> None:
    async def scene(_network: Network) -> None:
        a, _, service = await two_hops()
        response = await a.send(request("INVITE", "sip:home1.net"))
        assert response is not None
        assert response.status == 200
        assert asyncio.get_running_loop().time() == pytest.approx(32.02, abs=0.01)
        assert len(service.got) == 1

    run(scene, 1, network=fixed_latency(1))


def test_no_candidate_is_tried_after_the_deadline() -> None:
    async def scene(_network: Network) -> None:
        a, _, service = await two_hops()
        exchange = own_exchange(a.stack.context, lifetime_s=20)
        response = await a.send(request("MESSAGE", "sip:home1.net"), exchange=exchange)
        assert response is not None
        assert response.status == 408
        assert service.got == []

    run(scene, 1, network=fixed_latency(1))


def test_a_refusal_of_another_kind_is_final() -> None:
    async def scene(_network: Network) -> None:
        a, peer, service = await two_hops()
        peer.answer = lambda asked, source: peer.send(asked.response(603, to_tag="x"), source)
        response = await a.send(request("MESSAGE", "sip:home1.net"))
        assert response is not None
        assert response.status == 603
        assert service.got == []

    run(scene, 1, network=fixed_latency(1))


def test_a_next_hop_that_refuses_tcp_is_503() -> None:
    async def scene(_network: Network) -> None:
        a = await node("10.0.0.1")
        await node("10.0.0.2", listen=("udp",))
        response = await a.send(request("MESSAGE", "sip:10.0.0.2;transport=tcp"))
        assert response is not None
        assert response.status == 503
        assert a.events

    run(scene, 1)


@pytest.mark.parametrize(("listens", "arrived_by"), [(("udp", "tcp"), "TCP"), (("udp",), "UDP")])
def test_a_large_request_goes_over_tcp_where_the_next_hop_takes_it(listens: tuple[str, ...], arrived_by: str) -> None:
    async def scene(_network: Network) -> None:
        service = Records()
        a, b = await node("10.0.0.1"), await node("10.0.0.2", service, listen=listens)
        large = request("MESSAGE", "sip:10.0.0.2")
        large.body = b"x" * 1300
        for _ in range(2):
            response = await a.send(large)
            assert response is not None
            assert response.status == 200
        assert [got.need(VIA).transport for got in service.got] == [arrived_by] * 2
        await a.stack.close()
        await b.stack.close()

    run(scene, 1)


def test_the_topmost_loose_route_decides_and_stays() -> None:
    async def scene(_network: Network) -> None:
        service = Records()
        a = await node("10.0.0.1")
        await node("10.0.0.2", service)
        asked = request("MESSAGE", "sip:bob@elsewhere.invalid")
        asked.add("Route", "<sip:10.0.0.2;lr>, <sip:further.net;lr>")
        response = await a.send(asked)
        assert response is not None
        assert response.status == 200
        got = service.got[0]
        assert got.uri == "sip:bob@elsewhere.invalid"
        assert [str(each.uri) for each in got.every(ROUTE)] == ["sip:10.0.0.2;lr", "sip:further.net;lr"]

    run(scene, 1)


def test_a_strict_router_gets_its_uri_as_request_uri_and_the_request_uri_as_last_route() -> None:
    async def scene(_network: Network) -> None:
        service = Records()
        a = await node("10.0.0.1")
        await node("10.0.0.2", service)
        asked = request("MESSAGE", "sip:bob@elsewhere.invalid")
        asked.add("Route", "<sip:10.0.0.2>, <sip:further.net;lr>")
        response = await a.send(asked)
        assert response is not None
        assert response.status == 200
        got = service.got[0]
        assert got.uri == "sip:10.0.0.2"
        assert [str(each.uri) for each in got.every(ROUTE)] == ["sip:further.net;lr", "sip:bob@elsewhere.invalid"]

    run(scene, 1)


def test_an_ack_is_sent_once_and_returns_nothing() -> None:
    async def scene(_network: Network) -> None:
        a, peer = await node("10.0.0.1"), await Peer.open("10.0.0.2")
        assert await a.send(request("ACK", "sip:10.0.0.2")) is None
        await asyncio.sleep(40)
        assert peer.methods == ["ACK"]
        assert a.stack.client_transactions == 0

    run(scene, 1)


def test_a_flow_that_is_gone_is_430_and_nothing_is_sent_elsewhere() -> None:
    async def scene(network: Network) -> None:
        service = Records()
        a, b = await node("10.0.0.1"), await node("10.0.0.2", service)
        flow = await a.stack.outbound.flow_to(SipUri("sip", None, None, "10.0.0.2", None, (("transport", "tcp"),)))
        to_flow = a.stack.outbound.to(flow)
        exchange = own_exchange(a.stack.context)
        first = await to_flow(request("MESSAGE", "sip:elsewhere.invalid"), exchange)
        assert first is not None
        assert first.status == 200
        waiting = asyncio.ensure_future(to_flow(request("INFO", "sip:elsewhere.invalid"), exchange))
        await asyncio.sleep(0)
        network.cut("10.0.0.1", "10.0.0.2")
        second = await waiting
        third = await to_flow(request("MESSAGE", "sip:elsewhere.invalid"), exchange)
        assert second is not None
        assert third is not None
        assert (second.status, third.status) == (430, 430)
        assert len(service.got) == 1
        await b.stack.close()

    run(scene, 1)


def test_a_kept_connection_that_died_is_replaced_once() -> None:
    async def scene(network: Network) -> None:
        service = Records()
        a, b = await node("10.0.0.1"), await node("10.0.0.2", service)
        for _ in range(2):
            response = await a.send(request("MESSAGE", b.uri + ";transport=tcp"))
            assert response is not None
            assert response.status == 200
            assert network.cut("10.0.0.1", "10.0.0.2") == 1
        await a.stack.close()

    run(scene, 1)


def test_connections_are_shared_by_requests_at_the_same_time() -> None:
    async def scene(network: Network) -> None:
        service = Records()
        a, b = await node("10.0.0.1"), await node("10.0.0.2", service)
        asks = [a.send(request("MESSAGE", b.uri + ";transport=tcp", call_id=f"c{n}")) for n in range(20)]
        assert [response.status for response in await asyncio.gather(*asks) if response is not None] == [200] * 20
        assert network.cut("10.0.0.1", "10.0.0.2") == 1
        await a.stack.close()
        await b.stack.close()

    run(scene, 1)


def test_requests_come_back_over_the_connection_that_a_phone_opened() -> None:
    async def scene(_network: Network) -> None:
        phone_service = Records()
        phone = await node("10.0.1.1", phone_service, zone=Zone.ACCESS, listen=("udp",))
        seen: list[Exchange] = []

        async def registrar(asked: Request, exchange: Exchange) -> Response | None:
            seen.append(exchange)
            return asked.response(200, to_tag="p")

        p = await node("10.0.0.2", registrar, zone=Zone.ACCESS)
        registered = await phone.send(request("REGISTER", p.uri + ";transport=tcp"))
        assert registered is not None
        to_phone = p.stack.outbound.to(seen[0].flow)
        response = await to_phone(request("MESSAGE", "sip:alice@10.0.1.1"), own_exchange(p.stack.context))
        assert response is not None
        assert response.status == 200
        assert phone_service.got[0].method == "MESSAGE"
        await phone.stack.close()
        await p.stack.close()

    run(scene, 1)


def test_every_request_ends_under_loss_duplication_and_reordering() -> None:
    async def scene(_network: Network) -> None:
        service = Records()
        a, b = await node("10.0.0.1"), await node("10.0.0.2", service)
        methods = ["INVITE", "MESSAGE"]
        asks = [a.send(request(methods[n % 2], b.uri, call_id=f"c{n}", cseq=n + 1)) for n in range(200)]
        statuses = [response.status for response in await asyncio.gather(*asks) if response is not None]
        # A 2xx that is lost for good is repeated by whoever made it, which this service does not.
        assert statuses.count(200) >= 170
        assert set(statuses) <= {200, 408, 487}
        assert len({(got.call_id) for got in service.got}) == len(service.got)
        await asyncio.sleep(200)
        for each in (a, b):
            assert (each.stack.client_transactions, each.stack.server_transactions) == (0, 0)

    run(scene, 7, network=Network(7, loss=0.1, duplicate=0.05, reorder=0.05))


def test_the_address_of_a_peer_is_resolved_by_name() -> None:
    async def scene(network: Network) -> None:
        network.name("b.home1.net", "10.0.0.2")
        service = Records()
        a = await node("10.0.0.1")
        await node("10.0.0.2", service)
        response = await a.send(request("MESSAGE", "sip:b.home1.net"))
        assert response is not None
        assert response.status == 200
        nowhere = await a.send(request("MESSAGE", "sip:nobody.home1.net"))
        assert nowhere is not None
        assert nowhere.status == 503

    run(scene, 1)


