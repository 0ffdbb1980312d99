"""What all Cx messages have in common (TS 29.229): their frame, their results, the identities in them.

Requests are written into what `Node.new_request` gives. Reading raises DiameterError with the result that is owed.
"""

from redoubt.diameter.applications import CX
from redoubt.diameter.avp import Avp, AvpGroup, AvpType, DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.cx import ResultCode
from redoubt.diameter.dictionary import (
    ASSOCIATED_IDENTITIES,
    AUTH_SESSION_STATE,
    EXPERIMENTAL_RESULT,
    EXPERIMENTAL_RESULT_CODE,
    PUBLIC_IDENTITY,
    RESULT_CODE,
    SERVER_NAME,
    USER_NAME,
    VENDOR_ID,
    AuthSessionState,
)
from redoubt.diameter.results import VENDOR_3GPP, CxResult, Result
from redoubt.limits import HSS_IDENTITY_OCTETS
from redoubt.sip.errors import SipError
from redoubt.sip.uri import SipUri, parse_uri

UAR, SAR, LIR, MAR, RTR, PPR = range(300, 306)  # TS 29.229 6.1
_COMMON = [CX.advertised(), AUTH_SESSION_STATE.of(AuthSessionState.NO_STATE_MAINTAINED)]
_EXPERIMENTAL_SUCCESS = frozenset(
    (
        ResultCode.SUBSEQUENT_REGISTRATION,
        ResultCode.UNREGISTERED_SERVICE,
        ResultCode.SUCCESS_SERVER_NAME_NOT_STORED,
    )
)


# ---- results


def answer(to: DiameterMessage, result: ResultCode) -> DiameterMessage:
    """The answer with its Result-Code or Experimental-Result (TS 29.229 6.2)."""
    avps = _RESULTS[result]
    if isinstance(avps, Result):
        made = to.answer(avps)
        made.avps += _COMMON
        return made
    made = to.answer(None)
    made.avps.append(avps)
    made.avps += _COMMON
    return made


def result_of(message: DiameterMessage) -> ResultCode | None:
    """What an answer says; None for a result that has no meaning on Cx."""
    group = message.first(EXPERIMENTAL_RESULT)
    if group is not None:
        code = group.need(EXPERIMENTAL_RESULT_CODE)
        return _FROM_EXPERIMENTAL.get(code) if group.first(VENDOR_ID) == VENDOR_3GPP else None
    return _FROM_BASE.get(message.need(RESULT_CODE))


def _on_wire(result: ResultCode) -> Result | Avp:
    if result >= 10_000 or result in _EXPERIMENTAL_SUCCESS:
        group = AvpGroup().add(VENDOR_ID, VENDOR_3GPP).add(EXPERIMENTAL_RESULT_CODE, CxResult(result % 10_000))
        return EXPERIMENTAL_RESULT.of(group)
    return Result(result)


_RESULTS = {result: _on_wire(result) for result in ResultCode}
_FROM_EXPERIMENTAL = {result % 10_000: result for result in ResultCode if isinstance(_RESULTS[result], Avp)}
_FROM_BASE = {int(result): result for result in ResultCode if isinstance(_RESULTS[result], Result)}
_FROM_BASE[Result.LIMITED_SUCCESS] = ResultCode.SUCCESS


# ---- identities


def need_impi(message: DiameterMessage) -> str:
    """User-Name, which is missing (5005) or empty (5004) from clients that kill other HSSs."""
    return _impi(message.need(USER_NAME))


def first_impi(message: DiameterMessage) -> str:
    """User-Name where it may be absent; then empty."""
    name = message.first(USER_NAME)
    return "" if name is None else _impi(name)


def need_impu(message: DiameterMessage) -> str:
    return canonical_impu(message.need(PUBLIC_IDENTITY))


def canonical_impu(text: str) -> str:
    """As tables compare it; one that is no URI is owed 5004 (RFC 6733 7.1.5)."""
    try:
        _check_text(PUBLIC_IDENTITY, text)
        return parse_uri(text).aor
    except SipError as fault:
        raise invalid(PUBLIC_IDENTITY, text, f"is no public identity: {fault.why}") from None


def need_server_name(message: DiameterMessage) -> str:
    """The SIP URI of an S-CSCF (TS 29.229 6.3.3)."""
    return checked_server_name(message.need(SERVER_NAME))


def checked_server_name(name: str) -> str:
    """Raises DiameterError 5004 if it is no SIP URI."""
    _check_text(SERVER_NAME, name)
    try:
        if isinstance(parse_uri(name), SipUri):
            return name
    except SipError:
        pass
    raise invalid(SERVER_NAME, name, "is no SIP URI")


def _impi(text: str) -> str:
    _check_text(USER_NAME, text)
    return text


def _check_text(kind: AvpType[str], text: str) -> None:
    """Stores take no control characters, and no identity of ours is as long."""
    if not text or len(text) > HSS_IDENTITY_OCTETS or not text.isprintable():
        raise invalid(kind, text, "is empty, too long or not printable")


def invalid(kind: AvpType[str], text: str, why: str) -> DiameterError:
    """5004 for a value that its AVP can't have here."""
    return DiameterError(Result.INVALID_AVP_VALUE, f"{kind.name} {why}", "RFC 6733 7.1.5", kind.of(text))


def associated(impis: tuple[str, ...]) -> list[Avp]:
    if not impis:
        return []
    group = AvpGroup()
    for impi in impis:
        group.add(USER_NAME, impi)
    return [ASSOCIATED_IDENTITIES.of(group)]


def read_associated(message: DiameterMessage) -> tuple[str, ...]:
    """The other private identities of the subscription (TS 29.229 6.3.33)."""
    group = message.first(ASSOCIATED_IDENTITIES)
    return () if group is None else tuple([_impi(name) for name in group.every(USER_NAME)])
