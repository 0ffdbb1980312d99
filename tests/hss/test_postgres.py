"""PostgreSQL as the store: several HSS processes, a database that goes away, versions, the password."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from redoubt.aka.isim import Isim, Success
from redoubt.aka.milenage import Milenage
from redoubt.config import ConfigError
from redoubt.diameter.cx import (
    PublicIdentity,
    ResultCode,
    ServerAssignmentType,
    ServiceProfile,
    UserAuthorizationType,
)
from redoubt.events import Notice
from redoubt.hss.hss import Hss
from redoubt.hss.opening import opened
from redoubt.hss.records import ImplicitSet
from redoubt.hss.subscriber import Subscriber, added
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness

from .cluster import PASSWORD, Cluster
from .conftest import ALICE, ALICE_IMPU, KEY, OPC, REALM, S1, S2, K, Place, private, with_subscribers
from .test_cx import lir, mar, sar, sqn_of, uar

T = ServerAssignmentType
PROCESSES, ROUNDS = 4, 12
CROWD = [f"user{n}@home.example" for n in range(2)]


@pytest.fixture
def place(tmp_path: Path, cluster: Cluster) -> Place:
    return Place(tmp_path, cluster.fresh())


@pytest.fixture
async def pair(place: Place) -> AsyncIterator[tuple[Hss, Hss]]:
    """Two HSSs on one database."""
    one, other = await with_subscribers(place), await place.open(seed=2)
    yield one, other
    await one.close()
    await other.close()


async def test_each_hss_answers_from_what_the_other_has_changed(pair: tuple[Hss, Hss]) -> None:
    one, other = pair
    assert await uar(other) is ResultCode.FIRST_REGISTRATION
    assert await mar(one) is ResultCode.SUCCESS
    assert await uar(other) is ResultCode.SUBSEQUENT_REGISTRATION
    assert await sar(other, T.REGISTRATION) is ResultCode.SUCCESS
    assert await lir(one) == (ResultCode.SUCCESS, S1)
    await other.administration.bar(ALICE_IMPU)
    await other.administration.bar("tel:+15550001")
    assert await uar(one) is ResultCode.AUTHORIZATION_REJECTED
    await one.administration.remove(ALICE)
    assert await uar(other) is ResultCode.USER_UNKNOWN


async def test_a_challenge_of_one_hss_is_pending_at_the_other(pair: tuple[Hss, Hss]) -> None:
    one, other = pair
    leaving = UserAuthorizationType.DE_REGISTRATION
    await mar(one)
    assert (await other.user_authorization(ALICE, ALICE_IMPU, REALM, leaving)).result is ResultCode.SUCCESS
    await sar(other, T.AUTHENTICATION_FAILURE)
    answer = await one.user_authorization(ALICE, ALICE_IMPU, REALM, leaving)
    assert answer.result is ResultCode.IDENTITY_NOT_REGISTERED


async def test_a_new_wildcard_serves_at_once_everywhere(pair: tuple[Hss, Hss]) -> None:
    one, other = pair
    assert await lir(other, "sip:room7@home.example") == (ResultCode.USER_UNKNOWN, "")
    rooms = ServiceProfile((PublicIdentity("", wildcard="sip:room!.*!@home.example"),))
    await one.administration.add([Subscriber((private("desk@home.example"),), (ImplicitSet((rooms,)),))])
    assert await lir(other, "sip:room7@home.example") == (ResultCode.IDENTITY_NOT_REGISTERED, "")


async def test_changes_at_two_hsss_at_once_are_made_one_after_the_other(pair: tuple[Hss, Hss]) -> None:
    answers = await asyncio.gather(*(hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1) for hss in pair * 4))
    sqns = [sqn_of(vector) for answer in answers for vector in answer.vectors]
    assert len(set(sqns)) == 8


async def test_processes_that_hammer_the_same_users_never_use_a_number_twice(place: Place) -> None:
    hss = await place.open()
    await hss.administration.add([Subscriber.simple(private(impi), f"sip:{impi}") for impi in CROWD])
    issued = await _hammered(place.url)
    assert len(issued) == PROCESSES * ROUNDS * len(CROWD) * 2
    for impi in CROWD:
        own = sorted((one for one in issued if one["impi"] == impi), key=lambda one: one["sqn"])
        assert len({one["sqn"] >> 5 for one in own}) == len(own)
        _assert_in_order_of_time(own)
        card = Isim(Milenage(Secret(K), Secret(OPC)))
        for one in own:
            assert isinstance(card.authenticate(bytes.fromhex(one["rand"]), bytes.fromhex(one["autn"])), Success)
        assert {one["result"] for one in own} <= {"SUCCESS", "IDENTITY_ALREADY_REGISTERED"}
        assert (await lir(hss, f"sip:{impi}"))[1] in {one["server"] for one in own if one["result"] == "SUCCESS"}
    await hss.close()


async def test_killed_processes_leave_no_number_for_another_to_repeat(place: Place) -> None:
    hss = await place.open()
    await hss.administration.add([Subscriber.simple(private(CROWD[0]), f"sip:{CROWD[0]}")])
    issued: list[dict[str, Any]] = []
    for _ in range(3):
        children = [await _hammer(place.url, n, 10_000, CROWD[0]) for n in range(2)]
        for child in children:
            assert child.stdout is not None
            issued += [json.loads(await child.stdout.readline()) for _ in range(10)]
            child.kill()
        for child in children:
            output, _ = await child.communicate()
            issued += [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    sqns = [one["sqn"] >> 5 for one in issued]
    assert len(sqns) >= 60 and len(set(sqns)) == len(sqns)
    _assert_in_order_of_time(sorted(issued, key=lambda one: int(one["sqn"])))
    assert (await lir(hss, f"sip:{CROWD[0]}"))[0] is ResultCode.SUCCESS
    await hss.close()


async def _hammer(url: str, number: int, rounds: int, *impis: str) -> asyncio.subprocess.Process:
    arguments = ("-u", "-m", "hss.hammer", url, f"sip:scscf{number}.{REALM}", str(rounds), *impis)
    folder = Path(__file__).parents[1]
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=folder, stdout=subprocess.PIPE)


async def _hammered(url: str) -> list[dict[str, Any]]:
    children = [await _hammer(url, n, ROUNDS, *CROWD) for n in range(PROCESSES)]
    outputs = await asyncio.gather(*(child.communicate() for child in children))
    return [json.loads(line) for output, _ in outputs for line in output.splitlines()]


def _assert_in_order_of_time(own: Sequence[dict[str, Any]]) -> None:
    """Who was answered before another asked has the lower number, whichever processes served them."""
    for lower, one in enumerate(own):
        for other in own[lower + 1 :]:
            assert one["asked"] <= other["answered"]


async def test_a_lost_database_refuses_says_so_once_and_recovers(place: Place, cluster: Cluster) -> None:
    hss = await with_subscribers(place)
    assert await mar(hss) is ResultCode.SUCCESS
    cluster.stop()
    assert await sar(hss, T.REGISTRATION) is ResultCode.UNABLE_TO_COMPLY
    assert await mar(hss) is ResultCode.UNABLE_TO_COMPLY
    assert await lir(hss) == (ResultCode.UNABLE_TO_COMPLY, "")
    cluster.start()
    assert await lir(hss) == (ResultCode.IDENTITY_NOT_REGISTERED, "")
    assert await sar(hss, T.REGISTRATION) is ResultCode.SUCCESS
    notices = [event for event in hss.context.events.recent if isinstance(event, Notice)]
    assert [event.level for event in notices] == ["alarm", "info"]
    assert PASSWORD not in repr(list(hss.context.events.recent))
    await hss.close()


async def test_a_database_is_opened_under_its_own_key_only(place: Place) -> None:
    await (await place.open()).close()
    with pytest.raises(ConfigError, match=r"hss\.key-file"):
        await opened(place.url, place.folder, Secret(bytes(32)), SeededRandomness(1))


async def test_what_cannot_be_opened_is_named_without_its_password(place: Place) -> None:
    absent = place.url.replace("/postgres?", "/nowhere?")
    with pytest.raises(ConfigError, match="/nowhere can't be opened") as refused:
        await opened(absent, place.folder, KEY, SeededRandomness(1))
    assert PASSWORD not in str(refused.value)
    with pytest.raises(ConfigError, match="can't be opened") as refused:
        await opened(f"postgresql://redoubt:{PASSWORD}@127.0.0.1:1/none", place.folder, KEY, SeededRandomness(1))
    assert PASSWORD not in str(refused.value)
    with pytest.raises(ConfigError, match="is no URL of PostgreSQL") as refused:
        await opened(f"postgresql://redoubt:{PASSWORD}@localhost:many/none", place.folder, KEY, SeededRandomness(1))
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("host", ["db.example.net", "192.0.2.7"])
async def test_another_machines_database_is_opened_once_it_is_said_how(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{host} is another machine.*sslmode=verify-full") as refused:
        await opened(f"postgresql://redoubt:{PASSWORD}@{host}/hss", tmp_path, KEY, SeededRandomness(1))
    assert PASSWORD not in str(refused.value)


async def test_a_database_of_version_1_is_brought_forward(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("migrations", "postgres"):
        monkeypatch.setattr(f"redoubt.hss.{module}.VERSION", 1)
    await (await place.store()).close()
    monkeypatch.undo()
    hss = await with_subscribers(place)
    assert await mar(hss) is ResultCode.SUCCESS
    await hss.close()


async def test_a_database_of_a_later_version_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await place.store()).close()
    for module in ("migrations", "postgres"):
        monkeypatch.setattr(f"redoubt.hss.{module}.VERSION", 1)
    with pytest.raises(ConfigError, match="start the release that wrote it") as refused:
        await place.store()
    assert PASSWORD not in str(refused.value)


async def test_an_import_is_unseen_until_its_commit_and_blocks_nobody(pair: tuple[Hss, Hss]) -> None:
    one, other = pair
    importing = await one.store.begin_import()
    new = Subscriber.simple(private("new@home.example"), "sip:new@home.example")
    await importing.add([added(new, one.seal, one.context.randomness)])
    assert await uar(other, "new@home.example", "sip:new@home.example") is ResultCode.USER_UNKNOWN
    assert await mar(other, S2) is ResultCode.SUCCESS
    await importing.commit()
    assert await uar(other, "new@home.example", "sip:new@home.example") is ResultCode.FIRST_REGISTRATION
