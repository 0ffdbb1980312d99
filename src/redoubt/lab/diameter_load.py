"""The Diameter load generator: a CSCF that asks Cx questions over one connection, as many at a time as it is told.

It is a measuring tool, not a node: a blocking socket in a process of its own on the second core. It knows as much of
RFC 6733 as a peer needs that never fails, and of TS 29.229 four requests.
"""

import select
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Literal

from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import Avp, AvpGroup
from redoubt.diameter.codec import DiameterMessage, decode, message_length
from redoubt.diameter.cx import ServerAssignmentType, UserAuthorizationType
from redoubt.diameter.results import VENDOR_3GPP
from redoubt.lab.load import SILENCE_S, LoadFailed

CX = 16777216
CAPABILITIES_EXCHANGE, DEVICE_WATCHDOG, DISCONNECT_PEER = 257, 280, 282
REQUEST_BIT = 0x80
SUCCESSES = {("", 2001), ("experimental", 2001), ("experimental", 2002)}

Question = Literal["UAR", "MAR", "SAR", "LIR"]
QUESTIONS: tuple[Question, ...] = ("UAR", "MAR", "SAR", "LIR")
_COMMANDS: dict[Question, int] = {"UAR": 300, "SAR": 301, "LIR": 302, "MAR": 303}


