"""Cx as TS 29.228 clause 6 has it, on a real store."""

from dataclasses import replace

import pytest

from redoubt.aka.algorithm import exclusive_or
from redoubt.aka.isim import Isim, Success, SyncFailure
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SequenceArray
from redoubt.config import HssConfig
from redoubt.diameter.cx import (
    AuthenticationVector,
    DeregistrationReason,
    InitialFilterCriterion,
    PublicIdentity,
    RegistrationTermination,
    ResultCode,
    Resynchronisation,
    ServerAssignmentType,
    ServerCapabilities,
    ServiceProfile,
    UserAuthorizationType,
    UserProfile,
)
from redoubt.events import Check, Fault
from redoubt.hss.hss import Hss
from redoubt.hss.records import ImplicitSet
from redoubt.hss.subscriber import Subscriber
from redoubt.secret import Secret

from .conftest import ALICE, ALICE_IMPU, BOB, BOB_IMPU, OPC, REALM, S1, S2, K, Place, private, with_subscribers

T = ServerAssignmentType
REGISTRATION = UserAuthorizationType.REGISTRATION


async def uar(hss: Hss, impi: str = ALICE, impu: str = ALICE_IMPU, visited: str = REALM) -> ResultCode:
    return (await hss.user_authorization(impi, impu, visited, REGISTRATION)).result


async def mar(hss: Hss, server: str = S1, impi: str = ALICE, impu: str = ALICE_IMPU) -> ResultCode:
    return (await hss.multimedia_auth(impi, impu, server, 1)).result


async def sar(hss: Hss, kind: T, server: str = S1, impi: str = ALICE, impu: str = ALICE_IMPU) -> ResultCode:
    return (await hss.server_assignment(impi, impu, server, kind)).result


async def lir(hss: Hss, impu: str = ALICE_IMPU) -> tuple[ResultCode, str]:
    answer = await hss.location_info(impu)
    return answer.result, answer.server_name


def sqn_of(vector: AuthenticationVector) -> int:
    keys = Milenage(Secret(K), Secret(OPC)).f2345(vector.rand)
    return int.from_bytes(exclusive_or(vector.autn[:6], keys.ak.reveal()), "big")


async def test_a_registration_from_the_first_query_to_the_profile(hss: Hss) -> None:
    first = await hss.user_authorization(ALICE, ALICE_IMPU, REALM, REGISTRATION)
    assert first.result is ResultCode.FIRST_REGISTRATION and first.capabilities is not None
    answer = await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
    vector = answer.vectors[0]
    isim = Isim(Milenage(Secret(K), Secret(OPC)))
    card = isim.authenticate(vector.rand, vector.autn)
    assert isinstance(card, Success) and card.res.matches(vector.xres)
    second = await hss.user_authorization(ALICE, ALICE_IMPU, REALM, REGISTRATION)
    assert (second.result, second.server_name) == (ResultCode.SUBSEQUENT_REGISTRATION, S1)
    assert await lir(hss) == (ResultCode.IDENTITY_NOT_REGISTERED, "")
    assigned = await hss.server_assignment(ALICE, ALICE_IMPU, S1, T.REGISTRATION)
    assert assigned.profile is not None
    assert [one.impu for one in assigned.profile.identities] == [ALICE_IMPU, "tel:+15550001"]
    assert await lir(hss, "tel:+15550001") == (ResultCode.SUCCESS, S1)


async def test_an_unknown_identity_and_a_foreign_pair_are_refused_and_said(hss: Hss) -> None:
    assert await uar(hss, "carol@home.example") is ResultCode.USER_UNKNOWN
    assert await uar(hss, ALICE, "sip:carol@home.example") is ResultCode.USER_UNKNOWN
    assert await uar(hss, ALICE, BOB_IMPU) is ResultCode.IDENTITIES_DONT_MATCH
    assert await mar(hss, S1, ALICE, BOB_IMPU) is ResultCode.IDENTITIES_DONT_MATCH
    assert await sar(hss, T.REGISTRATION, S1, ALICE, BOB_IMPU) is ResultCode.IDENTITIES_DONT_MATCH
    assert await lir(hss, BOB_IMPU) == (ResultCode.IDENTITY_NOT_REGISTERED, "")
    checks = [event for event in hss.context.events.recent if isinstance(event, Check)]
    assert checks[2].impu == BOB_IMPU and checks[2].fault is Fault.IDENTITY and not checks[2].passed


