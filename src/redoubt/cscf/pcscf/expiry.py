"""When rows of a table end: one timer for all of them, rows gathered by the second."""

import asyncio
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Expiry(Generic[T]):
    """Calls `expire` for each item at its time, up to a second late. An item taken back leaves nothing behind."""

    def __init__(self, expire: Callable[[T], None]) -> None:
        self._expire = expire
        self._second_of: dict[T, int] = {}
        self._items_of: dict[int, dict[T, None]] = {}
        self._seconds: list[int] = []  # a heap of the keys of _items_of
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._second_of)

    def set(self, item: T, at: float) -> None:
        """The item ends at this loop time; an earlier choice is forgotten."""
        second = ceil(at)
        known = self._second_of.get(item)
        if known == second:
            return
        if known is not None:
            self._items_of[known].pop(item, None)
        self._second_of[item] = second
        items = self._items_of.get(second)
        if items is None:
            self._items_of[second] = items = {}
            heappush(self._seconds, second)
        items[item] = None
        self._wake_at(self._seconds[0])

    def forget(self, item: T) -> None:
        """The item ended otherwise."""
        second = self._second_of.pop(item, None)
        if second is not None:
            self._items_of[second].pop(item, None)
        if not self._second_of:
            self._stop()

    def clear(self) -> None:
        """Nothing ends any more."""
        self._second_of.clear()
        self._stop()

    def _wake_at(self, second: int) -> None:
        if self._timer is not None:
            if self._timer.when() <= second:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(second, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._seconds and self._seconds[0] <= now:
            for item in self._items_of.pop(heappop(self._seconds)):
                del self._second_of[item]
                self._expire(item)
        if self._second_of:
            self._wake_at(self._seconds[0])
        else:
            self._stop()

    def _stop(self) -> None:
        self._items_of.clear()
        self._seconds.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
