"""Dialogs that end at the border and begin anew (RFC 3261 6, TS 24.229 5.10.8): `mode = "b2bua"` of an agreement.

Call-ID, tags, CSeq, Contact and routes of one side are not known on the other; Via and Record-Route do not cross.
A dialog lives in the border node that it began at: its Contact leads there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from weakref import WeakValueDictionary

from msgspec.structs import replace

from redoubt.border.topology import Way, entries_of
from redoubt.cscf.lapses import Ends, is_gone
from redoubt.limits import B2BUA_DIALOGS, B2BUA_FORKS, B2BUA_INVITES, DIALOG_LIFETIME_S
from redoubt.ndm.partners import Partner
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, CSEQ, FROM, RACK, REPLACES, SUBSCRIPTION_STATE, TO
from redoubt.sip.grammar import change_params
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.cseq import CSeq
from redoubt.sip.headers.session import Replaces
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.service import Context

CLAUSE = "RFC 3261 12.2"
DIALOG_FORMING = frozenset(("INVITE", "SUBSCRIBE", "REFER"))
REFRESHING = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))  # RFC 3261 12.2, RFC 3311, RFC 6665
FIRST_CSEQ = 1
FORKS_LINGER_S = 32.0  # 64*T1 after one answered (RFC 3261 13.2.2.4)


class Side(Enum):
    """Of the border."""

    INSIDE = "inside"
    OUTSIDE = "outside"

    @property
    def other(self) -> "Side":
        return Side.OUTSIDE if self is Side.INSIDE else Side.INSIDE


@dataclass(slots=True, eq=False)
class Leg:
    """A dialog with one side. `ours` and `theirs` are From and To of requests that the border sends there."""

    call_id: str
    ours: NameAddr
    theirs: NameAddr
    target: str = ""
    routes: tuple[str, ...] = ()
    sent: int = FIRST_CSEQ  # CSeq of the border's last request there
    numbers: dict[int, int] = field(default_factory=dict)  # CSeq of INVITEs: the other side's -> the border's here

    def next_number(self, theirs: int, method: str) -> int:
        """The CSeq of a request that goes on here; ACK and CANCEL have their INVITE's."""
        if method == "ACK":
            return self.numbers.get(theirs, self.sent)
        self.sent += 1
        if method == "INVITE":
            self.remember(theirs)
        return self.sent

    def remember(self, theirs: int) -> None:
        while len(self.numbers) >= B2BUA_INVITES:
            del self.numbers[next(iter(self.numbers))]
        self.numbers[theirs] = self.sent


@dataclass(slots=True, eq=False)
class Dialog:
    """Both legs of what users take for one dialog."""

    partner: Partner
    legs: dict[Side, Leg]
    is_confirmed: bool = False
    expires_at: float = 0.0
    queued_at: float = 0.0


Key = tuple[Side, str, str]  # the border's tag and the party's, on that side


class B2bua:
    """The dialogs of one border node. `own` is the border's host name."""

    def __init__(self, context: Context, own: str) -> None:
        self._context = context
        self._own = own
        self._rows: dict[Key, Dialog] = {}
        self._silences: Ends[Dialog] = Ends(self.end)
        # By the border's tag, until their final response, or for as long as somebody waits for one.
        self._asking: WeakValueDictionary[tuple[Side, str], Crossing] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._rows) // 2

    @property
    def waiting(self) -> int:
        """Subscriptions that nobody has answered yet."""
        return len(self._asking)

    def close(self) -> None:
        """Forgets all dialogs."""
        self._rows.clear()
        self._asking.clear()
        self._silences.clear()

    def tag(self) -> str:
        return self._context.tag()

    def contact(self, leg: Leg) -> str:
        """Where the border wants requests of a dialog."""
        return f"<sip:{leg.ours.tag}@{self._own}>"

    def find(self, side: Side, request: Request) -> Dialog | None:
        """The dialog of a request that came from a side (RFC 3261 12.2.2)."""
        ours = request.to.tag or ""
        dialog = self._rows.get((side, ours, request.from_.tag or ""))
        if dialog is None and request.method == "NOTIFY" and (asking := self._asking.get((side, ours))) is not None:
            return asking.notified_first(request)
        if dialog is None or dialog.legs[side].call_id != request.call_id:
            return None
        return dialog

    def replaced(self, side: Side, replaces: Replaces) -> Replaces:
        """A dialog that a party of one side wants replaced, as the other side knows it (RFC 3891 3). Raises 481."""
        dialog = self._rows.get((side, replaces.to_tag, replaces.from_tag))
        if dialog is None or dialog.legs[side].call_id != replaces.call_id:
            raise SipError(481, "Replaces names a dialog that the border does not know", "RFC 3891 3")
        far = dialog.legs[side.other]
        tags: dict[str, str | None] = {"to-tag": far.theirs.tag, "from-tag": far.ours.tag}
        return Replaces(far.call_id, change_params(replaces.params, tags))

    def asks(self, side: Side, ours: str, crossing: "Crossing | None") -> None:
        """A SUBSCRIBE or REFER under way to a side, whose NOTIFY may come before its response; None: not any more."""
        if crossing is None:
            self._asking.pop((side, ours), None)
        else:
            self._asking[(side, ours)] = crossing

    def keep(self, dialog: Dialog, lifetime_s: float = DIALOG_LIFETIME_S) -> None:
        """A new one, or a sign of its life. Raises SipError 503."""
        if dialog.queued_at == 0.0 and len(self) >= B2BUA_DIALOGS:
            raise SipError(503, "no room for more dialogs", "limits.B2BUA_DIALOGS")
        for key in _keys(dialog):
            self._rows[key] = dialog
        dialog.expires_at = asyncio.get_running_loop().time() + lifetime_s
        self._silences.put(dialog)

    def end(self, dialog: Dialog) -> None:
        for key in _keys(dialog):
            if self._rows.get(key) is dialog:
                del self._rows[key]
        self._silences.discard(dialog)


