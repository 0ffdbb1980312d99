"""What the store keeps, whatever happens: kill -9, a full disk, a lock, a wrong key."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from redoubt.config import ConfigError, HssConfig
from redoubt.diameter.cx import (
    PublicIdentity,
    ResultCode,
    ServerAssignmentType,
    ServiceProfile,
    UserAuthorizationType,
)
from redoubt.events import Notice
from redoubt.hss.hss import Hss
from redoubt.hss.keys import create_key, read_key_file, write_key_file
from redoubt.hss.records import ImplicitSet
from redoubt.hss.sqlite import open_store
from redoubt.hss.store import StoreFailed
from redoubt.hss.subscriber import Subscriber
from redoubt.hss.subscriptions import Subscriptions
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness

from .conftest import ALICE, ALICE_IMPU, BOB, BOB_IMPU, KEY, OPC, REALM, S1, K, open_hss, private, with_subscribers
from .test_cx import lir, mar, sar, sqn_of

T = ServerAssignmentType
CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from hss.conftest import ALICE, ALICE_IMPU, S1, open_hss
from hss.test_cx import sqn_of
from redoubt.config import HssConfig

async def main():
    hss = open_hss(Path({path!r}), HssConfig(max_pending_per_user=10**6, sequence_block=4), seed={seed})
    while True:
        answer = await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        print(sqn_of(answer.vectors[0]), flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def hss(tmp_path: Path) -> AsyncIterator[Hss]:
    """On SQLite, whose files the tests look into."""
    made = await with_subscribers(tmp_path)
    yield made
    await made.close()


async def _made(path: Path) -> None:
    await (await with_subscribers(path)).close()


def test_a_killed_hss_never_repeats_a_sequence_number(tmp_path: Path) -> None:
    asyncio.run(_made(tmp_path))
    tests = str(Path(__file__).parent.parent)
    spent: list[int] = []
    for seed in range(3):
        program = CHILD.format(tests=tests, path=str(tmp_path), seed=seed)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            spent += [int(child.stdout.readline()) for _ in range(30)]
            os.kill(child.pid, signal.SIGKILL)
            spent += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    assert spent == sorted(set(spent)) and len(spent) >= 90


async def test_a_registration_survives_reopening(tmp_path: Path) -> None:
    hss = await with_subscribers(tmp_path)
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await mar(hss, S1, BOB, BOB_IMPU)
    await hss.close()
    hss = open_hss(tmp_path)
    assert await lir(hss) == (ResultCode.SUCCESS, S1)
    assert await sar(hss, T.REGISTRATION, S1, BOB, BOB_IMPU) is ResultCode.SUCCESS
    await hss.close()


ACTIONS = st.lists(st.sampled_from(["mar", "register", "fail", "leave", "reopen", "forget"]), max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_any_sequence_keeps_sqn_rising_and_registration_consistent(
    actions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_walk(actions, tmp_path_factory.mktemp("walk")))


async def _walk(actions: list[str], path: Path) -> None:
    config = HssConfig(max_pending_per_user=1000, sequence_block=2)
    hss = await with_subscribers(path, config)
    sqns: list[int] = []
    registered = False
    for action in actions:
        match action:
            case "mar":
                sqns.append(sqn_of((await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]))
            case "register":
                registered = await sar(hss, T.REGISTRATION) is ResultCode.SUCCESS
            case "fail":
                await sar(hss, T.AUTHENTICATION_FAILURE)
            case "leave":
                await sar(hss, T.USER_DEREGISTRATION)
                registered = False
            case "reopen":
                await hss.close()
                hss = open_hss(path, config)
            case "forget":
                hss.subscriptions.forget(await hss.administration.show(ALICE))
        assert await lir(hss) == ((ResultCode.SUCCESS, S1) if registered else (ResultCode.IDENTITY_NOT_REGISTERED, ""))
    assert sqns == sorted(set(sqns))
    await hss.close()


async def test_concurrent_requests_for_one_user_take_different_numbers(tmp_path: Path) -> None:
    hss = await with_subscribers(tmp_path, HssConfig(max_pending_per_user=1000, sequence_block=3))
    answers = await asyncio.gather(*(hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 2) for _ in range(50)))
    sqns = [sqn_of(vector) for answer in answers for vector in answer.vectors]
    assert len(set(sqns)) == 100
    await hss.close()


async def test_no_key_stands_in_the_files(hss: Hss, tmp_path: Path) -> None:
    await mar(hss)
    octets = b"".join((tmp_path / f"hss.sqlite{end}").read_bytes() for end in ("", "-wal"))
    assert ALICE.encode() in octets
    for secret in (K, OPC, KEY.reveal()):
        assert secret not in octets and secret.hex().encode() not in octets
    assert (tmp_path / "hss.sqlite").stat().st_mode & 0o077 == 0


async def test_keys_moved_to_another_identity_do_not_open(hss: Hss, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "hss.sqlite") as connection:
        connection.execute(
            "UPDATE private_identity SET sealed = (SELECT sealed FROM private_identity WHERE impi = ?)", (BOB,)
        )
    connection.close()
    assert await mar(hss) is ResultCode.UNABLE_TO_COMPLY
    assert any(isinstance(event, Notice) and ALICE in event.what for event in hss.context.events.recent)


async def test_a_store_is_opened_under_its_own_key_only(hss: Hss, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hss\.key-file"):
        open_store(tmp_path / "hss.sqlite", Secret(bytes(32)), SeededRandomness(1))


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path, key = tmp_path / "hss.key", create_key(SeededRandomness(5))
    write_key_file(path, key)
    assert read_key_file(path).matches(key) and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError):
        write_key_file(path, key)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        read_key_file(path)


async def test_a_full_disk_refuses_and_recovers(hss: Hss) -> None:
    writer = hss.store._writer  # type: ignore[attr-defined]
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    many = [Subscriber.simple(private(f"u{n}@home.example"), f"sip:u{n}@home.example") for n in range(300)]
    results = [await _added(hss, one) for one in many]
    assert False in results
    assert len([one async for one in hss.administration.subscriptions()]) == 2 + sum(results)
    writer.execute("PRAGMA max_page_count = 1000000")
    assert await _added(hss, many[-1])
    assert await mar(hss) is ResultCode.SUCCESS


FULL = """
import asyncio, json, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from hss.conftest import ALICE, ALICE_IMPU, S1, open_hss, with_subscribers
from redoubt.config import HssConfig
from redoubt.events import Notice

