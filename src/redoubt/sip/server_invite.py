"""The INVITE server transaction (RFC 3261 17.2.1 as RFC 6026 7.1 changes it).

A 2xx is not retransmitted here: whoever made it does that (RFC 3261 13.3.1.4), and each copy passes in state ACCEPTED.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial

from redoubt.sip.transaction import Key, Row, Surroundings, nothing
from redoubt.sip.transaction_timers import ACCEPTED_S, profile_of
from redoubt.transport.flow import Flow, FlowFailed


class State(IntEnum):
    PROCEEDING = 1
    ACCEPTED = 2
    COMPLETED = 3
    CONFIRMED = 4
    TERMINATED = 5


class Event(IntEnum):
    REQUEST = 1  # a retransmission
    PROVISIONAL = 2
    SUCCESS = 3  # 2xx from the service
    FAILURE = 4  # 300 to 699 from the service
    ACK = 5  # of this transaction's branch
    TIMER_G = 6
    TIMER_H = 7
    TIMER_I = 8
    TIMER_L = 9
    FAILED = 10  # the transport could not send


class InviteServer:
    """Repeats a failure until its ACK, lets every 2xx through."""

    __slots__ = ("_around", "_ended", "_interval_s", "data", "flow", "key", "state")

    def __init__(self, key: Key, flow: Flow, around: Surroundings, ended: Callable[[Key], None]) -> None:
        self.key = key
        self.flow = flow
        self.state = State.PROCEEDING
        self.data: bytes | None = None
        self._around = around
        self._ended = ended
        self._interval_s = 0.0

    @property
    def awaits_response(self) -> bool:
        return self.state is State.PROCEEDING

    def request(self) -> None:
        """The INVITE came again."""
        self._advance(Event.REQUEST)

    def provisional(self, data: bytes) -> None:
        if self.state is State.PROCEEDING:
            self.data = data
        self._advance(Event.PROVISIONAL)

    def final(self, data: bytes | None, success: bool) -> None:
        """The answer, or a later 2xx; None: nothing is sent."""
        if self.state is State.PROCEEDING or (success and self.state is State.ACCEPTED):
            self.data = data
        self._advance(Event.SUCCESS if success else Event.FAILURE)

    def ack(self) -> bool:
        """Whether the ACK was for a failure and ends here; False: it belongs to a 2xx and goes up."""
        if self.state is State.ACCEPTED:
            return False
        self._advance(Event.ACK)
        return True

    def drop(self) -> None:
        """Ends it early, to make room."""
        self._advance(Event.TIMER_L if self.state is State.ACCEPTED else Event.TIMER_I)

    def fire(self, event: Event) -> None:
        """A timer. One that the state has left behind changes nothing."""
        self._advance(event)

    def _advance(self, event: Event) -> None:
        row = TABLE[self.state, event]
        self.state = row.state
        row.action(self)

    def _transmit(self) -> None:
        if self.data is None:
            return
        try:
            self._around.send(self.flow, self.data)
        except FlowFailed:
            self._advance(Event.FAILED)

    def _accept(self) -> None:
        self._around.lanes.after(ACCEPTED_S, partial(self.fire, Event.TIMER_L))
        self._transmit()
        self.data = None  # RFC 6026 7.1: a retransmitted INVITE is absorbed, not answered again

    def _pass_success(self) -> None:
        self._transmit()
        self.data = None

    def _complete(self) -> None:
        profile = profile_of(self.flow)
        self._around.lanes.after(profile.transaction_s, partial(self.fire, Event.TIMER_H))
        if not self.flow.is_reliable:
            self._interval_s = profile.t1
            self._around.lanes.after(profile.t1, partial(self.fire, Event.TIMER_G))
        self._transmit()

    def _repeat(self) -> None:
        self._interval_s = min(2 * self._interval_s, profile_of(self.flow).t2)
        self._around.lanes.after(self._interval_s, partial(self.fire, Event.TIMER_G))
        self._transmit()

    def _confirm(self) -> None:
        """Timer I is zero on a reliable transport."""
        self.data = None
        if self.flow.is_reliable:
            self._advance(Event.TIMER_I)
        else:
            self._around.lanes.after(profile_of(self.flow).t4, partial(self.fire, Event.TIMER_I))

    def _end(self) -> None:
        self.data = None
        self._ended(self.key)


_send, _repeat, _end = InviteServer._transmit, InviteServer._repeat, InviteServer._end
_accept, _pass, _complete = InviteServer._accept, InviteServer._pass_success, InviteServer._complete
_confirm = InviteServer._confirm
_Row = Row[InviteServer, State]
_IGNORED = "17.2.1: nothing to do in this state"


def _ignore(state: State, *events: Event) -> dict[tuple[State, Event], _Row]:
    return {(state, event): _Row(state, nothing, _IGNORED) for event in events}


TABLE: dict[tuple[State, Event], _Row] = {
    (State.PROCEEDING, Event.REQUEST): _Row(State.PROCEEDING, _send, "17.2.1"),
    (State.PROCEEDING, Event.PROVISIONAL): _Row(State.PROCEEDING, _send, "17.2.1"),
    (State.PROCEEDING, Event.SUCCESS): _Row(State.ACCEPTED, _accept, "RFC 6026 7.1"),
    (State.PROCEEDING, Event.FAILURE): _Row(State.COMPLETED, _complete, "17.2.1"),
    (State.PROCEEDING, Event.TIMER_I): _Row(State.TERMINATED, _end, "limits.SERVER_TRANSACTIONS"),
    (State.PROCEEDING, Event.FAILED): _Row(State.PROCEEDING, nothing, "RFC 6026 8.8: the service decides"),
    **_ignore(State.PROCEEDING, Event.ACK, Event.TIMER_G, Event.TIMER_H, Event.TIMER_L),
    (State.ACCEPTED, Event.REQUEST): _Row(State.ACCEPTED, nothing, "RFC 6026 7.1: absorbed"),
    (State.ACCEPTED, Event.SUCCESS): _Row(State.ACCEPTED, _pass, "RFC 6026 7.1"),
    (State.ACCEPTED, Event.TIMER_L): _Row(State.TERMINATED, _end, "RFC 6026 7.1"),
    (State.ACCEPTED, Event.FAILED): _Row(State.ACCEPTED, nothing, "RFC 6026 8.8"),
    **_ignore(State.ACCEPTED, Event.PROVISIONAL, Event.FAILURE, Event.ACK),
    **_ignore(State.ACCEPTED, Event.TIMER_G, Event.TIMER_H, Event.TIMER_I),
    (State.COMPLETED, Event.REQUEST): _Row(State.COMPLETED, _send, "17.2.1"),
    (State.COMPLETED, Event.ACK): _Row(State.CONFIRMED, _confirm, "17.2.1"),
    (State.COMPLETED, Event.TIMER_G): _Row(State.COMPLETED, _repeat, "17.2.1"),
    (State.COMPLETED, Event.TIMER_H): _Row(State.TERMINATED, _end, "17.2.1"),
    (State.COMPLETED, Event.TIMER_I): _Row(State.TERMINATED, _end, "limits.SERVER_TRANSACTIONS"),
    (State.COMPLETED, Event.FAILED): _Row(State.TERMINATED, _end, "17.2.4"),
    **_ignore(State.COMPLETED, Event.PROVISIONAL, Event.SUCCESS, Event.FAILURE, Event.TIMER_L),
    (State.CONFIRMED, Event.TIMER_I): _Row(State.TERMINATED, _end, "17.2.1"),
    **_ignore(State.CONFIRMED, Event.REQUEST, Event.PROVISIONAL, Event.SUCCESS, Event.FAILURE, Event.ACK),
    **_ignore(State.CONFIRMED, Event.TIMER_G, Event.TIMER_H, Event.TIMER_L, Event.FAILED),
    **_ignore(State.TERMINATED, *Event),
}
