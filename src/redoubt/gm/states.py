"""The life of an association set as a table (TS 33.203 6.1, 7.3 to 7.5; TS 24.229 5.1.1.5, 5.2.2, 5.2.5).

A set is the four associations that one authentication makes. The same table serves the P-CSCF and the phone: what one
end sends, the other receives. A pair that is not in the table changes nothing and is told to whoever listens.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a set is in its life."""

    TEMPORARY = "temporary"  # set up with the 401; whether the phone has the keys is not known
    ANSWERED = "answered"  # the phone has the keys: its answer came on this set; the home network decides
    ESTABLISHED = "established"  # the 200 made it last; an older set still protects what is sent to the phone
    IN_USE = "in use"  # protects everything
    OLD = "old"  # a newer set is in use: pending transactions end here
    CLOSING = "closing"  # nothing is registered on it, any more or ever: the last answers leave
    REFUSED = "refused"  # the authentication failed: its answer leaves
    ENDED = "ended"


class Event(StrEnum):
    """What happens to a set."""

    MESSAGE = "an authentic packet came on it"
    AUTHENTICATED = "its authentication succeeded"
    ALONE = "no older set protects the phone"
    REFRESHED = "a registration of the phone was prolonged"
    SHORTENED = "the network demands authentication"
    SUPERSEDED = "a newer set was taken into use"
    COMPLETED = "what was pending on it has been answered"
    RESTARTED = "the phone authenticated anew without protection"
    DEREGISTERED = "the phone's last registration ended"
    CONCLUDED = "its authentication succeeded and ended a registration"
    FAILED = "its authentication failed"
    REPLACED = "the phone began another attempt"
    EVICTED = "its place was needed"
    DISPLACED = "another phone of its private identity proved itself, and an attempt must find a place"
    EXHAUSTED = "its sequence numbers are used up"
    LIFE_ENDED = "its life ended"


class Life(StrEnum):
    """What becomes of the end of its life."""

    KEEP = "stays"
    ANSWER = "at least until the answer's transaction is over"
    GRANT = "the longest registration and 30 s, never before the older set's"
    SHORTEN = "no later than the network allows"
    LINGER = "no later than 64*T1 from now"
    PENDING = "while an INVITE is pending on it, within a bound; else no later than 64*T1 from now"
    END = "now"


@dataclass(frozen=True, slots=True)
class Row:
    """What an event leads to, and the clause that says so."""

    state: State
    life: Life
    clause: str


S, E, L = State, Event, Life

