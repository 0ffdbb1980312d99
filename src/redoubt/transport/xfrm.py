"""The kernel's ESP through netlink (linux/xfrm.h): states and policies made, read and removed.

Knows the kernel's structures and nothing of IMS. Each entry that is made here carries a request identifier with our
mark, so that what a crashed process left behind is found. The kernel answers within the call; nothing here waits.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

NETLINK_XFRM = 6
ESP = 50
OWNED = 0x5E000000  # request identifiers of ours: this, and 24 bits of a number
OWNED_MASK = 0xFF000000
INFINITE = 2**64 - 1
ANSWER_S = 5.0
TRANSPORT_MODE, TUNNEL_MODE = 0, 1
ESP_IN_UDP = 2  # UDP_ENCAP_ESPINUDP (linux/udp.h)
WINDOW_WORDS_BITS = 32

ACK, DUMP, CREATE, EXCLUSIVE, REQUEST = 0x4, 0x300, 0x400, 0x200, 0x1
ERROR, DONE = 2, 3


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


_HEADER = struct.Struct("=IHHII")
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


class XfrmError(Exception):
    """The kernel refused; the message has its reason."""


class XfrmExists(XfrmError):
    """There is one like it already."""


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
        bits = 128 if self.family == socket.AF_INET6 else 32
        ports = self.target_port.to_bytes(2, "big"), b"\xff\xff", self.source_port.to_bytes(2, "big"), b"\xff\xff"
        return _SELECTOR.pack(_address(self.target), _address(self.source), *ports, self.family, bits, bits, 0, 0, 0)


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


Change = tuple[Message, int, bytes]
"""A request: its kind, flags beyond the usual, and what follows the netlink header."""


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text).ljust(16, b"\0")


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


def _selected(ident: bytes) -> tuple[bytes, int]:
    return ident[: _SELECTOR.size], ident[_SELECTOR.size + 4]


class Xfrm:
    """A netlink socket to the kernel's IPsec. Needs CAP_NET_ADMIN."""

    def __init__(self) -> None:
        """Raises OSError when the kernel has no XFRM."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
        self._socket.settimeout(ANSWER_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def change(self, changes: Sequence[Change]) -> None:
        """All at once, in order. Raises XfrmError with the first that the kernel refused, after it judged all."""
        first = self._sequence + 1
        self._sequence += len(changes)
        batch = b"".join(
            self._framed(kind, ACK | flags, first + n, body) for n, (kind, flags, body) in enumerate(changes)
        )
        try:
            self._socket.send(batch)
            answers = self._acknowledged(first, len(changes))
        except OSError as error:
            raise XfrmError(str(error)) from error
        for (kind, _, _), code in zip(changes, answers, strict=True):
            if code:
                refusal = XfrmExists if -code == errno.EEXIST else XfrmError
                raise refusal(f"{kind.name.lower().replace('_', ' ')}: {os.strerror(-code)}")

    def counters(self) -> list[Counters]:
        """Of all states that carry our mark."""
        return [counters for _, counters in self._states()]

    def counters_of(self, target: str, spi: int) -> Counters:
        """Of one state. Raises XfrmError when the kernel has none."""
        self._sequence += 1
        asked = self._sequence
        _, _, ident = delete_state(target, spi)
        self._socket.send(self._framed(Message.GET_STATE, 0, asked, ident))
        while True:
            for answer, sequence, found in self._read():
                if sequence == asked and answer == ERROR:
                    raise XfrmError(os.strerror(-int.from_bytes(found[:4], "little", signed=True)))
                if sequence == asked:
                    return _state(found)[1]

    def ours(self) -> "Entries":
        """What carries our mark."""
        states = {(target, counters.spi): counters.reqid for target, counters in self._states()}
        return Entries(states, {_selected(ident) for ident in self._policies()})

    def sweep(self, keep: "Entries | None" = None) -> int:
        """Removes every state and policy with our mark but these: what a process that is no more left. How many there
        were.
        """
        kept = keep if keep is not None else Entries({}, set())
        states = [(target, counters.spi) for target, counters in self._states()]
        removals = [delete_state(*state) for state in states if state not in kept.states]
        removals += [
            (Message.DELETE_POLICY, 0, ident) for ident in self._policies() if _selected(ident) not in kept.policies
        ]
        for removal in removals:
            self.change([removal])
        return len(removals)

    # ---- inside

    def _framed(self, kind: Message, flags: int, sequence: int, body: bytes) -> bytes:
        length = _HEADER.size + len(body)
        return _HEADER.pack(length, kind, REQUEST | flags, sequence, 0) + body + bytes(-length % 4)

    def _acknowledged(self, first: int, count: int) -> list[int]:
        codes: dict[int, int] = {}
        while len(codes) < count:
            for kind, sequence, body in self._read():
                if kind == ERROR and first <= sequence < first + count:
                    codes[sequence] = int.from_bytes(body[:4], "little", signed=True)
        return [codes[first + n] for n in range(count)]

    def _read(self) -> Iterator[tuple[int, int, bytes]]:
        data, at = self._socket.recv(1 << 20), 0
        while at + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                return
            yield kind, sequence, data[at + _HEADER.size : at + length]
            at += length + -length % 4

    def _dump(self, kind: Message, body: bytes) -> Iterator[bytes]:
        self._sequence += 1
        asked = self._sequence
        self._socket.send(self._framed(kind, DUMP, asked, body))
        while True:
            for answer, sequence, found in self._read():
                if sequence != asked:
                    continue
                if answer in (DONE, ERROR):
                    return
                yield found

    def _states(self) -> list[tuple[str, Counters]]:
        states = [_state(found) for found in self._dump(Message.GET_STATE, b"")]
        return [(target, each) for target, each in states if each.reqid & OWNED_MASK == OWNED]

    def _policies(self) -> list[bytes]:
        """What names each policy of ours in a removal: selector, index, direction."""
        found = []
        for policy in self._dump(Message.GET_POLICY, b""):
            _, index, direction, *_ = _POLICY_TAIL.unpack_from(policy, _POLICY_OCTETS - _POLICY_TAIL.size)
            if any(reqid & OWNED_MASK == OWNED for reqid in _template_reqids(policy[_POLICY_OCTETS:])):
                found.append(policy[: _SELECTOR.size] + struct.pack("=IBxxx", index, direction))
        return found


def _state(found: bytes) -> tuple[str, Counters]:
    """Where a state leads, and its counters (struct xfrm_usersa_info)."""
    daddr, spi, _ = _ID.unpack_from(found, _SELECTOR.size)
    at = _SELECTOR.size + _ID.size + 16 + _LIFETIME.size
    octets, packets, _, _ = _USED.unpack_from(found, at)
    _, replayed, bad_tags = _STATISTICS.unpack_from(found, at + _USED.size)
    _, reqid, family, *_ = _STATE_TAIL.unpack_from(found, at + _USED.size + _STATISTICS.size)
    target = socket.inet_ntop(family, daddr if family == socket.AF_INET6 else daddr[:4])
    replays = [struct.unpack_from("=I", value, 4)[0] for value in _values(found[_STATE_OCTETS:], Attribute.REPLAY)]
    sent = replays[0] if replays else 0
    return target, Counters(int.from_bytes(spi, "big"), reqid, octets, packets, replayed, bad_tags, sent)


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
