"""When each of many things is looked at again, with one timer of the loop for all of them.

A timer of the loop takes 660 octets and more of each association set, and a set's end is put off far more often than
it comes. Here a deadline is a number in a table and an entry in a heap.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush

SPARE = 64  # entries of the heap that may be out of date, beside as many as are not


class Deadlines:
    """Of things by number. `due` hears of each whose time has come, once."""

    def __init__(self, due: Callable[[int], None]) -> None:
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._at: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # with entries that a newer deadline has made void
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._at)

    def put(self, number: int, at: float) -> None:
        """No later than `at`, in the loop's time. One that comes before it stays: whoever hears of it looks again."""
        known = self._at.get(number)
        if known is not None and known <= at:
            return
        self._at[number] = at
        heappush(self._heap, (at, number))
        if len(self._heap) > 2 * len(self._at) + SPARE:
            self._heap = [(at, number) for number, at in self._at.items()]
            heapify(self._heap)
        self._wait()

    def drop(self, number: int) -> None:
        self._at.pop(number, None)

    def clear(self) -> None:
        """Nothing comes any more."""
        self._at.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- inside

    def _wait(self) -> None:
        first = self._heap[0][0]
        if self._timer is not None:
            if self._timer.when() <= first:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(first, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            while self._heap and self._heap[0][0] <= now:
                at, number = heappop(self._heap)
                if self._at.get(number) == at:
                    del self._at[number]
                    self._due(number)
        finally:
            if self._heap:
                self._wait()
