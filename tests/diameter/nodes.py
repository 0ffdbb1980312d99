"""Diameter nodes for tests: two that know each other, and a raw socket that says what it likes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redoubt.config import DiameterConfig, DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX, Application
from redoubt.diameter.codec import DiameterMessage, decode
from redoubt.diameter.framing import Framer
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.events import Check, Event, EventStream
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

from .messages import group, vendor_specific

REALM = "ims.test"
HSS, SCSCF = "hss.ims.test", "scscf.ims.test"
LIR = CX.commands["LIR"]
EPOCH_S = 1_700_000_000.0
Handler = Callable[[DiameterMessage, Peer], Awaitable[DiameterMessage]]


async def obliging(message: DiameterMessage, peer: Peer) -> DiameterMessage:
    """Answers everything with success."""
    return message.answer()


class Station:
    """A node with its events."""

    def __init__(self, identity: str, *, off: tuple[str, ...] = (), config: DiameterConfig | None = None, **more: Any):
        events = EventStream()
        self.events: list[Event] = []
        events.listen(self.events.append)
        loop = asyncio.get_running_loop()
        clock = Clock(loop, EPOCH_S + loop.time())  # one wall clock for all that start in a test, whenever they do
        randomness = SeededRandomness(int.from_bytes(identity.encode(), "big"))
        self.context = Context(identity.partition(".")[0], events, clock, randomness, frozenset(off))
        self.node = Node(self.context, identity, REALM, config, **more)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def broken_rules(self) -> list[str]:
        return [check.rule for check in self.of(Check) if not check.passed]

    def why(self) -> str:
        return "\n".join(map(str, self.events))


async def hss(
    *clients: str | DiameterPeer,
    handler: Handler = obliging,
    host: str = "127.0.0.1",
    identity: str = HSS,
    application: Application = CX,
    transport: str = "tcp",
    where: str = "",
    **more: Any,
) -> tuple[Station, str]:
    """A node that answers Cx and listens, and where: what `connect` takes."""
    station = Station(identity, **more)
    station.node.serve(application, handler)
    for client in clients:
        station.node.connect_to(DiameterPeer(identity=client, realm=REALM) if isinstance(client, str) else client)
    bound = await station.node.listen(where or f"{transport}:{host}:0")
    return station, f"{transport}:{bound[0]}:{bound[1]}"


async def cscf(*servers: tuple[str, str], identity: str = SCSCF, wait_s: float = 3.0, **more: Any) -> Station:
    """A node that is connected to servers: pairs of identity and address."""
    station = Station(identity, **more)
    for server, where in servers:
        station.node.connect_to(DiameterPeer(identity=server, realm=REALM, connect=where))
    if wait_s:
        assert await station.node.connected(wait_s), station.why()
    return station


def lir(station: Station, impu: str = "sip:bob@ims.test") -> DiameterMessage:
    return station.node.new_request(CX, LIR).add(d.PUBLIC_IDENTITY, impu)


async def result(station: Station, message: DiameterMessage | None = None, **more: Any) -> int | None:
    answer = await station.node.request(message or lir(station), **more)
    return answer.first(d.RESULT_CODE)


async def closed(*stations: Station) -> None:
    await asyncio.gather(*(station.node.close() for station in stations))


class Raw(asyncio.Protocol):
    """A plain connection to a node: sends octets, keeps what comes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.messages: list[DiameterMessage] = []
        self.is_closed = False
        self._framer = Framer()
        self._arrived = asyncio.Event()

    @classmethod
    async def dial(cls, where: str, **more: Any) -> "Raw":
        _, host, port = where.split(":")
        _, raw = await asyncio.get_running_loop().create_connection(cls, host, int(port), **more)
        return raw

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for message in map(decode, self._framer.feed(data)):
            if message.command == 280 and message.is_request:
                self.send(message.answer().add(d.ORIGIN_HOST, SCSCF).add(d.ORIGIN_REALM, REALM))
            else:
                self.messages.append(message)
        self._arrived.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        self._arrived.set()

    def send(self, message: DiameterMessage | bytes) -> None:
        assert self.transport is not None
        self.transport.write(message if isinstance(message, bytes) else message.to_bytes())

    async def next(self, wait_s: float = 3.0) -> DiameterMessage:
        """The next message that comes."""
        async with asyncio.timeout(wait_s):
            while not self.messages:
                assert not self.is_closed, "the connection was closed"
                self._arrived.clear()
                await self._arrived.wait()
        return self.messages.pop(0)

    async def ended(self, wait_s: float = 3.0) -> bool:
        """Whether the node closes the connection."""
        try:
            async with asyncio.timeout(wait_s):
                while not self.is_closed:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    async def ask(self, message: DiameterMessage) -> DiameterMessage:
        self.send(message)
        return await self.next()

    async def introduced(self, identity: str = SCSCF) -> "Raw":
        """After a good capabilities exchange."""
        cea = await self.ask(cer(identity))
        assert cea.first(d.RESULT_CODE) == 2001
        return self

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()


def cer(identity: str = SCSCF, realm: str = REALM, application: int = CX.number) -> DiameterMessage:
    message = DiameterMessage(257, 0, 0x80, 1, 1)
    message.add(d.ORIGIN_HOST, identity).add(d.ORIGIN_REALM, realm).add(d.VENDOR_ID, 10415)
    message.add(d.PRODUCT_NAME, "raw")
    identifier = vendor_specific()
    if application != CX.number:
        identifier = group((d.VENDOR_ID, 10415), (d.AUTH_APPLICATION_ID, application))
    return message.add(d.VENDOR_SPECIFIC_APPLICATION_ID, identifier)


def raw_lir(number: int = 7, identity: str = SCSCF, realm: str = REALM, **more: Any) -> DiameterMessage:
    """A request as a plain socket sends it."""
    message = DiameterMessage(LIR, CX.number, hop_by_hop=number, end_to_end=number, **more)
    message.add(d.SESSION_ID, f"{identity};1;{number}").add(d.VENDOR_SPECIFIC_APPLICATION_ID, vendor_specific())
    message.add(d.AUTH_SESSION_STATE, d.AuthSessionState.NO_STATE_MAINTAINED)
    message.add(d.ORIGIN_HOST, identity).add(d.ORIGIN_REALM, realm).add(d.DESTINATION_REALM, REALM)
    return message.add(d.PUBLIC_IDENTITY, "sip:bob@ims.test")
