"""Cx on the wire (TS 29.229 6.1): UAR, LIR, MAR, RTR, PPR and their answers; SAR is in cx_assignment.py.

Each message has its writing and its reading beside each other, and both work on the values of cx.py alone: whether a
request may be answered is the server's affair, what an answer means the client's.
"""

from msgspec import Struct
from msgspec.structs import replace

from redoubt.diameter.avp import AvpGroup, DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import (
    AuthenticationVector,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    RegistrationTermination,
    ResultCode,
    Resynchronisation,
    ServerCapabilities,
    UserAuthorizationAnswer,
    UserAuthorizationType,
    UserProfile,
)
from redoubt.diameter.cx_frame import (
    answer,
    associated,
    canonical_impu,
    need_impi,
    need_impu,
    need_server_name,
    read_associated,
)
from redoubt.diameter.dictionary import (
    CONFIDENTIALITY_KEY,
    DEREGISTRATION_REASON,
    INTEGRITY_KEY,
    MANDATORY_CAPABILITY,
    OPTIONAL_CAPABILITY,
    ORIGINATING_REQUEST,
    PUBLIC_IDENTITY,
    REASON_CODE,
    REASON_INFO,
    SERVER_CAPABILITIES,
    SERVER_NAME,
    SIP_AUTH_DATA_ITEM,
    SIP_AUTHENTICATE,
    SIP_AUTHENTICATION_SCHEME,
    SIP_AUTHORIZATION,
    SIP_ITEM_NUMBER,
    SIP_NUMBER_AUTH_ITEMS,
    USER_AUTHORIZATION_TYPE,
    USER_DATA,
    USER_NAME,
    VISITED_NETWORK_IDENTIFIER,
    Originating,
)
from redoubt.diameter.results import Result
from redoubt.diameter.user_data import UserDataRefused, build_user_data, parse_user_data
from redoubt.secret import Secret

AKA_SCHEME = "Digest-AKAv1-MD5"
AKA_SCHEMES = frozenset(("digest-akav1-md5", "digest-akav2-md5", "digest-akav2-sha-256", "unknown"))
"""What gets quintets; with "Unknown" the S-CSCF leaves the choice to the HSS (TS 29.228 6.3.1)."""

RAND_OCTETS = 16
_ANY = ServerCapabilities()


# ---- UAR (TS 29.229 6.1.1, 6.1.2)


class UserAuthorization(Struct, frozen=True, gc=False):
    """What a UAR asks."""

    impi: str
    impu: str
    visited_network: str
    authorization_type: UserAuthorizationType


def write_uar(message: DiameterMessage, asked: UserAuthorization) -> DiameterMessage:
    return (
        message
        .add(USER_NAME, asked.impi)
        .add(PUBLIC_IDENTITY, asked.impu)
        .add(VISITED_NETWORK_IDENTIFIER, asked.visited_network.encode())
        .add(USER_AUTHORIZATION_TYPE, asked.authorization_type)
    )


def read_uar(message: DiameterMessage) -> UserAuthorization:
    impi, impu = need_impi(message), need_impu(message)
    network = message.need(VISITED_NETWORK_IDENTIFIER).decode("utf-8", "replace")
    kind = message.first(USER_AUTHORIZATION_TYPE)
    return UserAuthorization(impi, impu, network, UserAuthorizationType.REGISTRATION if kind is None else kind)


def write_uaa(to: DiameterMessage, given: UserAuthorizationAnswer | LocationInfoAnswer) -> DiameterMessage:
    """LIA has the same form."""
    made = answer(to, given.result)
    if given.server_name:
        made.add(SERVER_NAME, given.server_name)
    if given.capabilities is not None and given.capabilities != _ANY:  # Kamailio drops an answer with an empty group
        made.add(SERVER_CAPABILITIES, _capabilities(given.capabilities))
    return made


def read_uaa(message: DiameterMessage, result: ResultCode) -> UserAuthorizationAnswer:
    name = message.first(SERVER_NAME) or ""
    return UserAuthorizationAnswer(result, name, _read_capabilities(message, result, name))


