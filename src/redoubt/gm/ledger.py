"""What association sets must not lose when their process dies: a slot a set, in memory that outlives the process.

The composition root hands in a mapping, such as a file of /dev/shm, which is gone with the machine. Slots come into use
from the first on, so that a large ledger costs no more memory than is kept in it. Sequence numbers are written before
the packet that uses them leaves, so that none comes twice; the highest number received is written before its packet is
believed (issue: restart; RFC 4303 3.3.3, 3.4.3).
"""

from collections.abc import Callable, Hashable, Iterator
from enum import IntEnum
from hashlib import sha256
from mmap import mmap
from struct import Struct

from redoubt.gm.esp import Words
from redoubt.limits import LEDGER_SLOT_OCTETS
from redoubt.transport.flow import Address

VERSION = b"redoubt gm 6\0\0\0\0"
_HEADER = Struct("=16s32sI")  # of the first slot: version, whose the ledger is, how many slots were ever in use
_PLACE_AT = 64  # in the first slot: to which network it belongs, as text behind its length
_PLACE = Struct("=H")
# Words of a slot. What changes often in a set's life is here, what it is for good in the record.
LENGTH, SENT, SENT_CLIENT, RECEIVED_SERVER, RECEIVED_CLIENT, KIND, STATE, ENDS_S, ENDS_NS = range(9)
WORDS = 9
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
    def life(self) -> tuple[int, float]:
        """The state, as a number of whoever keeps it, and when the set ends, in wall-clock time."""
        return self.start(STATE), self.start(ENDS_S) + self.start(ENDS_NS) / 1e9

    @life.setter
    def life(self, life: tuple[int, float]) -> None:
        words, at = self.words, self.at
        state, ends_at = life
        words[at + STATE], words[at + ENDS_S] = state, int(ends_at)
        words[at + ENDS_NS] = int(ends_at % 1 * 1e9)

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


class Kind(IntEnum):
    """What a slot is about."""

    SET = 1
    KEEPSAKE = 2


Reserve = Callable[[int], bool]
"""Whether so many octets from the mapping's start on can be had; asked before they are touched."""


def _all_there(_octets: int) -> bool:
    return True


class Ledger:
    """The slots of a mapping. When there are no more, sets get slots that die with the process."""

    def __init__(self, mapping: bytearray | memoryview | mmap, whose: str = "", reserve: Reserve = _all_there) -> None:
        """Takes over what a mapping of this version and for the same P-CSCF holds and empties any other. Raises
        ValueError when it is small.
        """
        self._buffer = memoryview(mapping).cast("B")
        self._reserve = reserve
        self._count = len(self._buffer) // LEDGER_SLOT_OCTETS - 1
        if self._count < 1 or not reserve(2 * LEDGER_SLOT_OCTETS):
            raise ValueError(f"a ledger needs {2 * LEDGER_SLOT_OCTETS} octets and more")
        self._words = self._buffer[: (self._count + 1) * LEDGER_SLOT_OCTETS].cast("I")
        self._owner = sha256(whose.encode()).digest()
        self._used = self._inherit()
        self._free = [n for n in range(self._used, 0, -1) if not self._is_taken(n)]
        for number in self._free:  # a process may have died while it wrote a record: keys, and no length
            self._wipe(number, number)

    def _inherit(self) -> int:
        """How many slots were in use. Another version's or P-CSCF's sets are none of ours: nothing of them stays."""
        version, left_by, used = _HEADER.unpack_from(self._buffer)
        if (version, left_by) == (VERSION, self._owner) and used <= self._count:
            return int(used)
        if any(version):
            last = used if version == VERSION and used <= self._count else self._count
            if not self._reserve((last + 1) * LEDGER_SLOT_OCTETS):
                raise ValueError("there is no memory to empty a ledger in")
            self._wipe(0, last)
        _HEADER.pack_into(self._buffer, 0, VERSION, self._owner, 0)
        return 0

    def belongs_to(self, place: str) -> None:
        """Writes down to whom, so that another can find out whether it is still wanted. Too long a text is none."""
        octets, start = place.encode(), _PLACE_AT + _PLACE.size
        if start + len(octets) <= LEDGER_SLOT_OCTETS:
            _PLACE.pack_into(self._buffer, _PLACE_AT, len(octets))
            self._buffer[start : start + len(octets)] = octets

    @property
    def free(self) -> int:
        return len(self._free) + self._count - self._used

    @property
    def is_empty(self) -> bool:
        """Nothing waits here for another process."""
        return len(self._free) == self._used

    def taken(self, kind: Kind = Kind.SET) -> Iterator[Slot]:
        """Slots with a record, as a former process left them."""
        free = set(self._free)
        for number in range(1, self._used + 1):
            if number not in free and self._slot(number).start(KIND) == kind:
                yield self._slot(number)

    def claim(self, kind: Kind = Kind.SET) -> Slot:
        """An empty slot."""
        if self._free:
            number = self._free.pop()
        elif self._used < self._count and self._reserve((self._used + 2) * LEDGER_SLOT_OCTETS):
            number = self._used = self._used + 1
            _HEADER.pack_into(self._buffer, 0, VERSION, self._owner, number)
        else:
            return Slot()
        slot = self._slot(number)
        self._wipe(number, number)
        slot.words[slot.at + KIND] = kind
        return slot

    def give_back(self, slot: Slot) -> None:
        """The set ended: nothing of it stays, its keys least of all."""
        if slot._buffer is not None:
            self._wipe(slot._number, slot._number)
            self._free.append(slot._number)

    def _slot(self, number: int) -> Slot:
        return Slot(self._words, number, self._buffer)

    def _is_taken(self, number: int) -> bool:
        slot = self._slot(number)
        return bool(slot.start(LENGTH)) and slot.start(KIND) in (Kind.SET, Kind.KEEPSAKE)

    def _wipe(self, first: int, last: int) -> None:
        octets = (last - first + 1) * LEDGER_SLOT_OCTETS
        start = first * LEDGER_SLOT_OCTETS
        self._buffer[start : start + octets] = bytes(octets)


def place_in(head: bytes) -> str:
    """What `belongs_to` wrote into the first slot of a ledger; empty where this is none, or nobody did."""
    if len(head) < LEDGER_SLOT_OCTETS or _HEADER.unpack_from(head)[0] != VERSION:
        return ""
    start, (length,) = _PLACE_AT + _PLACE.size, _PLACE.unpack_from(head, _PLACE_AT)
    return head[start : start + length].decode("utf-8", "replace")


class Keepsakes:
    """What else must outlive the process: octets, each with its owner."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._slots: dict[Hashable, Slot] = {}

    def take_over(self, revive: Callable[[bytes], Hashable | None]) -> None:
        """What a former process kept becomes what `revive` makes of it; None where that is nothing any more."""
        for slot in list(self._ledger.taken(Kind.KEEPSAKE)):
            owner = revive(slot.record)
            if owner is None:
                self._ledger.give_back(slot)
            else:
                self._slots[owner] = slot

    def keep(self, owner: Hashable, octets: bytes) -> None:
        slot = self._slots.get(owner)
        if slot is None:
            slot = self._slots[owner] = self._ledger.claim(Kind.KEEPSAKE)
        slot.record = octets

    def forget(self, owner: Hashable) -> None:
        slot = self._slots.pop(owner, None)
        if slot is not None:
            self._ledger.give_back(slot)
