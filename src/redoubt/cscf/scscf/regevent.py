"""The notifier of registration state (RFC 3680, TS 24.229 5.4.2): who watches a set, and what is told to whom.

Each subscription has one NOTIFY under way at most; what changes meanwhile goes into the next one.
"""

import asyncio
from dataclasses import dataclass, field
from hashlib import blake2s

from msgspec.structs import replace

from redoubt.cscf.lapses import Alarm, Lapses
from redoubt.cscf.reginfo import MEDIA_TYPE, ContactInfo, RegInfo, RegistrationInfo
from redoubt.cscf.registering import public_identity
from redoubt.cscf.scscf.registrations import Binding, RegisteredSet
from redoubt.diameter.cx import WatcherDialog
from redoubt.limits import SUBSCRIPTIONS_PER_SET
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, CSEQ, EVENT, EXPIRES, P_ASSERTED_IDENTITY
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.cseq import CSeq
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, originate
from redoubt.sip.uri import SipUri, Uri, parse_uri
from redoubt.sip.validate import BY_NAME

LIFETIME_S = 600_000  # TS 24.229 5.1.1.3
DialogId = tuple[str, str, str]  # Call-ID, our tag, theirs
UNREACHED = (408, 503, 504)  # nobody answered the NOTIFY


@dataclass(slots=True, eq=False)
class Subscription:
    """One watcher of one set: the dialog, and what it was told."""

    found: RegisteredSet
    id: DialogId
    local: str  # To of the SUBSCRIBE with our tag: From of every NOTIFY (RFC 6665 4.2.1)
    remote: str  # From of the SUBSCRIBE: To of every NOTIFY
    target: str
    routes: tuple[str, ...]
    event: str
    remote_cseq: int
    expires_at: float
    queued_at: float = 0.0
    cseq: int = 0
    version: int = -1
    ended: str = ""  # the reason, once over
    wants_full: bool = True
    changes: dict[str, ContactInfo] = field(default_factory=dict)
    sending: bool = False


