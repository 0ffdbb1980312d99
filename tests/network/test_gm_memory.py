"""What P-CSCFs left in memory is removed when their state directories are gone, and nothing else is."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redoubt.config import ConfigError
from redoubt.events import EventStream, Notice
from redoubt.network.configuration import from_tree
from redoubt.network.gm_memory import Kept, MemoryPlace, memory_of, open_memory
from redoubt.network.run import Network
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.memory_file import MemoryFile

SHARED_MEMORY = Path("/dev/shm")
pytestmark = pytest.mark.skipif(not os.access(SHARED_MEMORY, os.W_OK), reason="no /dev/shm to write to")


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A directory in memory of this test's own."""
    made = SHARED_MEMORY / f"redoubt-test-{secrets.token_hex(4)}"
    made.mkdir(mode=0o700)
    yield made
    for left in made.iterdir():
        left.unlink()
    made.rmdir()


def place(shelf: Path, state: Path) -> MemoryPlace:
    found = memory_of(from_tree({"gm": {"memory": str(shelf)}}), state)
    assert found is not None
    return found


def started(shelf: Path, state: Path) -> tuple[Kept, EventStream]:
    """A P-CSCF begins, and a phone registers with it."""
    events = EventStream()
    context = Context("p-cscf", events, Clock(asyncio.get_running_loop()), SeededRandomness(1))
    kept = open_memory(context, place(shelf, state))
    assert kept is not None
    kept.open_ledger("somebody").claim().record = b"a phone"
    return kept, events


def left_behind(shelf: Path, state: Path) -> Path:
    """What a P-CSCF that was killed leaves."""
    state.mkdir()
    started(shelf, state)[0].close()
    found = place(shelf, state).file
    assert found.exists()
    return found


async def test_what_belongs_to_a_state_directory_that_is_gone_is_removed_by_the_next_that_starts(
    shelf: Path, tmp_path: Path
) -> None:
    gone, there = left_behind(shelf, tmp_path / "gone"), left_behind(shelf, tmp_path / "there")
    (tmp_path / "gone").rmdir()
    kept, events = started(shelf, tmp_path)
    assert (gone.exists(), there.exists()) == (False, True)
    [notice] = [event for event in events.recent if isinstance(event, Notice)]
    assert notice.what == "associations of 1 networks that are no more were removed"
    kept.close()


async def test_one_that_a_process_still_has_stays(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    living, _ = started(shelf, tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    kept, events = started(shelf, tmp_path)
    assert place(shelf, tmp_path / "gone").file.exists()
    assert not events.recent
    living.close()
    kept.close()


def renamed(file: Path) -> None:
    """Somebody gave it another network's name: it is no longer clear whose it is."""
    file.rename(file.with_name("redoubt-gm-0123456789abcdef"))


def opened_to_others(file: Path) -> None:
    file.chmod(0o644)


def another_version(file: Path) -> None:
    with file.open("r+b") as mapping:
        mapping.write(b"redoubt gm 1")


def replaced_by_a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


@pytest.mark.parametrize("change", [renamed, opened_to_others, another_version, replaced_by_a_link])
async def test_what_is_not_certainly_such_a_file_is_left_alone(
    shelf: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(left_behind(shelf, tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    before = set(os.listdir(shelf))
    kept, _ = started(shelf, tmp_path)
    assert before <= set(os.listdir(shelf))
    kept.close()


async def test_a_start_that_fails_leaves_what_was_there_and_nothing_of_its_own(shelf: Path, tmp_path: Path) -> None:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    config = from_tree({"gm": {"memory": str(shelf), "listen": [f"udp:127.0.0.1:{taken.getsockname()[1]}"]}})
    left = left_behind(shelf, tmp_path / "there")
    for state in (tmp_path / "there", tmp_path):
        with pytest.raises(ConfigError, match="somebody listens there"):
            await Network.start(config, state, only=("p-cscf",), resumes=True)
    taken.close()
    assert os.listdir(shelf) == [left.name]
    [slot] = Kept(MemoryFile(left, 1), place(shelf, tmp_path / "there")).open_ledger("somebody").taken()
    assert slot.record == b"a phone"


async def test_a_blank_file_is_removed_when_no_process_can_be_starting_with_it(shelf: Path, tmp_path: Path) -> None:
    old, new = shelf / "redoubt-gm-0000000000000001", shelf / "redoubt-gm-0000000000000002"
    for file in (old, new):
        MemoryFile(file, 10_000).close()
    os.utime(old, (1.0, 1.0))
    started(shelf, tmp_path)[0].close()
    assert (old.exists(), new.exists()) == (False, True)


async def test_a_state_directory_that_can_not_be_looked_for_counts_as_there(shelf: Path, tmp_path: Path) -> None:
    """Root sees everything: a name too long to be looked up stands for what can't be seen."""
    left = left_behind(shelf, tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    unseen = str(tmp_path / ("x" * 300))
    named = place(shelf, Path(unseen)).file
    kept, _ = started(shelf, tmp_path)
    assert not left.exists()
    kept.close()
    (tmp_path / "gone").mkdir()
    other, _ = started(shelf, tmp_path / "gone")
    assert other.ledger is not None
    other.ledger.belongs_to(unseen)
    other.close()
    place(shelf, tmp_path / "gone").file.rename(named)
    kept, _ = started(shelf, tmp_path)
    assert named.exists()
    kept.close()