async def test_without_the_pair_check_a_stranger_takes_the_identity(place: Place) -> None:
    hss = await with_subscribers(place, off=frozenset({"identity-pair"}))
    assert await mar(hss, S2, ALICE, BOB_IMPU) is ResultCode.SUCCESS
    assert await sar(hss, T.REGISTRATION, S2, ALICE, BOB_IMPU) is ResultCode.SUCCESS
    assert await lir(hss, BOB_IMPU) == (ResultCode.SUCCESS, S2)
    await hss.close()


async def test_roaming_is_for_those_whose_list_has_the_network(hss: Hss) -> None:
    assert await uar(hss, visited="visited.example") is ResultCode.ROAMING_NOT_ALLOWED
    roamer = Subscriber.simple(private("r@home.example"), "sip:r@home.example")
    anywhere = Subscriber.simple(private("w@home.example"), "sip:w@home.example")
    await hss.administration.add(
        [
            replace(roamer, visited_networks=("Visited.example",)),
            replace(anywhere, visited_networks=("*",)),
        ]
    )
    ok = ResultCode.FIRST_REGISTRATION
    assert await uar(hss, "r@home.example", "sip:r@home.example", "visited.EXAMPLE") is ok
    assert await uar(hss, "r@home.example", "sip:r@home.example", "other.example") is ResultCode.ROAMING_NOT_ALLOWED
    assert await uar(hss, "w@home.example", "sip:w@home.example", "other.example") is ok


async def test_a_user_is_refused_when_every_identity_of_the_set_is_barred(hss: Hss) -> None:
    await hss.administration.bar(ALICE_IMPU)
    assert await uar(hss) is ResultCode.FIRST_REGISTRATION
    await hss.administration.bar("tel:+1-555-0001")
    assert await uar(hss) is ResultCode.AUTHORIZATION_REJECTED
    await hss.administration.bar(ALICE_IMPU, False)
    assert await uar(hss) is ResultCode.FIRST_REGISTRATION


async def test_capabilities_are_answered_on_request(hss: Hss) -> None:
    wanted = ServerCapabilities((1, 2), (3,), (S2,))
    subscriber = replace(Subscriber.simple(private("c@home.example"), "sip:c@home.example"), capabilities=wanted)
    await hss.administration.add([subscriber])
    asked = UserAuthorizationType.REGISTRATION_AND_CAPABILITIES
    answer = await hss.user_authorization("c@home.example", "sip:c@home.example", REALM, asked)
    assert (answer.result, answer.capabilities) == (ResultCode.SUCCESS, wanted)


async def test_deregistration_is_asked_for_by_the_registered_only(hss: Hss) -> None:
    leaving = UserAuthorizationType.DE_REGISTRATION
    answer = await hss.user_authorization(ALICE, ALICE_IMPU, REALM, leaving)
    assert answer.result is ResultCode.IDENTITY_NOT_REGISTERED
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    answer = await hss.user_authorization(ALICE, ALICE_IMPU, REALM, leaving)
    assert (answer.result, answer.server_name) == (ResultCode.SUCCESS, S1)


async def test_another_s_cscf_may_challenge_but_not_assign(hss: Hss) -> None:
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    assert await sar(hss, T.REGISTRATION, S2) is ResultCode.IDENTITY_ALREADY_REGISTERED
    assert await sar(hss, T.USER_DEREGISTRATION, S2) is ResultCode.IDENTITY_ALREADY_REGISTERED
    assert await sar(hss, T.NO_ASSIGNMENT, S2) is ResultCode.IDENTITY_ALREADY_REGISTERED
    assert await lir(hss) == (ResultCode.SUCCESS, S1)
    assert await mar(hss, S2) is ResultCode.SUCCESS
    assert await lir(hss) == (ResultCode.SUCCESS, S1)
    assert await sar(hss, T.USER_DEREGISTRATION, S2) is ResultCode.IDENTITY_ALREADY_REGISTERED


class Told:
    """An S-CSCF's ear: keeps what the HSS says."""

    def __init__(self) -> None:
        self.terminations: list[RegistrationTermination] = []
        self.profiles: list[UserProfile] = []

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        self.terminations.append(request)
        return ResultCode.SUCCESS

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        self.profiles.append(profile)
        return ResultCode.SUCCESS


async def test_an_s_cscf_that_challenged_takes_over_and_the_former_is_told(hss: Hss) -> None:
    former = Told()
    hss.attach(S1, former)
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await mar(hss, S2)
    answer = await hss.user_authorization(ALICE, ALICE_IMPU, REALM, REGISTRATION)
    assert answer.server_name == S2
    assert await sar(hss, T.REGISTRATION, S2) is ResultCode.SUCCESS
    assert await lir(hss) == (ResultCode.SUCCESS, S2)
    for task in list(hss.context.tasks):
        await task
    assert [one.reason for one in former.terminations] == [DeregistrationReason.NEW_SERVER_ASSIGNED]


