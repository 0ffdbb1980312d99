"""The INVITE client transaction (RFC 3261 17.1.1 as RFC 6026 7.2 changes it), with CANCEL (9.1) and Timer C (16.8)."""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Protocol

from redoubt.sip.message import Response
from redoubt.sip.transaction import Outcome, Row, Surroundings, Trouble, nothing
from redoubt.sip.transaction_timers import ACCEPTED_S, TIMER_C_S, profile_of
from redoubt.transport.flow import Flow, FlowFailed


class State(IntEnum):
    CALLING = 1
    PROCEEDING = 2
    ACCEPTED = 3
    COMPLETED = 4
    TERMINATED = 5


class Event(IntEnum):
    PROVISIONAL = 1
    SUCCESS = 2  # 2xx
    FAILURE = 3  # 300 to 699
    CANCEL = 4  # the caller gave up
    TIMER_A = 5
    TIMER_B = 6
    TIMER_C = 7
    TIMER_D = 8
    TIMER_M = 9
    UNANSWERED = 10  # 64*T1 after the CANCEL
    FAILED = 11  # the transport could not send, or the connection is gone


class Companion(Protocol):
    """Makes what goes with the INVITE on the same flow: an ACK's octets, and a CANCEL's own transaction."""

    def ack_of(self, response: Response) -> bytes: ...

    def send_cancel(self) -> None: ...


