"""Tasks and futures whose hash is a serial number, so that sets of them iterate alike in every run of a
seed.

`asyncio.TaskGroup`, `wait` and `as_completed` keep sets; hashing by address would leak the memory layout
into the order of cancellations.
"""

import asyncio
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")


class Serials(Protocol):
    """A loop that numbers what asks for a number."""

    def next_serial(self) -> int: ...


class SimFuture(asyncio.Future[T]):
    """A future numbered when it is first hashed."""

    def __hash__(self) -> int:
        return _serial_of(self)


class SimTask(asyncio.Task[T]):
    """A task numbered when it is made, because asyncio then puts it into a set."""

    def __hash__(self) -> int:
        return _serial_of(self)

    def where(self) -> str:
        """Its name, and the innermost line of its own at which it waits."""
        innermost: Any = self.get_coro()
        while getattr(getattr(innermost, "cr_await", None), "cr_frame", None) is not None:
            innermost = innermost.cr_await
        frame = getattr(innermost, "cr_frame", None)
        if frame is None:
            return self.get_name()
        return f"{self.get_name()}: {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _serial_of(future: asyncio.Future[Any]) -> int:
    try:
        return cast(int, future.serial)  # type: ignore[attr-defined]
    except AttributeError:
        serial = cast(Serials, future.get_loop()).next_serial()
        future.serial = serial  # type: ignore[attr-defined]
        return serial
