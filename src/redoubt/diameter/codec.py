"""Diameter messages: header, AVPs, and what makes a request acceptable before anybody looks at it (RFC 6733 3)."""

import struct
from collections.abc import Mapping
from typing import Any

from redoubt.diameter.avp import MANDATORY, Avp, AvpGroup, AvpList, AvpType, DiameterError, read_avps, write_avps
from redoubt.diameter.dictionary import FAILED_AVP, KNOWN, PROXY_INFO, RESULT_CODE, SESSION_ID
from redoubt.diameter.results import Result
from redoubt.limits import DIAMETER_DEPTH, DIAMETER_MESSAGE_OCTETS

VERSION = 1
HEADER_OCTETS = 20
REQUEST, PROXIABLE, ERROR, RETRANSMITTED = 0x80, 0x40, 0x20, 0x10

_header = struct.Struct(">IIIII")
SHORT_OCTETS, SOUND_GROUPS = 64, 256
# What groups held that passed the check: the same few, such as Vendor-Specific-Application-Id's, are in every request.
_sound: set[bytes] = set()
_proxy_info = (PROXY_INFO.code, PROXY_INFO.vendor)


class DiameterMessage(AvpList):
    """A request or an answer."""

    __slots__ = ("application", "command", "end_to_end", "flags", "hop_by_hop")

    def __init__(
        self,
        command: int,
        application: int,
        flags: int = REQUEST | PROXIABLE,
        hop_by_hop: int = 0,
        end_to_end: int = 0,
        avps: list[Avp] | None = None,
    ) -> None:
        self.avps = [] if avps is None else avps
        self.command = command
        self.application = application
        self.flags = flags
        self.hop_by_hop = hop_by_hop
        self.end_to_end = end_to_end

    @property
    def is_request(self) -> bool:
        return self.flags & REQUEST != 0

    @property
    def is_error(self) -> bool:
        return self.flags & ERROR != 0

    @property
    def is_retransmitted(self) -> bool:
        """The T bit: sent again after a link failed, so it may be a duplicate (RFC 6733 3)."""
        return self.flags & RETRANSMITTED != 0

    def answer(self, result: Result | None = Result.SUCCESS, failed: Avp | None = None) -> "DiameterMessage":
        """The answer to this request (RFC 6733 6.2): same identifiers, Session-Id and Proxy-Info; E bit for 3xxx.

        Without `result` the caller adds Experimental-Result. Origin-Host and Origin-Realm are added by the node.
        """
        flags = self.flags & PROXIABLE
        if result is not None and 3000 <= result < 4000:
            flags |= ERROR
        answer = DiameterMessage(self.command, self.application, flags, self.hop_by_hop, self.end_to_end)
        carried = [avp for avp in self.avps if avp.code in (SESSION_ID.code, PROXY_INFO.code) and not avp.vendor]
        answer.avps = [avp for avp in carried if avp.code == SESSION_ID.code][:1]
        if result is not None:
            answer.add(RESULT_CODE, result)
        answer.avps += [avp for avp in carried if avp.code == PROXY_INFO.code]
        if failed is not None:
            answer.add(FAILED_AVP, AvpGroup([failed]))
        return answer

    def to_bytes(self) -> bytes:
        parts = write_avps(self.avps)
        length = HEADER_OCTETS + sum(map(len, parts))
        header = _header.pack(
            VERSION << 24 | length,
            self.flags << 24 | self.command,
            self.application,
            self.hop_by_hop,
            self.end_to_end,
        )
        return header + b"".join(parts)

    def __repr__(self) -> str:
        kind = "request" if self.is_request else "answer"
        return f"<{self.command} {kind} of application {self.application}, {len(self.avps)} AVPs>"


class MalformedMessage(DiameterError):
    """The header could be read, the rest not: `request` lets an answer be made, if it was one."""

    def __init__(self, error: DiameterError, message: DiameterMessage) -> None:
        super().__init__(error.result, error.why, error.clause, error.failed)
        self.message = message


