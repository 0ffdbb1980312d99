"""Attribute-value pairs: their octets, and the types that give them meaning (RFC 6733 4).

An AVP keeps its octets; they are read when somebody asks with a type of the dictionary. A group inside a group is not
looked into until then, so that nesting costs nothing to whoever receives it.
"""

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Generic, Self, TypeVar

from msgspec import Struct

from redoubt.diameter.results import Result
from redoubt.limits import DIAMETER_AVPS

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)
IpAddress = IPv4Address | IPv6Address

VENDOR_FLAG, MANDATORY, PROTECTED = 0x80, 0x40, 0x20
LENGTH_MASK = 0xFFFFFF
PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4 (RFC 6733 4.1)
COUNTED = range(DIAMETER_AVPS)
EPOCH_1900_S = 2_208_988_800  # between 1900 and 1970 (RFC 6733 4.3.1)

_two = struct.Struct(">II")
_three = struct.Struct(">III")
_u32 = struct.Struct(">I")
_i32 = struct.Struct(">i")
_u64 = struct.Struct(">Q")


class Avp(Struct, frozen=True, gc=False):
    """One AVP as it is on the wire, without its padding. `vendor` is 0 without the V bit."""

    code: int
    vendor: int
    flags: int
    data: bytes

    def to_bytes(self) -> bytes:
        return b"".join(_written((self,)))

    def __repr__(self) -> str:
        return f"Avp({self.code}, vendor {self.vendor}, {len(self.data)} octets)"  # the octets may be a key


class DiameterError(Exception):
    """Theirs: the peer broke a rule. Carries the result code owed to it and the AVP that is to blame."""

    def __init__(self, result: Result, why: str, clause: str = "", failed: Avp | None = None) -> None:
        super().__init__(why)
        self.result = result
        self.why = why
        self.clause = clause
        self.failed = failed


class AvpList:
    """AVPs in their order: what a message and a group have in common."""

    __slots__ = ("avps",)

    def __init__(self, avps: list[Avp]) -> None:
        self.avps = avps

    def first(self, kind: "AvpType[T]") -> T | None:
        """The first value of this type. Raises DiameterError if its octets are no such value."""
        code, vendor = kind.code, kind.vendor
        for avp in self.avps:
            if avp.code == code and avp.vendor == vendor:
                return kind.read(avp)
        return None

    def need(self, kind: "AvpType[T]") -> T:
        """The first value of this type. Raises DiameterError 5005 without one (RFC 6733 7.1.5)."""
        value = self.first(kind)
        if value is None:
            raise DiameterError(Result.MISSING_AVP, f"{kind.name} is missing", "RFC 6733 7.1.5", kind.missing())
        return value

    def every(self, kind: "AvpType[T]") -> tuple[T, ...]:
        code, vendor = kind.code, kind.vendor
        return tuple(kind.read(avp) for avp in self.avps if avp.code == code and avp.vendor == vendor)

    def has(self, kind: "AvpType[Any]") -> bool:
        code, vendor = kind.code, kind.vendor
        for avp in self.avps:  # noqa: SIM110 - `any` costs three times as much
            if avp.code == code and avp.vendor == vendor:
                return True
        return False

    def add(self, kind: "AvpType[T]", value: T) -> Self:
        """Appends a value; returns the list, so that additions chain."""
        self.avps.append(Avp(kind.code, kind.vendor, kind.flags, kind.encode(value)))
        return self

    def remove(self, kind: "AvpType[Any]") -> None:
        self.avps = [avp for avp in self.avps if avp.code != kind.code or avp.vendor != kind.vendor]


class AvpGroup(AvpList):
    """The value of a grouped AVP (RFC 6733 4.4)."""

    __slots__ = ()

    def __init__(self, avps: list[Avp] | None = None) -> None:
        super().__init__([] if avps is None else avps)

    def to_bytes(self) -> bytes:
        return b"".join(_written(self.avps))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AvpGroup) and self.avps == other.avps

    __hash__ = None  # type: ignore[assignment]  # it can be added to

    def __repr__(self) -> str:
        return f"AvpGroup({len(self.avps)} AVPs)"  # an AVP may hold a key


