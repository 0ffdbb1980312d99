"""Sh between nodes: application servers read, write and are told of a real HSS's data (TS 29.328 6.1)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from tests.hss.conftest import (
    ALICE,
    ALICE_IMPU,
    BOB_IMPU,
    REALM,
    S1,
    Place,
    open_hss,
    private,
    with_subscribers,
)

from redoubt.config import DiameterPeer
from redoubt.diameter.applications import SH
from redoubt.diameter.cx import (
    InitialFilterCriterion,
    PublicIdentity,
    ResultCode,
    ServerAssignmentType,
    ServiceProfile,
)
from redoubt.diameter.node import Node
from redoubt.diameter.results import Result, ShResult
from redoubt.diameter.sh import (
    DataReference,
    ImsUserState,
    Notification,
    Pull,
    Repository,
    ShAnswer,
    ShCode,
    ShData,
    Subscribe,
    Update,
    UserIdentity,
)
from redoubt.diameter.sh_client import ShOverDiameter
from redoubt.diameter.sh_server import ShServer
from redoubt.events import Bug, EventStream
from redoubt.hss.application_changes import ApplicationChanges
from redoubt.hss.application_data import ApplicationData
from redoubt.hss.hss import Hss
from redoubt.hss.records import ImplicitSet
from redoubt.hss.store import RepositoryStored
from redoubt.hss.subscriber import Subscriber, provisioned_of
from redoubt.limits import SH_REPOSITORY_OCTETS, SH_SUBSCRIPTION_S
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

R = DataReference
ALICE_ID, BOB_ID = UserIdentity(ALICE_IMPU), UserIdentity(BOB_IMPU)
HSS_HOST, AS1, AS2, POOR = (f"{name}.{REALM}" for name in ("hss", "as1", "as2", "poor"))
AS1_URI = f"sip:{AS1}"
T = ServerAssignmentType


class Server:
    """An application server: its Sh, and what it was told."""

    def __init__(self, context: Context, node: Node) -> None:
        self.sh = ShOverDiameter(context, node, REALM)
        self.sh.attach(self, {HSS_HOST})
        self.told: list[Notification] = []
        self.answer: ShCode = Result.SUCCESS

    async def notified(self, notification: Notification) -> ShCode:
        self.told.append(notification)
        return self.answer

    async def hears(self, count: int = 1) -> list[ShData]:
        """The data of the next notifications, after a while in which more might come."""
        await asyncio.sleep(0.05)
        assert len(self.told) == count, self.told
        data = [one.data for one in self.told]
        self.told.clear()
        return data

    async def pull(self, *references: int, identity: UserIdentity = ALICE_ID, **more: Any) -> ShAnswer:
        return await self.sh.pull(Pull(identity, references, **more))

    async def writes(
        self, sequence: int, data: str | None, service: str = "svc", identity: UserIdentity = ALICE_ID
    ) -> ShCode:
        entry = Repository(service, sequence, data)
        return (await self.sh.update(Update(identity, (R.REPOSITORY_DATA,), ShData(repository=(entry,))))).result

    async def reads(self, service: str = "svc") -> Repository:
        answer = await self.pull(R.REPOSITORY_DATA, services=(service,))
        assert answer.result is Result.SUCCESS and answer.data is not None
        (entry,) = answer.data.repository
        return entry

    async def subscribes(self, *references: int, unsubscribes: bool = False, **more: Any) -> ShAnswer:
        return await self.sh.subscribe(Subscribe(ALICE_ID, references, unsubscribes, **more))


class Net:
    """An HSS that serves three application servers, one of which may read user states only."""

    def __init__(self, hss: Hss) -> None:
        self.hss = hss
        self.nodes: list[Node] = []

    async def connect(self) -> Self:
        context = self.hss.context
        node = self._node(context, HSS_HOST)
        changes = ApplicationChanges(context, self.hss.subscriptions, self.hss.store)
        data = ApplicationData(context, self.hss.subscriptions, self.hss.store, changes)
        changes.tell(ShServer(context, node, data, REALM))
        for name in (AS1, AS2):
            node.connect_to(DiameterPeer(identity=name, realm=REALM))
        node.connect_to(DiameterPeer(identity=POOR, realm=REALM, data=("IMSUserState",)))
        host, port = await node.listen("tcp:127.0.0.1:0")
        self.one, self.two, self.poor = [
            await self._server(name, f"tcp:{host}:{port}") for name in (AS1, AS2, POOR)
        ]
        return self

    async def registers(self) -> None:
        await self.hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        assert (await self.hss.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)).result is ResultCode.SUCCESS

    async def close(self) -> None:
        await asyncio.gather(*(node.close() for node in self.nodes))
        await self.hss.close()

    def _node(self, context: Context, identity: str) -> Node:
        self.nodes.append(Node(context, identity, REALM, applications=(SH,)))
        return self.nodes[-1]

    async def _server(self, name: str, where: str) -> Server:
        clock = Clock(asyncio.get_running_loop(), 0.0)
        context = Context(name, EventStream(), clock, SeededRandomness(len(self.nodes)))
        node = self._node(context, name)
        node.connect_to(DiameterPeer(identity=HSS_HOST, realm=REALM, connect=where))
        assert await node.connected(30.0)
        return Server(context, node)


@asynccontextmanager
async def served(path: Path | Place) -> AsyncIterator[Net]:
    net = await Net(await with_subscribers(path)).connect()
    try:
        yield net
        assert not [event for event in net.hss.context.events.recent if isinstance(event, Bug)]
    finally:
        await net.close()


async def test_what_the_hss_knows_of_a_user_is_read(tmp_path: Path) -> None:
    """TS 29.328 6.1.1, 7.6."""
    async with served(tmp_path) as net:
        answer = await net.one.pull(R.IMS_PUBLIC_IDENTITY, R.MSISDN, R.IMS_USER_STATE, R.S_CSCF_NAME)
        assert answer.data == ShData(
            (ALICE_IMPU, "tel:+15550001"), ("15550001",), (), "", None, ImsUserState.NOT_REGISTERED
        )
        await net.hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        answer = await net.one.pull(R.IMS_USER_STATE)
        assert answer.data == ShData(user_state=ImsUserState.AUTHENTICATION_PENDING)
        await net.registers()
        answer = await net.one.pull(R.IMS_USER_STATE, R.S_CSCF_NAME, identity=UserIdentity(msisdn="15550001"))
        assert answer.data == ShData(user_state=ImsUserState.REGISTERED, s_cscf_name=S1)


async def test_sets_of_identities_are_told_apart_and_barred_ones_left_out(tmp_path: Path) -> None:
    """TS 29.328 7.6.2."""
    async with served(tmp_path) as net:
        sets = tuple(
            ImplicitSet((ServiceProfile(tuple(PublicIdentity(impu, barred) for impu, barred in group)),))
            for group in ([("sip:c1@h", False), ("sip:c2@h", True)], [("sip:c3@h", False)])
        )
        await net.hss.administration.add([Subscriber((private("c@h"),), sets)])
        who = UserIdentity("sip:c1@h")
        for wanted, impus in ((0, ("sip:c1@h", "sip:c3@h")), (1, ()), (2, ("sip:c1@h",)), (3, ("sip:c1@h",))):
            answer = await net.one.pull(R.IMS_PUBLIC_IDENTITY, identity=who, identity_set=wanted)
            assert answer.data == ShData(impus=impus), wanted


async def test_a_server_reads_the_criteria_that_lead_to_it(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        mine, other = InitialFilterCriterion(1, AS1_URI), InitialFilterCriterion(2, "sip:other")
        profile = ServiceProfile((PublicIdentity("sip:c@h"),), (mine, other))
        await net.hss.administration.add([Subscriber((private("c@h"),), (ImplicitSet((profile,)),))])
        who = UserIdentity("sip:c@h")
        answer = await net.one.pull(R.INITIAL_FILTER_CRITERIA, identity=who, server_name=AS1_URI)
        assert answer.data == ShData(criteria=(mine,))


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        (Pull(UserIdentity("sip:nobody@h"), (R.IMS_USER_STATE,)), ShResult.ERROR_USER_UNKNOWN),
        (Pull(UserIdentity(msisdn="4711"), (R.IMS_USER_STATE,)), ShResult.ERROR_USER_UNKNOWN),
        (Pull(ALICE_ID, (999,)), ShResult.ERROR_USER_DATA_NOT_RECOGNIZED),
        (Pull(ALICE_ID, (R.LOCATION_INFORMATION,)), ShResult.ERROR_USER_DATA_CANNOT_BE_READ),
        (Pull(ALICE_ID, (R.REPOSITORY_DATA,)), ShResult.ERROR_OPERATION_NOT_ALLOWED),
        (Pull(UserIdentity(msisdn="15550001"), (R.REPOSITORY_DATA,), ("svc",)), ShResult.ERROR_OPERATION_NOT_ALLOWED),
    ],
)
async def test_what_cannot_be_read_is_owed_its_result(asked: Pull, result: ShCode, tmp_path: Path) -> None:
    """TS 29.328 6.1.1.1, TS 29.329 6.2."""
    async with served(tmp_path) as net:
        assert await net.one.sh.pull(asked) == ShAnswer(result)


async def test_a_server_sees_what_the_operator_permits_and_no_more(tmp_path: Path) -> None:
    """TS 29.328 6.2, lesson 28."""
    async with served(tmp_path) as net:
        assert (await net.poor.pull(R.IMS_USER_STATE)).result is Result.SUCCESS
        assert (await net.poor.pull(R.S_CSCF_NAME)).result is ShResult.ERROR_USER_DATA_CANNOT_BE_READ
        assert await net.poor.writes(0, "<a/>") is ShResult.ERROR_USER_DATA_CANNOT_BE_MODIFIED
        refused = await net.poor.subscribes(R.S_CSCF_NAME)
        assert refused.result is ShResult.ERROR_USER_DATA_CANNOT_BE_NOTIFIED
        assert (await net.one.reads()).service_data is None


async def test_repository_data_are_written_in_the_order_of_their_sequence_numbers(place: Place) -> None:
    """TS 29.328 6.1.2.1: 0 begins, the next follows the last, nobody overwrites what it has not seen."""
    out_of_sync = ShResult.ERROR_TRANSPARENT_DATA_OUT_OF_SYNC
    async with served(place) as net:
        assert await net.one.reads() == Repository("svc", 0)
        assert await net.one.writes(1, "<a/>") is out_of_sync
        assert await net.one.writes(0, None) is ShResult.ERROR_OPERATION_NOT_ALLOWED
        assert await net.one.writes(0, '<a xmlns="urn:x">1</a>') is Result.SUCCESS
        assert await net.two.reads() == Repository("svc", 0, '<a xmlns="urn:x">1</a>')
        assert await net.two.writes(0, "<b/>") is out_of_sync
        assert await net.two.writes(2, "<b/>") is out_of_sync
        assert await net.two.writes(1, "<b/>") is Result.SUCCESS
        assert await net.one.writes(1, "<c/>") is out_of_sync
        assert await net.one.writes(2, None) is Result.SUCCESS
        assert await net.one.reads() == Repository("svc", 0)


async def test_of_two_writers_at_once_one_wins(place: Place) -> None:
    async with served(place) as net:
        results = await asyncio.gather(*(server.writes(0, "<a/>") for server in (net.one, net.two) * 3))
        assert sorted(result.name for result in results).count("SUCCESS") == 1


async def test_the_sequence_number_after_the_last_is_one(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        assert await net.one.writes(0, "<a/>") is Result.SUCCESS
        subscription = await net.hss.administration.show(ALICE)
        moved = RepositoryStored(subscription.number, ALICE_IMPU, "svc", 0, 65535, b"<a/>")
        await net.hss.store.write([moved])
        assert await net.one.writes(65536 % 65535, "<b/>") is Result.SUCCESS


async def test_too_much_and_what_is_no_document_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        assert await net.one.writes(0, f"<a>{'x' * SH_REPOSITORY_OCTETS}</a>") is ShResult.ERROR_TOO_MUCH_DATA
        assert await net.one.writes(0, "<a>") is Result.INVALID_AVP_VALUE
        other = Update(ALICE_ID, (R.IMS_USER_STATE,), ShData(user_state=ImsUserState.REGISTERED))
        assert (await net.one.sh.update(other)).result is ShResult.ERROR_USER_DATA_CANNOT_BE_MODIFIED


async def test_a_server_is_told_what_another_wrote_and_not_what_itself_did(tmp_path: Path) -> None:
    """TS 29.328 6.1.4."""
    async with served(tmp_path) as net:
        await net.one.writes(0, "<a/>")
        for server in (net.one, net.two):
            answer = await server.subscribes(R.REPOSITORY_DATA, services=("svc",), send_data=True)
            assert answer == ShAnswer(Result.SUCCESS, ShData(repository=(Repository("svc", 0, "<a/>"),)))
        await net.one.writes(1, "<b/>")
        assert await net.two.hears() == [ShData(repository=(Repository("svc", 1, "<b/>"),))]
        await net.two.writes(2, None)
        assert await net.one.hears() == [ShData(repository=(Repository("svc", 2),))]
        assert not net.two.told
        await net.one.writes(0, "<a/>", service="other")
        await net.one.hears(0)


async def test_a_server_is_told_when_a_user_registers_and_leaves(place: Place) -> None:
    async with served(place) as net:
        assert (await net.one.subscribes(R.IMS_USER_STATE, R.S_CSCF_NAME)).result is Result.SUCCESS
        assert (await net.poor.subscribes(R.IMS_USER_STATE)).result is Result.SUCCESS
        await net.hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        assert await net.one.hears() == [ShData(s_cscf_name=S1)]
        await net.registers()
        assert await net.one.hears() == [ShData(user_state=ImsUserState.REGISTERED)]
        await net.registers()  # again: nothing changed
        await net.one.hears(0)
        await net.hss.administration.deregister(ALICE)
        left = ShData(user_state=ImsUserState.NOT_REGISTERED, s_cscf_name="")
        assert await net.one.hears() == [left]
        assert await net.poor.hears(2) == [
            ShData(user_state=ImsUserState.REGISTERED),
            ShData(user_state=ImsUserState.NOT_REGISTERED),
        ]


async def test_a_server_is_told_when_its_criteria_or_the_identities_change(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        await net.one.subscribes(R.INITIAL_FILTER_CRITERIA, R.IMS_PUBLIC_IDENTITY, server_name=AS1_URI)
        mine = InitialFilterCriterion(1, AS1_URI)
        profile = ServiceProfile((PublicIdentity(ALICE_IMPU), PublicIdentity("sip:new@h")), (mine,))
        subscriber = Subscriber((private(ALICE),), (ImplicitSet((profile,)),))
        await net.hss.administration.change(ALICE, lambda _known: provisioned_of(subscriber, [ALICE]))
        assert await net.one.hears() == [ShData(impus=(ALICE_IMPU, "sip:new@h"), criteria=(mine,))]


async def test_subscriptions_end_when_asked_when_they_run_out_and_when_nobody_knows_them(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        none = await net.one.subscribes(R.IMS_USER_STATE, unsubscribes=True)
        assert none.result is ShResult.ERROR_NO_SUBSCRIPTION_TO_DATA
        await net.one.subscribes(R.IMS_USER_STATE)
        assert (await net.one.subscribes(R.IMS_USER_STATE, unsubscribes=True)).result is Result.SUCCESS
        now = int(net.hss.context.clock.now())
        brief = await net.two.subscribes(R.IMS_USER_STATE, ends_at=now + 10**9)
        assert now + SH_SUBSCRIPTION_S <= brief.ends_at <= now + SH_SUBSCRIPTION_S + 5
        net.two.answer = ShResult.ERROR_NO_SUBSCRIPTION_TO_DATA
        await net.registers()
        await net.one.hears(0)
        await net.two.hears()
        await net.hss.administration.deregister(ALICE)
        await net.two.hears(0)


async def test_a_subscription_to_data_that_are_not_there_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        absent = await net.one.subscribes(R.REPOSITORY_DATA, services=("svc",))
        assert absent.result is ShResult.ERROR_SUBS_DATA_ABSENT
        assert (await net.one.subscribes(R.MSISDN)).result is ShResult.ERROR_USER_DATA_CANNOT_BE_NOTIFIED
        net.hss.context.clock = Clock(asyncio.get_running_loop(), 1_000_000.0)
        late = await net.one.subscribes(R.IMS_USER_STATE, ends_at=1)
        assert late.result is ShResult.ERROR_OPERATION_NOT_ALLOWED


async def test_repository_data_and_subscriptions_outlive_the_hss(tmp_path: Path) -> None:
    async with served(tmp_path) as net:
        await net.one.writes(0, "<a/>")
        await net.one.subscribes(R.REPOSITORY_DATA, services=("svc",))
    again = await Net(open_hss(tmp_path, seed=9)).connect()
    try:
        assert await again.two.reads() == Repository("svc", 0, "<a/>")
        assert await again.two.writes(1, "<b/>") is Result.SUCCESS
        assert await again.one.hears() == [ShData(repository=(Repository("svc", 1, "<b/>"),))]
    finally:
        await again.close()


async def test_a_removed_user_takes_its_data_along(place: Place) -> None:
    async with served(place) as net:
        await net.one.writes(0, "<a/>")
        await net.one.subscribes(R.REPOSITORY_DATA, services=("svc",))
        await net.hss.administration.remove(ALICE)
        await net.hss.administration.add([Subscriber.simple(private(ALICE), ALICE_IMPU)])
        assert await net.one.reads() == Repository("svc", 0)
        assert await net.two.writes(0, "<b/>") is Result.SUCCESS
        await net.one.hears(0)
