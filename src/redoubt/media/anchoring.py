"""Media anchoring around a service: session descriptions that pass it lead through the relay (TS 24.229 5.10, Annex F).

The border (IBCF) and the edge (P-CSCF) put `inward` around the service that leads into the network and `outward` around
the one that leads out of it. Whatever goes along INVITE, 1xx, 2xx, ACK, PRACK and UPDATE is rewritten on the way; what
can't be is refused with an event. A description outside a session is taken out: nobody sends media by it.
"""

from collections import Counter
from collections.abc import Hashable
from functools import partial

from redoubt import limits
from redoubt.media.body import MEDIA_TYPE, describe, describes, description_in, drop_body
from redoubt.media.calls import Call, Key, Offer, Outsider
from redoubt.media.legs import Side
from redoubt.media.relay import Relay
from redoubt.sip import sdp
from redoubt.sip.errors import SipError
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.service import Context, Exchange, Service, enter

__all__ = ["Anchoring", "Outsider"]

OF_SESSIONS = frozenset(("INVITE", "ACK", "PRACK", "UPDATE", "BYE"))
OFFERING = frozenset(("INVITE", "UPDATE", "PRACK"))
DIALOG_LOST = (408, 481)  # RFC 3261 12.2.1.2


class Anchoring:
    """The calls of one function of the border. Several may share a relay."""

    def __init__(self, context: Context, relay: Relay) -> None:
        self._context = context
        self._relay = relay
        self._calls: dict[Key, Call] = {}
        self._of_party: Counter[Hashable] = Counter()  # calls at one time

    def __len__(self) -> int:
        """Dialogs whose media is anchored."""
        return len(self._calls)

    def inward(self, next: Service, outsider: Outsider) -> Service:
        """Around what takes requests of a party outside."""
        return partial(self._pass, next, outsider, Side.OUTSIDE)

    def outward(self, next: Service, outsider: Outsider) -> Service:
        """Around what takes requests to a party outside."""
        return partial(self._pass, next, outsider, Side.INSIDE)

    def follows(self, request: Request, sender: Side) -> bool:
        """Whether the request is of a dialog whose media is anchored here."""
        return _key(request, request.to.tag, sender) in self._calls

    # ---- requests

    async def _pass(
        self, next: Service, outsider: Outsider, side: Side, request: Request, exchange: Exchange
    ) -> Response | None:
        """A request that comes from `side`."""
        if request.method not in OF_SESSIONS:
            return await self._without(next, request, exchange)
        key = _key(request, request.to.tag, side)
        call = self._calls.get(key)
        begins = call is None  # a call, or goes on with one whose ports were closed
        passage = Passage(self, self._context, outsider, side, request, begins)
        if call is not None:
            return await self._within(passage, call, key, next, exchange)
        if request.method not in ("INVITE", "UPDATE"):
            return await self._without(next, request, exchange)
        call = self._begin(request, side, outsider)
        try:
            return await passage.through(call, next, exchange)
        finally:
            if call.confirmed is None:
                self.end(call)

    def _begin(self, request: Request, side: Side, outsider: Outsider) -> Call:
        """A call with no ports yet. Raises SipError 503."""
        party = outsider.name
        if party is not None and outsider.calls is not None and self._of_party[party] >= outsider.calls:
            raise SipError(503, "a phone has as many calls as it may have", "limits.MEDIA_CALLS_PER_PHONE")
        call = Call(self._relay, request.call_id, side, self._context.enforces("media-gate"), party)
        if party is not None:
            self._of_party[party] += 1
        return call

    async def _within(
        self, passage: "Passage", call: Call, key: Key, next: Service, exchange: Exchange
    ) -> Response | None:
        """A request in a dialog of a call that is anchored."""
        response = await passage.through(call, next, exchange)
        method, status = passage.request.method, response.status if response is not None else 200
        if (method == "BYE" and status not in (401, 407)) or (method != "PRACK" and status in DIALOG_LOST):
            self._end_dialog(call, key)
        return response

    async def _without(self, next: Service, request: Request, exchange: Exchange) -> Response | None:
        """OPTIONS and the like: what they describe is for information, and would tell addresses of this network."""
        if request.method != "OPTIONS" and request.method not in OF_SESSIONS:
            return await next(request, exchange)
        _undescribed(request)
        return await enter(next, request, exchange, self._context.node, _undescribed)

    # ---- dialogs

    def keep(self, call: Call, key: Key) -> None:
        """A response made a dialog; another call's stays that call's."""
        if key in self._calls or len(call.dialogs) >= limits.MEDIA_DIALOGS_PER_CALL:
            return
        call.dialogs.add(key)
        call.session.on_idle = partial(self.end, call)
        self._calls[key] = call

    def end(self, call: Call) -> None:
        """The call is over, whatever its dialogs are. Twice is once."""
        if not call.is_over and call.party is not None:
            self._of_party[call.party] -= 1
            if not self._of_party[call.party]:
                del self._of_party[call.party]
        call.close()
        for key in call.dialogs:
            if self._calls.get(key) is call:
                del self._calls[key]
        call.dialogs.clear()

    def _end_dialog(self, call: Call, key: Key) -> None:
        if key == call.confirmed or call.dialogs <= {key}:
            self.end(call)
        elif self._calls.get(key) is call:
            del self._calls[key]
            call.dialogs.discard(key)


