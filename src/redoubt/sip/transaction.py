"""What the four transaction machines share (RFC 3261 17, RFC 6026): a row of their tables, and the surroundings.

A machine is one literal table (state, event) -> (next state, action, clause). Every pair has a row, so what is ignored
is ignored by decision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar

from redoubt.sip.message import Response
from redoubt.sip.transaction_timers import Lanes
from redoubt.transport.flow import Flow

Key = tuple[object, ...]  # what tells server transactions apart (RFC 3261 17.2.3)
M = TypeVar("M")  # the machine
S = TypeVar("S")  # its states


class Trouble(Enum):
    """Why a client transaction ended without a final response."""

    TIMEOUT = "no answer within 64*T1"
    TRANSPORT = "the transport failed"
    CANCELLED = "no final response within 64*T1 of the CANCEL"


Outcome = Response | Trouble


class Row(NamedTuple, Generic[M, S]):
    """One transition. The action runs in the next state."""

    state: S
    action: Callable[[M], None]
    clause: str


class Send(Protocol):
    """Puts octets on a flow, shown to whoever traces. Raises FlowFailed."""

    def __call__(self, flow: Flow, data: bytes) -> None: ...


@dataclass(slots=True, eq=False)
class Surroundings:
    """What a transaction needs of the node that it lives in."""

    lanes: Lanes
    send: Send


def nothing(_machine: object) -> None:
    """The action of a row that only changes state, or ignores."""
