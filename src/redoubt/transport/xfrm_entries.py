"""States and policies of the kernel's ESP as netlink carries them (linux/xfrm.h): values to octets and back.

Knows the kernel's structures and nothing of IMS. Each entry that is made here carries a request identifier with our
mark, or has it as its priority, so that what a crashed process left behind is found.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

NETLINK_XFRM = 6
ESP = 50
OWNED = 0x5E000000  # request identifiers of ours: this, and 24 bits of a number
OWNED_MASK = 0xFF000000
INFINITE = 2**64 - 1
TRANSPORT_MODE, TUNNEL_MODE = 0, 1
ESP_IN_UDP = 2  # UDP_ENCAP_ESPINUDP (linux/udp.h)
WINDOW_WORDS_BITS = 32

CREATE, EXCLUSIVE = 0x400, 0x200
BLOCK = 1  # XFRM_POLICY_BLOCK
LAST_CHOICE = OWNED  # priority of guards: a set's policy goes first


class Message(IntEnum):
    """XFRM_MSG_*."""

    NEW_STATE = 0x10
    DELETE_STATE = 0x11
    GET_STATE = 0x12
    NEW_POLICY = 0x13
    DELETE_POLICY = 0x14
    GET_POLICY = 0x15
    UPDATE_POLICY = 0x19
    UPDATE_STATE = 0x1A


class Direction(IntEnum):
    """XFRM_POLICY_*."""

    IN = 0
    OUT = 1


class Attribute(IntEnum):
    """XFRMA_*."""

    CRYPT = 2
    ENCAPSULATION = 4
    TEMPLATE = 5
    AEAD = 18
    AUTH_TRUNC = 20
    REPLAY = 23


_SELECTOR = struct.Struct("=16s16s2s2s2s2sHBBBxxxiI")
_ID = struct.Struct("=16s4sBxxx")
_LIFETIME = struct.Struct("=8Q")
_USED = struct.Struct("=4Q")
_STATISTICS = struct.Struct("=3I")
_STATE_TAIL = struct.Struct("=IIHBBB7x")
_POLICY_TAIL = struct.Struct("=IIBBBB4x")
_TEMPLATE_TAIL = struct.Struct("=Hxx16sIBBBxIII")
_ENCAPSULATION = struct.Struct("=H2s2sxx16x")
_FOREVER = _LIFETIME.pack(INFINITE, INFINITE, INFINITE, INFINITE, 0, 0, 0, 0)
_UNUSED = _USED.pack(0, 0, 0, 0)
_STATE_OCTETS = _SELECTOR.size + _ID.size + 16 + _LIFETIME.size + _USED.size + _STATISTICS.size + _STATE_TAIL.size
_POLICY_OCTETS = _SELECTOR.size + _LIFETIME.size + _USED.size + _POLICY_TAIL.size


@dataclass(frozen=True, slots=True)
class Algorithms:
    """Names as the kernel knows them, keys as it wants them: an AEAD, or a cipher and a truncated HMAC."""

    aead: tuple[str, bytes, int] | None = None  # name, key with salt, tag bits
    crypt: tuple[str, bytes] = ("ecb(cipher_null)", b"")
    auth: tuple[str, bytes, int] = ("hmac(sha1)", b"", 96)


@dataclass(frozen=True, slots=True)
class Between:
    """One direction of traffic: addresses and ports. The protocol is none of it (TS 33.203 7.1: UDP and TCP share)."""

    source: str
    source_port: int
    target: str
    target_port: int

    @property
    def family(self) -> int:
        return socket.AF_INET6 if ":" in self.target else socket.AF_INET

    def selector(self) -> bytes:
        return _selector(self.family, (self.target, self.target_port), (self.source, self.source_port))


@dataclass(frozen=True, slots=True)
class Outside:
    """The addresses that ESP packets have. With ports the mode is the tunnel's, and UDP is around them (RFC 3948)."""

    source: str
    target: str
    ports: tuple[int, int] | None = None  # source and target

    @property
    def mode(self) -> int:
        return TRANSPORT_MODE if self.ports is None else TUNNEL_MODE


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel counted for one state."""

    spi: int
    reqid: int
    octets: int
    packets: int
    replayed: int
    bad_tags: int
    sent: int  # the last sequence number


@dataclass(frozen=True, slots=True)
class State:
    """A state with our mark, as the kernel has it."""

    source: str
    target: str
    counters: Counters


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy with our mark, as the kernel has it: our end of what it is about, and the states that it asks for."""

    removal: bytes  # what names it to the kernel
    direction: int
    here: str
    port: int
    reqids: tuple[int, ...]

    @property
    def selected(self) -> "tuple[bytes, int]":
        return self.removal[: _SELECTOR.size], self.direction


