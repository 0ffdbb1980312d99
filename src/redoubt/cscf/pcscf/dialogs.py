"""The dialogs of phones: whose they are and which way their requests go (TS 24.229 5.2.6.3.5, requirement row 68)."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from redoubt.cscf.lapses import Ends, is_gone
from redoubt.cscf.pcscf.bindings import Binding
from redoubt.limits import DIALOG_LIFETIME_S, DIALOGS_PER_PHONE
from redoubt.sip.errors import SipError
from redoubt.sip.fields import EXPIRES, SUBSCRIPTION_STATE
from redoubt.sip.grammar import split_list
from redoubt.sip.message import Message, Request, Response

if TYPE_CHECKING:
    from redoubt.cscf.pcscf.restart import Memory

DialogKey = tuple[str, str, str]  # Call-ID, the phone's tag, the other side's tag

DIALOG_FORMING = frozenset(("INVITE", "SUBSCRIBE", "REFER"))  # RFC 3261 12, RFC 6665, RFC 3515


LAST_NOTIFY_S = 32.0  # 64*T1: so long after its end a subscription may still be told of it


class Side(Enum):
    """Whose request it is, as seen from the phone."""

    PHONE = "phone"
    CORE = "core"


@dataclass(slots=True, eq=False)
class Dialog:
    """A dialog of the phone that `owner` is. `routes` leads from this P-CSCF to the other side, as header lines."""

    key: DialogKey
    owner: Binding
    routes: tuple[str, ...]
    cseq: int  # the highest that the phone has used in it
    confirmed: bool = False
    lifetime_s: float = DIALOG_LIFETIME_S  # without a sign of life
    expires_at: float = 0.0  # loop time
    queued_at: float = 0.0  # where it stands in the queue of silent ones


class Dialogs:
    """The table. A dialog ends with its BYE, its last NOTIFY, its owner's registration or after long silence."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self._rows: dict[DialogKey, Dialog] = {}
        self._silences: Ends[Dialog] = Ends(self.remove)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, key: DialogKey) -> Dialog | None:
        return self._rows.get(key)

    def add(self, dialog: Dialog) -> None:
        """Keeps a new dialog."""
        self._rows[dialog.key] = dialog
        dialog.owner.dialogs[dialog] = None
        self.keep_alive(dialog)

    def keep_alive(self, dialog: Dialog, request_method: str = "", response: Response | None = None) -> None:
        """The dialog was made or refreshed: its silence starts anew. A subscription has a time of its own."""
        if request_method == "SUBSCRIBE" and response is not None:
            dialog.lifetime_s = _granted(response) + LAST_NOTIFY_S
        dialog.expires_at = asyncio.get_running_loop().time() + dialog.lifetime_s
        self._silences.put(dialog)
        if self.memory is not None:
            self.memory.dialog(dialog)

    def remove(self, dialog: Dialog) -> None:
        """The dialog ended. Twice is once."""
        if self._rows.get(dialog.key) is dialog:
            del self._rows[dialog.key]
            dialog.owner.dialogs.pop(dialog, None)
            self._silences.discard(dialog)
            if self.memory is not None:
                self.memory.forget(dialog)

    def remove_all_of(self, owner: Binding) -> None:
        for dialog in list(owner.dialogs):
            self.remove(dialog)

    def clear(self) -> None:
        self._rows.clear()
        self._silences.clear()

    def ended_by(self, dialog: Dialog, request: Request, response: Response) -> None:
        """Looks whether a request inside the dialog was its last (RFC 3261 15, 12.2.1.2; RFC 6665 4.4.1)."""
        gone = is_gone(request.method, response.status)
        last = response.is_success and (request.method == "BYE" or _is_last_notify(request))
        if gone or last:
            self.remove(dialog)


def _granted(response: Response) -> float:
    """How long a subscription lives (RFC 6665 4.2.1.1)."""
    try:
        return response.first(EXPIRES) or 0
    except SipError:
        return 0


def _is_last_notify(request: Request) -> bool:
    if request.method != "NOTIFY":
        return False
    try:
        state = request.first(SUBSCRIPTION_STATE)
    except SipError:
        return False
    return state is not None and state.state == "terminated"


def check_room(owner: Binding) -> None:
    """A phone holds so many dialogs and no more."""
    if len(owner.dialogs) >= DIALOGS_PER_PHONE:
        raise SipError(503, "a phone holds too many dialogs", "limits.DIALOGS_PER_PHONE")


def routes_of(message: Message) -> tuple[str, ...]:
    """The Record-Route values in order, as written."""
    lines = message.all("Record-Route")
    if any("," in line for line in lines):
        return tuple([text for line in lines for text in split_list(line)])
    return tuple(lines)


@dataclass(slots=True)
class Attempt:
    """A request outside dialogs that may make some: it watches the responses (RFC 3261 12.1, 13.2.2.4)."""

    dialogs: Dialogs
    owner: Binding
    side: Side  # who sent the request
    call_id: str
    from_tag: str
    cseq: int
    method: str
    own_route: str  # the Record-Route value that this P-CSCF added
    routes: tuple[str, ...] = ()  # of the request, for a phone that is called
    made: dict[DialogKey, Dialog] = field(default_factory=dict)

    def saw(self, response: Response) -> None:
        """A 1xx, a 2xx or the failure of all."""
        if response.status >= 300:
            self._drop_early()
        elif response.status > 100:
            try:
                to_tag = response.to.tag
            except SipError:
                return
            if to_tag:
                self._dialog(to_tag, response)

    def _dialog(self, to_tag: str, response: Response) -> None:
        from_phone = self.side is Side.PHONE
        tags = (self.from_tag, to_tag) if from_phone else (to_tag, self.from_tag)
        key = (self.call_id, *tags)
        dialog = self.made.get(key)
        if dialog is None:
            if self.owner.has_left or len(self.owner.dialogs) >= DIALOGS_PER_PHONE:
                return  # nobody would ever end what is of no registration
            dialog = self.made[key] = Dialog(key, self.owner, (), self.cseq if from_phone else 0)
        if response.is_success or not dialog.routes:
            dialog.routes = self._beyond_here(response) if from_phone else self.routes
        if self.dialogs.find(key) is None and not dialog.confirmed and not self.owner.has_left:
            self.dialogs.add(dialog)
        if response.is_success and not dialog.confirmed:
            dialog.confirmed = True
            if self.method == "SUBSCRIBE" or self.dialogs.memory is not None:
                self.dialogs.keep_alive(dialog, self.method, response)
            if len(self.made) > 1:
                self._drop_early()

    def _drop_early(self) -> None:
        """The other branches lost; one that answers nevertheless makes its dialog anew."""
        for dialog in self.made.values():
            if not dialog.confirmed:
                self.dialogs.remove(dialog)

    def _beyond_here(self, response: Response) -> tuple[str, ...]:
        """The route set of the caller without what lies between the phone and here (RFC 3261 12.1.2)."""
        routes = routes_of(response)[::-1]
        at = next((i for i, route in enumerate(routes) if route == self.own_route), -1)
        return routes[at + 1 :]
