"""The messages of Cx (TS 29.229 6.1): what one side writes the other reads, and what is wrong is owed its result."""

import pytest

from redoubt.diameter import cx_frame as frame
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX
from redoubt.diameter.avp import AvpGroup, DiameterError
from redoubt.diameter.codec import DiameterMessage, check_request, decode
from redoubt.diameter.cx import (
    AuthenticationVector,
    DeregistrationReason,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    PublicIdentity,
    RegisteredContact,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    Resynchronisation,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    ServerCapabilities,
    ServiceProfile,
    UserAuthorizationAnswer,
    UserAuthorizationType,
    UserProfile,
    WatcherDialog,
)
from redoubt.diameter.cx_assignment import AssignmentWanted, read_saa, read_sar, write_saa, write_sar
from redoubt.diameter.cx_wire import (
    LocationQuestion,
    UserAuthorization,
    VectorsWanted,
    read_lia,
    read_lir,
    read_maa,
    read_mar,
    read_ppr,
    read_rtr,
    read_uaa,
    read_uar,
    write_lir,
    write_maa,
    write_mar,
    write_ppr,
    write_rtr,
    write_uaa,
    write_uar,
)
from redoubt.diameter.results import VENDOR_3GPP, Result
from redoubt.secret import Secret

IMPI, IMPU, SERVER = "alice@home.net", "sip:alice@home.net", "sip:scscf.home.net"
UAR = UserAuthorization(IMPI, IMPU, "visited.net", UserAuthorizationType.DE_REGISTRATION)
MAR = VectorsWanted(IMPI, IMPU, SERVER, 2)
SAR = AssignmentWanted(IMPI, (IMPU,), SERVER, ServerAssignmentType.REGISTRATION, restores=True)
CAPABILITIES = ServerCapabilities((1, 2), (3,), ("sip:other.home.net",))
ROUTE = ("<sip:p;lr>", '"a, b" <sip:q;lr>')
WATCHER = WatcherDialog("call", "<sip:a@b>;tag=1", "<sip:a@b>;tag=2", "<sip:1.2.3.4>", ROUTE)
RESTORATION = RestorationInfo(
    IMPI,
    (
        RegisteredContact("<sip:1.2.3.4>;+sip.instance=\"<urn:x>\"", ("<sip:p;lr>", "<sip:q;lr>"), "c@d", 7, WATCHER),
        RegisteredContact("<sip:5.6.7.8>", (), "e", 1, None, WATCHER),
    ),
    1_800_000_000,
)  # fmt: skip
PROFILE = UserProfile(IMPI, (ServiceProfile((PublicIdentity(IMPU),)),), (IMPI, "tablet@home.net"))


def new(command: int) -> DiameterMessage:
    """As a node begins it."""
    state = d.AUTH_SESSION_STATE.of(d.AuthSessionState.NO_STATE_MAINTAINED)
    return DiameterMessage(command, CX.number, avps=[CX.advertised(), state])


def uar(asked: UserAuthorization) -> DiameterMessage:
    return write_uar(new(frame.UAR), asked)


def mar(asked: VectorsWanted) -> DiameterMessage:
    return write_mar(new(frame.MAR), asked)


def sar(asked: AssignmentWanted) -> DiameterMessage:
    return write_sar(new(frame.SAR), asked)


def lir(asked: LocationQuestion) -> DiameterMessage:
    return write_lir(new(frame.LIR), asked)


def rtr(ended: RegistrationTermination) -> DiameterMessage:
    return write_rtr(new(frame.RTR), ended)


def ppr(profile: UserProfile) -> DiameterMessage:
    return write_ppr(new(frame.PPR), profile)


def wire(message: DiameterMessage) -> DiameterMessage:
    """As the other side has it; requests also pass what every request must."""
    received = decode(message.to_bytes())
    if received.is_request:
        check_request(received)
    return received


def result(message: DiameterMessage) -> ResultCode:
    found = frame.result_of(message)
    assert found is not None
    return found


def vector(number: int) -> AuthenticationVector:
    ck, ik = Secret(bytes([number + 2]) * 16), Secret(bytes([number + 3]) * 16)
    return AuthenticationVector(bytes([number]) * 16, bytes([number + 1]) * 16, Secret(b"12345678"), ck, ik)