class Passage:
    """One transaction of a call through the relay."""

    def __init__(
        self,
        anchoring: Anchoring,
        context: Context,
        outsider: Outsider,
        side: Side,
        request: Request,
        begins: bool,
    ) -> None:
        self.request = request
        self._makes_dialog = begins or request.method == "INVITE"
        self._anchoring = anchoring
        self._context = context
        self._outsider = outsider
        self._side = side
        self._offer: Offer | None = None

    async def through(self, call: Call, next: Service, exchange: Exchange) -> Response | None:
        """The request with what it offers or answers, and back its responses."""
        await self._describe_request(call)
        return await enter(
            next, self.request, exchange, self._context.node, lambda response: self._responded(call, response)
        )

    async def _describe_request(self, call: Call) -> None:
        request, side = self.request, self._side
        description = description_in(request)
        if description is None:
            if request.method == "INVITE" and not call.session.streams:
                await call.provide_ahead(limits.MEDIA_STREAMS_AHEAD, self._outsider)
            return
        key = _key(request, request.to.tag, side)
        asked = call.unanswered.get(key)
        if asked is not None and asked.side is not side and request.method in ("PRACK", "ACK"):
            describe(request, call.answered(asked, key, description, self._outsider))
            del call.unanswered[key]
        elif request.method in OFFERING:
            self._offer, shown = await call.offered(side, description, self._outsider)
            describe(request, shown)
        else:
            drop_body(request)

    # ---- responses

    def _responded(self, call: Call, response: Response) -> None:
        """A 1xx, the final, a later 2xx."""
        try:
            key = _key(response, response.to.tag, self._side)
        except SipError:
            return
        lives = response.status < 300
        if lives and self._makes_dialog and response.to.tag is not None:
            self._anchoring.keep(call, key)
        try:
            description = description_in(response)
            if description is not None:
                describe(response, self._described(call, key, description, lives))
        except SipError as fault:
            self._refuse(call, response, fault)
        if response.is_success and self._makes_dialog:
            call.confirm(key)

    def _described(self, call: Call, key: Key, description: sdp.Session, lives: bool) -> sdp.Session:
        if not lives:
            raise SipError(488, "a refusal that describes media", "RFC 3261 21.4.26")
        if self._offer is not None:
            return call.answered(self._offer, key, description, self._outsider)
        return call.offered_in_response(key, self._side.other, description, self._outsider)

    def _refuse(self, call: Call, response: Response, fault: SipError) -> None:
        """What can't be passed on is not: an answer becomes one that takes no stream, all else falls away."""
        if response.status < 300:
            self._context.refused(
                fault.status, f"in a response: {fault.why}", fault.clause, method=self.request.method,
                call_id=response.call_id,
            )  # fmt: skip
        drop_body(response)
        if response.is_success and self._offer is not None:
            response.set("Content-Type", MEDIA_TYPE)
            response.body = call.refused(self._offer).to_bytes()


def _undescribed(message: Message) -> None:
    if describes(message):
        drop_body(message)


def _key(message: Message, to_tag: str | None, sender: Side) -> Key:
    """The dialog, the same for requests of either side. `sender` sent the request."""
    tags = (message.from_.tag or "", to_tag or "")
    return (message.call_id, *(tags if sender is Side.OUTSIDE else tags[::-1]))