async def main():
    path = Path({path!r})
    await (await with_subscribers(path)).close()
    hss = open_hss(path, HssConfig(max_pending_per_user=10**6, sequence_block=1))
    results = []
    async def ask(times):
        for _ in range(times):
            results.append((await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).result.name)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    await ask(100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ask(3)
    await hss.close()
    notices = [event.level for event in hss.context.events.recent if isinstance(event, Notice)]
    print(json.dumps([results[0], results[99], results[102], notices]))

asyncio.run(main())
"""


def test_a_file_that_cannot_grow_is_answered_for_told_once_and_recovers(tmp_path: Path) -> None:
    program = FULL.format(tests=str(Path(__file__).parent.parent), path=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["SUCCESS", "UNABLE_TO_COMPLY", "SUCCESS", ["alarm", "info"]]


async def test_what_a_command_wrote_is_never_overwritten(hss: Hss, tmp_path: Path) -> None:
    await mar(hss)
    command = open_hss(tmp_path)
    await command.administration.bar("tel:+15550001")
    await command.close()
    # The running HSS has not looked since; what it decides on what it remembers is refused by the store.
    answer = await hss.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
    assert answer.profile is not None
    assert [one.barred for one in answer.profile.identities] == [False, True]
    assert await lir(hss) == (ResultCode.SUCCESS, S1)


async def test_a_command_ends_no_pending_authentication(hss: Hss, tmp_path: Path) -> None:
    def run_command() -> None:
        with sqlite3.connect(tmp_path / "hss.sqlite") as connection:
            connection.execute("INSERT OR REPLACE INTO property VALUES ('other', 'x')")
        connection.close()

    leaving = UserAuthorizationType.DE_REGISTRATION
    await mar(hss)
    for _ in range(2):
        run_command()
        hss.subscriptions._looked_at = float("-inf")  # as after a second
        assert (await hss.user_authorization(ALICE, ALICE_IMPU, REALM, leaving)).result is ResultCode.SUCCESS


async def test_a_new_subscriber_is_not_taken_for_a_removed_one(hss: Hss, tmp_path: Path) -> None:
    assert await mar(hss, S1, BOB, BOB_IMPU) is ResultCode.SUCCESS
    command = open_hss(tmp_path)
    await command.administration.remove(BOB)
    carol = "sip:carol@home.example"
    await command.administration.add([Subscriber.simple(private("carol@home.example"), carol)])
    await command.close()
    hss.subscriptions._looked_at = float("-inf")  # as after a second
    assert await mar(hss, S1, "carol@home.example", carol) is ResultCode.SUCCESS
    assert await mar(hss, S1, BOB, BOB_IMPU) is ResultCode.USER_UNKNOWN


async def test_an_identity_that_a_command_adds_is_found_at_once(hss: Hss, tmp_path: Path) -> None:
    await mar(hss)
    command = open_hss(tmp_path)
    new = "sip:new@home.example"
    await command.administration.change(
        ALICE, lambda known: replace(known.provisioned, sets=(*known.provisioned.sets, _set_of(new)))
    )
    await command.close()
    assert await lir(hss, new) == (ResultCode.IDENTITY_NOT_REGISTERED, "")


def _set_of(impu: str) -> ImplicitSet:
    return ImplicitSet((ServiceProfile((PublicIdentity(impu),)),))


async def _added(hss: Hss, subscriber: Subscriber) -> bool:
    try:
        return await hss.administration.add([subscriber]) == 1
    except StoreFailed:
        return False


async def test_a_locked_store_refuses_says_so_once_and_recovers(
    hss: Hss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redoubt.hss.sqlite.LOCK_RETRIES", 1)
    await mar(hss)
    locker = sqlite3.connect(tmp_path / "hss.sqlite", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    assert await sar(hss, T.REGISTRATION) is ResultCode.UNABLE_TO_COMPLY
    assert await sar(hss, T.REGISTRATION) is ResultCode.UNABLE_TO_COMPLY
    assert await lir(hss) == (ResultCode.IDENTITY_NOT_REGISTERED, "")
    locker.execute("ROLLBACK")
    locker.close()
    assert await sar(hss, T.REGISTRATION) is ResultCode.SUCCESS
    notices = [event.level for event in hss.context.events.recent if isinstance(event, Notice)]
    assert notices == ["alarm", "info"]


async def test_a_short_lock_of_another_process_is_waited_out(hss: Hss, tmp_path: Path) -> None:
    locker = sqlite3.connect(tmp_path / "hss.sqlite", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.05, locker.execute, "ROLLBACK")
    assert await mar(hss) is ResultCode.SUCCESS
    locker.close()


async def test_the_cache_is_bounded_and_reads_on(tmp_path: Path) -> None:
    hss = await with_subscribers(tmp_path)
    hss.subscriptions = Subscriptions(hss.store, kept=1)
    sqns = []
    for _ in range(3):
        sqns.append(sqn_of((await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]))
        assert await mar(hss, S1, BOB, BOB_IMPU) is ResultCode.SUCCESS
    assert sqns == sorted(set(sqns))
    await hss.close()