@pytest.mark.parametrize("code", ResultCode, ids=lambda code: code.name)
def test_every_result_code_survives_the_way(code: ResultCode) -> None:
    answer = wire(frame.answer(uar(UAR), code))
    assert frame.result_of(answer) is code
    experimental = code.value > 10_000 or code.value in (2002, 2003, 2004)
    assert answer.has(d.EXPERIMENTAL_RESULT) == experimental
    assert answer.has(d.RESULT_CODE) != experimental
    assert answer.is_error == (code is ResultCode.TOO_BUSY)


def test_another_vendors_experimental_result_means_nothing() -> None:
    answer = uar(UAR).answer(None)
    answer.add(d.EXPERIMENTAL_RESULT, AvpGroup().add(d.VENDOR_ID, 13019).add(d.EXPERIMENTAL_RESULT_CODE, 2001))
    assert frame.result_of(wire(answer)) is None


def test_every_message_names_its_application_and_keeps_no_state() -> None:
    for message in (uar(UAR), mar(MAR), sar(SAR), frame.answer(uar(UAR), ResultCode.SUCCESS)):
        group = wire(message).need(d.VENDOR_SPECIFIC_APPLICATION_ID)
        assert group.need(d.VENDOR_ID) == VENDOR_3GPP
        assert group.need(d.AUTH_APPLICATION_ID) == 16777216
        assert message.need(d.AUTH_SESSION_STATE) is d.AuthSessionState.NO_STATE_MAINTAINED


def test_requests_survive_the_way() -> None:
    assert read_uar(wire(uar(UAR))) == UAR
    assert read_mar(wire(mar(MAR))) == MAR
    sync = VectorsWanted(IMPI, IMPU, SERVER, 1, "Digest-AKAv2-SHA-256", Resynchronisation(b"r" * 16, b"a" * 14))
    assert read_mar(wire(mar(sync))) == sync
    for originating in (True, False):
        assert read_lir(wire(lir(LocationQuestion(IMPU, originating)))) == LocationQuestion(IMPU, originating)


def test_answers_survive_the_way() -> None:
    for given in (
        UserAuthorizationAnswer(ResultCode.FIRST_REGISTRATION, "", CAPABILITIES),
        UserAuthorizationAnswer(ResultCode.SUBSEQUENT_REGISTRATION, SERVER),
        UserAuthorizationAnswer(ResultCode.ROAMING_NOT_ALLOWED),
    ):
        answer = wire(write_uaa(uar(UAR), given))
        assert read_uaa(answer, result(answer)) == given
    found = LocationInfoAnswer(ResultCode.UNREGISTERED_SERVICE, "", CAPABILITIES)
    answer = wire(write_uaa(lir(LocationQuestion(IMPU, False)), found))
    assert read_lia(answer, result(answer)) == found
    for vectors in ((vector(1), vector(9)), ()):
        given_vectors = MultimediaAuthAnswer(ResultCode.SUCCESS, vectors)
        answer = wire(write_maa(mar(MAR), MAR, given_vectors))
        assert repr(read_maa(answer, result(answer))) == repr(given_vectors)
        for got, sent in zip(read_maa(answer, result(answer)).vectors, vectors, strict=True):
            for mine, theirs in ((got.xres, sent.xres), (got.ck, sent.ck), (got.ik, sent.ik)):
                assert mine.reveal() == theirs.reveal()


def test_no_capabilities_are_no_group_because_kamailio_drops_an_answer_with_an_empty_one() -> None:
    given = UserAuthorizationAnswer(ResultCode.FIRST_REGISTRATION, "", ServerCapabilities())
    answer = wire(write_uaa(uar(UAR), given))
    assert not answer.has(d.SERVER_CAPABILITIES)
    assert read_uaa(answer, result(answer)).capabilities == ServerCapabilities()


def test_vectors_are_used_in_the_order_of_their_item_numbers() -> None:
    answer = write_maa(mar(MAR), MAR, MultimediaAuthAnswer(ResultCode.SUCCESS, (vector(1), vector(9))))
    answer.avps.reverse()
    assert [v.rand[0] for v in read_maa(wire(answer), ResultCode.SUCCESS).vectors] == [1, 9]


