"""The P-CSCF watches registration state (TS 24.229 5.2.3): so it learns that the network ended a registration."""

import asyncio
from dataclasses import dataclass
from math import inf

from redoubt.cscf.lapses import Ends
from redoubt.cscf.pcscf.bindings import Binding, Bindings
from redoubt.cscf.reginfo import MEDIA_TYPE, ContactInfo, RegInfo, parse_reginfo
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CSEQ, FROM, SUBSCRIPTION_STATE, TO
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.cseq import CSeq
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, originate
from redoubt.sip.uri import parse_uri
from redoubt.sip.validate import BY_NAME

SUBSCRIPTION_S = 600_000  # longer than any registration (TS 24.229 5.2.3)
LAST_NOTIFY_S = 32.0  # 64*T1: when nobody of a set is left, its last NOTIFY may still come
DOUBT_S = 64.0  # a NOTIFY under way and the one after it: a REGISTER that none has told of by then is not watched


@dataclass(slots=True, eq=False)
class Subscription:
    """The watch over one implicit registration set, by its default identity."""

    impu: str
    call_id: str
    from_tag: str
    renew_at: float  # loop time
    ends_at: float
    doubted_at: float = inf  # when it has turned out that nobody tells it anything any more
    heard_at: float = 0.0  # the last NOTIFY
    expires_at: float = 0.0  # the earlier of its end and the doubt
    queued_at: float = 0.0  # where it stands in the queue of expiries
    version: int = -1
    cseq: int = 0
    impus: tuple[str, ...] = ()  # of the set: those that are registered here


