"""One connection to a Diameter node: frames, decodes, and matches answers to requests (RFC 6733 3, 6.2)."""

import asyncio
from typing import NamedTuple, Protocol

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage, MalformedMessage, decode
from redoubt.diameter.framing import Framer
from redoubt.diameter.local import LAST, Local
from redoubt.sip.service import contained
from redoubt.transport.flow import Flow, FlowFailed


class LinkLost(Exception):
    """The connection went away before the answer came: the request may be tried elsewhere (RFC 6733 5.5.4)."""


class TooManyWaiting(Exception):
    """As many requests wait for this peer as may."""


class Asked(NamedTuple):
    """A request that waits for its answer; one of the base protocol has no future."""

    end_to_end: int
    command: int
    future: "asyncio.Future[DiameterMessage] | None"


class Receiver(Protocol):
    """Whoever a link belongs to: its peer, or the door before the peer is known."""

    def heard(self, link: "Link") -> None: ...

    def request(self, link: "Link", message: DiameterMessage) -> None: ...

    def base_answer(self, link: "Link", message: DiameterMessage) -> None: ...

    def stray_answer(self, message: DiameterMessage) -> Asked | None: ...

    def gone(self, link: "Link") -> None: ...


class Link:
    """A connection, whoever opened it. `name` is for reports: who it is, or the address while that is not known."""

    __slots__ = ("_framer", "_local", "_next", "flow", "name", "pending", "receiver")

    def __init__(self, local: Local, flow: Flow, receiver: Receiver) -> None:
        self._local = local
        self._framer = Framer()
        self._next = int.from_bytes(local.context.randomness.octets(4), "big")
        self.flow = flow
        self.receiver = receiver
        self.name = f"{flow.transport}:{flow.remote[0]}:{flow.remote[1]}"
        self.pending: dict[int, Asked] = {}

    # ---- out

    def answer(self, message: DiameterMessage) -> bytes:
        """Sends an answer of this node, returns its octets; a peer that went away meanwhile asks again elsewhere."""
        if not message.has(d.ORIGIN_HOST):
            message.avps += self._local.origin
        octets = message.to_bytes()
        try:
            self.flow.send(octets)
        except FlowFailed as failure:
            self.report(f"an answer could not be sent: {failure}", "RFC 6733 6.2")
        return octets

    def ask(self, message: DiameterMessage) -> "asyncio.Future[DiameterMessage]":
        """Sends a request; what is returned gets the answer, or LinkLost. Raises LinkLost, TooManyWaiting."""
        if len(self.pending) >= limits.DIAMETER_REQUESTS_WAITING:
            raise TooManyWaiting
        future: asyncio.Future[DiameterMessage] = asyncio.get_running_loop().create_future()
        self._send_request(message, future)
        return future

    def tell(self, message: DiameterMessage) -> None:
        """Sends a request of the base protocol; its answer comes to `base_answer`. Raises LinkLost."""
        self._send_request(message, None)

    def forget(self, message: DiameterMessage) -> None:
        """Nobody waits for this request's answer any more."""
        self.pending.pop(message.hop_by_hop, None)

    def give_back(self) -> None:
        """Everybody who waits is told to try elsewhere."""
        pending, self.pending = self.pending, {}
        for asked in pending.values():
            if asked.future is not None and not asked.future.done():
                asked.future.set_exception(LinkLost(self.name))

    def report(self, why: str, clause: str, status: int = 0) -> None:
        self._local.context.refused(status, why, clause, source=self.name)

    # ---- in

    def received(self, data: bytes) -> bool:
        """Whether a message was whole."""
        found = self._framer.feed(data)
        if found:
            contained(self._local.context, "", self._take, found)
        if self._framer.broken is not None:
            error = self._framer.broken
            self.report(f"{error.why}; the connection was closed", error.clause, error.result)
            self.flow.close()
        return bool(found)

    def closed(self) -> None:
        self.give_back()
        contained(self._local.context, "", self.receiver.gone, self)

    def _take(self, found: list[bytes]) -> None:
        self.receiver.heard(self)
        for octets in found:
            try:
                message = decode(octets)
            except MalformedMessage as error:
                self._malformed(error)
                continue
            if message.is_request:
                self.receiver.request(self, message)
            else:
                self._take_answer(message)

    def _take_answer(self, message: DiameterMessage) -> None:
        """Counts on the connection of its request only, and with both identifiers (requirement row 105)."""
        asked = self.pending.get(message.hop_by_hop)
        if asked is None or asked.end_to_end != message.end_to_end or asked.command != message.command:
            asked = self.receiver.stray_answer(message)
            if asked is None:
                self.report("an answer that nobody waits for, late or forged, was dropped", "RFC 6733 6.2")
                return
        else:
            del self.pending[message.hop_by_hop]
        if asked.future is None:
            self.receiver.base_answer(self, message)
        elif not asked.future.done():
            asked.future.set_result(message)

    def _malformed(self, error: MalformedMessage) -> None:
        self.report(error.why, error.clause, error.result)
        if error.message.is_request:
            self.answer(error.message.answer(error.result, error.failed))
            return
        asked = self.pending.get(error.message.hop_by_hop)
        if asked is None or asked.future is None or asked.end_to_end != error.message.end_to_end:
            return
        if not asked.future.done():  # waiting longer would bring nothing
            asked.future.set_exception(DiameterError(error.result, error.why, error.clause))

    def _send_request(self, message: DiameterMessage, future: "asyncio.Future[DiameterMessage] | None") -> None:
        message.hop_by_hop = self._next = self._next + 1 & LAST
        try:
            self.flow.send(message.to_bytes())
        except FlowFailed as failure:
            raise LinkLost(f"{self.name}: {failure}") from failure
        self.pending[message.hop_by_hop] = Asked(message.end_to_end, message.command, future)
