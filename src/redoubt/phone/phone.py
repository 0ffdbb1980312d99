"""The test phone: one subscriber's user agent (TS 24.229 5.1). Registers, calls, answers, sends messages."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from redoubt.phone.call import Call
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.incoming import Answering, Incoming
from redoubt.phone.line import ALLOW, Adjust, Line
from redoubt.phone.media import MEDIA_TYPE
from redoubt.phone.outgoing import Outgoing
from redoubt.phone.profiles import REDOUBT, PhoneProfile
from redoubt.phone.registration import Registration, RegistrationResult
from redoubt.phone.subscription import Subscription
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTENT_TYPE, REQUIRE
from redoubt.sip.message import Request, Response
from redoubt.sip.server_merged import MergedRequests
from redoubt.sip.service import Context, Exchange
from redoubt.sip.stack import Stack
from redoubt.sip.uri import SipUri
from redoubt.transport.flow import Flow, Zone
from redoubt.transport.listen import Listen

METHODS = frozenset(ALLOW.split(", "))
EXTENSIONS = frozenset(("100rel",))
TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A MESSAGE that came (RFC 3428)."""

    sender: str
    text: str


class Phone:
    """A phone with one line. Open it, register it, use it, close it."""

    def __init__(
        self,
        context: Context,
        identity: PhoneIdentity,
        stack: Stack,
        proxy: str,
        *,
        renews: bool = True,
        gm: GmOptions | None = None,
        profile: PhoneProfile = REDOUBT,
    ) -> None:
        """With `gm` it registers under IPsec and speaks in no other way; without, AKA is all that protects it."""
        self.context = context
        self.identity = identity
        self.line = Line(context, identity, stack, proxy, gm, profile)
        self.registration = Registration(self.line, renews=renews)
        self.subscription: Subscription | None = None
        self.answering = Answering()
        self.messages: list[TextMessage] = []
        self.incoming: asyncio.Queue[Call] = asyncio.Queue()
        self.on_message: Callable[[TextMessage], None] = lambda _message: None
        self.registration.on_renewed = self._renewed
        self._stack = stack
        self._merged = MergedRequests()

    # ---- what a user does

    async def open(self, listen: str) -> None:
        """Opens the phone's socket, e.g. `udp:127.0.0.1:0`, and its flow to the P-CSCF."""
        await self._stack.listen(Listen.parse(listen, Zone.ACCESS), self)
        await self.line.open(self)

    async def close(self) -> None:
        """Stops at once, as a phone without a battery does."""
        self.registration.stop()
        if self.subscription is not None:
            self.subscription.end()
        await self._stack.close()
        self.line.close()

    async def register(self, expires_s: int | None = None, *, subscribe: bool = False) -> RegistrationResult:
        """Registers or renews; then subscribes to the registration state (TS 24.229 5.1.1.3) if told to."""
        result = await self.registration.register(expires_s)
        watches = self.subscription is not None and self.subscription.is_active
        if result.registered and (subscribe or watches or self.line.profile.subscribes):
            await self._watch()
        return result

    async def deregister(self) -> RegistrationResult:
        """Ends the registration (TS 24.229 5.1.1.6); the NOTIFY that follows ends the subscription."""
        result = await self.registration.register(0)
        if self.subscription is not None and not self.registration.holds:
            self.subscription.end_soon()
        return result

    def dial(self, target: str) -> Call:
        """Starts a call and returns at once; await `rings()`, `answered()`, `ended()` on it."""
        outgoing = Outgoing(self.line, target)
        self.context.start(outgoing.run(), outgoing.call.call_id)
        return outgoing.call

    async def call(self, target: str) -> Call:
        """Calls and waits for the final response."""
        call = self.dial(target)
        await call.answered()
        return call

    async def message(self, target: str, text: str) -> Response:
        """Sends a MESSAGE (RFC 3428) and waits for its response."""
        request = self.line.request("MESSAGE", target)
        request.add("Content-Type", TEXT)
        request.body = text.encode()
        return await self.line.send(request)

    async def options(self, target: str) -> Response:
        """Asks what the other side can do (RFC 3261 11)."""
        request = self.line.request("OPTIONS", target)
        request.add("Accept", MEDIA_TYPE)
        return await self.line.send(request)

    @property
    def adjust(self) -> Adjust | None:
        """A change made to every request before it is sent: how tests make a phone misbehave."""
        return self.line.adjust

    @adjust.setter
    def adjust(self, change: Adjust | None) -> None:
        self.line.adjust = change

    @property
    def open_dialogs(self) -> int:
        """Calls and subscriptions that are not over."""
        return len(self.line.dialogs)

    # ---- what it does by itself

    def _renewed(self) -> None:
        if self.subscription is not None and not self.subscription.is_leaving:
            self.context.start(self._watch())

    async def _watch(self) -> None:
        """Goes on with the subscription to the registration state, or begins one."""
        if self.subscription is not None and self.subscription.is_active:
            self.subscription.expect_news()
            return
        self.subscription = Subscription(self.line, self.registration, self._watch)
        await self.subscription.start()

    # ---- what the network asks

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        """The user agent server (RFC 3261 8.2): its checks in their order, then the method."""
        self._check_source(exchange.flow)
        tag = request.to.tag
        if request.method == "ACK":
            owner = self.line.dialogs.get((request.call_id, tag or ""))
            return None if owner is None else await owner.handle(request, exchange)
        check_method(request)
        check_extensions(request)
        if tag is not None:
            return await self._in_dialog(request, exchange, tag)
        self._check_addressee(request)
        self._merged.check(request)
        match request.method:
            case "INVITE":
                return await self._invited(request, exchange)
            case "MESSAGE":
                return self._message_came(request)
            case "OPTIONS":
                return self._capabilities(request)
        raise SipError(481, f"a {request.method} outside a dialog", "RFC 3261 12.2.2")

    async def _in_dialog(self, request: Request, exchange: Exchange, tag: str) -> Response | None:
        owner = self.line.dialogs.get((request.call_id, tag))
        if owner is None:
            raise SipError(481, "the dialog is not known here", "RFC 3261 12.2.2")
        return await owner.handle(request, exchange)

    async def _invited(self, request: Request, exchange: Exchange) -> Response:
        incoming = Incoming(self.line, request, exchange, self.answering)
        self.incoming.put_nowait(incoming.call)
        return await self.line.lasting(request, exchange.flow, incoming.run())

    def _message_came(self, request: Request) -> Response:
        content = request.first(CONTENT_TYPE)
        if content is None or content.media_type != TEXT:
            raise SipError(415, "a MESSAGE that is no plain text", "RFC 3261 8.2.3", (("Accept", TEXT),))
        message = TextMessage(request.from_.uri.aor, request.body.decode("utf-8", "replace"))
        self.messages.append(message)
        self.on_message(message)
        return request.response(200, to_tag=self.context.tag())

    def _capabilities(self, request: Request) -> Response:
        headers = (("Allow", ALLOW), ("Accept", f"{MEDIA_TYPE}, {TEXT}"), ("Supported", ", ".join(EXTENSIONS)))
        return request.response(200, to_tag=self.context.tag(), headers=headers)

    def _check_source(self, flow: Flow) -> None:
        """A phone listens to its P-CSCF alone (TS 24.229 5.1.1.2)."""
        gm = self.line.gm
        if not gm.serves(flow) if gm is not None else flow.remote[0] != self.line.flow.remote[0]:
            raise SipError(403, "a request that did not come from the P-CSCF", "TS 24.229 5.1.1.2")

    def _check_addressee(self, request: Request) -> None:
        """RFC 3261 8.2.2.1: the Request-URI is this phone's contact."""
        uri = request.request_uri
        ours = self.line.contact.uri
        if not isinstance(uri, SipUri):
            raise SipError(416, "the Request-URI is no SIP URI", "RFC 3261 8.2.2.1")
        if not isinstance(ours, SipUri) or uri.user != ours.user:
            raise SipError(404, "nobody of that name is at this phone", "RFC 3261 8.2.2.1")


def check_method(request: Request) -> None:
    """RFC 3261 8.2.1."""
    if request.method not in METHODS:
        raise SipError(405, f"{request.method} is not for phones", "RFC 3261 8.2.1", (("Allow", ALLOW),))


def check_extensions(request: Request) -> None:
    """RFC 3261 8.2.2.3: what is required and unknown is named in the refusal."""
    if request.method == "CANCEL":
        return
    unknown = [name for name in request.every(REQUIRE) if name not in EXTENSIONS]
    if unknown:
        headers = (("Unsupported", ", ".join(unknown)),)
        raise SipError(420, f"unknown extensions {', '.join(unknown)}", "RFC 3261 8.2.2.3", headers)
