"""The phone's subscription to its own registration state (TS 24.229 5.1.1.3, RFC 3680, RFC 6665)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from redoubt.cscf.reginfo import MEDIA_TYPE, ContactInfo, RegInfo, parse_reginfo
from redoubt.phone.dialog import NO_CSEQ, Dialog
from redoubt.phone.line import T1_S, Line
from redoubt.phone.notify_checks import fault_of
from redoubt.phone.registration import EXPIRES_S, Registration
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTENT_TYPE, EVENT, EXPIRES, SUBSCRIPTION_STATE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange
from redoubt.sip.uri import SipUri, parse_uri

NO_VERSION = -1
LEAVES_AFTER_S = 21.0, 32.0  # a strict handset that met a wrong NOTIFY (siphon-sip#140)
RENEW_EARLY_S = 600
DOUBT_S = 128 * T1_S  # a NOTIFY under way and the one after it: by then one has told of a renewed registration


class Subscription:
    """One SUBSCRIBE dialog; what its NOTIFYs say is done to `registration`."""

    def __init__(self, line: Line, registration: Registration, anew: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._line = line
        self._anew = anew  # begins another one
        self._registration = registration
        self._first = self._subscribe()
        self._dialog: Dialog | None = None
        self._version = NO_VERSION
        self._timer: asyncio.TimerHandle | None = None
        self._doubt: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._leaving: asyncio.TimerHandle | None = None
        self.complaint = ""  # what a strict handset found wrong
        self.heard = asyncio.Event()
        self.notified = 0
        self.state = "init"
        self.is_leaving = False  # a later registration needs a subscription of its own

    async def start(self) -> Response:
        """Subscribes; NOTIFYs may overtake the 200 (RFC 6665 4.1.2.4)."""
        key = self._key
        self._line.dialogs[key] = self
        response = await self._line.send(self._first)
        if not response.is_success:
            self.end()
        elif self.state != "terminated":
            self._confirm(Dialog.of_caller(self._first, response))
            self._renew_before(response.first(EXPIRES) or EXPIRES_S)
        return response

    def end(self) -> None:
        """Forgets the dialog."""
        self.state = "terminated"
        self._line.dialogs.pop(self._key, None)
        self._stop_renewing()
        self._believe()
        if self._leaving is not None:
            self._leaving.cancel()

    def expect_news(self) -> None:
        """The registration was renewed, of which a NOTIFY tells; if none comes, the network has forgotten this."""
        if self.is_active and self._heard_at < self._registration.asked_at and self._doubt is None:
            self._doubt = asyncio.get_running_loop().call_later(DOUBT_S, self._begin_anew)

    @property
    def is_active(self) -> bool:
        return self.state != "terminated" and not self.is_leaving

    def end_soon(self) -> None:
        """A de-registration cancels the subscription (TS 24.229 5.1.1.6); its last NOTIFY may still come."""
        self.is_leaving = True
        if self.state != "terminated":
            self._stop_renewing()
            self._believe()
            self._timer = asyncio.get_running_loop().call_later(64 * T1_S, self.end)

    async def handle(self, request: Request, exchange: Exchange) -> Response | None:
        """A NOTIFY (RFC 6665 4.1.3), checked strictly: tags, package, body, version."""
        if request.method != "NOTIFY":
            raise SipError(405, "a subscription takes NOTIFY only", "RFC 6665 4.1.3", (("Allow", "NOTIFY"),))
        if self._line.profile.strict_notify and (why := self._fault_of(request)):
            self._leave(why)
            return request.response(200)
        self._check_dialog(request)
        self._heard_at = asyncio.get_running_loop().time()
        self._believe()
        event = request.need(EVENT)
        if event.package != "reg":
            raise SipError(489, f"a NOTIFY of package {event.package}", "RFC 6665 7.2.1", (("Allow-Events", "reg"),))
        state = request.need(SUBSCRIPTION_STATE)
        if request.body:
            self._take(self._read(request))
        self.notified += 1
        self.heard.set()
        self.state = state.state
        if state.state == "terminated":
            self.end()
        return request.response(200)

    # ---- inside

    @property
    def _key(self) -> tuple[str, str]:
        return (self._first.call_id, self._first.from_.tag or "")

    def _subscribe(self) -> Request:
        request = self._line.request("SUBSCRIBE", self._line.impu)
        request.add("Event", "reg")
        request.add("Expires", str(EXPIRES_S))
        request.add("Accept", MEDIA_TYPE)
        request.add("Contact", str(self._line.contact))
        return request

    def _fault_of(self, request: Request) -> str:
        return fault_of(request, self._first, self._line.contact.uri, self._version)

    def _leave(self, why: str) -> None:
        """Says nothing to the network, and ends the registration later."""
        self.complaint = self.complaint or why
        self.heard.set()
        if self._leaving is None:
            self._line.context.notice("warning", f"this handset will leave, because of a wrong NOTIFY: {why}")
            first, last = LEAVES_AFTER_S
            drawn = self._line.context.randomness.octets(1)[0] / 256
            loop, delay = asyncio.get_running_loop(), first + (last - first) * drawn
            self._leaving = loop.call_later(delay, lambda: self._line.context.start(self._deregister()))

    async def _deregister(self) -> None:
        await self._registration.register(0)
        if not self._registration.holds:
            self.end_soon()

    def _check_dialog(self, request: Request) -> None:
        """From and To of a NOTIFY are those of the SUBSCRIBE turned round (lessons 14: strict handsets)."""
        if self._dialog is None:
            if request.from_.uri != self._first.to.uri or request.from_.tag is None:
                raise SipError(481, "a NOTIFY of another dialog", "RFC 6665 4.1.3")
            dialog = Dialog.of_callee(request, self._first.from_.tag or "", self._first.cseq.number)
            dialog.remote_cseq = NO_CSEQ
            self._confirm(dialog)
        known = self._dialog
        if known is None or not known.belongs(request):
            raise SipError(481, "a NOTIFY of another dialog", "RFC 6665 4.1.3")
        known.take(request)

    def _confirm(self, dialog: Dialog) -> None:
        if self._dialog is None:
            self._dialog = dialog

    def _read(self, request: Request) -> RegInfo:
        content = request.first(CONTENT_TYPE)
        if content is None or content.media_type != MEDIA_TYPE:
            raise SipError(415, "a NOTIFY of reg holds no reginfo", "RFC 3680 4.3", (("Accept", MEDIA_TYPE),))
        return parse_reginfo(request.body)

    def _take(self, info: RegInfo) -> None:
        """What happened to this phone's contact; an older document than the last changes nothing (RFC 3680 5.1)."""
        if info.version <= self._version:
            return
        self._version = info.version
        for registration in info.registrations:
            if registration.aor == self._line.identity.impu or registration.aor == self._line.impu:
                for contact in registration.contacts:
                    if self._is_ours(contact):
                        self._obey(contact)

    def _is_ours(self, contact: ContactInfo) -> bool:
        uri = parse_uri(contact.uri)
        return isinstance(uri, SipUri) and uri.matches(self._line.contact.uri)

    def _obey(self, contact: ContactInfo) -> None:
        if self._registration.is_past(contact.call_id, contact.cseq):
            return  # a NOTIFY that a later registration overtook
        if not contact.active:
            self._registration.ended()
            if contact.event == "deactivated":  # TS 24.229 5.1.1.7: registers again at once
                self._line.context.start(self._registration.renew())
        elif contact.event == "shortened":
            self._line.context.start(self._registration.renew())

    def _renew_before(self, expires_s: int) -> None:
        delay = expires_s - RENEW_EARLY_S if expires_s > 2 * RENEW_EARLY_S else expires_s / 2
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay, lambda: self._line.context.start(self._renew()))

    def _stop_renewing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _believe(self) -> None:
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None

    def _begin_anew(self) -> None:
        self._doubt = None
        self.end()
        if self._registration.holds:
            self._line.context.start(self._anew())

    async def _renew(self) -> None:
        if self._dialog is None or self.state == "terminated":
            return
        request = self._dialog.request("SUBSCRIBE")
        request.extend([("Event", "reg"), ("Expires", str(EXPIRES_S)), ("Contact", str(self._line.contact))])
        response = await self._line.send(request)
        if response.is_success:
            self._renew_before(response.first(EXPIRES) or EXPIRES_S)
        else:
            self.end()
