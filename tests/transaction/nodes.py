"""Nodes for transaction tests: a stack with a service of a few lines, and plain sockets that speak octets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redoubt.events import Event, EventStream
from redoubt.sim import Network, at_host
from redoubt.sip.message import Request, Response, parse_message
from redoubt.sip.service import Context, Exchange, Root, Service
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, Randomness, SeededRandomness
from redoubt.transport.flow import Address, Zone, internal_flow
from redoubt.transport.listen import Listen

EPOCH_S = 1_700_000_000.0


def context(node: str, randomness: Randomness | None = None, **options: Any) -> Context:
    """The surroundings of a node; `node` seeds its randomness unless one is given."""
    loop = asyncio.get_running_loop()
    return Context(node, EventStream(), Clock(loop, EPOCH_S), randomness or SeededRandomness(hash_of(node)), **options)


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big")


def own_exchange(context: Context, lifetime_s: float = 180.0) -> Exchange:
    """The exchange of a request that a test starts at a node, to cancel it or to see what comes up."""
    deadline = asyncio.get_running_loop().time() + lifetime_s
    root = Root(context, deadline, lambda _response: None)
    return Exchange(internal_flow(context.node), root)


async def nobody(request: Request, exchange: Exchange) -> Response | None:
    return None if request.method == "ACK" else request.response(404, to_tag="nobody")


class Node:
    """A stack that listens on one address of the virtual network, or of this machine."""

    def __init__(self, stack: Stack, address: Address) -> None:
        self.stack = stack
        self.address = address
        self.events: list[Event] = []
        stack.context.events.listen(self.events.append)

    @property
    def uri(self) -> str:
        return f"sip:{self.address[0]}:{self.address[1]}"

    async def send(self, request: Request, **options: Any) -> Response | None:
        """Sends a request of this node's own."""
        exchange = options.pop("exchange", None) or own_exchange(self.stack.context)
        return await self.stack.outbound(request, exchange)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def node(
    host: str,
    service: Service = nobody,
    *,
    zone: Zone = Zone.CORE,
    listen: tuple[str, ...] = ("udp", "tcp"),
    port: int = 5060,
    protections_off: frozenset[str] = frozenset(),
    **options: Any,
) -> Node:
    """A node on that host of the virtual network; in the core it trusts 10.0.0.1 to 10.0.0.9."""
    options.setdefault("trusted_nodes", frozenset(f"10.0.0.{n}" for n in range(1, 10)))
    with at_host(host):
        stack = Stack(context(host, protections_off=protections_off), **options)
        for transport in listen:
            address = await stack.listen(Listen(transport, host, port, zone), service)
    return Node(stack, address)


class Peer(asyncio.DatagramProtocol):
    """A socket that speaks octets, to see and say what no stack would."""

    def __init__(self) -> None:
        self.received: list[tuple[float, Request | Response]] = []
        self.answer: Callable[[Request, Address], None] = lambda _request, _source: None

    @classmethod
    async def open(cls, host: str, port: int = 5060) -> "Peer":
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_datagram_endpoint(cls, local_addr=(host, port))
        return peer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        message = parse_message(data)
        self.received.append((asyncio.get_running_loop().time(), message))
        if isinstance(message, Request):
            self.answer(message, address[:2])

    def send(self, message: Request | Response | bytes, target: Address) -> None:
        self.transport.sendto(message if isinstance(message, bytes) else message.to_bytes(), target)

    @property
    def statuses(self) -> list[int]:
        return [message.status for _, message in self.received if isinstance(message, Response)]

    @property
    def methods(self) -> list[str]:
        return [message.method for _, message in self.received if isinstance(message, Request)]

    def times(self, what: str | int) -> list[float]:
        """When a method or a status arrived."""
        return [at for at, m in self.received if what == (m.method if isinstance(m, Request) else m.status)]


def request(method: str, to: str, *, via: str | None = None, call_id: str = "call-1", cseq: int = 1) -> Request:
    """A request without Via, as a service makes one, or with one, as a plain peer does."""
    headers = [
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@home1.net>;tag=a1"),
        ("To", "<sip:bob@home1.net>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
    ]
    made = Request(method, to, headers)
    if via is not None:
        made.push("Via", via)
    return made


def fixed_latency(seed: int, latency_s: float = 0.01) -> Network:
    """A network on which every datagram takes the same time."""
    return Network(seed, latency_s=(latency_s, latency_s))


Scene = Callable[[Network], Awaitable[None]]
