"""Connections in virtual time: framing, pings, slow and idle peers, caps (requirement rows 93 and 96)."""

import asyncio
from typing import Any

import pytest
from tests.transaction.nodes import Node, node, request

from redoubt.events import Bug, Refused
from redoubt.sim import Network, at_host, run
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange
from redoubt.transport.connections import Connections
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

VIA = "SIP/2.0/TCP 10.0.1.1:5060;branch=z9hG4bK{};rport"


class Raw(asyncio.Protocol):
    """A TCP client that speaks octets."""

    def __init__(self) -> None:
        self.received = b""
        self.closed_at: float | None = None

    @classmethod
    async def dial(cls, host: str, target: tuple[str, int]) -> "Raw":
        with at_host(host):
            _, raw = await asyncio.get_running_loop().create_connection(cls, *target)
        return raw

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.closed_at = asyncio.get_running_loop().time()

    def ask(self, branch: str, to: str = "sip:b") -> None:
        self.transport.write(octets(branch, to))


def octets(branch: str = "1", to: str = "sip:b") -> bytes:
    return request("OPTIONS", to, via=VIA.format(branch)).to_bytes()


async def ok(asked: Request, exchange: Exchange) -> Response | None:
    return asked.response(200, to_tag="b")


async def keeps(asked: Request, exchange: Exchange) -> Response | None:
    exchange.flow.kept = True
    return asked.response(200, to_tag="b")


async def server(service: Any = ok, **caps: int) -> Node:
    reports: list[Node] = []
    table = Connections(lambda what, source: reports[0].stack._report(what, source), **caps)
    made = await node("10.0.0.2", service, zone=Zone.ACCESS, connections=table)
    reports.append(made)
    return made


def test_a_request_may_come_in_any_pieces_and_two_in_one() -> None:
    async def scene(_network: Network) -> None:
        b = await server()
        raw = await Raw.dial("10.0.1.1", b.address)
        for octet in octets("1"):
            raw.transport.write(bytes([octet]))
        raw.transport.write(octets("2") + octets("3"))
        await asyncio.sleep(2)
        assert raw.received.count(b"SIP/2.0 200") == 3
        await b.stack.close()

    run(scene, 1)


def test_a_ping_is_answered_with_a_pong() -> None:
    async def scene(_network: Network) -> None:
        b = await server()
        raw = await Raw.dial("10.0.1.1", b.address)
        raw.transport.write(b"\r\n\r\n")
        await asyncio.sleep(1)
        assert raw.received == b"\r\n"
        await b.stack.close()

    run(scene, 1)


@pytest.mark.parametrize(
    "length",
    ["Content-Length: -1", "Content-Length: 0\r\nContent-Length: 5", "Content-Length: x", "l: 99999999", ""],
)
def test_a_length_that_cant_be_trusted_is_refused_and_the_connection_ends(length: str) -> None:
    async def scene(_network: Network) -> None:
        b = await server()
        raw = await Raw.dial("10.0.1.1", b.address)
        smuggled = octets("1").replace(b"Content-Length: 0\r\n", f"{length}\r\n".encode() if length else b"")
        raw.transport.write(smuggled + octets("2"))
        await asyncio.sleep(1)
        assert raw.received[:9] in (b"SIP/2.0 4", b"SIP/2.0 5")
        assert raw.received.count(b"SIP/2.0 ") == 1
        assert raw.closed_at is not None
        assert not b.of(Bug)
        await b.stack.close()

    run(scene, 1)


def test_who_never_finishes_a_first_message_is_closed_after_half_a_minute() -> None:
    async def scene(_network: Network) -> None:
        b = await server()
        raw = await Raw.dial("10.0.1.1", b.address)
        for octet in octets("1")[:60]:
            raw.transport.write(bytes([octet]))
            await asyncio.sleep(1)
        assert raw.closed_at is not None
        assert 30 <= raw.closed_at <= 36
        assert len(b.stack.connections) == 0

    run(scene, 1)


def test_an_idle_peer_is_closed_and_one_that_pings_or_is_registered_is_not() -> None:
    async def scene(_network: Network) -> None:
        b = await server()
        idle = await Raw.dial("10.0.1.1", b.address)
        idle.ask("1")
        pings = await Raw.dial("10.0.1.2", b.address)
        pings.ask("2")
        k = await node("10.0.0.3", keeps, zone=Zone.ACCESS)
        registered = await Raw.dial("10.0.1.3", k.address)
        registered.ask("3")
        for _ in range(20):
            await asyncio.sleep(100)
            pings.transport.write(b"\r\n\r\n")
        assert idle.closed_at is not None
        assert 960 <= idle.closed_at <= 970
        assert (pings.closed_at, registered.closed_at) == (None, None)
        await b.stack.close()
        await k.stack.close()

    run(scene, 1)


def test_one_address_gets_no_more_connections_than_its_share() -> None:
    async def scene(_network: Network) -> None:
        b = await server(per_source=5)
        greedy = [await Raw.dial("10.0.1.1", b.address) for _ in range(8)]
        await asyncio.sleep(1)
        assert sum(raw.closed_at is None for raw in greedy) == 5
        other = await Raw.dial("10.0.1.2", b.address)
        other.ask("1")
        await asyncio.sleep(1)
        assert b"SIP/2.0 200" in other.received
        assert b.of(Refused)[0].source == "10.0.1.1"
        await b.stack.close()

    run(scene, 1)


def test_ten_thousand_slow_peers_cost_no_true_user_its_connection() -> None:
    async def scene(_network: Network) -> None:
        b = await server(keeps, total=200, per_source=50)
        users = [await Raw.dial(f"10.0.1.{n}", b.address) for n in range(1, 51)]
        for n, user in enumerate(users):
            user.ask(f"user{n}")
        await asyncio.sleep(1)
        for n in range(10_000):
            slow = await Raw.dial(f"10.{n // 250 + 2}.{n % 250}.1", b.address)
            slow.transport.write(b"R")
        assert len(b.stack.connections) <= 200
        late = await Raw.dial("10.0.2.1", b.address)
        late.ask("late")
        for n, user in enumerate(users):
            user.ask(f"again{n}")
        await asyncio.sleep(1)
        assert all(user.closed_at is None and user.received.count(b" 200 ") == 2 for user in users)
        assert b" 200 " in late.received
        await b.stack.close()

    run(scene, 1, network=Network(1, latency_s=(0.0001, 0.0002)))


@pytest.mark.parametrize("text", ["udp:127.0.0.1", "sctp:127.0.0.1:5060", "udp::5060", "udp:127.0.0.1:70000", "5060"])
def test_a_listening_address_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example udp:"):
        Listen.parse(text, Zone.CORE)


def test_a_listening_address_reads_and_prints_both_families() -> None:
    for text in ("udp:127.0.0.1:5060", "tls:[::1]:5061"):
        assert str(Listen.parse(text, Zone.CORE)) == text
    assert Listen.parse("tls:[::1]:5061", Zone.CORE).host == "::1"
