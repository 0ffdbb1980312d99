"""The states of a Diameter peer as one table (RFC 6733 5.6).

I is the connection that this node opened, R the one that the peer opened. Two differences from the RFC's table: what
the peer sends once the connection is open does not pass through it, because nothing there changes the state; and a
second CER while one connection is open asks the first whether it still lives, because a peer that lost its power comes
back before the watchdog misses it.
"""

from enum import Enum, auto
from typing import NamedTuple


class State(Enum):
    CLOSED = "closed"
    WAIT_CONN_ACK = "connecting"
    WAIT_I_CEA = "waits for CEA"
    WAIT_CONN_ACK_ELECT = "connecting both ways"
    WAIT_RETURNS = "election"
    R_OPEN = "open, by the peer"
    I_OPEN = "open, by us"
    CLOSING = "closing"

    @property
    def is_open(self) -> bool:
        return self is State.R_OPEN or self is State.I_OPEN


class Happening(Enum):
    """What can happen to a peer."""

    START = auto()
    R_CONN_CER = auto()
    I_RCV_CONN_ACK = auto()
    I_RCV_CONN_NACK = auto()
    I_RCV_CEA = auto()
    I_RCV_NON_CEA = auto()
    I_PEER_DISC = auto()
    R_PEER_DISC = auto()
    WIN_ELECTION = auto()
    TIMEOUT = auto()
    STOP = auto()
    RCV_DPR = auto()
    RCV_DPA = auto()


class Action(Enum):
    """What is done then; `Peer` has a method for each."""

    I_SND_CONN_REQ = auto()
    I_SND_CER = auto()
    R_SND_CEA = auto()
    ELECT = auto()
    I_DISC = auto()
    R_DISC = auto()
    R_REJECT = auto()
    PROBE = auto()
    SND_DPR = auto()
    SND_DPA = auto()
    ERROR = auto()


class Row(NamedTuple):
    next: State
    actions: tuple[Action, ...]
    clause: str = "RFC 6733 5.6"


def _rows() -> dict[tuple[State, Happening], Row]:
    s, h, a = State, Happening, Action
    return {
        (s.CLOSED, h.START): Row(s.WAIT_CONN_ACK, (a.I_SND_CONN_REQ,)),
        (s.CLOSED, h.R_CONN_CER): Row(s.R_OPEN, (a.R_SND_CEA,)),
        (s.WAIT_CONN_ACK, h.I_RCV_CONN_ACK): Row(s.WAIT_I_CEA, (a.I_SND_CER,)),
        (s.WAIT_CONN_ACK, h.I_RCV_CONN_NACK): Row(s.CLOSED, ()),
        (s.WAIT_CONN_ACK, h.R_CONN_CER): Row(s.WAIT_CONN_ACK_ELECT, ()),
        (s.WAIT_CONN_ACK, h.STOP): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_CONN_ACK, h.TIMEOUT): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_I_CEA, h.I_RCV_CEA): Row(s.I_OPEN, ()),
        (s.WAIT_I_CEA, h.R_CONN_CER): Row(s.WAIT_RETURNS, (a.ELECT,), "RFC 6733 5.6.4"),
        (s.WAIT_I_CEA, h.I_PEER_DISC): Row(s.CLOSED, (a.I_DISC,)),
        (s.WAIT_I_CEA, h.I_RCV_NON_CEA): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_I_CEA, h.STOP): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_I_CEA, h.TIMEOUT): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_CONN_ACK_ELECT, h.I_RCV_CONN_ACK): Row(s.WAIT_RETURNS, (a.I_SND_CER, a.ELECT), "RFC 6733 5.6.4"),
        (s.WAIT_CONN_ACK_ELECT, h.I_RCV_CONN_NACK): Row(s.R_OPEN, (a.R_SND_CEA,)),
        (s.WAIT_CONN_ACK_ELECT, h.R_PEER_DISC): Row(s.WAIT_CONN_ACK, (a.R_DISC,)),
        (s.WAIT_CONN_ACK_ELECT, h.R_CONN_CER): Row(s.WAIT_CONN_ACK_ELECT, (a.R_REJECT,)),
        (s.WAIT_CONN_ACK_ELECT, h.STOP): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_CONN_ACK_ELECT, h.TIMEOUT): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_RETURNS, h.WIN_ELECTION): Row(s.R_OPEN, (a.I_DISC, a.R_SND_CEA), "RFC 6733 5.6.4"),
        (s.WAIT_RETURNS, h.I_PEER_DISC): Row(s.R_OPEN, (a.I_DISC, a.R_SND_CEA)),
        (s.WAIT_RETURNS, h.I_RCV_CEA): Row(s.I_OPEN, (a.R_DISC,)),
        (s.WAIT_RETURNS, h.I_RCV_NON_CEA): Row(s.R_OPEN, (a.I_DISC, a.R_SND_CEA)),
        (s.WAIT_RETURNS, h.R_PEER_DISC): Row(s.WAIT_I_CEA, (a.R_DISC,)),
        (s.WAIT_RETURNS, h.R_CONN_CER): Row(s.WAIT_RETURNS, (a.R_REJECT,)),
        (s.WAIT_RETURNS, h.STOP): Row(s.CLOSED, (a.ERROR,)),
        (s.WAIT_RETURNS, h.TIMEOUT): Row(s.CLOSED, (a.ERROR,)),
        (s.R_OPEN, h.STOP): Row(s.CLOSING, (a.SND_DPR,), "RFC 6733 5.4"),
        (s.R_OPEN, h.RCV_DPR): Row(s.CLOSING, (a.SND_DPA,), "RFC 6733 5.4"),
        (s.R_OPEN, h.R_CONN_CER): Row(s.R_OPEN, (a.R_REJECT, a.PROBE)),
        (s.R_OPEN, h.R_PEER_DISC): Row(s.CLOSED, (a.R_DISC,)),
        (s.I_OPEN, h.STOP): Row(s.CLOSING, (a.SND_DPR,), "RFC 6733 5.4"),
        (s.I_OPEN, h.RCV_DPR): Row(s.CLOSING, (a.SND_DPA,), "RFC 6733 5.4"),
        (s.I_OPEN, h.R_CONN_CER): Row(s.I_OPEN, (a.R_REJECT, a.PROBE)),
        (s.I_OPEN, h.I_PEER_DISC): Row(s.CLOSED, (a.I_DISC,)),
        (s.CLOSING, h.RCV_DPA): Row(s.CLOSED, (a.I_DISC, a.R_DISC), "RFC 6733 5.4.2"),
        (s.CLOSING, h.RCV_DPR): Row(s.CLOSING, (a.SND_DPA,), "RFC 6733 5.4"),
        (s.CLOSING, h.R_CONN_CER): Row(s.CLOSING, (a.R_REJECT,)),
        (s.CLOSING, h.I_PEER_DISC): Row(s.CLOSED, (a.I_DISC,)),
        (s.CLOSING, h.R_PEER_DISC): Row(s.CLOSED, (a.R_DISC,)),
        (s.CLOSING, h.TIMEOUT): Row(s.CLOSED, (a.ERROR,)),
    }


TABLE = _rows()