class AvpType(Generic[T]):
    """One line of the dictionary. `once`: no command of ours may carry it twice."""

    __slots__ = ("code", "decode", "encode", "flags", "is_group", "name", "once", "shortest_octets", "vendor")

    def __init__(
        self,
        name: str,
        code: int,
        vendor: int,
        decode: Callable[[bytes], T],
        encode: Callable[[T], bytes],
        *,
        mandatory: bool,
        once: bool,
        shortest_octets: int = 0,
        is_group: bool = False,
    ) -> None:
        self.name = name
        self.code = code
        self.vendor = vendor
        self.flags = (VENDOR_FLAG if vendor else 0) | (MANDATORY if mandatory else 0)
        self.decode = decode
        self.encode = encode
        self.once = once
        self.shortest_octets = shortest_octets
        self.is_group = is_group

    def read(self, avp: Avp) -> T:
        """The value of an AVP of this type. Raises DiameterError 5004 or 5014 (RFC 6733 7.1.5)."""
        try:
            return self.decode(avp.data)
        except struct.error:
            raise DiameterError(
                Result.INVALID_AVP_LENGTH, f"{self.name} has {len(avp.data)} octets", "RFC 6733 4.2", avp
            ) from None
        except ValueError:
            raise DiameterError(
                Result.INVALID_AVP_VALUE, f"{self.name} has a value that it can't have", "RFC 6733 7.1.5", avp
            ) from None

    def of(self, value: T) -> Avp:
        """The AVP itself, for what is sent again and again."""
        return Avp(self.code, self.vendor, self.flags, self.encode(value))

    def missing(self) -> Avp:
        """What Failed-AVP says of one that is not there: the shortest that could be, of zeroes (RFC 6733 7.5)."""
        return Avp(self.code, self.vendor, self.flags, bytes(self.shortest_octets))

    def __repr__(self) -> str:
        return f"<{self.name} {self.code}>"


# ---- octets


def read_avps(octets: bytes, at: int, end: int, *, padded: bool = True) -> list[Avp]:
    """The AVPs between two positions. Raises DiameterError 5014 where a length lies (RFC 6733 4.1).

    `padded`: the last one must have its padding, as in a message; senders leave it out at the end of groups.
    """
    found: list[Avp] = []
    origin = at
    for _ in COUNTED:
        if at >= end:
            break
        if end - at < 8:
            raise _lying(octets, at, end, "an AVP has no whole header")
        code, flags_length = _two.unpack_from(octets, at)
        flags, length = flags_length >> 24, flags_length & LENGTH_MASK
        vendor, start = 0, at + 8
        if flags & VENDOR_FLAG:
            start += 4
        stop = at + length
        if stop < start or stop > end:
            raise _lying(octets, at, end, "an AVP says a length that it can't have")
        if flags & VENDOR_FLAG:
            (vendor,) = _u32.unpack_from(octets, at + 8)
        found.append(Avp(code, vendor, flags, octets[start:stop]))
        at = stop + (origin - stop & 3)
    if at < end:
        raise DiameterError(Result.RESOURCES_EXCEEDED, f"more than {DIAMETER_AVPS} AVPs", "RFC 6733 7.1.5")
    if at > end and padded:
        raise _lying(octets, stop - length, end, "the last AVP has no padding")
    return found


def _lying(octets: bytes, at: int, end: int, why: str) -> DiameterError:
    """Failed-AVP carries the header of the AVP, filled up with zeroes to its shortest form (RFC 6733 7.1.5)."""
    code, flags = 0, 0
    if end - at >= 5:
        code, flags = int.from_bytes(octets[at : at + 4], "big"), octets[at + 4]
    vendor = int.from_bytes(octets[at + 8 : min(at + 12, end)], "big") if flags & VENDOR_FLAG else 0
    return DiameterError(Result.INVALID_AVP_LENGTH, why, "RFC 6733 4.1", Avp(code, vendor, flags, b""))


