"""A P-CSCF and the sessions of an S-CSCF, joined by calls, with phones that are services. The registrar and the I-CSCF
are the least that these need; their own tests are elsewhere."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from redoubt.config import PCscfConfig, SCscfConfig
from redoubt.cscf.pcscf.pcscf import PCscf
from redoubt.cscf.registering import contact_identity
from redoubt.cscf.scscf.regevent import RegEvent
from redoubt.cscf.scscf.registrations import Binding, Registrations
from redoubt.cscf.scscf.restoration import Restoration
from redoubt.cscf.scscf.sessions import Sessions
from redoubt.diameter.cx import PublicIdentity, ResultCode, ServerAssignmentAnswer, ServiceProfile, UserProfile
from redoubt.events import EventStream
from redoubt.network.dispatch import Dispatch
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, P_ASSERTED_IDENTITY, ROUTE
from redoubt.sip.message import Request, Response, parse_message
from redoubt.sip.service import Context, Exchange, Root, answer, conclude, originate
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Clear, Flow, Zone

REALM = "ims.example"
PCSCF = "sip:pcscf.ims.example"
SCSCF = "sip:scscf.ims.example"
GM = ("192.0.2.1", 5060)


class KnowsEverybody:
    """The HSS, as far as a called user who is not registered needs one."""

    async def server_assignment(self, *_asked: object) -> ServerAssignmentAnswer:
        return ServerAssignmentAnswer(ResultCode.SUCCESS)


class Core:
    """Everything between the phones."""

    def __init__(self, *off: str, subscribe: bool = False, seed: int = 1) -> None:
        loop = asyncio.get_running_loop()
        self.events = EventStream()
        self.context = Context("core", self.events, Clock(loop, 0.0), SeededRandomness(seed), frozenset(off))
        self.phones: dict[tuple[str, int], Phone] = {}
        self.seen: list[Request] = []  # what reached the core, as it came
        self.profiles: dict[str, UserProfile] = {}
        self.registrations = Registrations()
        hosts: dict[str, tuple[str, object]] = {}
        dispatch = Dispatch(self.context, hosts, self.nowhere)  # type: ignore[arg-type]
        config = PCscfConfig(subscribe_reg_event=subscribe, visited_network=REALM)
        self.pcscf = PCscf(self.context.named("p-cscf"), config, REALM, PCSCF, dispatch, self, lambda _uri: True)
        hss: Any = KnowsEverybody()
        context, config_s = self.context.named("s-cscf"), SCscfConfig()
        regevent = RegEvent(context, SCSCF, dispatch)
        restoration = Restoration(context, config_s, SCSCF, hss, self.registrations, regevent, lambda: None)
        self.sessions = Sessions(context, config_s, REALM, SCSCF, self.registrations, restoration, hss, dispatch)
        hosts[REALM] = ("i-cscf", self.icscf)
        hosts["scscf.ims.example"] = ("s-cscf", self.scscf)
        hosts["pcscf.ims.example"] = ("p-cscf", self.pcscf.from_core)
        self.accepts_reg_event = False
        self.challenge: tuple[tuple[str, str], ...] = ()
        self.before_registrar: Callable[[], Awaitable[object]] | None = None
        self.answers_star: tuple[tuple[str, str], ...] = ()

    async def nowhere(self, request: Request, exchange: Exchange) -> Response | None:
        self.seen.append(request.copy())
        raise SipError(502, "the test network ends here")

    async def icscf(self, request: Request, exchange: Exchange) -> Response | None:
        self.seen.append(request.copy())
        if request.method == "REGISTER":
            if self.before_registrar is not None:
                await self.before_registrar()
            return self.registrar(request)
        if request.method == "SUBSCRIBE" and request.get("Event") == "reg" and self.accepts_reg_event:
            return request.response(200, to_tag="s", headers=(("Expires", "600000"),))
        if request.has("Route"):
            request.pop_first(ROUTE)
        return await self.sessions.terminating(request, exchange)

    async def scscf(self, request: Request, exchange: Exchange) -> Response | None:
        self.seen.append(request.copy())
        route = request.pop_first(ROUTE)
        assert route is not None
        if request.to.tag is not None:
            return await self.sessions.in_dialog(request, exchange)
        return await self.sessions.originating(request, exchange)

    def registrar(self, request: Request) -> Response:
        if self.challenge and 'response=""' in (request.get("Authorization") or 'response=""'):
            return request.response(401, to_tag="reg", headers=self.challenge)
        impu = request.to.uri.aor
        if request.get("Contact") == "*":
            return request.response(200, to_tag="reg", headers=self.answers_star)
        contacts = request.every(CONTACT)
        expires = int(request.get("Expires") or 3600)
        impi = impu.removeprefix("sip:")
        profile = self.profiles.setdefault(
            impu, UserProfile(impi, (ServiceProfile((PublicIdentity(impu), PublicIdentity(_number(impu)))),))
        )
        path = tuple(request.all("Path"))
        for contact in contacts:
            binding = Binding(str(contact.uri), impi, impu, path, contact.q, _now() + expires, request.call_id, 1)
            binding.key = contact_identity(impi, contact)
            found = self.registrations.add(profile, binding)
            if expires == 0:
                self.registrations.remove(found, binding)
        if expires == 0:
            return request.response(200, to_tag="reg")
        associated = ", ".join(f"<{identity.impu}>" for identity in profile.identities if not identity.barred)
        return request.response(
            200,
            to_tag="reg",
            headers=(
                *[("Contact", f"<{contact.uri}>;expires={expires}") for contact in contacts],
                ("Path", path[0]),
                ("Service-Route", f"<sip:orig@{SCSCF.removeprefix('sip:')};lr>"),
                ("P-Associated-URI", associated),
                ("P-Charging-Function-Addresses", "ccf=10.0.0.1"),
            ),
        )

    def to(self, flow: Flow) -> "WayToPhone":
        return WayToPhone(self, flow)

    async def from_core(self, request: Request) -> int:
        """Hands a request to the P-CSCF as another core node would; the status that comes back."""
        response = await originate(self.pcscf.from_core, request, self.context)
        assert response is not None
        return response.status

    def sent(self, method: str) -> Request:
        """The last request of this method that reached the core."""
        return [request for request in self.seen if request.method == method][-1]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _number(impu: str) -> str:
    """Each test user has a telephone number made from its name."""
    name = impu.removeprefix("sip:").partition("@")[0]
    return "tel:+1" + "".join(str(ord(letter) % 10) for letter in name)


class WayToPhone:
    """What Outbound does towards a flow: a Via more, bytes, and the responses back up."""

    def __init__(self, core: Core, flow: Flow) -> None:
        self.core = core
        self.flow = flow

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        phone = self.core.phones.get(self.flow.remote)
        if phone is None:
            raise SipError(430, "nobody at the other end of the flow")
        copy = parse_message(request.to_bytes())
        assert isinstance(copy, Request)
        copy.push("Via", f"SIP/2.0/UDP pcscf.ims.example;branch=z9hG4bK{self.core.context.tag()}")
        root = Root(
            self.core.context, exchange.deadline, lambda response: exchange.upward(_back(response))
        )
        forget = exchange.cancelled.then(lambda: root.cancelled.happen(exchange.cancelled.reason))
        response = await answer(phone.serve, copy, Exchange(self.flow, root))
        forget()
        if response is None:
            return None
        phone.adjust(response)
        return _back(response)


def _back(response: Response) -> Response:
    parsed = parse_message(response.to_bytes())
    assert isinstance(parsed, Response)
    vias = parsed.all("Via")[1:]
    parsed.remove("Via")
    for via in reversed(vias):
        parsed.push("Via", via)
    return parsed


class Phone:
    """A phone at an address: sends requests as bytes, answers those that come."""

    def __init__(self, core: Core, name: str, port: int, host: str = "198.51.100.1") -> None:
        self.core = core
        self.name = name
        self.tag = f"{name}-tag"
        self.impu = f"sip:{name}@{REALM}"
        self.contact = f"sip:{name}@{host}:{port}"
        self.flow = Flow("udp", GM, (host, port), Zone.ACCESS, Clear(), lambda _data: None)
        self.received: list[Request] = []
        self.responses: list[Response] = []
        self.answers: dict[str, int] = {}  # method -> status
        self.rings = False  # 180, then silence until CANCEL or `pick_up`
        self.was_cancelled = False
        self.cancelled_because: str | None = None
        self.pick_up = asyncio.Event()
        self.adjust: Callable[[Response], None] = lambda _response: (
            None
        )  # the last word on its final responses
        self.extra: tuple[tuple[str, str], ...] = ()  # on each response
        self.root: Root | None = None
        self.heard = asyncio.Event()
        core.phones[(host, port)] = self

    async def serve(self, request: Request, exchange: Exchange) -> Response | None:
        self.received.append(request)
        if request.method == "ACK":
            return None
        routes = tuple(("Record-Route", line) for line in request.all("Record-Route"))
        headers = (*routes, ("Contact", f"<{self.contact}>"), *self.extra)
        if request.method == "INVITE" and request.to.tag is None:
            exchange.upward(request.response(180, to_tag=self.tag, headers=headers))
            if self.rings and not await self._picked_up(exchange):
                self.was_cancelled, self.cancelled_because = True, exchange.cancelled.reason
                return request.response(487, to_tag=self.tag)
        return request.response(self.answers.get(request.method, 200), to_tag=self.tag, headers=headers)

    async def _picked_up(self, exchange: Exchange) -> bool:
        cancelled = asyncio.ensure_future(exchange.cancelled.wait())
        picked = asyncio.ensure_future(self.pick_up.wait())
        await asyncio.wait((cancelled, picked), return_when=asyncio.FIRST_COMPLETED)
        for task in (cancelled, picked):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return self.pick_up.is_set()

    def request(
        self,
        method: str,
        uri: str,
        *more: tuple[str, str],
        call_id: str = "c1",
        cseq: int = 1,
        to: str = "",
        tag: str = "",
    ) -> Request:
        return Request(
            method,
            uri,
            [
                (
                    "Via",
                    f"SIP/2.0/UDP {self.flow.remote[0]}:{self.flow.remote[1]};branch=z9hG4bK{self.name}{cseq}{method}",
                ),
                ("Max-Forwards", "70"),
                ("From", f"<{self.impu}>;tag={tag or self.tag}"),
                ("To", to or f"<{uri}>"),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} {method}"),
                ("Contact", f"<{self.contact}>"),
                *more,
            ],
        )

    async def send(self, request: Request, flow: Flow | None = None) -> Response | None:
        """Through the P-CSCF and back, as the edge would."""
        return await self._send(request.to_bytes(), flow or self.flow)

    async def send_octets(self, data: bytes) -> Response:
        """A request as it comes, for what no printer would print."""
        response = await self._send(data, self.flow)
        assert response is not None
        return response

    async def _send(self, data: bytes, flow: Flow) -> Response | None:
        parsed = parse_message(data)
        assert isinstance(parsed, Request)
        loop = asyncio.get_running_loop()
        root = self.root = Root(self.core.context, loop.time() + 180, self._hear)
        response = await answer(self.core.pcscf.from_phone, parsed, Exchange(flow, root))
        await conclude(root, "")
        return response

    async def register(self, *more: tuple[str, str], expires: int = 3600, q: str = "") -> Response:
        request = self.request(
            "REGISTER",
            f"sip:{REALM}",
            ("Expires", str(expires)),
            *more,
            to=f"<{self.impu}>",
            call_id=f"r-{self.name}",
        )
        if q:
            request.set("Contact", f"<{self.contact}>;q={q}")
        response = await self.send(request)
        assert response is not None
        return response

    async def hears(self) -> None:
        """Waits for the next provisional response."""
        self.heard.clear()
        await self.heard.wait()

    def _hear(self, response: Response) -> None:
        self.responses.append(response)
        self.heard.set()

    async def call(self, other: "Phone", *more: tuple[str, str], call_id: str = "c1") -> Response:
        response = await self.send(self.request("INVITE", other.impu, *more, call_id=call_id))
        assert response is not None
        return response

    def inside(self, method: str, answered: Response, cseq: int = 2, *more: tuple[str, str]) -> Request:
        """A request in the dialog that this phone's own INVITE made."""
        contact = answered.need(CONTACT)
        request = self.request(
            method, str(contact.uri), *more, call_id=answered.call_id, cseq=cseq, to=answered.get("To") or ""
        )
        for route in answered.all("Record-Route"):
            request.push("Route", route)
        return request

    def inside_called(self, method: str, invite: Request, cseq: int = 1) -> Request:
        """A request in the dialog that an INVITE to this phone made."""
        contact = invite.need(CONTACT)
        request = self.request(
            method,
            str(contact.uri),
            call_id=invite.call_id,
            cseq=cseq,
            to=invite.get("From") or "",
            tag=self.tag,
        )
        for route in reversed(invite.all("Record-Route")):
            request.push("Route", route)
        return request


def asserted(message: Request | Response) -> list[str]:
    return [str(identity.uri) for identity in message.every(P_ASSERTED_IDENTITY)]


async def two(*off: str) -> tuple[Core, Phone, Phone]:
    """Alice and Bob, registered."""
    core = Core(*off)
    alice, bob = Phone(core, "alice", 6001), Phone(core, "bob", 6002)
    assert (await alice.register()).status == 200
    assert (await bob.register()).status == 200
    return core, alice, bob


async def sent(phone: Phone, request: Request) -> Response:
    """The response, which there must be."""
    response = await phone.send(request)
    assert response is not None
    return response


def bugs(core: Core) -> list[object]:
    return [event for event in core.events.recent if type(event).__name__ == "Bug"]
