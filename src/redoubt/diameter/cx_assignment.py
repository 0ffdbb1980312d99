"""SAR and SAA on the wire (TS 29.229 6.1.3, 6.1.4), with the restoration information that they carry (TS 23.380).

Values and their reading as in cx_wire.py.
"""

from msgspec import Struct
from msgspec.structs import replace

from redoubt.diameter.avp import MANDATORY, AvpGroup, AvpType, DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import (
    RegisteredContact,
    RestorationInfo,
    ResultCode,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserProfile,
    WatcherDialog,
)
from redoubt.diameter.cx_frame import (
    answer,
    associated,
    canonical_impu,
    first_impi,
    need_server_name,
    read_associated,
)
from redoubt.diameter.dictionary import (
    CALL_ID_SIP_HEADER,
    CONTACT,
    FEATURE_LIST,
    FEATURE_LIST_ID,
    FROM_SIP_HEADER,
    INITIAL_CSEQ_SEQUENCE_NUMBER,
    P_CSCF_SUBSCRIPTION_INFO,
    PATH,
    PUBLIC_IDENTITY,
    RECORD_ROUTE,
    REGISTRATION_TIME_OUT,
    RESTORATION_INFO,
    SCSCF_RESTORATION_INFO,
    SERVER_ASSIGNMENT_TYPE,
    SERVER_NAME,
    SUBSCRIPTION_INFO,
    SUPPORTED_FEATURES,
    TO_SIP_HEADER,
    USER_DATA,
    USER_DATA_ALREADY_AVAILABLE,
    USER_NAME,
    VENDOR_ID,
    UserDataAvailable,
)
from redoubt.diameter.results import VENDOR_3GPP, Result
from redoubt.diameter.user_data import build_user_data, parse_user_data
from redoubt.limits import RESTORATION_CONTACTS, RESTORATION_OCTETS
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import split_list

FEATURE_LIST_OF_CX = 1
IMS_RESTORATION = 1 << 2  # TS 29.229 7.1.1: bit 2
OUR_FEATURES = SUPPORTED_FEATURES.of(
    AvpGroup()
    .add(VENDOR_ID, VENDOR_3GPP)
    .add(FEATURE_LIST_ID, FEATURE_LIST_OF_CX)
    .add(FEATURE_LIST, IMS_RESTORATION)
)

DEREGISTRATIONS = frozenset(
    (
        ServerAssignmentType.TIMEOUT_DEREGISTRATION,
        ServerAssignmentType.USER_DEREGISTRATION,
        ServerAssignmentType.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME,
        ServerAssignmentType.USER_DEREGISTRATION_STORE_SERVER_NAME,
        ServerAssignmentType.ADMINISTRATIVE_DEREGISTRATION,
        ServerAssignmentType.DEREGISTRATION_TOO_MUCH_DATA,
    )
)
"""What may name several public identities, or none and the private one (TS 29.228 6.1.2)."""


class AssignmentWanted(Struct, frozen=True, gc=False):
    """What an SAR asks. `impi` may be empty, `impus` only with an `impi`."""

    impi: str
    impus: tuple[str, ...]
    server_name: str
    assignment_type: ServerAssignmentType
    want_profile: bool = True
    restoration: tuple[RestorationInfo, ...] = ()
    restores: bool = False  # whether the sender knows what to do with restoration information


def write_sar(made: DiameterMessage, asked: AssignmentWanted) -> DiameterMessage:
    made.avps.append(OUR_FEATURES)
    if asked.impi:
        made.add(USER_NAME, asked.impi)
    for impu in asked.impus:
        made.add(PUBLIC_IDENTITY, impu)
    made.add(SERVER_NAME, asked.server_name)
    made.add(SERVER_ASSIGNMENT_TYPE, asked.assignment_type)
    wanted = UserDataAvailable.NOT_AVAILABLE if asked.want_profile else UserDataAvailable.ALREADY_AVAILABLE
    made.add(USER_DATA_ALREADY_AVAILABLE, wanted)
    for one in asked.restoration:
        made.add(SCSCF_RESTORATION_INFO, _restoration(one))
    return made


