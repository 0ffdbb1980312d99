"""What an association set is, what it begins with, and what a path for its packets has to do."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from msgspec import Struct

from redoubt.gm.agreement import Agreement
from redoubt.gm.algorithms import EspKeys
from redoubt.gm.ledger import Slot
from redoubt.gm.states import CARRIES_REQUESTS, State
from redoubt.transport.flow import Flow

WAITS_FOR_MESSAGE = frozenset({State.TEMPORARY, State.ESTABLISHED})  # where a packet changes something


class Role(Enum):
    """Which end this is."""

    NETWORK = "P-CSCF"  # sends on the older set until the phone has used the newer (TS 24.229 5.2.2.2)
    PHONE = "phone"  # sends on the newer at once (TS 24.229 5.1.1.5.1)


class PhoneKey(NamedTuple):
    """A phone: a private identity and one contact of it (its instance, or where it is reached)."""

    impi: str
    contact: str


@dataclass(slots=True, eq=False)
class Phone:
    """All that this end holds for one phone. `registered` says until when each identity's sets must last."""

    key: PhoneKey
    sets: "list[AssociationSet]" = field(default_factory=list)
    registered: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class AssociationSet:
    """Two pairs of associations, keyed by one authentication (TS 33.203 7.1). Each is used once: identity compares.

    `vouched` says that the attempt began on an association of the same phone, `over_rank` on which: `rank` orders sets
    by the success of their authentication. `address` is where the phone's packets come from, `inner` what it calls
    itself inside. `pending` counts INVITEs on it that are not answered yet.
    """

    number: int
    phone: Phone
    agreement: Agreement
    keys: EspKeys
    address: str
    inner: str
    call_id: str
    nonce: str
    vouched: bool
    began_at: float
    ends_at: float
    over_rank: int | None = None
    state: State = State.TEMPORARY
    rank: int = 0
    flow: Flow | None = None
    slot: Slot = field(default_factory=Slot)
    pending: int = 0

    @property
    def carries_requests(self) -> bool:
        """Whether a request that came on it is to be served."""
        return self.state in CARRIES_REQUESTS

    def __repr__(self) -> str:
        return f"AssociationSet({self.number}, {self.phone.key.impi}, {self.state.value})"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a set has carried and refused, as its path counted."""

    sent_packets: int = 0
    sent_octets: int = 0
    received_packets: int = 0
    received_octets: int = 0
    replayed: int = 0
    bad_tags: int = 0


class PathFailed(Exception):
    """A path could not set up a set; the message says why. Nothing is installed then."""


class EndsTaken(PathFailed):
    """The phone's ports and SPIs are those of a set that still lives, which this path can't tell from a new one."""


class Path(Protocol):
    """A way for packets of association sets: user space in UDP, raw, or the kernel."""

    def install(self, association_set: AssociationSet) -> Flow:
        """Both directions are ready when this returns; the flow's security is the set. Raises PathFailed."""

    def remove(self, association_set: AssociationSet) -> None:
        """Nothing passes on it any more, and its keys are forgotten."""

    def usage(self, association_set: AssociationSet) -> Usage:
        """The counters of a living set."""


class Beginning(Struct, frozen=True, gc=False):
    """What an authentication begins with: whose it is, what was agreed, under which keys."""

    phone: PhoneKey
    agreement: Agreement
    keys: EspKeys
    address: str
    inner: str
    call_id: str
    nonce: str
    vouched: bool = False
    over_rank: int | None = None
