"""Ports of the relay: pairs for RTP and RTCP (RFC 3550 11), drawn at random so that nobody guesses a call's."""

import errno

from redoubt.sources import Randomness
from redoubt.transport.media import MediaSocket, open_media

DRAWS = 32  # until the range counts as full: with nine ports of ten in use one in thirty finds none

Pair = tuple[MediaSocket, MediaSocket]


class NoPort(Exception):
    """The range has no free pair, or the machine has no more sockets."""


class Ports:
    """The ports from `first` to `last` on each address of the relay; the lower of a pair is even."""

    def __init__(self, first: int, last: int, randomness: Randomness) -> None:
        self._first = (first + 1) // 2
        self._count = (last + 1) // 2 - self._first
        self._randomness = randomness
        self._taken: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        """Pairs in use."""
        return len(self._taken)

    def holds(self, host: str, port: int) -> bool:
        """Whether that port is one of those handed out."""
        return (host, port & ~1) in self._taken

    async def draw(self, host: str) -> Pair:
        """A free pair. Raises NoPort, or OSError where this machine has no such address."""
        for _ in range(DRAWS):
            port = 2 * (self._first + int.from_bytes(self._randomness.octets(4), "big") % self._count)
            if (host, port) in self._taken:
                continue
            self._taken.add((host, port))
            pair = await self._opened(host, port)
            if pair is not None:
                return pair
        raise NoPort(f"no free pair of ports on {host}")

    def give_back(self, pair: Pair) -> None:
        """Closes a pair."""
        for each in pair:
            each.close()
        self._taken.discard(pair[0].local)

    async def _opened(self, host: str, port: int) -> Pair | None:
        """None where another program has one of the two."""
        opened: list[MediaSocket] = []
        try:
            for number in (port, port + 1):
                opened.append(await open_media(host, number))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS):
                raise NoPort("this machine gives no more sockets") from error
            if error.errno != errno.EADDRINUSE:
                raise
        finally:
            if len(opened) < 2:
                for one in opened:
                    one.close()
                self._taken.discard((host, port))
        return (opened[0], opened[1]) if len(opened) == 2 else None