def read_sar(message: DiameterMessage) -> AssignmentWanted:
    """Raises DiameterError also for identities that this kind of assignment can't have (TS 29.228 6.1.2.1)."""
    impi = first_impi(message)
    impus = tuple([canonical_impu(text) for text in message.every(PUBLIC_IDENTITY)])
    kind = message.need(SERVER_ASSIGNMENT_TYPE)
    if not impus and (kind not in DEREGISTRATIONS or not impi):
        missing = PUBLIC_IDENTITY.missing()
        raise DiameterError(Result.MISSING_AVP, "Public-Identity is missing", "TS 29.228 6.1.2.1", missing)
    if len(impus) > 1 and kind not in DEREGISTRATIONS:
        second = PUBLIC_IDENTITY.of(impus[1])
        raise DiameterError(
            Result.AVP_OCCURS_TOO_MANY_TIMES, f"{kind.name} of several identities", "TS 29.228 6.1.2.1", second
        )
    return AssignmentWanted(
        impi,
        impus,
        need_server_name(message),
        kind,
        message.need(USER_DATA_ALREADY_AVAILABLE) is UserDataAvailable.NOT_AVAILABLE,
        _read_restorations(message),
        supports_restoration(message),
    )


def write_saa(to: DiameterMessage, asked: AssignmentWanted, given: ServerAssignmentAnswer) -> DiameterMessage:
    made = answer(to, given.result)
    profile = given.profile
    if profile is not None:
        made.add(USER_NAME, profile.impi)
        made.add(USER_DATA, build_user_data(profile))
        made.avps += associated(profile.associated_impis)
    elif asked.impi:
        made.add(USER_NAME, asked.impi)
    if asked.restores:
        for one in given.restoration:
            made.add(SCSCF_RESTORATION_INFO, _restoration(one))
    return made


def read_saa(message: DiameterMessage, result: ResultCode) -> ServerAssignmentAnswer:
    """Raises UserDataRefused for a profile that is not taken."""
    return ServerAssignmentAnswer(result, _profile(message), _read_restorations(message))


def _profile(message: DiameterMessage) -> UserProfile | None:
    octets = message.first(USER_DATA)
    if octets is None:
        return None
    profile = parse_user_data(octets)
    return replace(profile, impi=first_impi(message) or profile.impi, associated_impis=read_associated(message))


# ---- features (TS 29.229 7.2)


def demands_more(message: DiameterMessage) -> bool:
    """Whether a request insists, by the M bit, on a feature that is not here (TS 29.229 7.2.1)."""
    code, vendor = SUPPORTED_FEATURES.code, SUPPORTED_FEATURES.vendor
    return any(
        avp.code == code and avp.vendor == vendor and avp.flags & MANDATORY and _unknown(SUPPORTED_FEATURES.read(avp))
        for avp in message.avps
    )


def _unknown(group: AvpGroup) -> bool:
    if group.first(VENDOR_ID) != VENDOR_3GPP or group.first(FEATURE_LIST_ID) != FEATURE_LIST_OF_CX:
        return True
    return (group.first(FEATURE_LIST) or 0) & ~IMS_RESTORATION != 0


def supports_restoration(message: DiameterMessage) -> bool:
    return any(
        group.first(VENDOR_ID) == VENDOR_3GPP
        and group.first(FEATURE_LIST_ID) == FEATURE_LIST_OF_CX
        and (group.first(FEATURE_LIST) or 0) & IMS_RESTORATION
        for group in message.every(SUPPORTED_FEATURES)
    )


# ---- restoration information (TS 29.229 6.3.51 to 6.3.53, 6.3.70, 6.3.71)