class Crossing:
    """One request across the border: made anew in place, when made. `name` gives the caller another name there.

    Raises SipError 481 for a dialog that is not known.
    """

    def __init__(
        self,
        b2bua: B2bua,
        came: Side,
        partner: Partner,
        request: Request,
        name: Callable[[NameAddr], NameAddr] = lambda address: address,
    ) -> None:
        self._b2bua = b2bua
        self._came = came
        self.partner = partner
        self._method = request.method
        self._kept = {each: request.all(each) for each in ("Via", "From", "Call-ID", "CSeq", "Record-Route")}
        self._to = request.to
        self._tags: dict[str, str] = {}  # of those who answer: the border's tag on the asking side
        self._early: list[Dialog] = []
        self._dialog: Dialog | None = None
        self.is_known = False
        self.way: Way | None = None
        self._is_last = False
        self._number = 0
        if request.to.tag is not None:
            self._dialog = self._within(request)
        else:
            self._near = self._asking(request)
            if (replaces := request.first(REPLACES)) is not None:
                request.put(REPLACES, b2bua.replaced(came, replaces))
            self._far = self._asked(request, name)
            if self._method in ("SUBSCRIBE", "REFER"):
                b2bua.asks(came.other, self._far.ours.tag or "", self)
        leg = self._dialog.legs[came.other] if self._dialog is not None else self._far
        request.remove("Via")
        request.remove("Record-Route")
        request.set("Call-ID", leg.call_id)
        request.put(FROM, leg.ours)
        request.put(TO, leg.theirs)
        if request.has("Contact"):
            request.set("Contact", b2bua.contact(leg))

    def back(self, response: Response, _contact: bool = False) -> None:
        """A response, as the asking side may see it: nobody's own Contact is."""
        tag, dialog = response.to.tag, self._dialog
        if response.is_final and dialog is None:
            self._b2bua.asks(self._came.other, self._far.ours.tag or "", None)
        target, routes = _target(response), entries_of(response, "Record-Route")
        if dialog is not None:
            self._went_on(dialog, response, target)
            near = dialog.legs[self._came]
            response.put(TO, self._to)
        else:
            near = self._answered(response, tag, target, routes)
            response.put(TO, near.ours)
        for name, lines in self._kept.items():
            if name != "Record-Route":
                response.replace(name, lines)
        answers_dialog = self._method in DIALOG_FORMING and response.status < 300 and tag is not None
        response.replace("Record-Route", self._kept["Record-Route"] if answers_dialog and dialog is None else ())
        if target and response.status < 300:
            response.set("Contact", self._b2bua.contact(near))

    # ---- outside dialogs

    def _asking(self, request: Request) -> Leg:
        """The leg to who asks: that is where the border's tag is not given before somebody answers."""
        routes = tuple(entries_of(request, "Record-Route"))
        return Leg(request.call_id, request.to, request.from_, _target(request), routes)

    def _asked(self, request: Request, name: Callable[[NameAddr], NameAddr]) -> Leg:
        ours = name(request.from_).with_param("tag", self._b2bua.tag())
        leg = Leg(self._b2bua.tag(), ours, request.to)
        leg.remember(request.cseq.number)
        request.put(CSEQ, CSeq(leg.sent, request.method))
        return leg

    def _answered(self, response: Response, tag: str | None, target: str, routes: list[str]) -> Leg:
        """The near leg as of who answered; each of several who answer has its own (RFC 3261 12.1)."""
        if tag is None:
            return self._near
        if response.status < 300 and tag not in self._tags and len(self._tags) >= B2BUA_FORKS:
            raise SipError(503, f"{self.partner.name}: more who answer than one request may have", "limits.B2BUA_FORKS")
        near = self._near_of(tag)
        if self._method not in DIALOG_FORMING:
            return near
        if response.status >= 300:
            for dialog in self._early:
                self._b2bua.end(dialog)
            return near
        dialog = self._of(tag)
        far = dialog.legs[self._came.other]
        far.target, far.routes = target or far.target, tuple(reversed(routes)) or far.routes
        self._b2bua.keep(dialog)
        if self._method == "INVITE" and response.is_success:  # the others end, unless they answer too
            for other in self._early:
                if other is not dialog and not other.is_confirmed:
                    self._b2bua.keep(other, FORKS_LINGER_S)
            dialog.is_confirmed = True
        return near

    def notified_first(self, request: Request) -> Dialog:
        """A NOTIFY that came before the response to its SUBSCRIBE (RFC 6665 4.4.1)."""
        dialog = self._of(request.from_.tag or "")
        far = dialog.legs[self._came.other]
        far.target, far.routes = _target(request), tuple(entries_of(request, "Record-Route"))
        return dialog

    def _near_of(self, tag: str) -> Leg:
        ours = self._tags.setdefault(tag, self._b2bua.tag())
        asked = self._near
        return Leg(asked.call_id, asked.ours.with_param("tag", ours), asked.theirs, asked.target, asked.routes, 0)

    def _of(self, tag: str) -> Dialog:
        """The dialog with one of those who answer."""
        for dialog in self._early:
            if dialog.legs[self._came.other].theirs.tag == tag:
                return dialog
        if len(self._early) >= B2BUA_FORKS:
            raise SipError(503, f"{self.partner.name}: more who answer than one request may have", "limits.B2BUA_FORKS")
        leg = self._far
        far = Leg(leg.call_id, leg.ours, leg.theirs.with_param("tag", tag), "", (), leg.sent, dict(leg.numbers))
        dialog = Dialog(self.partner, {self._came: self._near_of(tag), self._came.other: far})
        self._early.append(dialog)
        return dialog

    # ---- inside dialogs

    def _within(self, request: Request) -> Dialog:
        dialog = self._b2bua.find(self._came, request)
        if dialog is None or dialog.partner is not self.partner:
            raise SipError(481, f"{self.partner.name}: a request in a dialog that is not known here", CLAUSE)
        near, far = dialog.legs[self._came], dialog.legs[self._came.other]
        self._number = request.cseq.number
        if self._method in REFRESHING and (target := _target(request)):
            near.target = target
        number = far.next_number(request.cseq.number, self._method)
        request.put(CSEQ, CSeq(number, self._method))
        if self._method == "PRACK" and request.has("RAck"):
            ack = request.need(RACK)
            request.put(RACK, replace(ack, number=far.numbers.get(ack.number, ack.number)))
        request.uri = far.target or request.uri
        request.replace("Route", far.routes)
        self._b2bua.keep(dialog)
        if self._method == "NOTIFY":  # the last one ends a subscription (RFC 6665 4.1.3)
            state = request.first(SUBSCRIPTION_STATE)
            self._is_last = state is not None and state.state == "terminated"
        self.is_known = True
        return dialog

    def _went_on(self, dialog: Dialog, response: Response, target: str) -> None:
        far = dialog.legs[self._came.other]
        if response.is_success and self._method in REFRESHING and target:
            far.target = target
        if self._method == "INVITE" and response.status >= 300:  # whose ACK is of one hop: others' places are not taken
            far.numbers.pop(self._number, None)
        is_last = self._is_last or self._method == "BYE"
        ended = is_last and response.is_final and response.status not in (401, 407)
        if ended or is_gone(self._method, response.status):
            self._b2bua.end(dialog)


def _keys(dialog: Dialog) -> list[Key]:
    return [(side, leg.ours.tag or "", leg.theirs.tag or "") for side, leg in dialog.legs.items()]


def _target(message: Message) -> str:
    """The URI of Contact, "" if there is none to go to."""
    contact = message.first(CONTACT)
    return str(contact.uri) if isinstance(contact, NameAddr) else ""
