"""Cx between nodes: who may speak for whom (row 107), what is owed for what is wrong, and what goes amiss."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.hss.conftest import ALICE, ALICE_IMPU, BOB, REALM, S1, S2, with_subscribers

from redoubt.config import DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX
from redoubt.diameter.avp import MANDATORY, Avp, AvpGroup
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import (
    DeregistrationReason,
    HssUnavailable,
    PublicIdentity,
    RegisteredContact,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    ServerAssignmentType,
    ServiceProfile,
    UserAuthorizationType,
    UserProfile,
)
from redoubt.diameter.cx_assignment import AssignmentWanted, write_sar
from redoubt.diameter.cx_frame import LIR, MAR, PPR, RTR, SAR, UAR, result_of
from redoubt.diameter.cx_wire import (
    LocationQuestion,
    VectorsWanted,
    read_lia,
    write_lir,
    write_mar,
    write_ppr,
    write_rtr,
)
from redoubt.diameter.node import Handler, Node
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import Result
from redoubt.events import Bug, Notice, Refused
from redoubt.hss.administration import Told

from .wired import HOSTS, HSS_HOST, STRANGER, Wired

T = ServerAssignmentType
ENDED = RegistrationTermination(ALICE, (ALICE_IMPU,), DeregistrationReason.PERMANENT_TERMINATION)
PROFILE = UserProfile(ALICE, (ServiceProfile((PublicIdentity(ALICE_IMPU),)),))
MAR_OF_ALICE = VectorsWanted(ALICE, ALICE_IMPU, S1, 1)
OFF_NAMES = frozenset({"diameter-server-name"})
OFF_HSS = frozenset({"diameter-hss"})


class Scscf:
    """Takes note of what the HSS tells it."""

    def __init__(self) -> None:
        self.told: list[RegistrationTermination | UserProfile] = []

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        self.told.append(request)
        return ResultCode.SUCCESS

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        self.told.append(profile)
        return ResultCode.SUCCESS


@asynccontextmanager
async def wired(path: Path, off: frozenset[str] = frozenset()) -> AsyncIterator[Wired]:
    net = Wired(await with_subscribers(path, off=off), off)
    await net.connect()
    try:
        yield net
        assert not [event for event in net.events if isinstance(event, Bug)], net.events
    finally:
        await net.close()


async def ask(node: Node, message: DiameterMessage) -> ResultCode | None:
    return result_of(await node.request(message, realm=REALM))


# ---- attacks; each succeeds without its protection


def against(protection: str) -> Callable[[Callable[..., Awaitable[bool]]], Callable[..., Awaitable[bool]]]:
    """Names the protection that an attack meets (tests/network/test_requirements.py looks for these)."""
    return lambda attack: attack


@against("diameter-server-name")
async def another_cscf_speaks_for_the_s_cscf(path: Path, off: frozenset[str]) -> bool:
    """A configured peer that is taken over fetches vectors, and with them the keys, in the name of the S-CSCF."""
    async with wired(path, off) as net:
        await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        evil = await net.cscf(STRANGER)
        stolen = await evil.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        assert stolen.vectors or any(isinstance(e, Refused) and e.source == STRANGER for e in net.events)
        return bool(stolen.vectors)


@against("diameter-server-name")
async def another_cscf_is_quicker_than_the_s_cscf(path: Path, off: frozenset[str]) -> bool:
    """It comes before the S-CSCF was ever heard from, in the name of a peer that the operator wrote down."""
    async with wired(path, off) as net:
        evil = await net.cscf(STRANGER)
        taken = await evil.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
        return taken.result.is_success


@against("diameter-hss")
async def another_peer_ends_registrations(path: Path, off: frozenset[str]) -> bool:
    """A peer of the S-CSCF that is no HSS, an application server perhaps, sends it an RTR."""
    async with wired(path, off) as net:
        s_cscf, node = Scscf(), net.nodes[HOSTS[S1]]
        net.attach(S1, s_cscf)
        node.connect_to(DiameterPeer(identity=STRANGER, realm=REALM))
        evil = await net.node(STRANGER, HOSTS[S1], "tcp:{}:{}".format(*await node.listen("tcp:127.0.0.1:0")))
        message = write_rtr(evil.new_request(CX, RTR), ENDED)
        result = result_of(await evil.request(message, host=HOSTS[S1], realm=REALM))
        assert s_cscf.told or result is ResultCode.AUTHORIZATION_REJECTED
        assert s_cscf.told or any(isinstance(e, Refused) and e.source == STRANGER for e in net.events)
        return bool(s_cscf.told)


ATTACKS = [
    (another_cscf_speaks_for_the_s_cscf, OFF_NAMES),
    (another_cscf_is_quicker_than_the_s_cscf, OFF_NAMES),
    (another_peer_ends_registrations, OFF_HSS),
]


@pytest.mark.parametrize(("attack", "off"), ATTACKS, ids=lambda value: getattr(value, "__name__", ""))
async def test_an_attack_succeeds_without_its_protection(
    attack: Callable[..., Awaitable[bool]], off: frozenset[str], tmp_path: Path
) -> None:
    assert await attack(tmp_path, off)


@pytest.mark.parametrize(("attack", "off"), ATTACKS, ids=lambda value: getattr(value, "__name__", ""))
async def test_an_attack_fails_with_its_protection(
    attack: Callable[..., Awaitable[bool]], off: frozenset[str], tmp_path: Path
) -> None:
    assert not await attack(tmp_path, frozenset())


async def test_an_s_cscf_may_move_when_the_operator_took_its_former_host_away(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        name = "sip:s3.home.example"
        await net.servers.learn(name, "former.elsewhere.net")
        moved = await net.cscf(STRANGER)
        assert (await moved.multimedia_auth(ALICE, ALICE_IMPU, name, 1)).result is ResultCode.SUCCESS
        assert await net.servers.host_now(name) == STRANGER


async def test_a_sar_of_another_s_cscf_is_owed_5005(tmp_path: Path) -> None:
    """Row 107: the HSS checks that the S-CSCF asking is the one assigned (TS 29.228 6.1.2.1)."""
    async with wired(tmp_path) as net:
        await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        assert (await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)).result is ResultCode.SUCCESS
        other = await net.server_assignment(ALICE, ALICE_IMPU, S2, T.REGISTRATION)
        assert other.result is ResultCode.IDENTITY_ALREADY_REGISTERED


async def test_rtr_and_ppr_come_from_the_hss_only_and_reach_the_s_cscf(tmp_path: Path) -> None:
    """Row 107."""
    async with wired(tmp_path) as net:
        s_cscf = Scscf()
        net.attach(S1, s_cscf)
        await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
        assert await net.administration.bar("tel:+15550001") is Told.DONE
        assert await net.administration.remove(ALICE) is Told.DONE
        profile, ended = s_cscf.told
        assert isinstance(profile, UserProfile) and [one.barred for one in profile.identities] == [False, True]
        assert isinstance(ended, RegistrationTermination) and ended.impi == ALICE


async def test_an_s_cscf_that_cannot_be_reached_is_reported_and_costs_no_change(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
        await net.leaves(HOSTS[S1])
        assert await net.administration.deregister(ALICE) is Told.UNREACHABLE
        assert (await net.location_info(ALICE_IMPU)).result is ResultCode.IDENTITY_NOT_REGISTERED


async def test_a_cscf_gets_no_rtr_answered_that_has_no_s_cscf(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        answer = await net.hss_node.request(
            write_rtr(net.hss_node.new_request(CX, RTR), ENDED), host=f"icscf.{REALM}", realm=REALM
        )
        assert answer.is_error


# ---- what is wrong is owed its result, and never a crash


async def test_a_request_without_its_identities_is_owed_5005_or_5004(tmp_path: Path) -> None:
    """Lesson 27: an empty User-Name or Public-Identity killed another HSS."""
    async with wired(tmp_path) as net:
        node = await net.node(STRANGER)
        for command in (UAR, SAR, MAR):
            answer = await node.request(node.new_request(CX, command), realm=REALM)
            assert answer.first(d.RESULT_CODE) == Result.MISSING_AVP
            assert answer.has(d.FAILED_AVP)
        empty = write_mar(node.new_request(CX, MAR), VectorsWanted("", "", S1, 1))
        answer = await node.request(empty, realm=REALM)
        assert answer.first(d.RESULT_CODE) == Result.INVALID_AVP_VALUE
        assert answer.has(d.FAILED_AVP)


async def test_a_scheme_that_is_not_aka_is_owed_5006(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        node = await net.node(STRANGER)
        asked = VectorsWanted(ALICE, ALICE_IMPU, "sip:other.home.example", 1, "SIP Digest")
        message = write_mar(node.new_request(CX, MAR), asked)
        assert await ask(node, message) is ResultCode.AUTH_SCHEME_NOT_SUPPORTED


async def test_a_feature_that_is_not_here_is_owed_5011_with_those_that_are(tmp_path: Path) -> None:
    """TS 29.229 7.2.1."""
    async with wired(tmp_path) as net:
        node = await net.node(STRANGER)
        message = node.new_request(CX, UAR)
        group = AvpGroup().add(d.VENDOR_ID, 10415).add(d.FEATURE_LIST_ID, 1).add(d.FEATURE_LIST, 0x80)
        plain = d.SUPPORTED_FEATURES.of(group)
        message.avps.append(Avp(plain.code, plain.vendor, plain.flags | MANDATORY, plain.data))
        answer = await node.request(message, realm=REALM)
        assert result_of(answer) is ResultCode.FEATURE_UNSUPPORTED
        assert answer.need(d.SUPPORTED_FEATURES).first(d.FEATURE_LIST) == 4


async def test_an_rtr_to_the_hss_is_no_command_of_its(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        node = await net.node(STRANGER)
        answer = await node.request(write_rtr(node.new_request(CX, RTR), ENDED), realm=REALM)
        assert answer.first(d.RESULT_CODE) == Result.COMMAND_UNSUPPORTED


async def test_an_i_cscf_whose_s_cscf_is_gone_asks_by_which_another_is_chosen(tmp_path: Path) -> None:
    """TS 29.228 6.1.4.1: User-Authorization-Type in an LIR."""
    async with wired(tmp_path) as net:
        await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
        node = net.nodes[f"icscf.{REALM}"]
        for capabilities, name in ((False, S1), (True, "")):
            message = write_lir(node.new_request(CX, LIR), LocationQuestion(ALICE_IMPU, False, capabilities))
            answer = await node.request(message, realm=REALM)
            assert result_of(answer) is ResultCode.SUCCESS
            assert read_lia(answer, ResultCode.SUCCESS).server_name == name


async def test_a_deregistration_may_name_no_identity_or_several(tmp_path: Path) -> None:
    """TS 29.228 6.1.2."""
    async with wired(tmp_path) as net:
        node = net.nodes[HOSTS[S1]]
        for impus in ((), (ALICE_IMPU, "tel:+15550001")):
            await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
            assert (await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)).result is ResultCode.SUCCESS
            asked = AssignmentWanted(ALICE, impus, S1, T.ADMINISTRATIVE_DEREGISTRATION, want_profile=False)
            assert await ask(node, write_sar(node.new_request(CX, SAR), asked)) is ResultCode.SUCCESS
            assert (await net.location_info(ALICE_IMPU)).result is ResultCode.IDENTITY_NOT_REGISTERED
        unknown = AssignmentWanted("nobody@home.example", ("sip:nobody@home.example",), S1, T.TIMEOUT_DEREGISTRATION)
        assert await ask(node, write_sar(node.new_request(CX, SAR), unknown)) is ResultCode.USER_UNKNOWN


async def test_restoration_information_comes_back_to_an_s_cscf_that_forgot(tmp_path: Path) -> None:
    """TS 23.380 4.2, TS 29.228 6.1.2.1."""
    contact = RegisteredContact("<sip:alice@10.0.0.9>", ("<sip:term@pcscf.home.example;lr>",), "call-1", 2)
    kept = RestorationInfo(ALICE, (contact,), 1_900_000_000)
    async with wired(tmp_path) as net:
        await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION, restoration=kept)
        answer = await net.server_assignment("", ALICE_IMPU, S1, T.NO_ASSIGNMENT)
        assert answer.result is ResultCode.SUCCESS
        assert answer.restoration == (kept,)
        assert answer.profile is not None


async def test_a_store_that_is_locked_is_unable_to_comply_and_recovers(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        locker = sqlite3.connect(tmp_path / "hss.sqlite", isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        assert (await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).result is ResultCode.UNABLE_TO_COMPLY
        assert [event.level for event in net.events if isinstance(event, Notice) and event.level != "info"] == ["alarm"]
        locker.execute("ROLLBACK")
        locker.close()
        assert (await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).result is ResultCode.SUCCESS


# ---- the HSS of somebody else


@asynccontextmanager
async def foreign(path: Path, handler: Handler) -> AsyncIterator[Wired]:
    """The HSS's node answers as another vendor's might."""
    async with wired(path) as net:
        net.hss_node.serve(CX, handler)
        yield net


async def test_a_profile_that_is_refused_gives_the_assignment_back(tmp_path: Path) -> None:
    seen: list[ServerAssignmentType] = []

    async def handler(message: DiameterMessage, _peer: Peer) -> DiameterMessage:
        seen.append(message.need(d.SERVER_ASSIGNMENT_TYPE))
        return message.answer().add(d.USER_DATA, b"<IMSSubscription><PrivateID>a</PrivateID></IMSSubscription>")

    async with foreign(tmp_path, handler) as net:
        answer = await net.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
        assert answer.result is ResultCode.NOT_SUPPORTED_USER_DATA
        assert answer.profile is None
        assert seen == [T.REGISTRATION, T.DEREGISTRATION_TOO_MUCH_DATA]


async def test_a_profile_that_is_pushed_and_refused_is_answered_so(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        s_cscf = Scscf()
        net.attach(S1, s_cscf)
        for octets, result in (
            (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", ResultCode.NOT_SUPPORTED_USER_DATA),
            (b" " * 300_000, ResultCode.TOO_MUCH_DATA),
        ):
            message = write_ppr(net.hss_node.new_request(CX, PPR), PROFILE)
            message.remove(d.USER_DATA)
            message.add(d.USER_DATA, octets)
            answer = await net.hss_node.request(message, host=HOSTS[S1], realm=REALM)
            assert result_of(answer) is result
        assert not s_cscf.told


async def test_results_that_mean_nothing_here_are_failures(tmp_path: Path) -> None:
    codes = iter((Result.UNABLE_TO_DELIVER, Result.RESOURCES_EXCEEDED, 5999))

    async def handler(message: DiameterMessage, _peer: Peer) -> DiameterMessage:
        answer = message.answer()
        answer.remove(d.RESULT_CODE)
        code = next(codes)
        if code == Result.UNABLE_TO_DELIVER:
            answer.flags |= 0x20
        return answer.add(d.RESULT_CODE, code)

    async with foreign(tmp_path, handler) as net:
        with pytest.raises(HssUnavailable):
            await net.location_info(ALICE_IMPU)
        assert (await net.location_info(ALICE_IMPU)).result is ResultCode.UNABLE_TO_COMPLY
        assert (await net.location_info(ALICE_IMPU)).result is ResultCode.UNABLE_TO_COMPLY


async def test_an_answer_that_cannot_be_read_is_no_answer(tmp_path: Path) -> None:
    async def handler(message: DiameterMessage, _peer: Peer) -> DiameterMessage:
        item = AvpGroup().add(d.SIP_AUTHENTICATE, b"short")
        return message.answer().add(d.SIP_AUTH_DATA_ITEM, item).add(d.SERVER_CAPABILITIES, item)

    async with foreign(tmp_path, handler) as net:
        with pytest.raises(HssUnavailable):
            await net.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
        assert [event.method for event in net.events if isinstance(event, Refused)] == ["MAA"]


async def test_an_hss_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    async with wired(tmp_path) as net:
        await net.leaves(HSS_HOST)
        with pytest.raises(HssUnavailable):
            await net.user_authorization(BOB, f"sip:{BOB}", REALM, UserAuthorizationType.REGISTRATION)
