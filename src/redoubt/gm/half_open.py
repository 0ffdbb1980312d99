"""Temporary sets that nobody has proved keys for, by the address that asked for them.

It is the one table of Gm that strangers can fill. Beyond a source's ceiling its own oldest goes, beyond the global one
the oldest of the heaviest source (requirement row 47). Sets of phones that have proved their keys are not here and
can't be pushed out.
"""

from redoubt.gm.association_set import AssociationSet
from redoubt.limits import HALF_OPEN_SETS, HALF_OPEN_SETS_PER_SOURCE

Waiting = dict[AssociationSet, None]  # oldest first
WITHOUT_CEILING = 2**62  # to show what happens then


class HalfOpen:
    """Sources are kept by how many sets they hold, so that the heaviest is found at once."""

    def __init__(self, ceiling: int = HALF_OPEN_SETS, per_source: int = HALF_OPEN_SETS_PER_SOURCE) -> None:
        self._ceiling = ceiling
        self._per_source = per_source
        self._of_source: dict[str, Waiting] = {}
        self._by_weight: dict[int, dict[str, None]] = {}
        self._heaviest = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, waiting: AssociationSet) -> bool:
        return waiting in self._of_source.get(waiting.address, ())

    def in_the_way(self, source: str) -> AssociationSet | None:
        """Which set has to go before one more of this source comes."""
        own = self._of_source.get(source)
        if own is not None and len(own) >= self._per_source:
            return next(iter(own))
        if self._count >= self._ceiling:
            heaviest = next(iter(self._by_weight[self._heaviest]))
            return next(iter(self._of_source[heaviest]))
        return None

    def add(self, waiting: AssociationSet) -> None:
        source = waiting.address
        own = self._of_source.setdefault(source, {})
        own[waiting] = None
        self._count += 1
        self._weigh(source, len(own) - 1, len(own))

    def discard(self, waiting: AssociationSet) -> None:
        """It was answered, or it ended."""
        source = waiting.address
        own = self._of_source.get(source)
        if own is None or waiting not in own:
            return
        del own[waiting]
        self._count -= 1
        self._weigh(source, len(own) + 1, len(own))
        if not own:
            del self._of_source[source]

    def _weigh(self, source: str, before: int, now: int) -> None:
        if before:
            del self._by_weight[before][source]
            if not self._by_weight[before]:
                del self._by_weight[before]
        if now:
            self._by_weight.setdefault(now, {})[source] = None
        if now > self._heaviest:
            self._heaviest = now
        elif self._heaviest not in self._by_weight:
            self._heaviest = now  # the weights in between are empty: the source came from the top, by one
