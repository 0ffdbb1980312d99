"""Time and randomness, which are passed in: the composition root hands out real ones, the simulator seeded ones."""

import asyncio
import os
import random
import time
from typing import Protocol


class Randomness(Protocol):
    """Where nonces, keys, tags and branches come from."""

    def octets(self, count: int) -> bytes: ...


class SystemRandomness:
    """The operating system's generator."""

    def octets(self, count: int) -> bytes:
        return os.urandom(count)


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
