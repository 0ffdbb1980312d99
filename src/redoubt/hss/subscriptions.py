"""Subscriptions in memory: a bounded cache over the store, found by private and by public identity.

Changes to one subscription are serialised: while one is being committed the subscription is `busy`, and who
wants it waits and looks again. Memory changes after the commit, so nothing is answered that a crash could undo.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct

from redoubt.hss.records import Subscription
from redoubt.hss.store import Change, Store
from redoubt.limits import HSS_IDENTITY_OCTETS, HSS_SUBSCRIPTIONS_CACHED

REFRESH_S = 1.0
"""How long a change that another process made (a provisioning command) may stay unseen."""


class Found(Struct, frozen=True):
    """The subscription of the private identity and that of the public one (normally the same), each if known."""

    of_impi: Subscription | None
    of_impu: Subscription | None
    position: int = 0


class Subscriptions:
    def __init__(self, store: Store, kept: int = HSS_SUBSCRIPTIONS_CACHED) -> None:
        self._store = store
        self._kept = kept
        self._cached: OrderedDict[int, Subscription] = OrderedDict()
        self._by_impi: dict[str, Subscription] = {}
        self._by_impu: dict[str, tuple[Subscription, int]] = {}
        self._wildcards: list[tuple[re.Pattern[str], int, int]] = []
        self._generation = -1
        self._looked_at = float("-inf")

    async def find(self, impi: str, impu: str) -> Found:
        """Both, with no change of either under way; raises StoreFailed. Nothing moves until the caller awaits."""
        while True:
            self._refresh()
            home = self._of_impi(impi) if impi else None
            subscription, position = self._of_impu(impu)
            busy = (home and home.busy) or (subscription and subscription.busy)
            if not busy:
                return Found(home, subscription, position)
            await busy

    async def numbered(self, number: int) -> Subscription | None:
        """By number, as `find` gives it."""
        while (known := self._load(number)) is not None and known.busy is not None:
            await known.busy
        return known

    async def commit(self, changes: Sequence[Change], *touched: Subscription) -> None:
        """Writes changes to subscriptions that nobody else changes meanwhile; raises StoreFailed.

        After a failure they are read from the store again: what it kept is the truth.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for subscription in touched:
            subscription.busy = done
        written = False
        try:
            await self._store.write(changes)
            written = True
        finally:
            for subscription in touched:
                subscription.busy = None
                if not written:
                    self.forget(subscription)
            done.set_result(None)

    def forget(self, subscription: Subscription) -> None:
        """Takes it out of the cache; the next look reads the store."""
        if self._cached.pop(subscription.number, None) is None:
            return
        for record in subscription.privates:
            self._by_impi.pop(record.impi, None)
        for one in subscription.provisioned.sets:
            for identity in one.identities:
                self._by_impu.pop(identity.impu, None)

    def provisioning_changed(self) -> None:
        """Reads the wildcards anew: the operator changed identities."""
        self._wildcards = [
            (re.compile(_expression(text)), number, position)
            for text, number, position in self._store.wildcards()
        ]

    def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < REFRESH_S:
            return
        generation = self._store.generation()
        self._looked_at = now
        if generation != self._generation:
            self._generation = generation
            for subscription in [one for one in self._cached.values() if one.busy is None]:
                self.forget(subscription)
            self.provisioning_changed()

    def _of_impi(self, impi: str) -> Subscription | None:
        known = self._by_impi.get(impi)
        if known is not None:
            self._cached.move_to_end(known.number)
            return known
        number = self._store.number_of_impi(impi)
        return None if number is None else self._load(number)

    def _of_impu(self, impu: str) -> tuple[Subscription | None, int]:
        known = self._by_impu.get(impu)
        if known is not None:
            self._cached.move_to_end(known[0].number)
            return known
        place = self._store.place_of_impu(impu) or self._wildcard_of(impu)
        return (None, 0) if place is None else (self._load(place[0]), place[1])

    def _wildcard_of(self, impu: str) -> tuple[int, int] | None:
        """A distinct identity goes before a wildcarded one (TS 23.003 13.4B)."""
        if len(impu) > HSS_IDENTITY_OCTETS:
            return None
        for pattern, number, position in self._wildcards:
            if pattern.fullmatch(impu):
                return number, position
        return None

    def _load(self, number: int) -> Subscription | None:
        known = self._cached.get(number)
        if known is not None:
            return known
        loaded = self._store.load(number)
        if loaded is None:
            return None
        self._make_room()
        self._cached[number] = loaded
        for record in loaded.privates:
            self._by_impi[record.impi] = loaded
        for position, one in enumerate(loaded.provisioned.sets):
            for identity in one.identities:
                self._by_impu[identity.impu] = (loaded, position)
        return loaded

    def _make_room(self) -> None:
        """Drops the one used longest ago, unless it is being changed: then it goes to the back.

        What lives in memory only (a pending challenge) ends with it, as in a crash.
        """
        for _ in range(len(self._cached)):
            if len(self._cached) < self._kept:
                return
            oldest = next(iter(self._cached.values()))
            if oldest.busy is None:
                self.forget(oldest)
            else:
                self._cached.move_to_end(oldest.number)


def _expression(wildcard: str) -> str:
    """The regular expression between the exclamation marks, the rest literal (TS 23.003 13.4A)."""
    before, expression, after = wildcard.split("!")
    return re.escape(before) + expression + re.escape(after)