TABLE: dict[tuple[State, Event], Row] = {
    (S.TEMPORARY, E.MESSAGE): Row(S.ANSWERED, L.ANSWER, "TS 33.203 7.2, SM7"),
    (S.TEMPORARY, E.FAILED): Row(S.REFUSED, L.LINGER, "TS 33.203 7.3.1"),
    (S.TEMPORARY, E.REPLACED): Row(S.ENDED, L.END, "TS 24.229 5.4.1.2.1"),
    (S.TEMPORARY, E.EVICTED): Row(S.ENDED, L.END, "TS 33.203 7.4.1"),
    (S.TEMPORARY, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.TEMPORARY, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 24.229 5.2.2.2, reg-await-auth"),
    (S.ANSWERED, E.MESSAGE): Row(S.ANSWERED, L.KEEP, "RFC 3261 17.1.2"),
    (S.ANSWERED, E.AUTHENTICATED): Row(S.ESTABLISHED, L.GRANT, "TS 24.229 5.2.2.2, 5.1.1.5.1"),
    (S.ANSWERED, E.CONCLUDED): Row(S.CLOSING, L.LINGER, "TS 24.229 5.1.1.6, 5.2.5.1"),
    (S.ANSWERED, E.FAILED): Row(S.REFUSED, L.LINGER, "TS 33.203 7.3.1"),
    (S.ANSWERED, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.ANSWERED, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 24.229 5.2.2.2, reg-await-auth"),
    (S.ESTABLISHED, E.MESSAGE): Row(S.IN_USE, L.KEEP, "TS 33.203 7.4.2, TS 24.229 5.2.2.2"),
    (S.ESTABLISHED, E.ALONE): Row(S.IN_USE, L.KEEP, "TS 33.203 7.4.2"),
    (S.ESTABLISHED, E.REFRESHED): Row(S.ESTABLISHED, L.GRANT, "TS 24.229 5.2.2.2"),
    (S.ESTABLISHED, E.SHORTENED): Row(S.ESTABLISHED, L.SHORTEN, "TS 33.203 6.1.4"),
    (S.ESTABLISHED, E.SUPERSEDED): Row(S.OLD, L.PENDING, "TS 33.203 7.4, TS 24.229 5.2.2.2"),
    (S.ESTABLISHED, E.RESTARTED): Row(S.ENDED, L.END, "TS 33.203 7.4.1, 7.5"),
    (S.ESTABLISHED, E.DEREGISTERED): Row(S.CLOSING, L.LINGER, "TS 24.229 5.2.5"),
    (S.ESTABLISHED, E.DISPLACED): Row(S.ENDED, L.END, "TS 33.203 7.4"),
    (S.ESTABLISHED, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.ESTABLISHED, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 24.229 5.2.2.2"),
    (S.IN_USE, E.MESSAGE): Row(S.IN_USE, L.KEEP, "TS 33.203 7.4"),
    (S.IN_USE, E.REFRESHED): Row(S.IN_USE, L.GRANT, "TS 24.229 5.2.2.2"),
    (S.IN_USE, E.SHORTENED): Row(S.IN_USE, L.SHORTEN, "TS 33.203 6.1.4"),
    (S.IN_USE, E.SUPERSEDED): Row(S.OLD, L.PENDING, "TS 33.203 7.4, TS 24.229 5.2.2.2"),
    (S.IN_USE, E.RESTARTED): Row(S.ENDED, L.END, "TS 33.203 7.4.1, 7.5"),
    (S.IN_USE, E.DEREGISTERED): Row(S.CLOSING, L.LINGER, "TS 24.229 5.2.5"),
    (S.IN_USE, E.DISPLACED): Row(S.ENDED, L.END, "TS 33.203 7.4"),
    (S.IN_USE, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.IN_USE, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 24.229 5.2.2.2"),
    (S.OLD, E.MESSAGE): Row(S.OLD, L.KEEP, "TS 33.203 7.4.2"),
    (S.OLD, E.COMPLETED): Row(S.OLD, L.LINGER, "TS 33.203 7.4, TS 24.229 5.2.2.2"),
    (S.OLD, E.SUPERSEDED): Row(S.OLD, L.KEEP, "TS 24.229 5.2.2.2"),
    (S.OLD, E.SHORTENED): Row(S.OLD, L.SHORTEN, "TS 33.203 6.1.4"),
    (S.OLD, E.RESTARTED): Row(S.ENDED, L.END, "TS 33.203 7.4.1, 7.5"),
    (S.OLD, E.DEREGISTERED): Row(S.CLOSING, L.LINGER, "TS 24.229 5.2.5"),
    (S.OLD, E.EVICTED): Row(S.ENDED, L.END, "TS 33.203 7.4"),
    (S.OLD, E.DISPLACED): Row(S.ENDED, L.END, "TS 33.203 7.4"),
    (S.OLD, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.OLD, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 24.229 5.2.2.2"),
    (S.CLOSING, E.MESSAGE): Row(S.CLOSING, L.KEEP, "RFC 3261 17.2.2"),
    (S.CLOSING, E.REFRESHED): Row(S.IN_USE, L.GRANT, "TS 24.229 5.2.2.2"),  # a REGISTER crossed the deregistration
    (S.CLOSING, E.DEREGISTERED): Row(S.CLOSING, L.KEEP, "TS 24.229 5.2.5"),
    (S.CLOSING, E.RESTARTED): Row(S.ENDED, L.END, "TS 33.203 7.4.1, 7.5"),
    (S.CLOSING, E.EVICTED): Row(S.ENDED, L.END, "TS 33.203 7.4"),
    (S.CLOSING, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.CLOSING, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 24.229 5.2.5"),
    (S.REFUSED, E.MESSAGE): Row(S.REFUSED, L.KEEP, "RFC 3261 17.2.2"),
    (S.REFUSED, E.REPLACED): Row(S.ENDED, L.END, "TS 33.203 7.3.1"),
    (S.REFUSED, E.EVICTED): Row(S.ENDED, L.END, "TS 33.203 7.3.1"),
    (S.REFUSED, E.EXHAUSTED): Row(S.ENDED, L.END, "RFC 4303 3.3.3"),
    (S.REFUSED, E.LIFE_ENDED): Row(S.ENDED, L.END, "TS 33.203 7.3.1"),
}  # fmt: skip

CONFIRMED = frozenset({S.ESTABLISHED, S.IN_USE})  # keeps the phone reachable
CARRIES_REQUESTS = frozenset({S.ANSWERED, S.ESTABLISHED, S.IN_USE, S.OLD})  # a request on it is the phone's
