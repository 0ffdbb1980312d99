"""Time and randomness, which are passed in: the composition root hands out real ones, the simulator seeded ones."""

import asyncio
import os
import random
import time
from typing import Protocol

DRAWN_OCTETS = 4096


class Randomness(Protocol):
    """Where nonces, keys, tags and branches come from."""

    def octets(self, count: int) -> bytes: ...


class SystemRandomness:
    """The operating system's generator, asked for many octets at once; each is handed out once."""

    def __init__(self) -> None:
        self._ahead = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)  # parent and child must not hand out the same octets

    def octets(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._ahead):
            if count > DRAWN_OCTETS:
                return os.urandom(count)
            self._ahead, self._at, end = os.urandom(DRAWN_OCTETS), 0, count
        drawn = self._ahead[self._at : end]
        self._at = end
        return drawn

    def _forget(self) -> None:
        self._ahead, self._at = b"", 0


class SeededRandomness:
    """Repeatable octets for the simulator; never for a network that anyone relies on."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def octets(self, count: int) -> bytes:
        return self._random.randbytes(count)


class Clock:
    """Wall-clock time: an epoch plus the running loop's time, so that virtual time moves both."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_s: float | None = None) -> None:
        self._loop = loop
        self._offset_s = (time.time() if epoch_s is None else epoch_s) - loop.time()

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._offset_s + self._loop.time()
