"""An IBCF with a network on one side and a partner on the other, both services that see and say octets."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redoubt.border.hiding import Hiding
from redoubt.border.hiding_keys import Ring, new_ring
from redoubt.border.ibcf import Ibcf
from redoubt.border.unhidden import Recorded
from redoubt.config.interconnect import IbcfConfig, PartnerConfig
from redoubt.events import Event, EventStream, Refused
from redoubt.ndm.partners import Partners
from redoubt.sip.fields import VIA
from redoubt.sip.message import Request, Response, parse_message
from redoubt.sip.service import Context, Exchange, Root, Service, answer
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Clear, Flow, TlsPeer, Zone, internal_flow

REALM = "home1.net"
OTHER = "home2.net"
EPOCH_S = 1_700_000_000.0
PEER = PartnerConfig(name="Home Two", domains=(OTHER,), visited_networks=(OTHER,), serves_visitors=True)
PLAIN = PartnerConfig(
    name="plain", domains=("sip.example",), kind="sip", security="none", addresses=("198.51.100.0/24",)
)
NODES = frozenset(("10.0.0.1", "10.0.0.2"))
VIAS = (
    "SIP/2.0/UDP scscf1.home1.net:5072;branch=z9hG4bKs1;rport",
    "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKp1",
    "SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bKu1",
)


class Side:
    """What is beyond the border: keeps what came, answers as told."""

    def __init__(self) -> None:
        self.came: list[Request] = []
        self.answers: Callable[[Request], Response | None] = lambda request: request.response(200, to_tag="t2")
        self.early: Callable[[Request], list[Response]] = lambda _request: []

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        wire = request.copy()
        wire.push("Via", "SIP/2.0/TCP the.stack;branch=z9hG4bKstack")
        copy = parse_message(wire.to_bytes())
        assert isinstance(copy, Request)
        seen = copy.copy()
        seen.pop_first(VIA)
        self.came.append(seen)
        if request.method == "ACK":
            return None
        for early in self.early(copy.copy()):
            exchange.upward(_back(early))
        await asyncio.sleep(0)
        response = self.answers(copy.copy())
        return None if response is None else _back(response)

    @property
    def last(self) -> Request:
        return self.came[-1]


class Edge:
    """One border node. `ring` may be shared by several."""

    def __init__(
        self,
        *off: str,
        partners: Sequence[PartnerConfig] = (PEER, PLAIN),
        hiding: str = "gcm",
        ring: Callable[[], Ring] | None = None,
        seed: int = 1,
        realm: str = REALM,
        **options: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[Event] = []
        stream = EventStream()
        stream.listen(self.events.append)
        self.context = Context("ibcf", stream, Clock(loop, EPOCH_S), SeededRandomness(seed), frozenset(off))
        known = new_ring(SeededRandomness(7), EPOCH_S)
        self.hiding = None
        if hiding != "off":
            self.hiding = Hiding(self.context, "cbc" if hiding == "cbc" else "gcm", realm, ring or (lambda: known))
        self.partners = Partners(self.context, partners)
        self.inside, self.outside = Side(), Side()
        config = IbcfConfig(uri=f"sip:ibcf.{realm}")
        options.setdefault("recorded", Recorded(("sip:10.0.0.1:5070",), (f"sip:icscf.{realm}", f"sip:bgcf.{realm}")))
        self.ibcf = Ibcf(
            self.context, config, realm, self.partners, self.hiding, self.inside, self.outside, nodes=NODES, **options
        )
        self.early: list[Response] = []

    async def leave(self, request: Request) -> Response:
        """A request of this network on its way to a partner; the final response as nodes inside get it."""
        return await self._through(self.ibcf.from_inside, request, internal_flow("s-cscf"))

    async def enter(self, request: Request, flow: Flow | None = None) -> Response:
        """A request of a partner; the final response as it gets it."""
        return await self._through(self.ibcf.from_outside, request, flow or tls(OTHER))

    async def acknowledge(self, request: Request, flow: Flow | None = None) -> None:
        root = Root(self.context, asyncio.get_running_loop().time() + 180, self.early.append)
        if flow is None:
            await answer(self.ibcf.from_inside, request, Exchange(internal_flow("s-cscf"), root))
        else:
            await answer(self.ibcf.from_outside, request, Exchange(flow, root))

    async def _through(self, service: Service, request: Request, flow: Flow) -> Response:
        root = Root(self.context, asyncio.get_running_loop().time() + 180, self.early.append)
        copy = parse_message(request.to_bytes())
        assert isinstance(copy, Request)
        response = await answer(service, copy, Exchange(flow, root))
        assert response is not None
        return reread(response)

    def refusals(self) -> list[str]:
        return [event.why for event in self.events if isinstance(event, Refused)]


def _back(response: Response) -> Response:
    """As a client transaction hands it up."""
    parsed = reread(response)
    parsed.pop_first(VIA)
    return parsed


def reread(response: Response) -> Response:
    """As octets carry it."""
    parsed = parse_message(response.to_bytes())
    assert isinstance(parsed, Response)
    return parsed


def tls(*names: str) -> Flow:
    """A connection of a partner that proved these names."""
    there, here = ("192.0.2.9", 40_000), ("192.0.2.1", 5061)
    return Flow("tls", here, there, Zone.BORDER, TlsPeer(names, True), lambda _data: None)


def plain(host: str = "198.51.100.9") -> Flow:
    """A plain SIP network, in clear."""
    return Flow("udp", ("192.0.2.1", 5060), (host, 5060), Zone.BORDER, Clear(), lambda _data: None)


def invite(to: str, *headers: tuple[str, str], method: str = "INVITE", body: bytes = b"", **more: str) -> Request:
    """A request with Via, without dialog; `more` are From, To, Call-ID."""
    lines = [
        *[("Via", via) for via in VIAS],
        ("Max-Forwards", more.get("hops", "66")),
        ("From", more.get("from_", "<sip:alice@home1.net>;tag=f1")),
        ("To", more.get("to_", f"<{to}>")),
        ("Call-ID", more.get("call_id", "call-1")),
        ("CSeq", f"{more.get('cseq', '1')} {method}"),
        *headers,
    ]
    return Request(method, to, lines, body)


def from_partner(to: str, *headers: tuple[str, str], method: str = "INVITE", body: bytes = b"", **more: str) -> Request:
    """A request as a partner's border sends it."""
    request = invite(to, *headers, method=method, body=body, **{"from_": "<sip:zoe@home2.net>;tag=f2"} | more)
    request.replace("Via", ["SIP/2.0/TLS ibcf.home2.net;branch=z9hG4bKo1"])
    return request
