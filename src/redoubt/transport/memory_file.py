"""A file of a memory file system, mapped: what outlives this process, and is gone with the machine.

It holds keys, so it is this user's alone, it is on no disk (swap is the operator's matter), and one process at a time
has it. Memory is taken as it is needed and not before.
"""

import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
MOUNTS = Path("/proc/self/mountinfo")
STEP_OCTETS = 1 << 16


class MemoryFileError(Exception):
    """The file can't be trusted or had; the message says why and what to do."""


class MemoryFile:
    """The mapping, and the lock that it comes with."""

    def __init__(self, path: Path, octets: int) -> None:
        """Makes the file or opens the one that is there, whose contents stay. Raises MemoryFileError and OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._path = path
        self._file = os.open(path, flags, 0o600)
        self._reserved = 0
        with ExitStack() as unless_all_is_well:
            unless_all_is_well.callback(os.close, self._file)
            _check(self._file, path)
            size = max(os.fstat(self._file).st_size, octets)
            os.ftruncate(self._file, size)
            self.mapping = mmap.mmap(self._file, size)
            unless_all_is_well.pop_all()

    def reserve(self, octets: int) -> bool:
        """Whether the first so many octets are there to be written: a full file system must not end the process."""
        if octets > self._reserved:
            wanted = min(-(-octets // STEP_OCTETS) * STEP_OCTETS, len(self.mapping))
            if octets > wanted:
                return False
            try:
                os.posix_fallocate(self._file, self._reserved, wanted - self._reserved)
            except OSError:
                return False
            self._reserved = wanted
        return True

    def close(self) -> None:
        """Lets another process have it. The contents stay; whoever still has views of the mapping keeps it."""
        fcntl.flock(self._file, fcntl.LOCK_UN)  # the mapping has a descriptor of its own
        os.close(self._file)

    def remove(self) -> None:
        """Nothing in it is worth keeping."""
        self._path.unlink(missing_ok=True)


def remove_if(path: Path, octets: int, is_waste: Callable[[bytes], bool]) -> bool:
    """Removes a file that no process has, if that is said of the octets it begins with. What is not this user's file
    alone, or can't be read, stays.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        _check(file, path)
        if not is_waste(os.pread(file, octets, 0)) or not os.path.samestat(os.fstat(file), os.lstat(path)):
            return False
        path.unlink()
        return True
    except (OSError, MemoryFileError):
        return False
    finally:
        os.close(file)


def _check(file: int, path: Path) -> None:
    """It is this user's file in memory, and from now on this process's. Raises MemoryFileError and OSError."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise MemoryFileError(f"{path} is no file of its own: remove it")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise MemoryFileError(f"{path} is open to other users: remove it")
    kind = _file_system(found.st_dev)
    if kind not in IN_MEMORY:
        raise MemoryFileError(f"{path} is on {kind}, not in memory: use a path under /dev/shm")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MemoryFileError(f"{path} is in use by another process") from None


def _file_system(device: int) -> str:
    """What kind is mounted there (proc(5), mountinfo)."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in MOUNTS.read_text().splitlines():
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return "an unknown file system"
