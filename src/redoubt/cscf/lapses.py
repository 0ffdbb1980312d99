"""What ends by itself, in the order in which it ends: one queue and one timer instead of a handle for each thing."""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar


class Lapsing(Protocol):
    """Something with an end. `queued_at` belongs to the queue: 0.0 outside it."""

    expires_at: float
    queued_at: float


T = TypeVar("T", bound=Lapsing)


class Lapses(Generic[T]):
    """Each thing has one place in the queue; prolonging it moves it only when that place comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0  # breaks ties, in order of arrival
        self._live = 0

    def __len__(self) -> int:
        return self._live

    @property
    def next_at(self) -> float | None:
        """Loop time at which `due` may have something."""
        return self._heap[0][0] if self._heap else None

    def put(self, item: T) -> None:
        """A new thing, or one whose end has changed."""
        if item.queued_at == 0.0:
            self._live += 1
        elif item.queued_at <= item.expires_at:
            return
        item.queued_at = item.expires_at
        self._number += 1
        heappush(self._heap, (item.expires_at, self._number, item))

    def discard(self, item: T) -> None:
        """It ended otherwise."""
        if item.queued_at == 0.0:
            return
        item.queued_at = 0.0
        self._live -= 1
        if len(self._heap) > 2 * self._live + 64:
            self._heap = [place for place in self._heap if place[2].queued_at == place[0]]
            heapify(self._heap)

    def due(self, now: float) -> list[T]:
        """Takes out what has ended by now."""
        ended: list[T] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heappop(self._heap)
            if item.queued_at != at:
                continue
            item.queued_at = 0.0
            self._live -= 1
            if item.expires_at <= now:
                ended.append(item)
            else:
                self.put(item)
        return ended


class Alarm:
    """The one timer of a queue."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: float | None) -> None:
        """Rings at the earlier of this time and the one set before; None leaves it as it is."""
        if at is None or (self._handle is not None and self._handle.when() <= at):
            return
        self.stop()
        self._handle = asyncio.get_running_loop().call_at(at, self._rung)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rung(self) -> None:
        self._handle = None
        self._ring()


class Ends(Generic[T]):
    """A queue with its timer: hands each thing that has ended to `ended`."""

    def __init__(self, ended: Callable[[T], None]) -> None:
        self._ended = ended
        self._lapses: Lapses[T] = Lapses()
        self._alarm = Alarm(self._sweep)

    def put(self, item: T) -> None:
        """A new thing, or one whose end has changed."""
        self._lapses.put(item)
        self._alarm.set(self._lapses.next_at)

    def discard(self, item: T) -> None:
        """It ended otherwise. When nothing is left, neither is a timer."""
        self._lapses.discard(item)
        if not self._lapses:
            self._alarm.stop()

    def clear(self) -> None:
        """Nothing ends any more."""
        self._lapses = Lapses()
        self._alarm.stop()

    def _sweep(self) -> None:
        for item in self._lapses.due(asyncio.get_running_loop().time()):
            self._ended(item)
        if self._lapses:
            self._alarm.set(self._lapses.next_at)


UNTOLD = frozenset(("UPDATE", "INFO", "PRACK", "MESSAGE", "OPTIONS"))


def is_gone(method: str, status: int) -> bool:
    """Whether a response to a request inside a dialog says that the dialog is gone (RFC 3261 12.2.1.2). A 408 does not
    where its sender is never told of it (RFC 4320 4.2), and goes on.
    """
    return status == 481 or (status == 408 and method not in UNTOLD)