async def test_a_failed_challenge_of_another_s_cscf_moves_nobody(hss: Hss) -> None:
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await mar(hss, S2)
    assert await sar(hss, T.AUTHENTICATION_TIMEOUT, S2) is ResultCode.SUCCESS
    answer = await hss.user_authorization(ALICE, ALICE_IMPU, REALM, REGISTRATION)
    assert answer.server_name == S1
    assert await lir(hss) == (ResultCode.SUCCESS, S1)


@pytest.mark.parametrize("kind", [T.AUTHENTICATION_FAILURE, T.AUTHENTICATION_TIMEOUT])
async def test_a_failed_authentication_frees_the_name_of_one_who_was_not_registered(hss: Hss, kind: T) -> None:
    await mar(hss)
    assert await sar(hss, kind) is ResultCode.SUCCESS
    assert await uar(hss) is ResultCode.FIRST_REGISTRATION


@pytest.mark.parametrize("kind", [T.AUTHENTICATION_FAILURE, T.AUTHENTICATION_TIMEOUT])
async def test_a_failed_authentication_leaves_the_registered_registered(hss: Hss, kind: T) -> None:
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await mar(hss)
    assert await sar(hss, kind) is ResultCode.SUCCESS
    assert await lir(hss) == (ResultCode.SUCCESS, S1)


async def test_a_set_stays_registered_until_its_last_private_identity_leaves(hss: Hss) -> None:
    shared = Subscriber(
        (private("one@home.example"), private("two@home.example")),
        (ImplicitSet((ServiceProfile((PublicIdentity("sip:shared@home.example"),)),)),),
    )
    await hss.administration.add([shared])
    impu = "sip:shared@home.example"
    for impi in ("one@home.example", "two@home.example"):
        await mar(hss, S1, impi, impu)
        answer = await hss.server_assignment(impi, impu, S1, T.REGISTRATION)
        assert answer.profile is not None
        assert answer.profile.associated_impis == ("one@home.example", "two@home.example")
    await sar(hss, T.USER_DEREGISTRATION, S1, "one@home.example", impu)
    assert await lir(hss, impu) == (ResultCode.SUCCESS, S1)
    await sar(hss, T.USER_DEREGISTRATION, S1, "two@home.example", impu)
    assert await lir(hss, impu) == (ResultCode.IDENTITY_NOT_REGISTERED, "")


async def test_services_for_the_unregistered_get_an_s_cscf_by_capabilities_and_keep_it(hss: Hss) -> None:
    profile = ServiceProfile(
        (PublicIdentity("sip:svc@home.example"),), (InitialFilterCriterion(0, "sip:as.home.example"),)
    )
    await hss.administration.add([Subscriber((private("svc@home.example"),), (ImplicitSet((profile,)),))])
    impu = "sip:svc@home.example"
    assert (await lir(hss, impu))[0] is ResultCode.UNREGISTERED_SERVICE
    answer = await hss.server_assignment("", impu, S1, T.UNREGISTERED_USER)
    assert answer.result is ResultCode.SUCCESS and answer.profile is not None
    assert answer.profile.service_profiles[0].criteria == profile.criteria
    assert await lir(hss, impu) == (ResultCode.SUCCESS, S1)
    await mar(hss, S1, "svc@home.example", impu)
    await sar(hss, T.REGISTRATION, S1, "svc@home.example", impu)
    kept = T.USER_DEREGISTRATION_STORE_SERVER_NAME
    assert await sar(hss, kept, S1, "svc@home.example", impu) is ResultCode.SUCCESS
    assert await lir(hss, impu) == (ResultCode.SUCCESS, S1)


async def test_the_name_is_not_kept_for_a_user_without_services(hss: Hss) -> None:
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    result = await sar(hss, T.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME)
    assert result is ResultCode.SUCCESS_SERVER_NAME_NOT_STORED
    assert await uar(hss) is ResultCode.FIRST_REGISTRATION


async def test_a_wildcard_serves_what_no_distinct_identity_does(hss: Hss) -> None:
    rooms = ServiceProfile(
        (PublicIdentity("sip:desk@home.example"), PublicIdentity("", wildcard="sip:room!.*!@home.example"))
    )
    distinct = Subscriber.simple(private("r1@home.example"), "sip:room1@home.example")
    await hss.administration.add([Subscriber((private("desk@home.example"),), (ImplicitSet((rooms,)),)), distinct])
    await mar(hss, S1, "desk@home.example", "sip:desk@home.example")
    await sar(hss, T.REGISTRATION, S1, "desk@home.example", "sip:desk@home.example")
    assert await lir(hss, "sip:room2@home.example") == (ResultCode.SUCCESS, S1)
    assert await lir(hss, "sip:room1@home.example") == (ResultCode.IDENTITY_NOT_REGISTERED, "")
    assert await lir(hss, "sip:hall@home.example") == (ResultCode.USER_UNKNOWN, "")