def _capabilities(capabilities: ServerCapabilities) -> AvpGroup:
    group = AvpGroup()
    for number in capabilities.mandatory:
        group.add(MANDATORY_CAPABILITY, number)
    for number in capabilities.optional:
        group.add(OPTIONAL_CAPABILITY, number)
    for name in capabilities.server_names:
        group.add(SERVER_NAME, name)
    return group


def _read_capabilities(message: DiameterMessage, result: ResultCode, name: str) -> ServerCapabilities | None:
    """Where an S-CSCF is to be chosen and nothing is demanded, the group is left out: any S-CSCF will do."""
    group = message.first(SERVER_CAPABILITIES)
    if group is None:
        return ServerCapabilities() if result.is_success and not name else None
    return ServerCapabilities(
        group.every(MANDATORY_CAPABILITY), group.every(OPTIONAL_CAPABILITY), group.every(SERVER_NAME)
    )


# ---- LIR (TS 29.229 6.1.5, 6.1.6)


class LocationQuestion(Struct, frozen=True, gc=False):
    """What an LIR asks. `capabilities`: the assigned S-CSCF does not answer, by which is another chosen?"""

    impu: str
    originating: bool
    capabilities: bool = False


def write_lir(message: DiameterMessage, asked: LocationQuestion) -> DiameterMessage:
    made = message.add(PUBLIC_IDENTITY, asked.impu)
    if asked.originating:
        made.add(ORIGINATING_REQUEST, Originating.ORIGINATING)
    if asked.capabilities:
        made.add(USER_AUTHORIZATION_TYPE, UserAuthorizationType.REGISTRATION_AND_CAPABILITIES)
    return made


def read_lir(message: DiameterMessage) -> LocationQuestion:
    return LocationQuestion(
        need_impu(message),
        message.first(ORIGINATING_REQUEST) is not None,
        message.first(USER_AUTHORIZATION_TYPE) is UserAuthorizationType.REGISTRATION_AND_CAPABILITIES,
    )


def read_lia(message: DiameterMessage, result: ResultCode) -> LocationInfoAnswer:
    name = message.first(SERVER_NAME) or ""
    return LocationInfoAnswer(result, name, _read_capabilities(message, result, name))


# ---- MAR (TS 29.229 6.1.7, 6.1.8, 6.3.11 to 6.3.14)


class VectorsWanted(Struct, frozen=True, gc=False):
    """What an MAR asks; `scheme` as the S-CSCF wrote it."""

    impi: str
    impu: str
    server_name: str
    count: int
    scheme: str = AKA_SCHEME
    resynchronisation: Resynchronisation | None = None


def write_mar(message: DiameterMessage, asked: VectorsWanted) -> DiameterMessage:
    item = AvpGroup().add(SIP_AUTHENTICATION_SCHEME, asked.scheme)
    sync = asked.resynchronisation
    if sync is not None:
        item.add(SIP_AUTHORIZATION, sync.rand + sync.auts)
    return (
        message
        .add(USER_NAME, asked.impi)
        .add(PUBLIC_IDENTITY, asked.impu)
        .add(SIP_NUMBER_AUTH_ITEMS, asked.count)
        .add(SIP_AUTH_DATA_ITEM, item)
        .add(SERVER_NAME, asked.server_name)
    )


def read_mar(message: DiameterMessage) -> VectorsWanted:
    count = message.need(SIP_NUMBER_AUTH_ITEMS)
    if count == 0:
        failed = SIP_NUMBER_AUTH_ITEMS.of(0)
        raise DiameterError(Result.INVALID_AVP_VALUE, "no vectors are asked for", "TS 29.228 6.3.1", failed)
    item = message.need(SIP_AUTH_DATA_ITEM)
    sent = item.first(SIP_AUTHORIZATION)
    sync = None
    if sent:
        if len(sent) <= RAND_OCTETS:
            failed = SIP_AUTHORIZATION.of(sent)
            raise DiameterError(Result.INVALID_AVP_VALUE, "RAND or AUTS is missing", "TS 29.229 6.3.11", failed)
        sync = Resynchronisation(sent[:RAND_OCTETS], sent[RAND_OCTETS:])
    return VectorsWanted(
        need_impi(message),
        need_impu(message),
        need_server_name(message),
        count,
        item.first(SIP_AUTHENTICATION_SCHEME) or AKA_SCHEME,
        sync,
    )


