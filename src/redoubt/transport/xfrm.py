"""The kernel's ESP through netlink: states and policies made, read and removed (`xfrm_entries` has their form).

The kernel answers within the call; nothing here waits.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence

from redoubt.transport.xfrm_entries import (
    NETLINK_XFRM,
    OWNED,
    Algorithms,
    Change,
    Counters,
    Entries,
    Message,
    Outside,
    Policy,
    State,
    delete_state,
    is_ours,
    new_state,
    read_policy,
    read_state,
)

ANSWER_S = 5.0
ACK, DUMP, REQUEST = 0x4, 0x300, 0x1
ERROR, DONE = 2, 3
NOTHING = Entries({}, set())
PROBE = b"\x5e\0\0\x01"  # the SPI of a state that shows whether there is ESP
PROBED = ("cbc(aes)", bytes(16)), ("hmac(sha1)", bytes(20), 96)

_HEADER = struct.Struct("=IHHII")


class XfrmError(Exception):
    """The kernel refused; the message has its reason, `code` its number."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class XfrmExists(XfrmError):
    """There is one like it already."""


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
                raise refusal(f"{kind.name.lower().replace('_', ' ')}: {os.strerror(-code)}", -code)

    def states(self) -> dict[tuple[str, int], State]:
        """All states that carry our mark, by target and SPI."""
        found = [read_state(each) for each in self._dump(Message.GET_STATE)]
        return {(each.target, each.counters.spi): each for each in found if is_ours(each.counters.reqid)}

    def counters_of(self, target: str, spi: int) -> Counters:
        """Of one state. Raises XfrmError when the kernel has none."""
        self._sequence += 1
        asked = self._sequence
        self._socket.send(self._framed(Message.GET_STATE, 0, asked, delete_state(target, spi)[2]))
        while True:
            for answer, sequence, found in self._read():
                if sequence == asked and answer == ERROR:
                    raise XfrmError(os.strerror(-_code(found)))
                if sequence == asked:
                    return read_state(found).counters

    def ours(self, here: str) -> Entries:
        """What carries our mark and is about an address of this host."""
        states = {
            key: each.counters.reqid for key, each in self.states().items() if here in (each.source, each.target)
        }
        return Entries(states, {each.selected for each in self._policies(here)})

    def sweep(self, here: str, is_free: Callable[[int], bool], keep: Entries = NOTHING) -> int:
        """Removes what carries our mark, is about a port of `here` that nobody else has, and is none of these: what a
        process that is no more left. How many there were.
        """
        policies = self._policies(here)
        free = {port for port in {each.port for each in policies} if is_free(port)}
        doomed = [each for each in policies if each.port in free and each.selected not in keep.policies]
        gone = set(doomed)
        spared = {reqid for each in policies if each not in gone for reqid in each.reqids}
        removals = [
            delete_state(each.target, each.counters.spi)
            for key, each in self.states().items()
            if here in (each.source, each.target) and key not in keep.states and each.counters.reqid not in spared
        ] + [(Message.DELETE_POLICY, 0, each.removal) for each in doomed]
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
                    codes[sequence] = _code(body)
        return [codes[first + n] for n in range(count)]

    def _read(self) -> Iterator[tuple[int, int, bytes]]:
        data, at = self._socket.recv(1 << 20), 0
        while at + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                return
            yield kind, sequence, data[at + _HEADER.size : at + length]
            at += length + -length % 4

    def _dump(self, kind: Message) -> Iterator[bytes]:
        self._sequence += 1
        asked = self._sequence
        self._socket.send(self._framed(kind, DUMP, asked, b""))
        while True:
            for answer, sequence, found in self._read():
                if sequence != asked:
                    continue
                if answer in (DONE, ERROR):
                    return
                yield found

    def _policies(self, here: str) -> list[Policy]:
        found = [read_policy(each) for each in self._dump(Message.GET_POLICY)]
        return [each for each in found if each is not None and each.here == here]


def _code(error: bytes) -> int:
    """Of a netlink error: negative, or 0 for none."""
    return int.from_bytes(error[:4], sys.byteorder, signed=True)


def lacks_esp(here: str) -> str:
    """Why the kernel can't carry our ESP to and from an address, and what to do; empty when it can."""
    module, body = ("esp6", "IPv6") if ":" in here else ("esp4", "IPv4")
    try:
        xfrm = Xfrm()
    except OSError as error:
        return f"the kernel has no IPsec ({error.strerror}): `modprobe xfrm_user {module}`, or take another kernel"
    spi = int.from_bytes(PROBE, "big")
    try:
        xfrm.change([new_state(Outside(here, here), spi, OWNED, Algorithms(None, *PROBED), 32)])
        xfrm.change([delete_state(here, spi)])
    except XfrmExists:
        return ""  # somebody else finds out just now
    except XfrmError as error:
        if error.code == errno.EPERM:
            return "it needs CAP_NET_ADMIN: run it as root, or with AmbientCapabilities=CAP_NET_ADMIN in its unit"
        return f"the kernel has no ESP for {body} ({error}): `modprobe {module}`, or take another kernel"
    finally:
        xfrm.close()
    return ""