def test_an_unknown_scheme_is_answered_with_the_hss_choice() -> None:
    asked = VectorsWanted(IMPI, IMPU, SERVER, 1, "Unknown")
    answer = write_maa(mar(asked), asked, MultimediaAuthAnswer(ResultCode.SUCCESS, (vector(1),)))
    assert answer.need(d.SIP_AUTH_DATA_ITEM).need(d.SIP_AUTHENTICATION_SCHEME) == "Digest-AKAv1-MD5"


def test_assignments_survive_the_way_with_what_restores_them() -> None:
    asked = AssignmentWanted(
        IMPI, (IMPU,), SERVER, ServerAssignmentType.RE_REGISTRATION, False, (RESTORATION,), restores=True
    )
    assert read_sar(wire(sar(asked))) == asked
    given = ServerAssignmentAnswer(ResultCode.SUCCESS, PROFILE, (RESTORATION,))
    answer = wire(write_saa(sar(asked), asked, given))
    assert read_saa(answer, result(answer)) == given
    refused = ServerAssignmentAnswer(ResultCode.IDENTITY_ALREADY_REGISTERED)
    answer = wire(write_saa(sar(asked), asked, refused))
    assert read_saa(answer, result(answer)) == refused


def test_an_s_cscf_that_cannot_restore_gets_nothing_to_restore() -> None:
    message = sar(SAR)
    message.remove(d.SUPPORTED_FEATURES)
    asked = read_sar(wire(message))
    answer = write_saa(message, asked, ServerAssignmentAnswer(ResultCode.SUCCESS, PROFILE, (RESTORATION,)))
    assert not answer.has(d.SCSCF_RESTORATION_INFO)


def test_what_the_hss_starts_survives_the_way() -> None:
    ended = RegistrationTermination(
        IMPI, (IMPU, "tel:+4912"), DeregistrationReason.SERVER_CHANGE, "moved", ("tablet@home.net",)
    )
    assert read_rtr(wire(rtr(ended))) == ended
    whole = RegistrationTermination(IMPI, (), DeregistrationReason.PERMANENT_TERMINATION)
    assert read_rtr(wire(rtr(whole))) == whole
    plain = UserProfile(IMPI, PROFILE.service_profiles)
    assert read_ppr(wire(ppr(plain))) == plain


READERS = {
    "UAR": (read_uar, uar(UAR)),
    "MAR": (read_mar, mar(MAR)),
    "LIR": (read_lir, lir(LocationQuestion(IMPU, False))),
    "SAR": (read_sar, sar(SAR)),
    "RTR": (read_rtr, rtr(RegistrationTermination(IMPI, (IMPU,), DeregistrationReason.SERVER_CHANGE))),
    "PPR": (read_ppr, ppr(PROFILE)),
}
OPTIONAL = {
    "VISITED": (),
    "UAR": (d.USER_AUTHORIZATION_TYPE,),
    "SAR": (d.USER_NAME, d.SUPPORTED_FEATURES),
    "RTR": (d.PUBLIC_IDENTITY,),
    "PPR": (d.USER_DATA,),
}
CASES = [
    (name, avp)
    for name, (_read, message) in READERS.items()
    for avp in message.avps
    if (avp.code, avp.vendor) not in {(kind.code, kind.vendor) for kind in OPTIONAL.get(name, ())}
    and avp.code not in (d.VENDOR_SPECIFIC_APPLICATION_ID.code, d.AUTH_SESSION_STATE.code)
]


