"""What all of a phone shares: its flow to the P-CSCF, who it is, how its requests start (TS 24.229 5.1.2A)."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Protocol, TypeVar

from msgspec.structs import replace

from redoubt.gm.association_set import AssociationSet
from redoubt.limits import STREAM_CONNECT_S
from redoubt.phone.audio import Voices
from redoubt.phone.gm import GmOptions, PhoneGm
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.profiles import REDOUBT, PhoneProfile
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.protected import ProtectedStreams
from redoubt.sip.service import Context, Exchange, Root, Service
from redoubt.sip.stack import Stack
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.transport.flow import Flow, FlowFailed, internal_flow

T1_S, T2_S = 2.0, 16.0  # TS 24.229 7.7: timers at the UE
ALLOW = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, MESSAGE, OPTIONS, NOTIFY"

T = TypeVar("T")
Adjust = Callable[[Request], None]
OnProvisional = Callable[[Response], None]


class DialogOwner(Protocol):
    """What takes the requests of one dialog: a call, a subscription."""

    async def handle(self, request: Request, exchange: Exchange) -> Response | None: ...


class Line:
    """One phone's way to its P-CSCF. `adjust` may change each request just before it is sent: faults on demand."""

    def __init__(
        self,
        context: Context,
        identity: PhoneIdentity,
        stack: Stack,
        proxy: str,
        gm: GmOptions | None = None,
        profile: PhoneProfile = REDOUBT,
    ) -> None:
        self.context = context
        self.identity = identity
        self.proxy = proxy
        self.profile = profile
        self.adjust: Adjust | None = None
        self.service_route: tuple[NameAddr, ...] = ()
        self.associated: tuple[NameAddr, ...] = ()
        self.dialogs: dict[tuple[str, str], DialogOwner] = {}  # by Call-ID and this side's tag
        self.instance = identity.instance or self._new_instance()
        self._contact_user = self._user()
        self.voices: Voices | None = None  # of a phone with audio
        self.gm = PhoneGm(context, identity.impi, self.instance, gm, profile.offers) if gm is not None else None
        self._stack = stack
        self._flow: Flow | None = None
        self._stream: Flow | None = None
        self._protected: ProtectedStreams | None = None
        self._inside: dict[int, Flow] = {}  # connections inside association sets, by their number

    async def open(self, service: Service) -> None:
        """Opens the flow that requests go out on, and that the network's come back on: to `service`."""
        proxy = parse_uri(self.proxy)
        if not isinstance(proxy, SipUri):
            raise ValueError(f"{self.proxy} is no SIP URI")
        self._flow = await self._stack.outbound.flow_to(proxy)
        if self.gm is not None:
            self._protected = ProtectedStreams(self._stack, service)
            await self.gm.open(self._flow.local[0], self._flow.remote[0], self._stack.serves(service))

    def close(self) -> None:
        if self.gm is not None:
            self.gm.close()
        if self.voices is not None:
            self.voices.close()

    async def find_voice(self) -> None:
        """Its calls have audio from now on. Raises OSError."""
        self.voices = Voices(self.flow.local[0], self.context.start)
        await self.voices.prepare()

    @property
    def flow(self) -> Flow:
        """To the P-CSCF's unprotected port."""
        if self._flow is None:
            raise RuntimeError("the phone is not open")
        return self._flow

    @property
    def impu(self) -> str:
        """The default identity: the first that the network associated, else the card's first."""
        return str(self.associated[0].uri) if self.associated else self.identity.impu

    @property
    def contact(self) -> NameAddr:
        """Where this phone is reached."""
        host, port = self.flow.local
        if self.gm is not None:
            port = self.gm.port
        bracketed = f"[{host}]" if ":" in host else host
        clear = self.gm is None and self.flow.transport != "udp"
        params = (("transport", self.flow.transport),) if clear else ()
        return NameAddr(None, SipUri("sip", self._contact_user, None, bracketed, port, params), ())

    def request(self, method: str, target: str) -> Request:
        """A request outside a dialog: by the P-CSCF and the stored Service-Route (TS 24.229 5.1.2A.1)."""
        proxy = NameAddr.parse(f"<{self.proxy};lr>")
        request = Request(method, target)
        for route in (proxy, *self.service_route):
            request.add("Route", str(route))
        request.extend([
            ("Max-Forwards", "70"),
            ("From", f"<{self.impu}>;tag={self.context.tag()}"),
            ("To", f"<{target}>"),
            ("Call-ID", self.context.tag()),
            ("CSeq", "1 " + method),
            ("P-Preferred-Identity", f"<{self.impu}>"),
            ("P-Access-Network-Info", self.profile.access_network),
        ])
        if self.profile.user_agent:
            request.add("User-Agent", self.profile.user_agent)
        return request

    def exchange(self, on_response: OnProvisional | None = None, lifetime_s: float = 240.0) -> Exchange:
        """The exchange of a request of this phone's own; 1xx and later 2xx go to `on_response`."""
        deadline = asyncio.get_running_loop().time() + lifetime_s
        root = Root(self.context, deadline, on_response or (lambda _response: None))
        return Exchange(internal_flow(self.context.node), root)

    async def send(self, request: Request, exchange: Exchange | None = None, way: Flow | None = None) -> Response:
        """Sends a request and waits for its final response; a transport failure is a response too. REGISTER knows its
        own `way`; all else goes by the association in use, where there are associations.
        """
        response = await self._sent(request, exchange or self.exchange(), way or await self._way())
        if response is None:
            raise RuntimeError(f"{request.method} ended without a response")
        return response

    async def acknowledge(self, ack: Request) -> None:
        """Sends an ACK, which nobody answers."""
        await self._sent(ack, self.exchange(), await self._way())

    async def change_to_tcp(self) -> None:
        """From now on requests go by TCP, or on by UDP where nobody listens (RFC 3261 18.1.1). The phone is still
        reached where its Contact says.
        """
        proxy = parse_uri(self.proxy)
        if self._stream is None and isinstance(proxy, SipUri) and self.flow.transport == "udp":
            try:
                self._stream = await self._stack.outbound.flow_to(replace(proxy, params=(("transport", "tcp"),)))
            except FlowFailed as fault:
                self.context.notice("warning", f"this handset wants TCP after the challenge: {fault}")

    @property
    def clear_way(self) -> Flow:
        """How REGISTER goes without an association."""
        return self._stream or self.flow

    async def way_on(self, carrier: AssociationSet) -> Flow | None:
        """Inside a set: by TCP as a handset that changes to it, where the set's path has TCP; else by UDP."""
        if carrier.flow is None or not self.profile.tcp_after_challenge:
            return carrier.flow
        stream = self._inside.get(carrier.number)
        if stream is None or stream.is_closed():
            stream = await self._connect(carrier)
        return stream or carrier.flow

    async def _connect(self, carrier: AssociationSet) -> Flow | None:
        assert self.gm is not None and self._protected is not None
        try:
            async with asyncio.timeout(STREAM_CONNECT_S):
                called = await self.gm.call(carrier)
                stream = await self._protected.join(*called) if called is not None else None
        except (OSError, FlowFailed) as fault:
            self.context.notice("warning", f"this handset wants TCP after the challenge: {fault}")
            return None
        if stream is not None:
            self._inside = {number: flow for number, flow in self._inside.items() if not flow.is_closed()}
            self._inside[carrier.number] = stream
        return stream

    def _user(self) -> str:
        if self.profile.contact_user == "uuid":
            return _uuid(sha256(self.instance.encode()).digest()[:16])  # the same for the phone that comes back
        return getattr(parse_uri(self.identity.impu), "user", None) or "phone"

    def _new_instance(self) -> str:
        drawn = self.context.randomness.octets(16)
        if self.profile.instance == "imei":  # the allocation code of test equipment (GSMA TS.06)
            return f"urn:gsma:imei:00101700-{int.from_bytes(drawn, 'big') % 1_000_000:06d}-0"
        return f"urn:uuid:{_uuid(drawn)}"

    async def _way(self) -> Flow | None:
        if self.gm is None:
            return self.clear_way
        carrier = self.gm.carrier()
        return await self.way_on(carrier) if carrier is not None else None

    async def _sent(self, request: Request, exchange: Exchange, way: Flow | None) -> Response | None:
        if self.adjust is not None:
            self.adjust(request)
        if way is None:  # never in the clear (TS 33.203 7.1)
            return None if request.method == "ACK" else request.response(430, to_tag=self.context.tag())
        response = await self.lasting(request, way, self._stack.outbound.to(way)(request, exchange))
        carrier = self.gm.associations.of(way) if self.gm is not None and way.is_reliable else None
        if response is None or response.status != 430 or carrier is None or not way.is_closed():
            return response
        fresh = await self.way_on(carrier)  # the connection had died unnoticed, as with its P-CSCF's process
        if fresh is None:
            return response
        return await self.lasting(request, fresh, self._stack.outbound.to(fresh)(request, exchange))

    async def lasting(self, request: Request, way: Flow, answer: Awaitable[T]) -> T:
        """The associations may be renewed while an INVITE rings: the one that carries it waits (TS 33.203 7.4)."""
        if request.method == "INVITE" and self.gm is not None:
            return await self.gm.associations.serve(way, answer)
        return await answer


def _uuid(octets: bytes) -> str:
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
