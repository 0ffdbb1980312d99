"""Where a P-CSCF's associations outlive its process: one file in memory for each state directory.

Its name is made of the directory's, which it also holds: so what a network left behind that is no more, found by any
other that starts, is removed.
"""

import os
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from redoubt.config import Config
from redoubt.gm.ledger import Ledger, place_in
from redoubt.limits import LEDGER_SLOT_OCTETS, LEDGER_SLOTS
from redoubt.sip.service import Context
from redoubt.transport.memory_file import MemoryFile, MemoryFileError, remove_if

PREFIX = "redoubt-gm-"
JUST_MADE_S = 60.0  # a blank file may belong to a process that is starting


@dataclass(frozen=True, slots=True)
class MemoryPlace:
    """The file, and the state directory that it belongs to."""

    file: Path
    state: Path


@dataclass(slots=True)
class Kept:
    """What outlives the process."""

    memory: MemoryFile
    place: MemoryPlace
    ledger: Ledger | None = None

    def open_ledger(self, whose: str) -> Ledger:
        """The ledger of the P-CSCF that `whose` describes. Raises ValueError."""
        self.ledger = Ledger(self.memory.mapping, whose, self.memory.reserve)
        self.ledger.belongs_to(str(self.place.state))
        return self.ledger

    def close(self) -> None:
        """What a former process left stays when this one did not come as far as to read it."""
        if self.ledger.is_empty if self.ledger is not None else _is_blank(self.memory.mapping[:LEDGER_SLOT_OCTETS]):
            self.memory.remove()
        self.memory.close()


def memory_of(config: Config, directory: Path) -> MemoryPlace | None:
    """The file in memory that belongs to a state directory."""
    state = directory.resolve()
    return MemoryPlace(Path(config.gm.memory) / _name(str(state)), state) if config.gm.memory else None


def open_memory(context: Context, place: MemoryPlace) -> Kept | None:
    """Phones are served without it, too: they only have to register again when the process dies."""
    try:
        since = context.clock.now() - JUST_MADE_S
        others = [path for path in place.file.parent.glob(f"{PREFIX}*") if path != place.file]
        gone = sum([remove_if(path, LEDGER_SLOT_OCTETS, partial(_is_waste, path, since)) for path in others])
        if gone:
            context.notice("info", f"associations of {gone} networks that are no more were removed")
        return Kept(MemoryFile(place.file, (LEDGER_SLOTS + 1) * LEDGER_SLOT_OCTETS), place)
    except (OSError, MemoryFileError) as fault:
        context.notice("alarm", f"associations will end with this process: {fault}", "set [gm] memory, or empty it")
        return None


def _name(state: str) -> str:
    return PREFIX + sha256(state.encode()).hexdigest()[:16]


def _is_blank(head: bytes) -> bool:
    return not any(head)


def _is_waste(path: Path, since: float, head: bytes) -> bool:
    """Whether its network is no more, or never was: blank since then. One that can't be read may be there still."""
    if _is_blank(head):
        return path.stat().st_mtime < since
    state = place_in(head)
    if not state or path.name != _name(state):
        return False
    try:
        os.stat(state)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
