"""The file of a memory file system that outlives a process."""

import multiprocessing
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from redoubt.transport.memory_file import IN_MEMORY, STEP_OCTETS, MemoryFile, MemoryFileError, _file_system

SHARED_MEMORY = Path("/dev/shm")
pytestmark = pytest.mark.skipif(not os.access(SHARED_MEMORY, os.W_OK), reason="no /dev/shm to write to")


@pytest.fixture
def path() -> Iterator[Path]:
    place = SHARED_MEMORY / f"redoubt-test-{os.getpid()}-{secrets.token_hex(4)}"
    yield place
    place.unlink(missing_ok=True)


def test_what_is_written_is_there_for_the_next_process_and_larger_if_it_wants(path: Path) -> None:
    first = MemoryFile(path, 10_000)
    first.mapping[5:9] = b"kept"
    first.close()
    second = MemoryFile(path, 20_000)
    assert second.mapping[5:9] == b"kept"
    assert len(second.mapping) == 20_000
    second.close()


def test_it_is_nobody_elses(path: Path) -> None:
    MemoryFile(path, 4096).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(MemoryFileError, match="open to other users"):
        MemoryFile(path, 4096)


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        MemoryFile(path, 4096)


def test_a_file_with_two_names_is_not_believed(path: Path) -> None:
    MemoryFile(path, 4096).close()
    other = path.with_suffix(".other")
    os.link(path, other)
    try:
        with pytest.raises(MemoryFileError, match="file of its own"):
            MemoryFile(path, 4096)
    finally:
        other.unlink()


def test_a_disk_is_no_memory(tmp_path: Path) -> None:
    if _file_system(tmp_path.stat().st_dev) in IN_MEMORY:
        pytest.skip("the temporary directory is in memory here")
    with pytest.raises(MemoryFileError, match="not in memory"):
        MemoryFile(tmp_path / "on-disk", 4096)


def test_one_process_at_a_time_has_it(path: Path) -> None:
    first = MemoryFile(path, 4096)
    with pytest.raises(MemoryFileError, match="in use"):
        MemoryFile(path, 4096)
    first.close()
    MemoryFile(path, 4096).close()


def _die_with(path: str) -> None:
    held = MemoryFile(Path(path), 4096)
    held.mapping[:4] = b"last"
    os.kill(os.getpid(), 9)


def test_the_death_of_its_process_frees_it_and_loses_nothing(path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_die_with, args=(str(path),))
    child.start()
    child.join()
    after = MemoryFile(path, 4096)
    assert after.mapping[:4] == b"last"
    after.close()


def test_memory_is_taken_as_it_is_needed(path: Path) -> None:
    file = MemoryFile(path, 64 * STEP_OCTETS)
    assert path.stat().st_blocks == 0
    assert file.reserve(10)
    assert path.stat().st_blocks * 512 == STEP_OCTETS
    assert file.reserve(64 * STEP_OCTETS)
    assert not file.reserve(64 * STEP_OCTETS + 1)
    file.close()