class DiameterLoad:
    """One peer connection. `run` keeps `window` requests under way, or starts them at `rate` a second."""

    def __init__(
        self, address: tuple[str, int], identity: str, realm: str, server_name: str, window: int = 64
    ) -> None:
        self.window = window
        self.latencies: list[float] = []
        self._realm = realm
        self._identity = identity
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._open: dict[int, float] = {}
        self._number = 0
        common = [
            d.VENDOR_SPECIFIC_APPLICATION_ID.of(_cx_application()),
            d.AUTH_SESSION_STATE.of(d.AuthSessionState.NO_STATE_MAINTAINED),
            d.ORIGIN_HOST.of(identity),
            d.ORIGIN_REALM.of(realm),
            d.DESTINATION_REALM.of(realm),
        ]
        scheme = AvpGroup().add(d.SIP_AUTHENTICATION_SCHEME, "Digest-AKAv1-MD5")
        server = d.SERVER_NAME.of(server_name)
        assignment = ServerAssignmentType.REGISTRATION
        self._fixed: dict[Question, list[Avp]] = {
            "UAR": [
                *common,
                d.VISITED_NETWORK_IDENTIFIER.of(realm.encode()),
                d.USER_AUTHORIZATION_TYPE.of(UserAuthorizationType.REGISTRATION),
            ],
            "MAR": [*common, server, d.SIP_NUMBER_AUTH_ITEMS.of(1), d.SIP_AUTH_DATA_ITEM.of(scheme)],
            "SAR": [
                *common,
                server,
                d.SERVER_ASSIGNMENT_TYPE.of(assignment),
                d.USER_DATA_ALREADY_AVAILABLE.of(d.UserDataAvailable.NOT_AVAILABLE),
            ],
            "LIR": common,
        }
        self._exchange_capabilities()

    def close(self) -> None:
        self._socket.close()

    def run(
        self,
        question: Question,
        users: range,
        rate: float = 0.0,
        tick: Callable[[int], None] = lambda _done: None,
    ) -> float:
        """Asks once for each user; the seconds that it took. Latencies are kept. Raises LoadFailed."""
        self.latencies = []
        began = last = time.perf_counter()
        started = done = 0
        while done < len(users):
            now = time.perf_counter()
            starting = len(users) - started
            if rate:
                starting = min(starting, int((now - began) * rate) + 1 - started)
            else:
                starting = min(starting, self.window - len(self._open))
            self._send([self._question(question, users[started + more]) for more in range(starting)])
            started += starting
            finished = self._receive(0.001 if rate else SILENCE_S)
            done += finished
            if finished:
                last = time.perf_counter()
                tick(done)
            elif time.perf_counter() - last > SILENCE_S:
                raise LoadFailed(f"{len(self._open)} {question} got no answer for {SILENCE_S:.0f} s")
        return time.perf_counter() - began

    # ---- what is sent

    def _question(self, question: Question, user: int) -> bytes:
        self._number += 1
        number = self._number
        impi = f"u{user}@{self._realm}"
        message = DiameterMessage(_COMMANDS[question], CX, hop_by_hop=number, end_to_end=number)
        message.add(d.SESSION_ID, f"{self._identity};{number >> 16};{number}")
        message.avps += self._fixed[question]
        if question != "LIR":
            message.add(d.USER_NAME, impi)
        message.add(d.PUBLIC_IDENTITY, f"sip:{impi}")
        self._open[number] = time.perf_counter()
        return message.to_bytes()

    def _send(self, messages: list[bytes]) -> None:
        if messages:
            self._socket.sendall(b"".join(messages))

    def _exchange_capabilities(self) -> None:
        """RFC 6733 5.3, with Cx as a vendor-specific application (TS 29.229 5.6)."""
        request = DiameterMessage(CAPABILITIES_EXCHANGE, 0, REQUEST_BIT, 1, 1)
        request.add(d.ORIGIN_HOST, self._identity).add(d.ORIGIN_REALM, self._realm)
        request.add(d.HOST_IP_ADDRESS, IPv4Address("127.0.0.1")).add(d.VENDOR_ID, VENDOR_3GPP)
        request.add(d.PRODUCT_NAME, "redoubt bench").add(d.SUPPORTED_VENDOR_ID, VENDOR_3GPP)
        request.add(d.VENDOR_SPECIFIC_APPLICATION_ID, _cx_application())
        self._number = 1
        self._open[1] = time.perf_counter()
        self._send([request.to_bytes()])
        if not self._receive(SILENCE_S):
            raise LoadFailed("the HSS answered no Capabilities-Exchange-Request")

    # ---- what arrives

    def _receive(self, wait_s: float) -> int:
        """How many questions were answered by what has arrived, waiting once if nothing has."""
        readable, _, _ = select.select([self._socket], [], [], wait_s)
        if not readable:
            return 0
        data = self._socket.recv(1 << 18)
        if not data:
            raise LoadFailed("the HSS closed the connection")
        received = self._received + data
        at = finished = 0
        while len(received) - at >= 4 and len(received) - at >= (length := message_length(received[at : at + 4])):
            finished += self._took(decode(received[at : at + length]))
            at += length
        self._received = received[at:]
        return finished

    def _took(self, message: DiameterMessage) -> int:
        if message.is_request:
            self._answer(message)
            return 0
        began = self._open.pop(message.hop_by_hop, None)
        if began is None:
            raise LoadFailed(f"an answer that nobody asked for: {message}")
        self.latencies.append(time.perf_counter() - began)
        result = _result(message)
        if result not in SUCCESSES:
            raise LoadFailed(f"{message.command} was answered {' '.join(map(str, result)).strip()}")
        return 1

    def _answer(self, request: DiameterMessage) -> None:
        """A watchdog's question (RFC 6733 5.5); nothing else is expected."""
        if request.command != DEVICE_WATCHDOG:
            raise LoadFailed(f"the HSS asked something: {request}")
        answer = request.answer()
        answer.add(d.ORIGIN_HOST, self._identity).add(d.ORIGIN_REALM, self._realm)
        self._send([answer.to_bytes()])


def _cx_application() -> AvpGroup:
    return AvpGroup().add(d.VENDOR_ID, VENDOR_3GPP).add(d.AUTH_APPLICATION_ID, CX)


def _result(answer: DiameterMessage) -> tuple[str, int]:
    code = answer.first(d.RESULT_CODE)
    if code is not None:
        return "", code
    experimental = answer.need(d.EXPERIMENTAL_RESULT)
    return "experimental", experimental.need(d.EXPERIMENTAL_RESULT_CODE)