class InviteClient:
    """Sends the INVITE, acknowledges a failure, lets every 2xx through. `outcome` is the first final response."""

    __slots__ = (
        "_ack", "_around", "_cancel_sent", "_cancel_wanted", "_companion", "_data", "_early", "_ended", "_heard_at",
        "_interval_s", "_response", "flow", "outcome", "state",
    )  # fmt: skip

    def __init__(
        self,
        flow: Flow,
        data: bytes,
        around: Surroundings,
        companion: Companion,
        early: Callable[[Response], None],
        ended: Callable[[], object],
    ) -> None:
        self.flow = flow
        self.state = State.CALLING
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._around = around
        self._companion: Companion | None = companion
        self._data: bytes | None = data
        self._ack: bytes | None = None
        self._early = early
        self._ended = ended
        self._interval_s = 0.0
        self._heard_at = 0.0
        self._cancel_wanted = self._cancel_sent = False
        self._response: Response | None = None

    @property
    def was_heard(self) -> bool:
        """Whether the next hop has the INVITE for certain."""
        return self.state is not State.CALLING

    def start(self) -> None:
        """Sends the INVITE for the first time."""
        profile = profile_of(self.flow)
        self._after(profile.transaction_s, Event.TIMER_B)
        if not self.flow.is_reliable:
            self._interval_s = profile.t1
            self._after(profile.t1, Event.TIMER_A)
        self._transmit()

    def receive(self, response: Response) -> None:
        """A response that matches, its top Via removed."""
        self._response = response
        if response.status < 200:
            self._advance(Event.PROVISIONAL)
        else:
            self._advance(Event.SUCCESS if response.status < 300 else Event.FAILURE)
        self._response = None

    def cancel(self) -> None:
        """The caller gave up: CANCEL goes out once a provisional response is here."""
        self._advance(Event.CANCEL)

    def fire(self, event: Event) -> None:
        """A timer. One that the state has left behind changes nothing."""
        self._advance(event)

    def fail(self) -> None:
        self._advance(Event.FAILED)

    def _advance(self, event: Event) -> None:
        row = TABLE[self.state, event]
        self.state = row.state
        row.action(self)

    def _after(self, delay_s: float, event: Event) -> None:
        self._around.lanes.after(delay_s, partial(self.fire, event))

    def _transmit(self) -> None:
        if self._data is None:
            return
        try:
            self._around.send(self.flow, self._data)
        except FlowFailed:
            self._advance(Event.FAILED)

    def _repeat(self) -> None:
        self._interval_s *= 2
        self._after(self._interval_s, Event.TIMER_A)
        self._transmit()

    def _begin_proceeding(self) -> None:
        self._data = None
        self._heard_at = asyncio.get_running_loop().time()
        self._after(TIMER_C_S, Event.TIMER_C)
        self._pass_early()
        if self._cancel_wanted:
            self._advance(Event.CANCEL)

    def _pass_early(self) -> None:
        """Every 1xx but 100 starts Timer C again (RFC 3261 16.7 step 2)."""
        if self._response is not None:
            if self._response.status != 100:
                self._heard_at = asyncio.get_running_loop().time()
            self._early(self._response)

    def _check_timer_c(self) -> None:
        """RFC 3261 16.8: a callee that says nothing for so long is cancelled."""
        left_s = self._heard_at + TIMER_C_S - asyncio.get_running_loop().time()
        if left_s > TIMER_C_S / 100:
            self._after(TIMER_C_S, Event.TIMER_C)
        else:
            self._advance(Event.CANCEL)

    def _want_cancel(self) -> None:
        self._cancel_wanted = True

    def _send_cancel(self) -> None:
        """Once: a second reason to give up changes nothing."""
        if self._companion is not None and not self._cancel_sent:
            self._cancel_sent = True
            self._after(profile_of(self.flow).transaction_s, Event.UNANSWERED)
            self._companion.send_cancel()

    def _accept(self) -> None:
        self._data = self._companion = None
        self._after(ACCEPTED_S, Event.TIMER_M)
        if self._response is not None:
            self._settle(self._response)

    def _complete(self) -> None:
        """ACK goes where the INVITE went (17.1.1.3). Timer D is zero on a reliable transport."""
        self._data = None
        if self._companion is not None and self._response is not None:
            self._ack = self._companion.ack_of(self._response)
            self._companion = None
            self._acknowledge()
            self._settle(self._response)
        if self.flow.is_reliable:
            self._advance(Event.TIMER_D)
        else:
            self._after(profile_of(self.flow).transaction_s, Event.TIMER_D)

    def _acknowledge(self) -> None:
        if self._ack is not None:
            try:
                self._around.send(self.flow, self._ack)
            except FlowFailed:
                self._advance(Event.FAILED)

    def _time_out(self) -> None:
        self._settle(Trouble.TIMEOUT)
        self._end()

    def _give_up(self) -> None:
        self._settle(Trouble.CANCELLED)
        self._end()

    def _lose(self) -> None:
        self._settle(Trouble.TRANSPORT)
        self._end()

    def _settle(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def _end(self) -> None:
        self._data = self._ack = self._companion = None
        self._ended()


_Machine = InviteClient
_Row = Row[InviteClient, State]


def _ignore(state: State, clause: str, *events: Event) -> dict[tuple[State, Event], _Row]:
    return {(state, event): _Row(state, nothing, clause) for event in events}


TABLE: dict[tuple[State, Event], _Row] = {
    (State.CALLING, Event.PROVISIONAL): _Row(State.PROCEEDING, _Machine._begin_proceeding, "17.1.1.2"),
    (State.CALLING, Event.SUCCESS): _Row(State.ACCEPTED, _Machine._accept, "RFC 6026 7.2"),
    (State.CALLING, Event.FAILURE): _Row(State.COMPLETED, _Machine._complete, "17.1.1.2"),
    (State.CALLING, Event.CANCEL): _Row(State.CALLING, _Machine._want_cancel, "9.1: waits for a 1xx"),
    (State.CALLING, Event.TIMER_A): _Row(State.CALLING, _Machine._repeat, "17.1.1.2"),
    (State.CALLING, Event.TIMER_B): _Row(State.TERMINATED, _Machine._time_out, "17.1.1.2"),
    (State.CALLING, Event.FAILED): _Row(State.TERMINATED, _Machine._lose, "17.1.4"),
    **_ignore(State.CALLING, "17.1.1.2: not started", Event.TIMER_C, Event.TIMER_D, Event.TIMER_M, Event.UNANSWERED),
    (State.PROCEEDING, Event.PROVISIONAL): _Row(State.PROCEEDING, _Machine._pass_early, "17.1.1.2"),
    (State.PROCEEDING, Event.SUCCESS): _Row(State.ACCEPTED, _Machine._accept, "RFC 6026 7.2"),
    (State.PROCEEDING, Event.FAILURE): _Row(State.COMPLETED, _Machine._complete, "17.1.1.2"),
    (State.PROCEEDING, Event.CANCEL): _Row(State.PROCEEDING, _Machine._send_cancel, "9.1"),
    (State.PROCEEDING, Event.TIMER_C): _Row(State.PROCEEDING, _Machine._check_timer_c, "16.8"),
    (State.PROCEEDING, Event.UNANSWERED): _Row(State.TERMINATED, _Machine._give_up, "9.1"),
    (State.PROCEEDING, Event.FAILED): _Row(State.TERMINATED, _Machine._lose, "17.1.4"),
    **_ignore(State.PROCEEDING, "17.1.1.2: no longer runs", Event.TIMER_A, Event.TIMER_B),
    **_ignore(State.PROCEEDING, "17.1.1.2: not started", Event.TIMER_D, Event.TIMER_M),
    **_ignore(State.ACCEPTED, "RFC 6026 7.2: ignored", *Event),
    (State.ACCEPTED, Event.SUCCESS): _Row(State.ACCEPTED, _Machine._pass_early, "RFC 6026 7.2: each 2xx goes up"),
    (State.ACCEPTED, Event.TIMER_M): _Row(State.TERMINATED, _Machine._end, "RFC 6026 7.2"),
    **_ignore(State.COMPLETED, "17.1.1.2: ignored", *Event),
    (State.COMPLETED, Event.FAILURE): _Row(State.COMPLETED, _Machine._acknowledge, "17.1.1.2: ACK again"),
    (State.COMPLETED, Event.TIMER_D): _Row(State.TERMINATED, _Machine._end, "17.1.1.2"),
    (State.COMPLETED, Event.FAILED): _Row(State.TERMINATED, _Machine._end, "17.1.4"),
    **_ignore(State.TERMINATED, "17.1.1.2: ended", *Event),
}