def message_length(octets: bytes) -> int:
    """What the first four octets of a message say of its length. Raises DiameterError: the stream is lost then.

    Checked before anything is allocated or waited for (RFC 6733 3, 7.1.5).
    """
    if octets[0] != VERSION:
        raise DiameterError(Result.UNSUPPORTED_VERSION, f"Diameter version {octets[0]}", "RFC 6733 3")
    length = int.from_bytes(octets[1:4], "big")
    if length < HEADER_OCTETS or length & 3 or length > DIAMETER_MESSAGE_OCTETS:
        raise DiameterError(Result.INVALID_MESSAGE_LENGTH, f"a message of {length} octets", "RFC 6733 3")
    return length


def decode(octets: bytes) -> DiameterMessage:
    """The message in exactly these octets. Raises DiameterError, as MalformedMessage once the header is known."""
    if len(octets) < HEADER_OCTETS or message_length(octets) != len(octets):
        raise DiameterError(Result.INVALID_MESSAGE_LENGTH, "the length of the message lies", "RFC 6733 3")
    _, flags_command, application, hop_by_hop, end_to_end = _header.unpack_from(octets)
    message = DiameterMessage(flags_command & 0xFFFFFF, application, flags_command >> 24, hop_by_hop, end_to_end)
    try:
        message.avps = read_avps(octets, HEADER_OCTETS, len(octets))
    except DiameterError as error:
        raise MalformedMessage(error, message) from None
    return message


def check_request(message: DiameterMessage, known: Mapping[tuple[int, int], AvpType[Any]] = KNOWN) -> None:
    """What holds for every request: header bits, AVPs that must be understood, none twice that may come once.

    Raises DiameterError 3008, 5001, 5009 (RFC 6733 3, 4.1, 7.1).
    """
    if message.flags & ERROR:
        raise DiameterError(Result.INVALID_HDR_BITS, "a request with the E bit", "RFC 6733 7.1.3")
    seen: set[int] = set()
    for avp in message.avps:
        kind = known.get((avp.code, avp.vendor))
        if kind is None:
            if avp.flags & MANDATORY:
                raise _not_understood(avp)
        elif kind.once:
            if avp.code in seen:
                raise DiameterError(
                    Result.AVP_OCCURS_TOO_MANY_TIMES, f"{kind.name} is there twice", "RFC 6733 7.1.5", avp
                )
            seen.add(avp.code)
        elif kind.is_group:
            _check_group(kind, avp, known, 1)


def _check_group(kind: AvpType[AvpGroup], avp: Avp, known: Mapping[tuple[int, int], AvpType[Any]], depth: int) -> None:
    """The same inside groups; what is to blame is reported inside its groups (RFC 6733 7.5)."""
    if avp.data in _sound:
        return
    if depth > DIAMETER_DEPTH:
        raise DiameterError(Result.INVALID_AVP_VALUE, f"groups in groups, {depth} deep", "RFC 6733 4.4")
    if (avp.code, avp.vendor) == _proxy_info:
        return  # a proxy's own business, handed back as it came
    for inner in kind.read(avp).avps:
        inner_kind = known.get((inner.code, inner.vendor))
        try:
            if inner_kind is None:
                if inner.flags & MANDATORY:
                    raise _not_understood(inner)
            elif inner_kind.is_group:
                _check_group(inner_kind, inner, known, depth + 1)
        except DiameterError as error:
            if error.failed is not None:
                error.failed = Avp(avp.code, avp.vendor, avp.flags, error.failed.to_bytes())
            raise
    if len(avp.data) <= SHORT_OCTETS:
        if len(_sound) >= SOUND_GROUPS:
            _sound.clear()
        _sound.add(avp.data)


def _not_understood(avp: Avp) -> DiameterError:
    return DiameterError(
        Result.AVP_UNSUPPORTED,
        f"AVP {avp.code} of vendor {avp.vendor} must be understood and is unknown",
        "RFC 6733 4.1",
        avp,
    )
