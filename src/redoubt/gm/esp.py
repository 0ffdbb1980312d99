"""ESP (RFC 4303) in user space: one outbound or inbound association, its sequence numbers, window and counters.

What comes in is judged in the order of RFC 4303 3.4: length, window, tag, window again, decryption, padding. To the
outside all failures are alike, a packet that leads to nothing; inside, each reason has a counter.
"""

from collections.abc import Callable
from enum import StrEnum
from struct import Struct
from typing import Protocol

import msgspec

from redoubt.gm.transforms import HEADER_OCTETS, Transform
from redoubt.limits import ESP_REPLAY_WINDOW

SEQUENCE_MAX = 2**32 - 1
RESERVED_SPIS = 256  # RFC 4303 2.1
NO_NEXT_HEADER = 59  # a dummy packet (RFC 4303 2.6)
TRAILER_OCTETS = 2  # pad length and next header

_HEADER = Struct("!II")
_PADDING = bytes(range(1, 256))
_TRAILERS = [_PADDING[:length] + bytes([length]) for length in range(256)]


class Drop(StrEnum):
    """Why a packet led to nothing (RFC 4303 3.4; 4.4 asks for these to be audited)."""

    UNKNOWN_SPI = "unknown SPI"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    BAD_TAG = "bad tag"
    BAD_PADDING = "bad padding"
    DUMMY = "dummy"
    SELECTOR = "not what the association is for"
    EXPIRED = "association ended"


class SequenceExhausted(Exception):
    """All 2^32 - 1 sequence numbers are used: the association can't send any more (RFC 4303 3.3.3)."""


class ReplayWindow:
    """Which sequence numbers were received (RFC 4303 3.4.3): a bit each, the newest lowest.

    After a restart `highest` is the highest number that may have been received before; all up to it count as seen.
    """

    __slots__ = ("_mask", "_seen", "highest", "size")

    def __init__(self, size: int = ESP_REPLAY_WINDOW, highest: int = 0) -> None:
        if size < 64:
            raise ValueError("an anti-replay window below 64 loses honest packets (RFC 4303 3.4.3)")
        self.size = size
        self.highest = highest
        self._mask = (1 << size) - 1
        self._seen = self._mask

    def admits(self, sequence: int) -> bool:
        """Whether a packet with this number may still be new. 0 is never sent."""
        behind = self.highest - sequence
        if behind < 0:
            return True
        return behind < self.size and not self._seen >> behind & 1

    def accept(self, sequence: int) -> None:
        """Marks a number, once its packet proved authentic."""
        ahead = sequence - self.highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
        elif ahead < self.size:
            self._seen = (self._seen << ahead | 1) & self._mask
            self.highest = sequence
        else:
            self._seen = 1
            self.highest = sequence


class Traffic(msgspec.Struct, gc=False):
    """What one association carried and refused."""

    packets: int = 0
    octets: int = 0
    malformed: int = 0
    replayed: int = 0
    bad_tags: int = 0
    bad_padding: int = 0
    dummies: int = 0


class Words(Protocol):
    """Numbers of 32 bits by their place: a list, or memory that outlives the process."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, number: int, /) -> None: ...


Marks = tuple[Words, int]
"""Where a sequence number is noted, for a process that takes over: numbers, and which of them."""


class OutboundAssociation:
    """Sends. `after` is the last sequence number that may have been used before a restart."""

    __slots__ = ("_align", "_marks", "_place", "_transform", "sequence", "spi", "traffic")

    def __init__(self, spi: int, transform: Transform, after: int = 0, marks: Marks | None = None) -> None:
        self.spi = spi
        self.sequence = after
        self._marks, self._place = marks if marks is not None else ([0], 0)
        self.traffic = Traffic()
        self._transform = transform
        self._align = transform.align_octets

    def seal(self, payload: bytes, next_header: int) -> bytes:
        """An ESP packet. Raises SequenceExhausted."""
        sequence = self.sequence + 1
        if sequence > SEQUENCE_MAX:
            raise SequenceExhausted
        self.sequence = self._marks[self._place] = sequence
        padding = _TRAILERS[-(len(payload) + TRAILER_OCTETS) % self._align]
        header = _HEADER.pack(self.spi, sequence)
        packet = header + self._transform.seal(header, payload + padding + bytes((next_header,)))
        traffic = self.traffic
        traffic.packets += 1
        traffic.octets += len(payload)
        return packet


Opened = tuple[bytes, int]
"""A payload and its next header."""


def _unheard(_reason: Drop, _spi: int) -> None:
    """Nobody listens."""


class InboundAssociation:
    """Receives. `refused` hears of each packet that led to nothing."""

    __slots__ = (
        "_align", "_least", "_marks", "_overhead", "_place", "_transform", "refused", "spi", "traffic", "window",
    )  # fmt: skip

    def __init__(
        self,
        spi: int,
        transform: Transform,
        window: ReplayWindow | None = None,
        refused: Callable[[Drop, int], None] = _unheard,
        marks: Marks | None = None,
    ) -> None:
        self.spi = spi
        self._marks, self._place = marks if marks is not None else ([0], 0)
        self.window = window or ReplayWindow()
        self.traffic = Traffic()
        self.refused = refused
        self._transform = transform
        self._align = transform.align_octets
        self._overhead = HEADER_OCTETS + transform.iv_octets + transform.tag_octets
        self._least = self._overhead + max(self._align, TRAILER_OCTETS)

    def open(self, packet: bytes) -> Opened | None:
        """What an ESP packet with this association's SPI carries, or None."""
        size = len(packet)
        if size < self._least or (size - self._overhead) % self._align:
            self.traffic.malformed += 1
            return self._refuse(Drop.MALFORMED)
        window = self.window
        sequence = int.from_bytes(packet[4:8], "big")
        if not window.admits(sequence):
            self.traffic.replayed += 1
            return self._refuse(Drop.REPLAYED)
        plaintext = self._transform.open(packet)
        if plaintext is None:
            self.traffic.bad_tags += 1
            return self._refuse(Drop.BAD_TAG)
        window.accept(sequence)
        self._marks[self._place] = window.highest
        padding, next_header = plaintext[-2], plaintext[-1]
        end = len(plaintext) - TRAILER_OCTETS - padding
        if end < 0 or plaintext[end:-1] != _TRAILERS[padding]:
            self.traffic.bad_padding += 1
            return self._refuse(Drop.BAD_PADDING)
        if next_header == NO_NEXT_HEADER:
            self.traffic.dummies += 1
            return self._refuse(Drop.DUMMY)
        self.traffic.packets += 1
        self.traffic.octets += end
        return plaintext[:end], next_header

    def _refuse(self, reason: Drop) -> Opened | None:
        self.refused(reason, self.spi)
        return None
