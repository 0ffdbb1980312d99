"""Diameter messages out of a stream of octets (RFC 6733 3): bounded before anything is kept."""

from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import message_length


class Framer:
    """Keeps at most one unfinished message. Once `broken` is set, the stream can't be followed any more."""

    __slots__ = ("_kept", "_needed", "broken")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._needed = 4
        self.broken: DiameterError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        if self.broken is not None:
            return []
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        found: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 4:
            try:
                self._needed = message_length(data[at : at + 4])
            except DiameterError as error:
                self.broken = error
                return found
            if end - at < self._needed:
                break
            found.append(data[at : at + self._needed])
            at += self._needed
        else:
            self._needed = 4
        if at < end:
            self._kept += data[at:]
        return found
