"""Subscriptions in memory: a bounded cache over the store, found by private and by public identity.

Changes to one subscription are serialised: while one is being committed the subscription is `busy`, and who
wants it waits and looks again. Memory changes after the commit, so nothing is answered that a crash could undo.
A store that other HSS processes share is asked each time: then the cache spares the decoding and keeps what lives
in memory only. What two of them change at once, the store refuses to the second as Stale.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct

from redoubt.hss.records import Subscription
from redoubt.hss.store import Change, Store
from redoubt.limits import HSS_IDENTITY_OCTETS, HSS_SUBSCRIPTIONS_CACHED

REFRESH_S = 1.0
"""How long a change that another process made (a provisioning command) may stay unseen in a store of our own."""


Watch = Callable[[Sequence[Change], Sequence[Subscription]], None]
"""Sees what was committed, with the subscriptions as they were before."""


class Found(Struct, frozen=True, gc=False):
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
        self._wildcards: list[tuple[re.Pattern[str], int, int]] | None = None
        self._wildcard_rows: list[tuple[str, int, int]] = []
        self._generation = -1
        self._looked_at = float("-inf")
        self.watch: Watch | None = None

    def at_hand(self, impi: str, impu: str) -> Found | None:
        """As `find`, if memory has both as they are in the store and nobody changes them."""
        home, place = self._by_impi.get(impi), self._by_impu.get(impu)
        if place is None or self._store.is_shared or not self._is_fresh(impi, home, place):
            return None
        subscription, position = place
        if home is not None and home.number == subscription.number:
            home = subscription
        if subscription.busy or (home and home.busy):
            return None
        self._used(home, subscription)
        return Found(home, subscription, position)

    async def find(self, impi: str, impu: str) -> Found:
        """Both, with no change of either under way; raises StoreFailed. Nothing moves until the caller awaits."""
        while True:
            home, place = self._by_impi.get(impi), self._by_impu.get(impu)
            if self._store.is_shared or not self._is_fresh(impi, home, place):
                await self._read(impi, impu)
                home, place = self._by_impi.get(impi), self._by_impu.get(impu)
            if place is None:
                place = await self._by_wildcard(impu)
            subscription, position = place or (None, 0)
            if home is not None and subscription is not None and home.number == subscription.number:
                home = subscription
            busy = (home and home.busy) or (subscription and subscription.busy)
            if not busy:
                self._used(home, subscription)
                return Found(home, subscription, position)
            await busy

    async def numbered(self, number: int) -> Subscription | None:
        """By number, as `find` gives it."""
        while (known := await self._load(number)) is not None and known.busy is not None:
            await known.busy
        return known

    async def commit(self, changes: Sequence[Change], *touched: Subscription) -> None:
        """Writes changes to subscriptions that nobody else changes meanwhile; raises StoreFailed, Stale among them.

        After a failure they are read from the store again: what it kept is the truth.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen: dict[int, int] = {}
        for subscription in touched:
            subscription.busy = done
            seen[subscription.number] = subscription.version
        written = False
        try:
            await self._store.write(changes, seen)
            written = True
        finally:
            for subscription in touched:
                subscription.busy = None
                if written:
                    subscription.version = seen[subscription.number] + 1
                else:
                    self.forget(subscription)
            done.set_result(None)
        if self.watch is not None:
            self.watch(changes, touched)

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
        """The operator changed identities: the wildcards are read anew when next needed."""
        self._wildcards = None

    def _is_fresh(self, impi: str, home: Subscription | None, place: tuple[Subscription, int] | None) -> bool:
        """Whether both are known since the last change of another process."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= REFRESH_S:
            generation = self._store.generation()
            self._looked_at = now
            if generation != self._generation:
                self._generation = generation
                self.provisioning_changed()
        if place is None or place[0].generation != self._generation:
            return False
        return not impi or (home is not None and home.generation == self._generation)

    async def _read(self, impi: str, impu: str) -> None:
        """Brings the cache to what the store has of two identities."""
        found = await self._store.find(impi, impu, self._cached)
        numbers = {one.number for one in found}
        for gone in (self._by_impi.get(impi), self._by_impu.get(impu, (None, 0))[0]):
            if gone is not None and gone.number not in numbers and gone.busy is None:
                self.forget(gone)
        for one in found:
            self._keep(one)

    def _keep(self, loaded: Subscription) -> Subscription:
        """Takes in what was read, unless a change that came meanwhile is known already."""
        known = self._cached.get(loaded.number)
        if known is not None and known.busy is not None:
            return known
        if known is not None and (known is loaded or known.version >= loaded.version):
            known.generation = self._generation
            return known
        if known is not None:
            self._hand_over(known, loaded)
            self.forget(known)
        loaded.generation = self._generation
        self._make_room()
        self._cached[loaded.number] = loaded
        for record in loaded.privates:
            self._by_impi[record.impi] = loaded
        for position, one in enumerate(loaded.provisioned.sets):
            for identity in one.identities:
                self._by_impu[identity.impu] = (loaded, position)
        return loaded

    def _hand_over(self, former: Subscription, fresh: Subscription) -> None:
        """What lives in memory only goes on."""
        for record in fresh.privates:
            known = former.private(record.impi)
            if known is not None:
                record.fetched, record.window_start = known.fetched, known.window_start
                record.pending = record.pending if self._store.is_shared else known.pending

    async def _load(self, number: int) -> Subscription | None:
        known = self._cached.get(number)
        if known is not None and not self._store.is_shared and known.generation == self._generation:
            return known
        loaded = await self._store.load(number)
        if loaded is None and known is not None and known.busy is None:
            self.forget(known)
        return None if loaded is None else self._keep(loaded)

    async def _by_wildcard(self, impu: str) -> tuple[Subscription, int] | None:
        """A distinct identity goes before a wildcarded one (TS 23.003 13.4B)."""
        if not impu or len(impu) > HSS_IDENTITY_OCTETS:
            return None
        for pattern, number, position in await self._patterns():
            if pattern.fullmatch(impu):
                subscription = await self._load(number)
                return None if subscription is None else (subscription, position)
        return None

    async def _patterns(self) -> list[tuple[re.Pattern[str], int, int]]:
        if self._wildcards is None or self._store.is_shared:
            rows = await self._store.wildcards()
            if self._wildcards is None or rows != self._wildcard_rows:
                self._wildcard_rows = rows
                self._wildcards = [
                    (re.compile(_expression(text)), number, position) for text, number, position in rows
                ]
        return self._wildcards

    def _used(self, home: Subscription | None, subscription: Subscription | None) -> None:
        if home is not None and home is not subscription and home.number in self._cached:
            self._cached.move_to_end(home.number)
        if subscription is not None and subscription.number in self._cached:
            self._cached.move_to_end(subscription.number)

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