class Subscriptions:
    """One for each set that has a binding here."""

    def __init__(self, context: Context, uri: str, bindings: Bindings, next: Service) -> None:
        self._context = context
        self._uri = uri
        self._bindings = bindings
        self._next = next
        self._by_impu: dict[str, Subscription] = {}
        self._by_call_id: dict[str, Subscription] = {}
        self._expiries: Ends[Subscription] = Ends(self._due)
        self._own = parse_uri(uri)
        self._template = Request(
            "SUBSCRIBE",
            "",
            [
                ("Max-Forwards", "70"),
                ("Contact", f"<{uri}>"),
                ("Event", "reg"),
                ("Accept", MEDIA_TYPE),
                ("Expires", str(SUBSCRIPTION_S)),
                ("P-Asserted-Identity", f"<{uri}>"),
            ],
        )
        self._template.read(BY_NAME)

    def __len__(self) -> int:
        return len(self._by_impu)

    def ensure(self, binding: Binding, came_at: float) -> None:
        """Subscribes at a first registration; anew after half of the time, or when no NOTIFY tells of a later one.

        The S-CSCF may have ended the subscription while it could not reach this node (RFC 6665 4.2.2).
        """
        impu = str(binding.default_identity.uri)
        now = asyncio.get_running_loop().time()
        known = self._by_impu.get(impu)
        if known is not None:
            if binding.impu not in known.impus:
                here = [each for each in known.impus if self._bindings.of_impu(each)]
                known.impus = (*here, binding.impu)
            if known.renew_at > now:
                known.ends_at = known.renew_at + SUBSCRIPTION_S / 2
                known.doubted_at = inf if known.heard_at >= came_at else min(known.doubted_at, now + DOUBT_S)
                self._schedule(known)
                return
            self._remove(known)
        self._begin(impu, now, (binding.impu,) if known is None else known.impus)

    def _begin(self, impu: str, now: float, impus: tuple[str, ...]) -> None:
        context = self._context
        new = Subscription(impu, context.tag(), context.tag(), now + SUBSCRIPTION_S / 2, now + SUBSCRIPTION_S)
        new.impus = impus
        self._by_impu[impu] = self._by_call_id[new.call_id] = new
        self._schedule(new)
        context.start(self._subscribe(new), new.call_id)

    def relax(self, binding: Binding) -> None:
        """Nobody of the set is left here: the watch ends by itself, unless someone registers meanwhile."""
        subscription = self._by_impu.get(str(binding.default_identity.uri))
        if subscription is not None and not self._watched(subscription):
            subscription.ends_at = asyncio.get_running_loop().time() + LAST_NOTIFY_S
            self._schedule(subscription)

    def _watched(self, subscription: Subscription) -> list[Binding]:
        """The bindings here of the set: registered by whichever of its identities."""
        return [binding for impu in subscription.impus for binding in self._of_set(subscription, impu)]

    def _of_set(self, subscription: Subscription, impu: str) -> list[Binding]:
        """An identity's bindings as far as they are of the set that is watched, which the 200 to their REGISTER told:
        a NOTIFY comes from the home network of that set, and other networks' users are none of its business.
        """
        found = self._bindings.of_impu(impu)
        if not self._context.enforces("reg-event-set"):
            return found
        return [each for each in found if str(each.default_identity.uri) == subscription.impu]

    def _live(self, subscription: Subscription) -> list[Binding]:
        return [binding for binding in self._watched(subscription) if not binding.is_ending]

    async def _subscribe(self, subscription: Subscription) -> None:
        """SUBSCRIBE by TS 24.229 5.2.3; failure is told and leaves nothing, the next registration tries again."""
        context = self._context
        request = self._template.copy()
        request.uri = subscription.impu
        request.put(FROM, NameAddr(None, self._own, (("tag", subscription.from_tag),)))
        request.put(TO, NameAddr(None, request.request_uri))
        request.set("Call-ID", subscription.call_id)
        request.put(CSEQ, CSeq(1, "SUBSCRIBE"))
        response = await originate(self._next, request, context)
        if response is None or not response.is_success:
            status = "no answer" if response is None else str(response.status)
            context.notice(
                "warning",
                f"no subscription to {subscription.impu}'s registration state: {status}",
                "TS 24.229 5.2.3",
            )
            self._remove(subscription)

    async def notified(self, request: Request, exchange: Exchange) -> Response | None:
        """NOTIFY (RFC 6665 4.1.3): bindings that the network ended leave the table."""
        subscription = self._by_call_id.get(request.call_id)
        if subscription is None or request.to.tag != subscription.from_tag:
            raise SipError(481, "a NOTIFY of no subscription of this node", "RFC 6665 4.1.3")
        number = request.cseq.number
        if number < subscription.cseq:
            raise SipError(500, f"CSeq {number} after {subscription.cseq}", "RFC 3261 12.2.2")
        subscription.cseq = number
        subscription.heard_at = asyncio.get_running_loop().time()
        if subscription.doubted_at < inf:
            subscription.doubted_at = inf
            self._schedule(subscription)
        was_active = subscription.version >= 0
        state = request.first(SUBSCRIPTION_STATE)
        info = request.document(RegInfo) or (parse_reginfo(request.body) if request.body else None)
        if info is not None:
            self._apply(info, subscription)
        if state is not None and state.state == "terminated":
            self._remove(subscription)
            if was_active and (live := self._live(subscription)):  # and the phone has made another registration
                self.ensure(live[0], subscription.heard_at)
        return request.response(200)

    def _apply(self, info: RegInfo, subscription: Subscription) -> None:
        """TS 24.229 5.2.5.2. A document that is older than the last one, or of an older REGISTER, changes nothing."""
        if info.version <= subscription.version:
            return
        subscription.version = info.version
        for registration in info.registrations:
            bindings = self._of_set(subscription, registration.aor)
            for contact in registration.contacts:
                for binding in bindings:
                    if _means(contact, binding):
                        self._change(contact, binding)
            if registration.state == "terminated" and not registration.contacts:
                for binding in bindings:
                    self._bindings.end(binding, LAST_NOTIFY_S)

    def _change(self, contact: ContactInfo, binding: Binding) -> None:
        """The phone gets its own NOTIFY over the flow that ends, so the flow outlasts the registration a little."""
        if not contact.active:
            self._bindings.end(binding, LAST_NOTIFY_S)
        elif contact.event == "shortened" and contact.expires is not None:
            self._bindings.demand_authentication(binding, contact.expires)

    def clear(self) -> None:
        self._by_impu.clear()
        self._by_call_id.clear()
        self._expiries.clear()

    def _schedule(self, subscription: Subscription) -> None:
        subscription.expires_at = min(subscription.ends_at, subscription.doubted_at)
        self._expiries.put(subscription)

    def _due(self, subscription: Subscription) -> None:
        """It ended by itself; or in silence, and is begun anew for those who are registered still."""
        self._remove(subscription)
        if subscription.doubted_at < subscription.ends_at and self._live(subscription):
            self._begin(subscription.impu, asyncio.get_running_loop().time(), subscription.impus)

    def _remove(self, subscription: Subscription) -> None:
        if self._by_call_id.pop(subscription.call_id, None) is not None:
            self._expiries.discard(subscription)
            if self._by_impu.get(subscription.impu) is subscription:
                del self._by_impu[subscription.impu]


def _means(contact: ContactInfo, binding: Binding) -> bool:
    """Whether a contact element speaks of this binding, and not of an earlier one at the same address."""
    if contact.uri != binding.contact or (contact.call_id and contact.call_id != binding.call_id):
        return False
    return contact.cseq is None or contact.cseq >= binding.cseq