Change = tuple[Message, int, bytes]
"""A request: its kind, flags beyond the usual, and what follows the netlink header."""


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text).ljust(16, b"\0")


def _selector(family: int, target: tuple[str, int] | None, source: tuple[str, int] | None) -> bytes:
    """None: any address and port."""
    bits = 128 if family == socket.AF_INET6 else 32
    addresses, ports, lengths = [], [], []
    for end in (target, source):
        addresses.append(bytes(16) if end is None else _address(end[0]))
        ports += [bytes(2), bytes(2)] if end is None else [end[1].to_bytes(2, "big"), b"\xff\xff"]
        lengths.append(0 if end is None else bits)
    return _SELECTOR.pack(*addresses, *ports, family, *lengths, 0, 0, 0)


def _attribute(kind: Attribute, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _named(name: str, key: bytes, *more: int) -> bytes:
    return name.encode().ljust(64, b"\0") + struct.pack(f"={1 + len(more)}I", 8 * len(key), *more) + key


def new_state(
    outside: Outside, spi: int, reqid: int, algorithms: Algorithms, window: int, after: int = 0
) -> Change:
    """An ESP state, with an anti-replay window. `after` is the last sequence number that was sent."""
    family = _family(outside.target)
    info = (
        bytes(_SELECTOR.size) + _ID.pack(_address(outside.target), spi.to_bytes(4, "big"), ESP)
        + _address(outside.source) + _FOREVER + _UNUSED + _STATISTICS.pack(0, 0, 0)
        + _STATE_TAIL.pack(0, reqid, family, outside.mode, 0, 0)
    )  # fmt: skip
    if algorithms.aead is not None:
        name, key, tag_bits = algorithms.aead
        attributes = _attribute(Attribute.AEAD, _named(name, key, tag_bits))
    else:
        name, key, tag_bits = algorithms.auth
        attributes = _attribute(Attribute.AUTH_TRUNC, _named(name, key, tag_bits))
        attributes += _attribute(Attribute.CRYPT, _named(*algorithms.crypt))
    if outside.ports is not None:
        ports = [port.to_bytes(2, "big") for port in outside.ports]
        attributes += _attribute(Attribute.ENCAPSULATION, _ENCAPSULATION.pack(ESP_IN_UDP, *ports))
    words = window // WINDOW_WORDS_BITS
    replay = struct.pack(f"={6 + words}I", words, after, 0, 0, 0, window, *([0] * words))
    return Message.NEW_STATE, CREATE | EXCLUSIVE, info + attributes + _attribute(Attribute.REPLAY, replay)


def moved_state(outside: Outside, spi: int, reqid: int, algorithms: Algorithms, window: int) -> Change:
    """A state between the same addresses gets other ports around it; all else of it stays as it is."""
    _, _, body = new_state(outside, spi, reqid, algorithms, window)
    return Message.UPDATE_STATE, 0, body


def delete_state(target: str, spi: int) -> Change:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    return Message.DELETE_STATE, 0, _address(target) + struct.pack("=4sHBx", spi.to_bytes(4, "big"), family, ESP)


def new_policy(between: Between, outside: Outside, direction: Direction, reqid: int) -> Change:
    """Traffic of that selector goes, or must have come, through the states of the request identifier."""
    info = between.selector() + _FOREVER + _UNUSED + _POLICY_TAIL.pack(0, 0, direction, 0, 0, 0)
    template = _ID.pack(_address(outside.target), bytes(4), ESP) + _TEMPLATE_TAIL.pack(
        _family(outside.target), _address(outside.source), reqid, outside.mode, 0, 0, 2**32 - 1, 2**32 - 1, 2**32 - 1
    )
    return Message.NEW_POLICY, CREATE | EXCLUSIVE, info + _attribute(Attribute.TEMPLATE, template)


def moved_policy(between: Between, outside: Outside, direction: Direction, reqid: int) -> Change:
    """Traffic of a selector that a policy has goes through the states between other addresses."""
    _, _, body = new_policy(between, outside, direction, reqid)
    return Message.UPDATE_POLICY, 0, body


def new_guard(here: str, port: int, direction: Direction) -> Change:
    """Nothing passes a port but what a policy of a set lets pass."""
    info = guarded(here, port, direction) + _FOREVER + _UNUSED + _POLICY_TAIL.pack(
        LAST_CHOICE, 0, direction, BLOCK, 0, 0
    )
    return Message.NEW_POLICY, CREATE | EXCLUSIVE, info


def delete_guard(here: str, port: int, direction: Direction) -> Change:
    return Message.DELETE_POLICY, 0, guarded(here, port, direction) + struct.pack("=IBxxx", 0, direction)


def guarded(here: str, port: int, direction: Direction) -> bytes:
    """What a guard selects."""
    ends = ((here, port), None) if direction is Direction.IN else (None, (here, port))
    return _selector(_family(here), *ends)


def delete_policy(between: Between, direction: Direction) -> Change:
    return Message.DELETE_POLICY, 0, between.selector() + struct.pack("=IBxxx", 0, direction)


@dataclass(frozen=True, slots=True)
class Entries:
    """States by target and SPI, with their request identifiers, and what policies select, with their direction."""

    states: dict[tuple[str, int], int]
    policies: set[tuple[bytes, int]]


def selected(between: Between, direction: Direction) -> tuple[bytes, int]:
    """What names a policy."""
    return between.selector(), direction


def read_state(found: bytes) -> State:
    """struct xfrm_usersa_info and its attributes."""
    daddr, spi, _ = _ID.unpack_from(found, _SELECTOR.size)
    at = _SELECTOR.size + _ID.size
    saddr = found[at : at + 16]
    at += 16 + _LIFETIME.size
    octets, packets, _, _ = _USED.unpack_from(found, at)
    _, replayed, bad_tags = _STATISTICS.unpack_from(found, at + _USED.size)
    _, reqid, family, *_ = _STATE_TAIL.unpack_from(found, at + _USED.size + _STATISTICS.size)
    replays = [struct.unpack_from("=I", value, 4)[0] for value in _values(found[_STATE_OCTETS:], Attribute.REPLAY)]
    sent = replays[0] if replays else 0
    counters = Counters(int.from_bytes(spi, "big"), reqid, octets, packets, replayed, bad_tags, sent)
    return State(_text(family, saddr), _text(family, daddr), counters)


def read_policy(found: bytes) -> Policy | None:
    """struct xfrm_userpolicy_info and its attributes; None: not ours."""
    daddr, saddr, dport, _, sport, _, family, *_ = _SELECTOR.unpack_from(found)
    priority, index, direction, *_ = _POLICY_TAIL.unpack_from(found, _POLICY_OCTETS - _POLICY_TAIL.size)
    reqids = tuple(_template_reqids(found[_POLICY_OCTETS:]))
    if priority != LAST_CHOICE and not any(is_ours(reqid) for reqid in reqids):
        return None
    address, port = (daddr, dport) if direction == Direction.IN else (saddr, sport)
    removal = found[: _SELECTOR.size] + struct.pack("=IBxxx", index, direction)
    return Policy(removal, direction, _text(family, address), int.from_bytes(port, "big"), reqids)


def is_ours(reqid: int) -> bool:
    return reqid & OWNED_MASK == OWNED


def _text(family: int, address: bytes) -> str:
    return socket.inet_ntop(family, address if family == socket.AF_INET6 else address[:4])


def _values(attributes: bytes, wanted: Attribute) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if length < 4:
            return
        if kind == wanted:
            yield attributes[at + 4 : at + length]
        at += length + -length % 4


def _template_reqids(attributes: bytes) -> Iterator[int]:
    size = _ID.size + _TEMPLATE_TAIL.size
    for templates in _values(attributes, Attribute.TEMPLATE):
        for start in range(0, len(templates) - size + 1, size):
            yield _TEMPLATE_TAIL.unpack_from(templates, start + _ID.size)[2]