def _written(avps: Iterable[Avp]) -> list[bytes]:
    parts: list[bytes] = []
    for avp in avps:
        data = avp.data
        size = len(data)
        if avp.flags & VENDOR_FLAG:
            parts.append(_three.pack(avp.code, avp.flags << 24 | size + 12, avp.vendor))
        else:
            parts.append(_two.pack(avp.code, avp.flags << 24 | size + 8))
        parts.append(data)
        if size & 3:
            parts.append(PADDING[size & 3])
    return parts


write_avps = _written


# ---- the kinds of values (RFC 6733 4.2, 4.3)


def text(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[str]:
    """UTF8String."""
    return AvpType(name, code, vendor, bytes.decode, str.encode, mandatory=mandatory, once=once)


def octets(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[bytes]:
    """OctetString."""
    return AvpType(name, code, vendor, _same, _same, mandatory=mandatory, once=once)


def identity(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[str]:
    """DiameterIdentity: a host name or a realm, here in lower case, because names are compared without case."""
    return AvpType(name, code, vendor, _read_identity, str.encode, mandatory=mandatory, once=once)


def unsigned32(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[int]:
    return _number(name, code, vendor, _u32, mandatory=mandatory, once=once)


def integer32(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[int]:
    return _number(name, code, vendor, _i32, mandatory=mandatory, once=once)


def unsigned64(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[int]:
    return _number(name, code, vendor, _u64, mandatory=mandatory, once=once)


def enumerated(
    name: str, code: int, vendor: int, values: type[E], *, mandatory: bool = True, once: bool = False
) -> AvpType[E]:
    """Enumerated: a value that the specification does not name is refused with 5004 (RFC 6733 4.3.1)."""
    return AvpType(
        name,
        code,
        vendor,
        lambda data: values(_u32.unpack(data)[0]),
        _u32.pack,
        mandatory=mandatory,
        once=once,
        shortest_octets=4,
    )


def address(name: str, code: int, vendor: int = 0, *, mandatory: bool = True) -> AvpType[IpAddress]:
    """Address of family 1 or 2 (RFC 6733 4.3.1)."""
    return AvpType(
        name, code, vendor, _read_address, _write_address, mandatory=mandatory, once=False, shortest_octets=6
    )


def time(name: str, code: int, vendor: int = 0, *, mandatory: bool = True) -> AvpType[int]:
    """Time, here in seconds since 1970 (RFC 6733 4.3.1)."""
    return AvpType(name, code, vendor, _read_time, _write_time, mandatory=mandatory, once=False, shortest_octets=4)


def grouped(name: str, code: int, vendor: int = 0, *, mandatory: bool = True, once: bool = False) -> AvpType[AvpGroup]:
    """Grouped (RFC 6733 4.4)."""
    return AvpType(name, code, vendor, _read_group, AvpGroup.to_bytes, mandatory=mandatory, once=once, is_group=True)


def _number(name: str, code: int, vendor: int, form: struct.Struct, *, mandatory: bool, once: bool) -> AvpType[int]:
    def decode(data: bytes) -> int:
        value: int = form.unpack(data)[0]
        return value

    return AvpType(name, code, vendor, decode, form.pack, mandatory=mandatory, once=once, shortest_octets=form.size)


def _same(data: bytes) -> bytes:
    return data


def _read_identity(data: bytes) -> str:
    return data.decode("ascii").lower()


def _read_group(data: bytes) -> AvpGroup:
    return AvpGroup(read_avps(data, 0, len(data), padded=False))


def _read_address(data: bytes) -> IpAddress:
    family, packed = data[:2], data[2:]
    if (family, len(packed)) not in ((b"\0\1", 4), (b"\0\2", 16)):
        raise ValueError("neither IPv4 nor IPv6")
    return ip_address(packed)


def _write_address(value: IpAddress) -> bytes:
    return (b"\0\1" if value.version == 4 else b"\0\2") + value.packed


def _read_time(data: bytes) -> int:
    seconds: int = _u32.unpack(data)[0]
    if not seconds & 0x80000000:
        seconds += 1 << 32  # the count began again in 2036 (RFC 5905 6)
    return seconds - EPOCH_1900_S


def _write_time(value: int) -> bytes:
    return _u32.pack(value + EPOCH_1900_S & 0xFFFFFFFF)
