"""The non-INVITE server transaction (RFC 3261 17.2.2, RFC 4320)."""

from collections.abc import Callable
from enum import IntEnum

from redoubt.sip.transaction import Key, Row, Surroundings, nothing
from redoubt.sip.transaction_timers import profile_of
from redoubt.transport.flow import Flow, FlowFailed


class State(IntEnum):
    TRYING = 1
    PROCEEDING = 2
    COMPLETED = 3
    TERMINATED = 4


class Event(IntEnum):
    REQUEST = 1  # a retransmission
    PROVISIONAL = 2  # from the service, or the 100 that is due
    FINAL = 3  # from the service; also its silence, which RFC 4320 asks for instead of a 408 or a late answer
    TIMER_J = 4
    FAILED = 5  # the transport could not send


class NonInviteServer:
    """Absorbs retransmissions; once completed it holds no more than the octets of its response."""

    __slots__ = ("_around", "_ended", "data", "flow", "key", "state")

    def __init__(self, key: Key, flow: Flow, around: Surroundings, ended: Callable[[Key], None]) -> None:
        self.key = key
        self.flow = flow
        self.state = State.TRYING
        self.data: bytes | None = None
        self._around = around
        self._ended = ended

    @property
    def awaits_response(self) -> bool:
        return self.state < State.COMPLETED

    def request(self) -> None:
        """The request came again."""
        self._advance(Event.REQUEST)

    def provisional(self, data: bytes) -> None:
        if self.state < State.COMPLETED:
            self.data = data
        self._advance(Event.PROVISIONAL)

    def final(self, data: bytes | None) -> None:
        """None: nothing is sent, and retransmissions are absorbed in silence."""
        if self.state < State.COMPLETED:
            self.data = data
        self._advance(Event.FINAL)

    def drop(self) -> None:
        """Ends it early, to make room."""
        self._advance(Event.TIMER_J)

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

    def _complete(self) -> None:
        """Timer J is zero on a reliable transport."""
        self._transmit()
        if self.state is not State.COMPLETED:
            return
        if self.flow.is_reliable:
            self._advance(Event.TIMER_J)
        else:
            self._around.lanes.after(profile_of(self.flow).transaction_s, self._timer_j)

    def _timer_j(self) -> None:
        self._advance(Event.TIMER_J)

    def _end(self) -> None:
        self.data = None
        self._ended(self.key)


_send, _complete, _end = NonInviteServer._transmit, NonInviteServer._complete, NonInviteServer._end
_Row = Row[NonInviteServer, State]

TABLE: dict[tuple[State, Event], _Row] = {
    (State.TRYING, Event.REQUEST): _Row(State.TRYING, nothing, "17.2.2: discarded until there is an answer"),
    (State.TRYING, Event.PROVISIONAL): _Row(State.PROCEEDING, _send, "17.2.2, RFC 4320 4.1"),
    (State.TRYING, Event.FINAL): _Row(State.COMPLETED, _complete, "17.2.2, RFC 4320 4.2"),
    (State.TRYING, Event.TIMER_J): _Row(State.TERMINATED, _end, "limits.SERVER_TRANSACTIONS"),
    (State.TRYING, Event.FAILED): _Row(State.TERMINATED, _end, "17.2.4"),
    (State.PROCEEDING, Event.REQUEST): _Row(State.PROCEEDING, _send, "17.2.2"),
    (State.PROCEEDING, Event.PROVISIONAL): _Row(State.PROCEEDING, _send, "17.2.2"),
    (State.PROCEEDING, Event.FINAL): _Row(State.COMPLETED, _complete, "17.2.2"),
    (State.PROCEEDING, Event.TIMER_J): _Row(State.TERMINATED, _end, "limits.SERVER_TRANSACTIONS"),
    (State.PROCEEDING, Event.FAILED): _Row(State.TERMINATED, _end, "17.2.4"),
    (State.COMPLETED, Event.REQUEST): _Row(State.COMPLETED, _send, "17.2.2"),
    (State.COMPLETED, Event.PROVISIONAL): _Row(State.COMPLETED, nothing, "17.2.2: discarded"),
    (State.COMPLETED, Event.FINAL): _Row(State.COMPLETED, nothing, "17.2.2: discarded"),
    (State.COMPLETED, Event.TIMER_J): _Row(State.TERMINATED, _end, "17.2.2"),
    (State.COMPLETED, Event.FAILED): _Row(State.TERMINATED, _end, "17.2.4"),
    **{(State.TERMINATED, event): _Row(State.TERMINATED, nothing, "17.2.2") for event in Event},
}