def write_maa(to: DiameterMessage, asked: VectorsWanted, given: MultimediaAuthAnswer) -> DiameterMessage:
    made = answer(to, given.result)
    if not given.vectors:
        return made
    scheme = AKA_SCHEME if asked.scheme.lower() == "unknown" else asked.scheme
    made.add(USER_NAME, asked.impi).add(PUBLIC_IDENTITY, asked.impu)
    made.add(SIP_NUMBER_AUTH_ITEMS, len(given.vectors))
    for number, vector in enumerate(given.vectors, 1):
        made.add(SIP_AUTH_DATA_ITEM, _item(number, scheme, vector))
    return made


def _item(number: int, scheme: str, vector: AuthenticationVector) -> AvpGroup:
    """SIP-Authenticate is RAND and AUTN, SIP-Authorization is XRES (TS 29.228 6.3.1 and Table 6.3.4)."""
    return (
        AvpGroup()
        .add(SIP_ITEM_NUMBER, number)
        .add(SIP_AUTHENTICATION_SCHEME, scheme)
        .add(SIP_AUTHENTICATE, vector.rand + vector.autn)
        .add(SIP_AUTHORIZATION, vector.xres.reveal())
        .add(CONFIDENTIALITY_KEY, vector.ck.reveal())
        .add(INTEGRITY_KEY, vector.ik.reveal())
    )


def read_maa(message: DiameterMessage, result: ResultCode) -> MultimediaAuthAnswer:
    """In the order of their item numbers, which is that of their sequence numbers (TS 29.229 6.3.14)."""
    items = sorted(message.every(SIP_AUTH_DATA_ITEM), key=lambda item: item.first(SIP_ITEM_NUMBER) or 0)
    return MultimediaAuthAnswer(result, tuple([_vector(item) for item in items]) if result.is_success else ())


def _vector(item: AvpGroup) -> AuthenticationVector:
    challenge = item.need(SIP_AUTHENTICATE)
    if len(challenge) != 2 * RAND_OCTETS:
        failed = SIP_AUTHENTICATE.of(challenge)
        raise DiameterError(Result.INVALID_AVP_VALUE, "SIP-Authenticate is not RAND and AUTN", "TS 29.228", failed)
    return AuthenticationVector(
        challenge[:RAND_OCTETS],
        challenge[RAND_OCTETS:],
        Secret(item.need(SIP_AUTHORIZATION)),
        Secret(item.need(CONFIDENTIALITY_KEY)),
        Secret(item.need(INTEGRITY_KEY)),
    )


# ---- RTR (TS 29.229 6.1.9, 6.1.10) and PPR (6.1.11, 6.1.12)


def write_rtr(message: DiameterMessage, termination: RegistrationTermination) -> DiameterMessage:
    made = message.add(USER_NAME, termination.impi)
    made.avps += associated(termination.associated_impis)
    for impu in termination.impus:
        made.add(PUBLIC_IDENTITY, impu)
    reason = AvpGroup().add(REASON_CODE, termination.reason)
    if termination.explanation:
        reason.add(REASON_INFO, termination.explanation)
    return made.add(DEREGISTRATION_REASON, reason)


def read_rtr(message: DiameterMessage) -> RegistrationTermination:
    reason = message.need(DEREGISTRATION_REASON)
    return RegistrationTermination(
        need_impi(message),
        tuple([canonical_impu(text) for text in message.every(PUBLIC_IDENTITY)]),
        reason.need(REASON_CODE),
        reason.first(REASON_INFO) or "",
        read_associated(message),
    )


def write_ppr(message: DiameterMessage, profile: UserProfile) -> DiameterMessage:
    return message.add(USER_NAME, profile.impi).add(USER_DATA, build_user_data(profile))


def read_ppr(message: DiameterMessage) -> UserProfile:
    """Raises UserDataRefused for a profile that is not taken."""
    impi = need_impi(message)
    octets = message.first(USER_DATA)
    if octets is None:
        raise UserDataRefused("a PPR without User-Data changes charging addresses only, which are not used here")
    return replace(parse_user_data(octets), impi=impi)