async def test_a_thousand_challenges_rise_in_sqn_and_repeat_no_rand(place: Place) -> None:
    hss = await with_subscribers(place, HssConfig(max_pending_per_user=2000))
    vectors = [(await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0] for _ in range(1000)]
    sqns = [sqn_of(vector) for vector in vectors]
    assert sqns == sorted(set(sqns)) and len({vector.rand for vector in vectors}) == 1000
    await hss.close()


async def test_vectors_of_two_s_cscfs_may_be_used_out_of_order(hss: Hss) -> None:
    early = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 2)).vectors
    late = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S2, 2)).vectors
    isim = Isim(Milenage(Secret(K), Secret(OPC)))
    for vector in (*late, *early):
        assert isinstance(isim.authenticate(vector.rand, vector.autn), Success)


def card_ahead() -> Isim:
    return Isim(Milenage(Secret(K), Secret(OPC)), SequenceArray.at(5000 << 5))


async def failed_sync(hss: Hss, isim: Isim) -> Resynchronisation:
    vector = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]
    failure = isim.authenticate(vector.rand, vector.autn)
    assert isinstance(failure, SyncFailure)
    return Resynchronisation(vector.rand, failure.auts)


async def test_after_a_resynchronisation_the_card_takes_the_next_vector(hss: Hss) -> None:
    isim = card_ahead()
    answer = await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1, await failed_sync(hss, isim))
    vector = answer.vectors[0]
    assert isinstance(isim.authenticate(vector.rand, vector.autn), Success)


async def test_an_auts_with_one_bit_wrong_resynchronises_nothing(hss: Hss) -> None:
    sent = await failed_sync(hss, card_ahead())
    for position in range(14):
        auts = bytearray(sent.auts)
        auts[position] ^= 1
        answer = await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1, Resynchronisation(sent.rand, bytes(auts)))
        assert (answer.result, answer.vectors) == (ResultCode.AUTHORIZATION_REJECTED, ())
    vector = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]
    assert sqn_of(vector) >> 5 == 2


async def test_without_the_mac_check_a_forged_auts_moves_the_counter(place: Place) -> None:
    hss = await with_subscribers(place, off=frozenset({"resync-mac"}))
    vector = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]
    forged = Resynchronisation(vector.rand, bytes([0x55] * 14))
    moved = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1, forged)).vectors
    assert sqn_of(moved[0]) >> 5 > 1000
    await hss.close()


async def test_vectors_that_nobody_answers_have_a_ceiling_that_an_answer_lifts(place: Place) -> None:
    hss = await with_subscribers(place, HssConfig(max_pending_per_user=3))
    assert [await mar(hss) for _ in range(4)] == [ResultCode.SUCCESS] * 3 + [ResultCode.TOO_BUSY]
    assert await mar(hss, S1, BOB, BOB_IMPU) is ResultCode.SUCCESS
    assert await sar(hss, T.REGISTRATION) is ResultCode.SUCCESS
    assert await mar(hss) is ResultCode.SUCCESS
    await hss.close()


async def test_barring_a_registered_user_pushes_the_profile_then_ends_the_registration(hss: Hss) -> None:
    server = Told()
    hss.attach(S1, server)
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await hss.administration.bar("tel:+15550001")
    assert [one.barred for one in server.profiles[0].identities] == [False, True]
    await hss.administration.bar(ALICE_IMPU)
    assert len(server.terminations) == 1
    assert await lir(hss) == (ResultCode.IDENTITY_NOT_REGISTERED, "")


async def test_a_removed_subscriber_is_unknown_and_its_s_cscf_is_told(hss: Hss) -> None:
    server = Told()
    hss.attach(S1, server)
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await hss.administration.remove(ALICE)
    assert server.terminations[0].impi == ALICE
    assert await uar(hss) is ResultCode.USER_UNKNOWN
    assert await lir(hss) == (ResultCode.USER_UNKNOWN, "")


async def test_a_reassigned_user_gets_an_s_cscf_anew(hss: Hss) -> None:
    server = Told()
    hss.attach(S1, server)
    await mar(hss)
    await sar(hss, T.REGISTRATION)
    await hss.administration.reassign(ALICE)
    assert server.terminations[0].reason is DeregistrationReason.SERVER_CHANGE
    assert await uar(hss) is ResultCode.FIRST_REGISTRATION
