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
        if self.ledger is None or self.ledger.is_empty:
            self.memory.remove()
        self.memory.close()


def memory_of(config: Config, directory: Path) -> MemoryPlace | None:
    """The file in memory that belongs to a state directory."""
    state = directory.resolve()
    return MemoryPlace(Path(config.gm.memory) / _name(str(state)), state) if config.gm.memory else None


def open_memory(context: Context, place: MemoryPlace) -> Kept | None:
    """Phones are served without it, too: they only have to register again when the process dies."""
    try:
        gone = sum([remove_if(path, LEDGER_SLOT_OCTETS, partial(_is_waste, path)) for path in _others(place.file)])
        if gone:
            context.notice("info", f"associations of {gone} networks whose state directory is gone were removed")
        return Kept(MemoryFile(place.file, (LEDGER_SLOTS + 1) * LEDGER_SLOT_OCTETS), place)
    except (OSError, MemoryFileError) as fault:
        context.notice("alarm", f"associations will end with this process: {fault}", "set [gm] memory, or empty it")
        return None


def _name(state: str) -> str:
    return PREFIX + sha256(state.encode()).hexdigest()[:16]


def _others(own: Path) -> list[Path]:
    return [path for path in own.parent.glob(f"{PREFIX}*") if path != own]


def _is_waste(path: Path, head: bytes) -> bool:
    """Whether its network is no more. One that can't be read may be there still."""
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