def _restoration(info: RestorationInfo) -> AvpGroup:
    group = AvpGroup().add(USER_NAME, info.impi)
    for contact in info.contacts:
        group.add(RESTORATION_INFO, _contact(contact))
    return group.add(REGISTRATION_TIME_OUT, info.ends_at) if info.ends_at else group


def _contact(contact: RegisteredContact) -> AvpGroup:
    group = AvpGroup().add(PATH, ", ".join(contact.path).encode()).add(CONTACT, contact.contact.encode())
    group.add(INITIAL_CSEQ_SEQUENCE_NUMBER, contact.cseq).add(CALL_ID_SIP_HEADER, contact.call_id.encode())
    if contact.watched_by_phone is not None:
        group.add(SUBSCRIPTION_INFO, _watcher(contact.watched_by_phone))
    if contact.watched_by_p_cscf is not None:
        group.add(P_CSCF_SUBSCRIPTION_INFO, _watcher(contact.watched_by_p_cscf))
    return group


def _watcher(dialog: WatcherDialog) -> AvpGroup:
    return (
        AvpGroup()
        .add(CALL_ID_SIP_HEADER, dialog.call_id.encode())
        .add(FROM_SIP_HEADER, dialog.from_.encode())
        .add(TO_SIP_HEADER, dialog.to.encode())
        .add(RECORD_ROUTE, ", ".join(dialog.record_route).encode())
        .add(CONTACT, dialog.contact.encode())
    )


def _read_restorations(message: DiameterMessage) -> tuple[RestorationInfo, ...]:
    kind = SCSCF_RESTORATION_INFO
    found = [avp for avp in message.avps if avp.code == kind.code and avp.vendor == kind.vendor]
    if sum([len(avp.data) for avp in found]) > RESTORATION_OCTETS:
        raise DiameterError(Result.RESOURCES_EXCEEDED, "too much to restore", "our rule", kind.of(AvpGroup()))
    return tuple([_read_restoration(group) for group in message.every(SCSCF_RESTORATION_INFO)])


def _read_restoration(group: AvpGroup) -> RestorationInfo:
    contacts = group.every(RESTORATION_INFO)
    if len(contacts) > RESTORATION_CONTACTS:
        failed = RESTORATION_INFO.of(contacts[-1])
        raise DiameterError(Result.RESOURCES_EXCEEDED, "too many contacts to restore", "our rule", failed)
    return RestorationInfo(
        group.need(USER_NAME), tuple([_read_contact(one) for one in contacts]), group.first(REGISTRATION_TIME_OUT) or 0
    )


def _read_contact(group: AvpGroup) -> RegisteredContact:
    phone, p_cscf = group.first(SUBSCRIPTION_INFO), group.first(P_CSCF_SUBSCRIPTION_INFO)
    return RegisteredContact(
        group.need(CONTACT).decode("utf-8", "replace"),
        _values(PATH, group.need(PATH)),
        (group.first(CALL_ID_SIP_HEADER) or b"").decode("utf-8", "replace"),
        group.first(INITIAL_CSEQ_SEQUENCE_NUMBER) or 0,
        None if phone is None else _read_watcher(phone),
        None if p_cscf is None else _read_watcher(p_cscf),
    )


def _read_watcher(group: AvpGroup) -> WatcherDialog:
    texts = [
        group.need(kind).decode("utf-8", "replace")
        for kind in (CALL_ID_SIP_HEADER, FROM_SIP_HEADER, TO_SIP_HEADER, CONTACT)
    ]
    return WatcherDialog(texts[0], texts[1], texts[2], texts[3], _values(RECORD_ROUTE, group.need(RECORD_ROUTE)))


def _values(kind: AvpType[bytes], octets: bytes) -> tuple[str, ...]:
    """The values of a comma list of a SIP header (RFC 3261 7.3.1)."""
    try:
        return tuple([value for value in split_list(octets.decode("utf-8", "replace")) if value])
    except SipError as fault:
        raise DiameterError(Result.INVALID_AVP_VALUE, fault.why, fault.clause, kind.of(octets)) from None
