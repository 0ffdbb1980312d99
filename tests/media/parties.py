"""Two parties of a call with real media sockets, and the anchoring between them: in the simulator, without a core."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from redoubt.config.interconnect import MediaConfig
from redoubt.events import Bug, EventStream, Refused
from redoubt.media.anchoring import Anchoring, Outsider
from redoubt.media.relay import Relay
from redoubt.media.rtp import rtp_packet
from redoubt.sim import Network, run
from redoubt.sip.message import Request, Response
from redoubt.sip.sdp import Session, parse_sdp
from redoubt.sip.service import Context, Exchange, Root, answer
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import internal_flow
from redoubt.transport.media import MediaSocket, open_media

INSIDE, OUTSIDE = "10.9.0.1", "192.0.2.1"
CONFIG = MediaConfig(inside=(INSIDE, "fd00:9::1"), outside=(OUTSIDE, "2001:db8::1"), ports=(40_000, 40_999), idle=60)
AS_SDP = (("Content-Type", "application/sdp"),)
Answers = Callable[[Request, Exchange], Awaitable[Response | None]]


def described(host: str, port: int, *more: str, version: int = 1, media: str = "audio {port} RTP/AVP 8 0") -> bytes:
    """A description of one stream at that place."""
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- 7 {version} IN {family} {host.split('/')[0]}", "s=-", f"c=IN {family} {host}", "t=0 0"]
    lines += ["m=" + media.format(port=port), *more]
    return ("\r\n".join(lines) + "\r\n").encode()


def place(description: bytes | Session, at: int = 0) -> tuple[str, int]:
    """Where a stream of a description is."""
    session = parse_sdp(description) if isinstance(description, bytes) else description
    connection = session.connection_of(session.media[at])
    assert connection is not None
    return connection.address.host, session.media[at].port


@dataclass
class Ear:
    """A socket of a party, and what it heard."""

    socket: MediaSocket
    heard: list[bytes] = field(default_factory=list)
    sent: int = 0

    @classmethod
    async def at(cls, host: str, port: int = 0) -> "Ear":
        ear = cls(await open_media(host, port))
        ear.socket.on_packet = lambda packet, _source: ear.heard.append(packet)
        return ear

    @property
    def local(self) -> tuple[str, int]:
        return self.socket.local

    def speak(self, target: tuple[str, int], text: bytes = b"hello", payload_type: int = 8) -> bytes:
        packet = rtp_packet(payload_type, self.sent, self.sent * 160, 7, text)
        self.sent += 1
        self.socket.send(packet, target)
        return packet

    async def reaches(self, target: tuple[str, int], other: "Ear", packet: bytes = b"") -> bool:
        """Whether what it says to that place, or that packet, is heard by the other."""
        if packet:
            self.socket.send(packet, target)
        else:
            packet = self.speak(target, f"{self.local} {self.sent}".encode())
        await asyncio.sleep(0.1)
        return packet in other.heard


class World:
    """A relay between an inside and an outside, and a way to send requests through it."""

    def __init__(self, config: MediaConfig = CONFIG, off: tuple[str, ...] = ()) -> None:
        self.events = EventStream()
        clock = Clock(asyncio.get_running_loop(), 1_700_000_000.0)
        self.context = Context("ibcf", self.events, clock, SeededRandomness(1), frozenset(off))
        self.relay = Relay(self.context, config, frozenset({("10.0.0.9", 5060)}))
        self.anchoring = Anchoring(self.context, self.relay)
        self.outsider = Outsider()
        self.upward: list[Response] = []
        self.ears: list[Ear] = []

    async def ear(self, host: str, port: int = 0) -> Ear:
        ear = await Ear.at(host, port)
        self.ears.append(ear)
        return ear

    async def inward(self, request: Request, to: Answers) -> Response | None:
        """A request from outside."""
        return await answer(self.anchoring.inward(to, self.outsider), request, self.exchange())

    async def outward(self, request: Request, to: Answers) -> Response | None:
        """A request to outside."""
        return await answer(self.anchoring.outward(to, self.outsider), request, self.exchange())

    def exchange(self) -> Exchange:
        return Exchange(internal_flow("caller"), Root(self.context, 1e9, self.upward.append))

    def refusals(self) -> list[Refused]:
        return [event for event in self.events.recent if isinstance(event, Refused)]

    def is_empty(self) -> bool:
        return not any(self.relay.table_sizes().values()) and not len(self.anchoring) and not self.anchoring._of_party


def asks(method: str, body: bytes = b"", *, to_tag: str | None = None, from_tag: str = "a", cseq: int = 1) -> Request:
    """A request of a call."""
    request = Request(method, "sip:bob@b.example")
    request.extend([
        ("Via", "SIP/2.0/UDP a.example;branch=z9hG4bK1"), ("From", f"<sip:alice@a.example>;tag={from_tag}"),
        ("To", "<sip:bob@b.example>" + (f";tag={to_tag}" if to_tag else "")), ("Call-ID", "call-1"),
        ("CSeq", f"{cseq} {method}"),
    ])  # fmt: skip
    if body:
        request.extend(AS_SDP)
        request.body = body
    return request


def answers(body: bytes = b"", status: int = 200, to_tag: str = "b") -> tuple[Answers, list[Request]]:
    """A service that answers so, and the requests that reached it."""
    seen: list[Request] = []

    async def service(request: Request, _exchange: Exchange) -> Response | None:
        seen.append(request)
        return None if request.method == "ACK" else response(request, body, status, to_tag)

    return service, seen


def response(request: Request, body: bytes = b"", status: int = 200, to_tag: str = "b") -> Response:
    made = request.response(status, to_tag=to_tag, headers=AS_SDP if body else ())
    made.body = body
    return made


@dataclass
class Made:
    """A call through the relay: where each side sends."""

    for_outside: tuple[str, int]
    for_inside: tuple[str, int]


async def call_in(world: World, outside: Ear, inside: Ear) -> Made:
    """INVITE from outside, 200 from inside, with one stream each."""
    to, seen = answers(described(*inside.local))
    got = await world.inward(asks("INVITE", described(*outside.local)), to)
    assert got is not None and got.status == 200, world.refusals()
    return Made(place(got.body), place(seen[0].body))


async def hang_up(world: World) -> None:
    to, _seen = answers()
    await world.inward(asks("BYE", to_tag="b", cseq=9), to)


def simulated(script: Callable[..., Awaitable[None]], *, leaves: bool = False, **world: Any) -> None:
    """Runs a script in a world; no bug may be recorded, and nothing may stay open."""

    async def main(_network: Network) -> None:
        made = World(**world)
        await script(made)
        assert [event for event in made.events.recent if isinstance(event, Bug)] == []
        if not leaves:
            assert made.is_empty(), made.relay.table_sizes()
        made.relay.close()
        for ear in made.ears:
            ear.socket.close()

    run(main, 1)