@pytest.mark.parametrize(("name", "avp"), CASES, ids=lambda value: value if isinstance(value, str) else str(value.code))
def test_a_request_without_what_it_needs_is_owed_5005_with_failed_avp(name: str, avp: object) -> None:
    """Lesson 27: an absent User-Name or Public-Identity killed an HSS."""
    read, message = READERS[name]
    lacking = wire(message)
    lacking.avps = [one for one in lacking.avps if one != avp]
    with pytest.raises(DiameterError) as caught:
        read(lacking)
    assert caught.value.result is Result.MISSING_AVP
    assert caught.value.failed is not None


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", ["", "a\0b", "x" * 3000, "line\nbreak"])
@pytest.mark.parametrize("kind", [d.USER_NAME, d.PUBLIC_IDENTITY, d.SERVER_NAME], ids=lambda kind: kind.name)
def test_an_identity_that_is_none_is_owed_5004(name: str, text: str, kind: object) -> None:
    assert kind in (d.USER_NAME, d.PUBLIC_IDENTITY, d.SERVER_NAME)
    read, message = READERS[name]
    if not message.has(kind):
        return
    wrong = wire(message)
    wrong.remove(kind)
    wrong.add(kind, text)
    with pytest.raises(DiameterError) as caught:
        read(wrong)
    assert caught.value.result is Result.INVALID_AVP_VALUE
    assert caught.value.failed is not None


def test_octets_that_are_no_text_are_owed_5004() -> None:
    wrong = uar(UAR)
    wrong.remove(d.USER_NAME)
    wrong.avps.append(d.VISITED_NETWORK_IDENTIFIER.of(b"x"))
    wrong.avps.append(type(wrong.avps[0])(1, 0, 0x40, b"\xff\xfe"))
    with pytest.raises(DiameterError) as caught:
        read_uar(wrong)
    assert caught.value.result is Result.INVALID_AVP_VALUE


def test_several_identities_are_for_deregistrations_only() -> None:
    impus = (IMPU, "sip:other@home.net")
    two = AssignmentWanted(IMPI, impus, SERVER, ServerAssignmentType.TIMEOUT_DEREGISTRATION)
    assert read_sar(wire(sar(two))).impus == impus
    none = AssignmentWanted(IMPI, (), SERVER, ServerAssignmentType.ADMINISTRATIVE_DEREGISTRATION)
    assert read_sar(wire(sar(none))).impus == ()
    with pytest.raises(DiameterError) as caught:
        read_sar(wire(sar(AssignmentWanted(IMPI, impus, SERVER, ServerAssignmentType.REGISTRATION))))
    assert caught.value.result is Result.AVP_OCCURS_TOO_MANY_TIMES
    with pytest.raises(DiameterError) as caught:
        read_sar(wire(sar(AssignmentWanted("", (), SERVER, ServerAssignmentType.USER_DEREGISTRATION))))
    assert caught.value.result is Result.MISSING_AVP


def test_no_vectors_and_half_a_resynchronisation_are_owed_5004() -> None:
    for asked in (
        VectorsWanted(IMPI, IMPU, SERVER, 0),
        VectorsWanted(IMPI, IMPU, SERVER, 1, resynchronisation=Resynchronisation(b"short", b"")),
    ):
        with pytest.raises(DiameterError) as caught:
            read_mar(wire(mar(asked)))
        assert caught.value.result is Result.INVALID_AVP_VALUE


def test_identities_are_made_canonical() -> None:
    message = lir(LocationQuestion("SIP:Alice@HOME.NET:5060;user=phone", False))
    assert read_lir(wire(message)).impu == "sip:Alice@home.net"


def test_more_to_restore_than_a_registration_has_is_refused() -> None:
    contact = RegisteredContact("<sip:1.2.3.4>", (), "c", 1)
    many = RestorationInfo(IMPI, (contact,) * 65)
    long = RestorationInfo(IMPI, (RegisteredContact(f"<sip:{'x' * 70_000}>", (), "c", 1),))
    for kept in (many, long):
        asked = AssignmentWanted(IMPI, (IMPU,), SERVER, ServerAssignmentType.REGISTRATION, True, (kept,))
        with pytest.raises(DiameterError) as caught:
            read_sar(wire(sar(asked)))
        assert caught.value.result is Result.RESOURCES_EXCEEDED


@pytest.mark.parametrize("name", ["scscf", "tel:+49", "si", "http://x"])
def test_a_server_name_that_is_no_sip_uri_is_owed_5004(name: str) -> None:
    with pytest.raises(DiameterError) as caught:
        read_mar(wire(mar(VectorsWanted(IMPI, IMPU, name, 1))))
    assert caught.value.result is Result.INVALID_AVP_VALUE
