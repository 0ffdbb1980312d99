"""What happens on Gm, as events: changes of association sets, and packets that led to nothing.

A flood of bad packets must not become a flood of events: of one reason from one source the first is told, then each
power of ten, with how many there were.
"""

from collections import Counter, OrderedDict

from redoubt.events import Event as Told
from redoubt.events import EventStream
from redoubt.gm.algorithms import Suite
from redoubt.gm.association_set import AssociationSet
from redoubt.gm.esp import Drop
from redoubt.gm.states import Event, Row, State
from redoubt.limits import REFUSING_SOURCES
from redoubt.sources import Clock
from redoubt.transport.flow import Address


class AssociationChanged(Told, frozen=True, kw_only=True, tag=True, gc=False):
    """A row of the life of association sets (redoubt.gm.states)."""

    impi: str
    number: int
    before: str
    after: str
    what: str
    clause: str
    suite: str
    source: str


class AssociationEventRefused(Told, frozen=True, kw_only=True, tag=True, gc=False):
    """Something happened to a set that its state has no row for: nothing changed."""

    impi: str
    number: int
    state: str
    what: str


class PacketsRefused(Told, frozen=True, kw_only=True, tag=True, gc=False):
    """Packets that led to nothing (RFC 4303 3.4 asks for each to be auditable): how many so far, for which reason."""

    reason: str
    source: str
    spi: int
    count: int


class Agreed(Counter[Suite]):
    """A `Listener` that counts authenticated sets by their algorithms: rows 25 and 27 want weak ones counted."""

    def changed(self, about: AssociationSet, before: State, event: Event, _row: Row | None) -> None:
        if before is State.ANSWERED and event is Event.AUTHENTICATED:
            self[about.agreement.suite] += 1


class Reports:
    """Listens to `Associations` (with `changed`) and to a path (with `refused`)."""

    def __init__(self, node: str, events: EventStream, clock: Clock) -> None:
        self._node = node
        self._events = events
        self._clock = clock
        self._counts: OrderedDict[tuple[Drop, str], int] = OrderedDict()
        self.refused_packets = 0

    def changed(self, about: AssociationSet, before: State, event: Event, row: Row | None) -> None:
        """A `Listener`. What leaves the state as it is, is not news."""
        if row is not None and row.state is before:
            return
        at, impi = self._clock.now(), about.phone.key.impi
        if row is None:
            told: Told = AssociationEventRefused(
                at=at, node=self._node, impi=impi, number=about.number, state=before, what=event
            )
        else:
            told = AssociationChanged(
                at=at, node=self._node, impi=impi, number=about.number, before=before, after=row.state, what=event,
                clause=row.clause, suite=str(about.agreement.suite), source=about.address,
            )  # fmt: skip
        self._events.emit(told)

    def refused(self, reason: Drop, spi: int, source: Address) -> None:
        """A path's `Refused`."""
        self.refused_packets += 1
        key = reason, source[0]
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > REFUSING_SOURCES:
            self._counts.popitem(last=False)
        if count == 1 or (count % 10 == 0 and str(count).strip("0") == "1"):
            self._events.emit(
                PacketsRefused(
                    at=self._clock.now(), node=self._node, reason=reason.value, source=source[0], spi=spi, count=count
                )
            )
