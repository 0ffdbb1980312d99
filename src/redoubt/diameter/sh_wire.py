"""Sh on the wire (TS 29.329 6.1): UDR, PUR, SNR, PNR and their answers, both ways, as values of sh.py.

Requests are written into what `Node.new_request` gives. Reading raises DiameterError, or UserDataRefused for a document
that is not taken.
"""

from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import SH
from redoubt.diameter.avp import AvpGroup, AvpType, DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx_frame import canonical_impu, checked_server_name, invalid
from redoubt.diameter.dictionary import (
    AuthSessionState,
    IdentitySet,
    SendData,
    SubscriptionRequest,
)
from redoubt.diameter.results import VENDOR_3GPP, Result, ShResult
from redoubt.diameter.sh import (
    Notification,
    Pull,
    ShAnswer,
    ShCode,
    ShData,
    Subscribe,
    Update,
    UserIdentity,
)
from redoubt.diameter.sh_data import build_sh_data, parse_sh_data
from redoubt.limits import SH_REFERENCES

UDR, PUR, SNR, PNR = range(306, 310)  # TS 29.329 6.1

_COMMON = [SH.advertised(), d.AUTH_SESSION_STATE.of(AuthSessionState.NO_STATE_MAINTAINED)]


def _about(made: DiameterMessage, identity: UserIdentity) -> DiameterMessage:
    group = AvpGroup()
    if identity.impu:
        group.add(d.PUBLIC_IDENTITY, identity.impu)
    if identity.msisdn:
        group.add(d.MSISDN, _digits_to_tbcd(identity.msisdn))
    return made.add(d.USER_IDENTITY, group)


def _identity(message: DiameterMessage) -> UserIdentity:
    """One of both must be there, and not both (TS 29.329 6.3.1)."""
    group = message.need(d.USER_IDENTITY)
    impu, msisdn = group.first(d.PUBLIC_IDENTITY), group.first(d.MSISDN)
    if (impu is None) == (msisdn is None):
        failed = d.USER_IDENTITY.of(group)
        result = Result.MISSING_AVP if impu is None else Result.CONTRADICTING_AVPS
        raise DiameterError(result, "User-Identity has not one identity", "TS 29.329 6.3.1", failed)
    if msisdn is not None:
        return UserIdentity(msisdn=_tbcd_to_digits(msisdn))
    return UserIdentity(canonical_impu(impu or ""))


def _digits_to_tbcd(digits: str) -> bytes:
    """TS 29.002: two digits an octet, the first in the low half, 1111 fills up."""
    padded = digits + "F" * (len(digits) & 1)
    return bytes.fromhex("".join(padded[at + 1] + padded[at] for at in range(0, len(padded), 2)))


def _tbcd_to_digits(octets: bytes) -> str:
    text = octets.hex()
    digits = "".join(text[at + 1] + text[at] for at in range(0, len(text), 2)).rstrip("f")
    if not digits.isdecimal() or len(digits) > 15:
        raise DiameterError(Result.INVALID_AVP_VALUE, "MSISDN is no number", "TS 29.329 6.3.2", d.MSISDN.of(octets))
    return digits


def _text(kind: AvpType[bytes], octets: bytes) -> str:
    """Octets that are text everywhere (TS 29.329 6.3.5)."""
    text = octets.decode("utf-8", "replace")
    if not text or len(octets) > 255 or not text.isprintable():
        failed = kind.of(octets)
        raise DiameterError(Result.INVALID_AVP_VALUE, f"{kind.name} is no name", "RFC 6733 7.1.5", failed)
    return text


def _references(message: DiameterMessage) -> tuple[int, ...]:
    found = message.every(d.DATA_REFERENCE)
    if not found:
        missing = d.DATA_REFERENCE.missing()
        raise DiameterError(Result.MISSING_AVP, "Data-Reference is missing", "RFC 6733 7.1.5", missing)
    if len(found) > SH_REFERENCES:
        failed = d.DATA_REFERENCE.of(found[-1])
        raise DiameterError(Result.AVP_OCCURS_TOO_MANY_TIMES, "too many data references", "our rule", failed)
    return found


def _server_name(message: DiameterMessage) -> str:
    """Of the asking application server; empty if it does not say (TS 29.329 6.1.1)."""
    name = message.first(d.SERVER_NAME)
    return "" if name is None else checked_server_name(name)


def _services(message: DiameterMessage) -> tuple[str, ...]:
    found = message.every(d.SERVICE_INDICATION)
    if len(found) > SH_REFERENCES:
        failed = d.SERVICE_INDICATION.of(found[-1])
        raise DiameterError(Result.AVP_OCCURS_TOO_MANY_TIMES, "too many service indications", "our rule", failed)
    return tuple([_text(d.SERVICE_INDICATION, one) for one in found])


# ---- answers (TS 29.329 6.2)