class RegEvent:
    """All subscriptions to registration state."""

    def __init__(self, context: Context, uri: str, next: Service) -> None:
        self._context = context
        self._uri = uri
        self._next = next
        self._by_id: dict[DialogId, Subscription] = {}
        self._by_set: dict[RegisteredSet, list[Subscription]] = {}
        self._template = Request(
            "NOTIFY", "", [("Max-Forwards", "70"), ("Contact", f"<{uri}>"), ("Content-Type", MEDIA_TYPE)]
        )
        self._template.read(BY_NAME)
        self._lapses: Lapses[Subscription] = Lapses()
        self._alarm = Alarm(self._sweep)

    def __len__(self) -> int:
        return len(self._by_id)

    def stop(self) -> None:
        self._alarm.stop()

    async def subscribe(self, found: RegisteredSet, request: Request, exchange: Exchange) -> Response:
        """A new subscription (TS 24.229 5.4.2.1.1): 200, then the full state."""
        self._demand_right(found, request)
        subscription = self._opened(found, request)
        return self._accepted(subscription, request, exchange)

    async def resubscribe(self, request: Request, exchange: Exchange) -> Response:
        """A SUBSCRIBE inside the dialog: refreshes it, or ends it with Expires: 0 (RFC 6665 4.2.1.2)."""
        subscription = self._by_id.get((request.call_id, request.to.tag or "", request.from_.tag or ""))
        if subscription is None or subscription.ended:
            raise SipError(481, "no such subscription", "RFC 6665 4.2.1.2")
        if request.cseq.number <= subscription.remote_cseq:
            raise SipError(500, "CSeq did not rise", "RFC 3261 12.2.2")
        self._demand_right(subscription.found, request)
        subscription.remote_cseq = request.cseq.number
        subscription.target = _target(request)
        return self._accepted(subscription, request, exchange)

    def changed(self, found: RegisteredSet, changes: list[tuple[Binding, str]]) -> None:
        """Tells the watchers of a set what happened to which binding; ends with the set (TS 24.229 5.4.2.1.2)."""
        watchers = self._by_set.get(found)
        if not watchers:
            return
        contacts = [_contact(binding, event, found) for binding, event in changes]
        for subscription in list(watchers):
            subscription.changes.update((contact.id, contact) for contact in contacts)
            if not found.bindings:
                self._end(subscription, "noresource")
            self._wake(subscription)

    def profile_changed(self, found: RegisteredSet) -> None:
        """The identities of the set are others now: its watchers get all of it."""
        for subscription in self._by_set.get(found, ()):
            subscription.wants_full = True
            self._wake(subscription)

    def dialogs(self, found: RegisteredSet) -> list[WatcherDialog]:
        """What it takes to go on telling the watchers of a set (TS 29.229 6.3.54)."""
        return [
            WatcherDialog(watcher.id[0], watcher.remote, watcher.local, watcher.target, watcher.routes)
            for watcher in self._by_set.get(found, ())
            if not watcher.ended
        ]

    def restore(self, found: RegisteredSet, dialog: WatcherDialog, expires_at: float) -> None:
        """Takes up a dialog that this node has forgotten: its watcher gets the whole state (TS 23.380 4.3.2)."""
        local, remote = NameAddr.parse(dialog.to), NameAddr.parse(dialog.from_)
        id = (dialog.call_id, local.tag or "", remote.tag or "")
        if id in self._by_id:
            return
        # Both must be above any that this node has sent before it forgot, and it sends fewer than one a second.
        above = int(self._context.clock.now()) & (1 << 30) - 1
        subscription = Subscription(
            *(found, id, dialog.to, dialog.from_, dialog.contact, dialog.record_route, "reg", 0, expires_at),
            cseq=above,
            version=above,
        )
        self._by_set.setdefault(found, []).append(subscription)
        self._by_id[id] = subscription
        self._lapses.put(subscription)
        self._alarm.set(self._lapses.next_at)
        self._wake(subscription)

    def _demand_right(self, found: RegisteredSet, request: Request) -> None:
        """The user, the P-CSCF on its Path, the servers of its filter criteria (RFC 3680 4, TS 24.229 5.4.2.1.1)."""
        if not self._context.enforces("reg-event-owner"):
            return
        for asserted in request.every(P_ASSERTED_IDENTITY):
            identity = found.identity(public_identity(asserted.uri))
            if (identity is not None and not identity.barred) or _serves(_host(asserted.uri), found):
                return
        raise SipError(403, "the subscriber may not see this user's registration", "TS 24.229 5.4.2.1.1")

    def _opened(self, found: RegisteredSet, request: Request) -> Subscription:
        tag = self._context.tag()
        target = _target(request)
        subscription = Subscription(
            found,
            (request.call_id, tag, request.from_.tag or ""),
            f"{request.get('To')};tag={tag}",
            request.get("From") or "",
            target,
            tuple(request.all("Record-Route")),
            str(request.need(EVENT)),
            request.cseq.number,
            0.0,
        )
        watchers = self._by_set.setdefault(found, [])
        for earlier in [w for w in watchers if w.target == target]:  # the same agent began anew
            self._forget(earlier)
        if len(watchers) >= SUBSCRIPTIONS_PER_SET:
            self._forget(watchers[0])
        self._by_set.setdefault(found, watchers).append(subscription)
        self._by_id[subscription.id] = subscription
        return subscription

    def _accepted(self, subscription: Subscription, request: Request, exchange: Exchange) -> Response:
        wanted = request.first(EXPIRES)
        lifetime_s = min(LIFETIME_S if wanted is None else wanted, LIFETIME_S)
        subscription.expires_at = asyncio.get_running_loop().time() + lifetime_s
        subscription.wants_full = True
        if lifetime_s:
            self._lapses.put(subscription)
            self._alarm.set(self._lapses.next_at)
        else:
            self._end(subscription, "timeout")
        exchange.after_sent(lambda: self._first_notify(subscription))
        headers = [("Record-Route", line) for line in request.all("Record-Route")]
        headers += [("Contact", f"<{self._uri}>"), ("Expires", str(lifetime_s))]
        return request.response(200, to_tag=subscription.id[1], headers=tuple(headers))

    async def _first_notify(self, subscription: Subscription) -> None:
        self._wake(subscription)

    def _wake(self, subscription: Subscription) -> None:
        if not subscription.sending:
            subscription.sending = True
            self._context.start(self._tell(subscription), subscription.id[0])

    async def _tell(self, subscription: Subscription) -> None:
        """Sends NOTIFYs until there is nothing left to tell."""
        try:
            while subscription.wants_full or subscription.changes:
                notify = self._notify(subscription)
                subscription.wants_full = False
                subscription.changes = {}
                response = await originate(self._next, notify, self._context)
                if response is not None and response.status >= 300:
                    if response.status not in UNREACHED or subscription.ended:
                        self._forget(subscription)  # RFC 6665 4.2.2: who does not take a NOTIFY gets no more
                        return
                    # Forgetting an unreachable watcher is a SHOULD there; here its next chance is the next change, as
                    # a P-CSCF that was cut off must still hear when the network ends a registration.
                    subscription.wants_full = True
                    if not subscription.changes:
                        return
        finally:
            subscription.sending = False
        if subscription.ended:
            self._forget(subscription)

    def _notify(self, subscription: Subscription) -> Request:
        subscription.cseq += 1
        subscription.version += 1
        full = subscription.wants_full or bool(subscription.ended)
        info = RegInfo(subscription.version, full, self._registrations(subscription, full))
        left_s = max(0, round(subscription.expires_at - asyncio.get_running_loop().time()))
        over = subscription.ended
        state = f"terminated;reason={over}" if over else f"active;expires={left_s}"
        notify = self._template.copy()
        notify.uri = subscription.target
        notify.extend([("Route", route) for route in subscription.routes])
        notify.set("From", subscription.local)
        notify.set("To", subscription.remote)
        notify.set("Call-ID", subscription.id[0])
        notify.put(CSEQ, CSeq(subscription.cseq, "NOTIFY"))
        notify.set("Event", subscription.event)
        notify.set("Subscription-State", state)
        notify.carry(info)
        return notify

    def _registrations(self, subscription: Subscription, full: bool) -> tuple[RegistrationInfo, ...]:
        """A registration element for each identity that is not barred (TS 24.229 5.4.2.1.2)."""
        found = subscription.found
        contacts = dict(subscription.changes)
        if full:
            for binding in found.bindings.values():
                contact = _contact(binding, "registered", found)
                contacts.setdefault(contact.id, contact)
        state = "active" if found.bindings else "terminated"
        impus = [i.impu for i in found.profile.identities if not i.barred and not i.wildcard]
        return tuple(
            [
                RegistrationInfo(impu, _id(impu), state, tuple([_seen_from(impu, c, found) for c in contacts.values()]))
                for impu in impus
            ]
        )

    def _end(self, subscription: Subscription, reason: str) -> None:
        subscription.ended = subscription.ended or reason
        self._lapses.discard(subscription)

    def _forget(self, subscription: Subscription) -> None:
        subscription.ended = subscription.ended or "gone"
        self._lapses.discard(subscription)
        self._by_id.pop(subscription.id, None)
        watchers = self._by_set.get(subscription.found)
        if watchers is not None and subscription in watchers:
            watchers.remove(subscription)
            if not watchers:
                del self._by_set[subscription.found]

    def _sweep(self) -> None:
        for subscription in self._lapses.due(asyncio.get_running_loop().time()):
            self._end(subscription, "timeout")
            subscription.wants_full = True
            self._wake(subscription)
        self._alarm.set(self._lapses.next_at)


