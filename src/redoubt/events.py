"""What happened, as typed events: the one source for verdicts, logs, metrics, ladders and records.

An event is made where a rule is checked, by whoever checks it; everything that a person sees is derived from events,
never from log text. No event carries a key, RES or password.
"""

from collections import deque
from collections.abc import Callable
from enum import StrEnum

import msgspec

from redoubt.limits import EVENTS_KEPT


class Fault(StrEnum):
    """Where the cause of a failure lies, for the verdict."""

    NONE = "nobody"
    SIM_KEY = "SIM key"
    SEQUENCE_NUMBER = "sequence number"
    PORT = "port or address"
    IDENTITY = "identity"
    HSS = "HSS"
    TIMER = "timer"
    MESSAGE = "malformed message"
    POLICY = "operator's policy"
    PEER = "neighbouring node"
    CALLEE = "called user"
    BUG = "a fault in Redoubt"


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """`at` is wall-clock seconds, `node` the function that saw it (p-cscf, s-cscf, hss, ue-1, ...)."""

    at: float
    node: str


class Check(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """One rule that decided something for one registration or call: the material of `redoubt explain`."""

    call_id: str
    step: str  # the specification's name for the moment: SM1, SM9, CM1, "INVITE", ...
    rule: str  # what was checked, as a statement: "the response matches XRES"
    passed: bool
    impi: str = ""
    impu: str = ""
    expected: str = ""
    seen: str = ""
    fault: Fault = Fault.NONE
    clause: str = ""
    advice: str = ""
    decides: bool = True  # False: when it failed, another way was left


class Refused(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """A request that was answered with a failure (or dropped, status 0) and why."""

    status: int
    why: str
    clause: str = ""
    method: str = ""
    call_id: str = ""
    source: str = ""


class Bug(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """An exception that nobody foresaw: one exchange was lost to it, answered with 500."""

    call_id: str
    traceback: str


class Registered(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """A binding was made or refreshed (TS 24.229 5.4.1)."""

    impi: str
    impu: str
    contact: str
    expires_s: int
    call_id: str = ""


class Deregistered(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """A binding ended; `cause` is user, expired, network, reassigned or replaced."""

    impi: str
    impu: str
    contact: str
    cause: str
    call_id: str = ""


class CallEnded(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """A session attempt ended, or a message was answered: `status` of the final response; 0 after a BYE."""

    call_id: str
    caller: str
    callee: str
    status: int
    why: str = ""
    method: str = "INVITE"


class MessageSeen(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """A message between two parties, for ladders and traces; emitted only while somebody asked (`stream.tracing`)."""

    sender: str
    receiver: str
    transport: str  # udp, tcp, tls, esp, internal, cx
    text: str  # the SIP message, or one line for a Cx command, secrets redacted
    call_id: str = ""


class Notice(Event, frozen=True, kw_only=True, tag=True, gc=False):
    """Something an operator ought to know: a store that fails, a peer that went away, a table that is full."""

    level: str  # info, warning, alarm
    what: str
    advice: str = ""


Listener = Callable[[Event], None]


class EventStream:
    """Hands each event to its listeners at once and keeps the last ones. Listeners must be quick and not raise."""

    def __init__(self, kept: int = EVENTS_KEPT) -> None:
        self.recent: deque[Event] = deque(maxlen=kept)
        self.tracing = False
        self._traces = 0
        self._passing = False  # messages are for traces alone, and not kept: they would push out what explains failures
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener; returns what removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def trace(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener who sees messages as well; returns what removes it, once."""
        if not self._traces:
            self._passing, self.tracing = not self.tracing, True
        self._traces += 1
        forget = self.listen(listener)

        def stop() -> None:
            forget()
            self._traces -= 1
            if not self._traces and self._passing:
                self._passing = self.tracing = False

        return stop

    def emit(self, event: Event) -> None:
        if not (self._passing and isinstance(event, MessageSeen)):
            self.recent.append(event)
        for listener in self._listeners:
            listener(event)
