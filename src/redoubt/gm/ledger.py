"""What association sets must not lose when their process dies: a slot a set, in memory that outlives the process.

The composition root hands in a mapping, such as a file of /dev/shm, which no disk ever sees and which is gone with the
machine. Sequence numbers are written before the packet that uses them leaves, so that none comes twice; the highest
number received is written before its packet is believed (issue: restart; RFC 4303 3.3.3, 3.4.3).
"""

from collections.abc import Iterator
from struct import Struct

from redoubt.gm.esp import Words
from redoubt.limits import LEDGER_SLOT_OCTETS
from redoubt.transport.flow import Address

MAGIC = b"redoubt gm 1".ljust(LEDGER_SLOT_OCTETS, b"\0")
LENGTH, SENT, RECEIVED_SERVER, RECEIVED_CLIENT = range(4)  # words of a slot
WORDS = 4
_WHERE = Struct("=H46s")  # port and address of where the phone is outside, as text
RECORD_AT = 4 * WORDS + _WHERE.size
RECORD_OCTETS = LEDGER_SLOT_OCTETS - RECORD_AT


class Slot:
    """One set's place. Without a ledger it is a list of numbers that dies with the process."""

    __slots__ = ("_buffer", "_number", "at", "words")

    def __init__(self, words: Words | None = None, number: int = 0, buffer: memoryview | None = None) -> None:
        self.words: Words = words if words is not None else [0] * WORDS
        self.at = number * LEDGER_SLOT_OCTETS // 4  # of its first word
        self._number = number
        self._buffer = buffer

    def start(self, word: int) -> int:
        """A counter as the last packet left it."""
        return self.words[self.at + word]

    @property
    def where(self) -> Address | None:
        """Where the phone was last, outside."""
        if self._buffer is None:
            return None
        port, host = _WHERE.unpack_from(self._buffer, self.at * 4 + 4 * WORDS)
        return (host.rstrip(b"\0").decode(), port) if port else None

    @where.setter
    def where(self, address: Address) -> None:
        if self._buffer is not None:
            _WHERE.pack_into(self._buffer, self.at * 4 + 4 * WORDS, address[1], address[0].encode())

    @property
    def record(self) -> bytes:
        """What describes the set; empty when it is not to be taken over."""
        if self._buffer is None:
            return b""
        start = self.at * 4 + RECORD_AT
        return bytes(self._buffer[start : start + min(self.start(LENGTH), RECORD_OCTETS)])

    @record.setter
    def record(self, octets: bytes) -> None:
        """One that does not fit is none: its phone registers again after a restart."""
        if self._buffer is None:
            return
        self.words[self.at + LENGTH] = 0  # in between, there is none
        if len(octets) <= RECORD_OCTETS:
            start = self.at * 4 + RECORD_AT
            self._buffer[start : start + len(octets)] = octets
            self.words[self.at + LENGTH] = len(octets)


class Ledger:
    """The slots of a mapping. When there are no more, sets get slots that die with the process."""

    def __init__(self, mapping: bytearray | memoryview) -> None:
        """Takes over what a mapping of this version holds and empties any other. Raises ValueError when it is small."""
        self._buffer = memoryview(mapping).cast("B")
        count = len(self._buffer) // LEDGER_SLOT_OCTETS - 1
        if count < 1:
            raise ValueError(f"a ledger needs {2 * LEDGER_SLOT_OCTETS} octets and more")
        self._words = self._buffer[: (count + 1) * LEDGER_SLOT_OCTETS].cast("I")
        if self._buffer[:LEDGER_SLOT_OCTETS] != MAGIC:
            self._buffer[:] = bytes(len(self._buffer))
            self._buffer[:LEDGER_SLOT_OCTETS] = MAGIC
        self._free = [n for n in range(count, 0, -1) if not self._slot(n).start(LENGTH)]

    @property
    def free(self) -> int:
        return len(self._free)

    def taken(self) -> Iterator[Slot]:
        """Slots with a record, as a former process left them."""
        free = set(self._free)
        for number in range(1, len(self._words) * 4 // LEDGER_SLOT_OCTETS):
            if number not in free:
                yield self._slot(number)

    def claim(self) -> Slot:
        """An empty slot."""
        if not self._free:
            return Slot()
        slot = self._slot(self._free.pop())
        self._wipe(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """The set ended: nothing of it stays, its keys least of all."""
        if slot._buffer is not None:
            self._wipe(slot)
            self._free.append(slot._number)

    def _slot(self, number: int) -> Slot:
        return Slot(self._words, number, self._buffer)

    def _wipe(self, slot: Slot) -> None:
        start = slot.at * 4
        self._buffer[start : start + LEDGER_SLOT_OCTETS] = bytes(LEDGER_SLOT_OCTETS)