def _contact(binding: Binding, event: str, found: RegisteredSet) -> ContactInfo:
    active = found.bindings.get(binding.key) is binding
    left_s = max(0, round(binding.expires_at - asyncio.get_running_loop().time()))
    return ContactInfo(
        _id(binding.key),
        binding.contact,
        active,
        event,
        left_s if active else None,
        binding.call_id,
        binding.cseq,
    )


def _seen_from(impu: str, contact: ContactInfo, found: RegisteredSet) -> ContactInfo:
    """What was registered for one identity was created for the others of its set (RFC 3680 5.2)."""
    if contact.event != "registered" or any(b.impu == impu for b in found.bindings.values()):
        return contact
    return replace(contact, event="created")


def _id(text: str) -> str:
    """An identifier that stays the same for the same thing, also after a restart (RFC 3680 5.1)."""
    return blake2s(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _target(request: Request) -> str:
    contact = request.need(CONTACT)
    if not isinstance(contact, NameAddr):
        raise SipError(400, "the Contact of a SUBSCRIBE is an address", "RFC 6665 4.1.2")
    return str(contact.uri)


def _serves(host: str, found: RegisteredSet) -> bool:
    """Whether the host is a proxy on the way to one of the user's phones, or a server of its filter criteria."""
    if not host:
        return False
    if any(_host(NameAddr.parse(path).uri) == host for b in found.bindings.values() for path in b.path):
        return True
    criteria = (criterion for profile in found.profile.service_profiles for criterion in profile.criteria)
    return any(_host(parse_uri(criterion.server_name)) == host for criterion in criteria)


def _host(uri: Uri) -> str:
    return uri.host if isinstance(uri, SipUri) else ""
