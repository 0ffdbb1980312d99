"""The load generator: many phones on one UDP socket, each with a loopback address of its own, from byte templates.

It is a measuring tool, not a phone: it builds and reads just as much SIP as the measurement needs, so that the second
core can drive the network on the first one into saturation.
"""

import base64
import hashlib
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from redoubt.aka.milenage import Milenage
from redoubt.lab.bench_server import OPC, REALM, K
from redoubt.secret import Secret

SILENCE_S = 5.0
REPEAT_S = 1.0
IP_PKTINFO = 8  # of Linux, which the socket module of 3.11 does not name


ABROAD = 1 << 16  # users from this number on are the second network's


class Site(NamedTuple):
    """A network under load: where phones reach its P-CSCF, and its realm."""

    host: str
    port: int
    realm: str = REALM


class LoadFailed(Exception):
    """The network answered something else, or nothing."""


@dataclass(slots=True)
class Operation:
    """One registration, call or message under way. `step` takes each message that belongs to it."""

    step: Callable[["Operation", bytes, str], bool]
    caller: int
    callee: int
    began: float = 0.0
    route: bytes = b""
    contact: bytes = b""
    to: bytes = b""
    last: tuple[int, bytes] = (0, b"")  # who sent what, which may have been lost


class Load:
    """All phones. `run` keeps `window` operations going, or starts them at `rate` a second."""

    def __init__(self, *sites: Site, window: int = 48) -> None:
        self.window = window
        self._sites = sites
        self.latencies: list[float] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, 8 * 1024 * 1024)
        self._socket.bind(("0.0.0.0", 0))  # noqa: S104 - addresses of 127/8 only are used
        self._socket.setblocking(False)
        self._own_port = self._socket.getsockname()[1]
        self._open: dict[bytes, Operation] = {}
        self._milenage = Milenage(Secret(bytes.fromhex(K)), Secret(bytes.fromhex(OPC)))
        self._number = 0
        self._services: dict[int, bytes] = {}

    def close(self) -> None:
        self._socket.close()

    # ---- operations

    def register(self, user: int) -> bytes:
        """Starts a full registration (SM1); returns its Call-ID."""
        call_id = self._begin(operation := Operation(self._on_register, user, user))
        self._send(operation, user, self._register(user, call_id, 1, b'nonce="",response=""'))
        return call_id

    def call(self, caller: int, callee: int) -> bytes:
        """Starts a call: INVITE, 180, 200, ACK, BYE, 200."""
        call_id = self._begin(operation := Operation(self._on_call, caller, callee))
        self._send(operation, caller, self._request("INVITE", caller, callee, call_id, 1, _SDP))
        return call_id

    def message(self, caller: int, callee: int) -> bytes:
        """Starts a MESSAGE."""
        call_id = self._begin(operation := Operation(self._on_message, caller, callee))
        text = b"Content-Type: text/plain\r\n", b"hello"
        self._send(operation, caller, self._request("MESSAGE", caller, callee, call_id, 1, *text))
        return call_id

    # ---- running

    def run(
        self, start: Callable[[int], bytes], count: int, rate: float = 0.0, tick: Callable[[int], None] | None = None
    ) -> float:
        """Runs `count` operations, `start(i)` each; the seconds that it took. Latencies are kept. Raises LoadFailed."""
        self.latencies = []
        began = last = repeated = time.perf_counter()
        started = done = 0
        while done < count:
            now = time.perf_counter()
            while started < count and self._may_start(started, rate, now - began):
                start(started)
                started += 1
            finished = self._receive(0.001 if rate else 0.05)
            done += finished
            if finished:
                last = time.perf_counter()
                if tick is not None:
                    tick(done)
            elif now - max(last, repeated) > REPEAT_S and now - last < SILENCE_S:
                repeated = now
                for operation in self._open.values():  # a datagram that a busy machine lost
                    self._transmit(*operation.last)
            elif now - last > SILENCE_S:
                raise LoadFailed(f"{len(self._open)} of {count} operations got no answer for {SILENCE_S:.0f} s")
        return time.perf_counter() - began

    def _may_start(self, started: int, rate: float, elapsed: float) -> bool:
        return started <= elapsed * rate if rate else len(self._open) < self.window

    def _receive(self, wait_s: float) -> int:
        readable, _, _ = select.select([self._socket], [], [], wait_s)
        finished = 0
        while readable:
            try:
                data, ancillary, _flags, _sender = self._socket.recvmsg(65535, 64)
            except BlockingIOError:
                break
            finished += self._took(data, socket.inet_ntoa(ancillary[0][2][8:12]))
        return finished

    def _took(self, data: bytes, own_address: str) -> int:
        call_id = _header(data, b"Call-ID")
        operation = self._open.get(call_id)
        if operation is None or not operation.step(operation, data, own_address):
            return 0
        del self._open[call_id]
        self.latencies.append(time.perf_counter() - operation.began)
        return 1

    # ---- what arrives

    def _on_register(self, operation: Operation, data: bytes, _own: str) -> bool:
        status = data[8:11]
        if status == b"200":
            self._services[operation.caller] = _header(data, b"Service-Route")
            return True
        if status == b"401" and not operation.to:
            operation.to = b"answered"
            self._send(
                operation,
                operation.caller,
                self._register(operation.caller, _header(data, b"Call-ID"), 2, self._answer(operation.caller, data)),
            )
            return False
        if status in (b"100", b"401"):
            return False
        raise LoadFailed(data.split(b"\r\n", 1)[0].decode())

    def _answer(self, user: int, challenge: bytes) -> bytes:
        start = challenge.index(b'nonce="') + 7
        nonce = challenge[start : challenge.index(b'"', start)]
        res = self._milenage.f2345(base64.b64decode(nonce)[:16]).res.reveal()
        realm = self._site(user).realm
        uri = f"sip:{realm}".encode()
        ha1 = _md5(f"u{user}@{realm}:{realm}:".encode() + res)
        response = _md5(ha1 + b":" + nonce + b":" + _md5(b"REGISTER:" + uri))
        return b'nonce="' + nonce + b'",response="' + response + b'",algorithm=AKAv1-MD5'

    def _on_call(self, operation: Operation, data: bytes, _own: str) -> bool:
        call_id = _header(data, b"Call-ID")
        if data.startswith(b"INVITE "):
            self._send(operation, operation.callee, self._response(b"180 Ringing", operation, data))
            self._send(operation, operation.callee, self._response(b"200 OK", operation, data, _SDP_LINES))
        elif data.startswith(b"BYE "):
            self._send(operation, operation.callee, self._response(b"200 OK", operation, data))
        elif data.startswith(b"SIP/2.0 200") and b" INVITE\r\n" in data:
            operation.to = _header(data, b"To")
            operation.contact = _header(data, b"Contact").strip(b"<>")
            routes = _headers(data, b"Record-Route")
            operation.route = b"".join(b"Route: " + route + b"\r\n" for route in reversed(routes))
            self._send(operation, operation.caller, self._in_dialog("ACK", operation, call_id, 1))
            self._send(operation, operation.caller, self._in_dialog("BYE", operation, call_id, 2))
        elif data.startswith(b"SIP/2.0 200"):
            return True
        elif data[8:11] >= b"300" and data.startswith(b"SIP/2.0"):
            raise LoadFailed(data.split(b"\r\n", 1)[0].decode())
        return False

    def _on_message(self, operation: Operation, data: bytes, _own: str) -> bool:
        if data.startswith(b"MESSAGE "):
            self._send(operation, operation.callee, self._response(b"200 OK", operation, data))
            return False
        if data[8:11] >= b"300":
            raise LoadFailed(data.split(b"\r\n", 1)[0].decode())
        return data.startswith(b"SIP/2.0 2")

    # ---- what is sent

    def _begin(self, operation: Operation) -> bytes:
        self._number += 1
        call_id = f"{self._number:x}@load".encode()
        operation.began = time.perf_counter()
        self._open[call_id] = operation
        return call_id

    def _send(self, operation: Operation, user: int, data: bytes) -> None:
        operation.last = user, data
        self._transmit(user, data)

    def _transmit(self, user: int, data: bytes) -> None:
        address = socket.inet_aton(_address(user))
        packet_info = struct.pack("I4s4s", 0, address, bytes(4))
        host, port, _realm = self._site(user)
        self._socket.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, packet_info)], 0, (host, port))

    def _site(self, user: int) -> Site:
        return self._sites[user >= ABROAD]

    def _impu(self, user: int) -> str:
        return f"sip:u{user}@{self._site(user).realm}"

    def _register(self, user: int, call_id: bytes, cseq: int, answer: bytes) -> bytes:
        here, realm, impu = f"{_address(user)}:{self._own_port}", self._site(user).realm, self._impu(user)
        return (
            f"REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id.decode()}{cseq};rport\r\n"
            f"From: <{impu}>;tag=l{user}\r\nTo: <{impu}>\r\nCall-ID: {call_id.decode()}\r\n"
            f"CSeq: {cseq} REGISTER\r\nContact: <sip:u{user}@{here}>;expires=3600\r\n"
            f'Authorization: Digest username="u{user}@{realm}",realm="{realm}",uri="sip:{realm}",{answer.decode()}\r\n'
            "Expires: 3600\r\nMax-Forwards: 70\r\nSupported: path\r\n"
            "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    def _request(
        self, method: str, caller: int, callee: int, call_id: bytes, cseq: int, headers: bytes, body: bytes = b""
    ) -> bytes:
        here = f"{_address(caller)}:{self._own_port}"
        body = _SDP_BODY if method == "INVITE" else body
        return (
            (
                f"{method} {self._impu(callee)} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{call_id.decode()}{cseq};rport\r\n"
                f"Route: {self._services.get(caller, b'').decode()}\r\n"
                f"From: <{self._impu(caller)}>;tag=c\r\nTo: <{self._impu(callee)}>\r\nCall-ID: {call_id.decode()}\r\n"
                f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:u{caller}@{here}>\r\n"
            ).encode()
            + headers
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def _in_dialog(self, method: str, operation: Operation, call_id: bytes, cseq: int) -> bytes:
        here = f"{_address(operation.caller)}:{self._own_port}"
        return (
            f"{method} {operation.contact.decode()} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{call_id.decode()}{method};rport\r\n".encode()
            + operation.route
            + f"From: <{self._impu(operation.caller)}>;tag=c\r\nTo: {operation.to.decode()}\r\n"
            f"Call-ID: {call_id.decode()}\r\nCSeq: {cseq} {method}\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
        )

    def _response(self, status: bytes, operation: Operation, request: bytes, more: bytes = b"") -> bytes:
        """A response of the called phone, by copying what RFC 3261 8.2.6 says."""
        head = request[: request.index(b"\r\n\r\n")].split(b"\r\n")
        copied = [
            line for line in head if line.startswith((b"Via:", b"Record-Route:", b"From:", b"Call-ID:", b"CSeq:"))
        ]
        to = next(line for line in head if line.startswith(b"To:"))
        here = f"{_address(operation.callee)}:{self._own_port}".encode()
        copied.append(to if b";tag=" in to else to + b";tag=d")
        copied.append(b"Contact: <sip:u" + str(operation.callee).encode() + b"@" + here + b">")
        return b"SIP/2.0 " + status + b"\r\n" + b"\r\n".join(copied) + b"\r\n" + (more or b"Content-Length: 0\r\n\r\n")


_SDP = b"Content-Type: application/sdp\r\n"
_SDP_BODY = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\n"
_SDP_LINES = _SDP + f"Content-Length: {len(_SDP_BODY)}\r\n\r\n".encode() + _SDP_BODY


def _address(user: int) -> str:
    return f"127.{1 + (user >> 16)}.{(user >> 8) & 255}.{user & 255}"


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()


def _header(data: bytes, name: bytes) -> bytes:
    start = data.find(b"\r\n" + name + b": ")
    if start < 0:
        return b""
    start += len(name) + 4
    return data[start : data.index(b"\r\n", start)]


def _headers(data: bytes, name: bytes) -> list[bytes]:
    """All values of a header in order; a comma list is taken apart at commas between angle brackets."""
    head = data[: data.index(b"\r\n\r\n")].split(b"\r\n")
    lines = [line[len(name) + 2 :] for line in head if line.startswith(name + b": ")]
    return [
        value.strip()
        for line in lines
        for value in line.replace(b">, <", b">\0<").replace(b">,<", b">\0<").split(b"\0")
    ]
