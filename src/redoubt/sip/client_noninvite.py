"""The non-INVITE client transaction (RFC 3261 17.1.2)."""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from functools import partial

from redoubt.sip.message import Response
from redoubt.sip.transaction import Outcome, Row, Surroundings, Trouble, nothing
from redoubt.sip.transaction_timers import profile_of
from redoubt.transport.flow import Flow, FlowFailed


class State(IntEnum):
    TRYING = 1
    PROCEEDING = 2
    COMPLETED = 3
    TERMINATED = 4


class Event(IntEnum):
    PROVISIONAL = 1
    FINAL = 2
    TIMER_E = 3
    TIMER_F = 4
    TIMER_K = 5
    FAILED = 6  # the transport could not send, or the connection is gone


class NonInviteClient:
    """Sends the request until something answers. `outcome` is the final response or what went wrong."""

    __slots__ = ("_around", "_data", "_early", "_ended", "_interval_s", "_response", "flow", "outcome", "state")

    def __init__(
        self,
        flow: Flow,
        data: bytes,
        around: Surroundings,
        early: Callable[[Response], None],
        ended: Callable[[], object],
    ) -> None:
        self.flow = flow
        self.state = State.TRYING
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._around = around
        self._data: bytes | None = data
        self._early = early
        self._ended = ended
        self._interval_s = 0.0
        self._response: Response | None = None

    @property
    def was_heard(self) -> bool:
        """Whether the next hop has the request for certain."""
        return self.state is not State.TRYING

    def start(self) -> None:
        """Sends the request for the first time."""
        profile = profile_of(self.flow)
        self._around.lanes.after(profile.transaction_s, partial(self.fire, Event.TIMER_F))
        if not self.flow.is_reliable:
            self._interval_s = profile.t1
            self._around.lanes.after(profile.t1, partial(self.fire, Event.TIMER_E))
        self._transmit()

    def receive(self, response: Response) -> None:
        """A response that matches, its top Via removed."""
        self._response = response
        self._advance(Event.FINAL if response.status >= 200 else Event.PROVISIONAL)
        self._response = None

    def fire(self, event: Event) -> None:
        """A timer, or the end of the connection."""
        self._advance(event)

    def fail(self) -> None:
        self._advance(Event.FAILED)

    def _advance(self, event: Event) -> None:
        row = TABLE[self.state, event]
        self.state = row.state
        row.action(self)

    def _transmit(self) -> None:
        if self._data is None:
            return
        try:
            self._around.send(self.flow, self._data)
        except FlowFailed:
            self._advance(Event.FAILED)

    def _repeat(self) -> None:
        """Timer E doubles up to T2 while nothing was heard, and is T2 afterwards."""
        t2 = profile_of(self.flow).t2
        self._interval_s = min(2 * self._interval_s, t2) if self.state is State.TRYING else t2
        self._around.lanes.after(self._interval_s, partial(self.fire, Event.TIMER_E))
        self._transmit()

    def _pass_early(self) -> None:
        if self._response is not None:
            self._early(self._response)

    def _complete(self) -> None:
        """Timer K is zero on a reliable transport."""
        self._data = None
        if self._response is not None:
            self._settle(self._response)
        if self.flow.is_reliable:
            self._advance(Event.TIMER_K)
        else:
            self._around.lanes.after(profile_of(self.flow).t4, partial(self.fire, Event.TIMER_K))

    def _time_out(self) -> None:
        self._settle(Trouble.TIMEOUT)
        self._end()

    def _lose(self) -> None:
        self._settle(Trouble.TRANSPORT)
        self._end()

    def _settle(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def _end(self) -> None:
        self._data = None
        self._ended()


_repeat, _early, _complete = NonInviteClient._repeat, NonInviteClient._pass_early, NonInviteClient._complete
_time_out, _lose, _end = NonInviteClient._time_out, NonInviteClient._lose, NonInviteClient._end
_Row = Row[NonInviteClient, State]

TABLE: dict[tuple[State, Event], _Row] = {
    (State.TRYING, Event.PROVISIONAL): _Row(State.PROCEEDING, _early, "17.1.2.2"),
    (State.TRYING, Event.FINAL): _Row(State.COMPLETED, _complete, "17.1.2.2"),
    (State.TRYING, Event.TIMER_E): _Row(State.TRYING, _repeat, "17.1.2.2"),
    (State.TRYING, Event.TIMER_F): _Row(State.TERMINATED, _time_out, "17.1.2.2"),
    (State.TRYING, Event.TIMER_K): _Row(State.TRYING, nothing, "17.1.2.2: not started"),
    (State.TRYING, Event.FAILED): _Row(State.TERMINATED, _lose, "17.1.4"),
    (State.PROCEEDING, Event.PROVISIONAL): _Row(State.PROCEEDING, _early, "17.1.2.2"),
    (State.PROCEEDING, Event.FINAL): _Row(State.COMPLETED, _complete, "17.1.2.2"),
    (State.PROCEEDING, Event.TIMER_E): _Row(State.PROCEEDING, _repeat, "17.1.2.2"),
    (State.PROCEEDING, Event.TIMER_F): _Row(State.TERMINATED, _time_out, "17.1.2.2"),
    (State.PROCEEDING, Event.TIMER_K): _Row(State.PROCEEDING, nothing, "17.1.2.2: not started"),
    (State.PROCEEDING, Event.FAILED): _Row(State.TERMINATED, _lose, "17.1.4"),
    **{(State.COMPLETED, event): _Row(State.COMPLETED, nothing, "17.1.2.2: absorbed") for event in Event},
    (State.COMPLETED, Event.TIMER_K): _Row(State.TERMINATED, _end, "17.1.2.2"),
    **{(State.TERMINATED, event): _Row(State.TERMINATED, nothing, "17.1.2.2") for event in Event},
}
