"""Timer values (RFC 3261 17.1.1.1 and table 4, TS 24.229 7.7) and the lanes that keep running timers cheap.

Transactions use few distinct delays, and timers of one delay fire in the order in which they started. So each delay
has one queue and one timer of the loop. A timer is never taken back: a transaction ignores one that no longer matters.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from redoubt.transport.flow import Flow, Zone

SLACK_S = 0.0005  # a loop may count in milliseconds and wake a little early
TRYING_S = 0.2  # RFC 3261 17.2.1: an INVITE of which nothing was heard by then is answered 100
TIMER_C_S = 180.0  # RFC 3261 16.6 step 11
ACCEPTED_S = 128.0  # RFC 6026 7.1, 7.2: timers L and M, as long as a phone repeats its 2xx (TS 24.229 7.7: 64 * 2 s)


@dataclass(frozen=True, slots=True)
class TimerProfile:
    """T1: estimated round trip, T2: longest retransmission interval, T4: how long the network keeps a message."""

    t1: float
    t2: float
    t4: float

    @property
    def transaction_s(self) -> float:
        """64*T1: timers B, F, H and J."""
        return 64 * self.t1

    @property
    def trying_s(self) -> float:
        """When a non-INVITE is answered 100: Timer E of its client has grown to T2 by then (RFC 4320 4.1)."""
        return self.t2 - self.t1


CORE = TimerProfile(0.5, 4.0, 5.0)
ACCESS = TimerProfile(2.0, 16.0, 17.0)  # TS 24.229 table 7.7.1: at the UE, and towards it
PROFILES = {Zone.ACCESS: ACCESS, Zone.CORE: CORE, Zone.BORDER: CORE}


def profile_of(flow: Flow) -> TimerProfile:
    """The values for transactions on a flow."""
    return PROFILES[flow.zone]


class Lanes:
    """Timers by delay. `after` costs an append; only the head of each lane is known to the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[float, deque[tuple[float, Callable[[], None]]]] = {}
        self._handles: dict[float, asyncio.TimerHandle] = {}

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Calls `action` once, `delay_s` from now. Delays must come from a small set of values."""
        lane = self._lanes.get(delay_s)
        if lane is None:
            lane = self._lanes[delay_s] = deque()
        due = self._loop.time() + delay_s
        lane.append((due, action))
        if delay_s not in self._handles:
            self._handles[delay_s] = self._loop.call_at(due, partial(self._fire, delay_s, lane))

    def close(self) -> None:
        """Forgets every timer."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        self._lanes.clear()

    def _fire(self, delay_s: float, lane: deque[tuple[float, Callable[[], None]]]) -> None:
        now = self._loop.time() + SLACK_S
        while lane and lane[0][0] <= now:
            lane.popleft()[1]()
        if lane and delay_s in self._handles:
            self._handles[delay_s] = self._loop.call_at(lane[0][0], partial(self._fire, delay_s, lane))
        else:
            self._handles.pop(delay_s, None)



T = TypeVar("T")
W = TypeVar("W")


class Patience(Generic[T, W]):
    """Who waits, the longest first: after `delay_s` `lost` gets what is kept for each that still waits.

    Most are met in time and leave nothing behind, as a lane's timer would.
    """

    def __init__(self, delay_s: float, lost: Callable[[T, W], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay_s = delay_s
        self._lost = lost
        self._waiting: dict[T, tuple[float, W]] = {}
        self._handle: asyncio.TimerHandle | None = None

    def begin(self, who: T, kept: W) -> None:
        """It waits from now on."""
        due = self._loop.time() + self._delay_s
        self._waiting[who] = (due, kept)
        if self._handle is None:
            self._handle = self._loop.call_at(due, self._ring)

    def met(self, who: T) -> None:
        """It waits no longer."""
        self._waiting.pop(who, None)

    def close(self) -> None:
        """Forgets everybody."""
        self._waiting.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        now = self._loop.time() + SLACK_S
        self._handle = None
        while self._waiting:
            who = next(iter(self._waiting))
            due, kept = self._waiting[who]
            if due > now:
                self._handle = self._loop.call_at(due, self._ring)
                return
            del self._waiting[who]
            self._lost(who, kept)