def write_answer(to: DiameterMessage, given: ShAnswer) -> DiameterMessage:
    """UDA, PUA, SNA and PNA."""
    if isinstance(given.result, ShResult):
        made = to.answer(None)
        group = AvpGroup().add(d.VENDOR_ID, VENDOR_3GPP).add(d.EXPERIMENTAL_RESULT_CODE, given.result)
        made.add(d.EXPERIMENTAL_RESULT, group)
    else:
        made = to.answer(given.result)
    made.avps += _COMMON
    if given.data is not None:
        made.add(d.SH_USER_DATA, build_sh_data(given.data))
    if given.ends_at:
        made.add(d.EXPIRY_TIME, given.ends_at)
    return made


def read_answer(message: DiameterMessage) -> ShAnswer:
    """A result that has no meaning here is UNABLE_TO_COMPLY."""
    octets = message.first(d.SH_USER_DATA)
    data = parse_sh_data(octets) if octets else None
    return ShAnswer(_result(message), data, message.first(d.EXPIRY_TIME) or 0)


def _result(message: DiameterMessage) -> ShCode:
    group = message.first(d.EXPERIMENTAL_RESULT)
    try:
        if group is None:
            return Result(message.need(d.RESULT_CODE))
        if group.first(d.VENDOR_ID) == VENDOR_3GPP:
            return ShResult(group.need(d.EXPERIMENTAL_RESULT_CODE))
    except ValueError:
        pass  # a code of later releases
    return Result.UNABLE_TO_COMPLY


# ---- UDR (TS 29.329 6.1.1)


def write_udr(message: DiameterMessage, asked: Pull) -> DiameterMessage:
    made = _about(message, asked.identity)
    if asked.server_name:
        made.add(d.SERVER_NAME, asked.server_name)
    for service in asked.services:
        made.add(d.SERVICE_INDICATION, service.encode())
    for reference in asked.references:
        made.add(d.DATA_REFERENCE, reference)
    if asked.identity_set:
        made.add(d.IDENTITY_SET, IdentitySet(asked.identity_set))
    if asked.impi:
        made.add(d.USER_NAME, asked.impi)
    return made


def read_udr(message: DiameterMessage) -> Pull:
    wanted = message.first(d.IDENTITY_SET)
    return Pull(
        _identity(message),
        _references(message),
        _services(message),
        IdentitySet.ALL_IDENTITIES if wanted is None else wanted,
        _server_name(message),
        message.first(d.USER_NAME) or "",
    )


# ---- PUR (TS 29.329 6.1.3)


def write_pur(message: DiameterMessage, asked: Update) -> DiameterMessage:
    made = _about(message, asked.identity)
    for reference in asked.references:
        made.add(d.DATA_REFERENCE, reference)
    return made.add(d.SH_USER_DATA, build_sh_data(asked.data))


def read_pur(message: DiameterMessage) -> Update:
    return Update(_identity(message), _references(message), parse_sh_data(message.need(d.SH_USER_DATA)))


# ---- SNR (TS 29.329 6.1.5)


def write_snr(message: DiameterMessage, asked: Subscribe) -> DiameterMessage:
    made = _about(message, asked.identity)
    for service in asked.services:
        made.add(d.SERVICE_INDICATION, service.encode())
    if asked.send_data:
        made.add(d.SEND_DATA_INDICATION, SendData.REQUESTED)
    if asked.server_name:
        made.add(d.SERVER_NAME, asked.server_name)
    kind = SubscriptionRequest.UNSUBSCRIBE if asked.unsubscribes else SubscriptionRequest.SUBSCRIBE
    made.add(d.SUBS_REQ_TYPE, kind)
    for reference in asked.references:
        made.add(d.DATA_REFERENCE, reference)
    return made.add(d.EXPIRY_TIME, asked.ends_at) if asked.ends_at else made


def read_snr(message: DiameterMessage) -> Subscribe:
    return Subscribe(
        _identity(message),
        _references(message),
        message.need(d.SUBS_REQ_TYPE) is SubscriptionRequest.UNSUBSCRIBE,
        _services(message),
        message.first(d.SEND_DATA_INDICATION) is SendData.REQUESTED,
        message.first(d.EXPIRY_TIME) or 0,
        _server_name(message),
    )


# ---- PNR (TS 29.329 6.1.7)


def write_pnr(message: DiameterMessage, notification: Notification) -> DiameterMessage:
    made = _about(message, UserIdentity(notification.impu))
    return made.add(d.SH_USER_DATA, build_sh_data(notification.data))


def read_pnr(message: DiameterMessage) -> Notification:
    identity = _identity(message)
    if not identity.impu:
        raise invalid(d.PUBLIC_IDENTITY, "", "is missing in a notification")
    octets = message.need(d.SH_USER_DATA)
    return Notification(identity.impu, parse_sh_data(octets) if octets else ShData())
