"""One question to one name server, so that nobody but that server can answer it (RFC 5452, requirement row 114).

Over UDP an answer counts only from the server's own address, at a port and with an identifier and a spelling of the
name that were drawn for this question alone; after a few that fit not, or one that was cut off, the question goes by
TCP (RFC 7766). A server behind TLS proves its name (RFC 7858, RFC 8310); with a shared key each answer is signed (RFC
8945).
"""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.tsig

from redoubt import limits
from redoubt.sip.dns_records import LookupFailed
from redoubt.sip.service import Context

PORTS = (16_384, 65_535)  # drawn from
GUESSABLE_PORT = 20_053  # with the protection off
PORTS_TRIED = 8  # until one is free
HEADER_OCTETS = 12
TLS_PADDING = 128  # octets, so that lengths tell less (RFC 8467 4.1)

Message = dns.message.QueryMessage


@dataclass(frozen=True, slots=True)
class NameServer:
    """Where to ask. `tls` is the context for transport tls, whose server must prove `name`."""

    transport: str
    host: str
    port: int
    name: str = ""
    tls: Any = field(default=None, repr=False)
    key: dns.tsig.Key | None = field(default=None, repr=False)

    @property
    def is_trusted(self) -> bool:
        """Whether nobody on the way can have changed what it says, so that its own judgement can be believed."""
        return self.transport == "tls" or self.key is not None

    def __str__(self) -> str:
        return f"{self.transport}:{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Asking:
    """Questions to one server, over sockets of its own. `validates`: signatures are wanted, too."""

    def __init__(self, context: Context, server: NameServer, validates: bool = False) -> None:
        self._context = context
        self.server = server
        self._validates = validates
        self._own_host = ""
        self._quiet_until = 0.0
        self._stream: _Stream | None = None
        self._opening = asyncio.Lock()

    async def ask(self, name: dns.name.Name, kind: str) -> Message:
        """The server's answer, whatever it says. Raises LookupFailed, OSError."""
        try:
            async with asyncio.timeout(limits.DNS_SERVER_S):
                return await self._answer(name, kind)
        except TimeoutError:
            raise LookupFailed(f"{self.server} does not answer") from None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    async def _answer(self, name: dns.name.Name, kind: str) -> Message:
        if self.server.transport == "udp":
            for _ in range(limits.DNS_TRIES):
                answer, wants_stream = await self._by_datagram(self._question(name, kind))
                if answer is not None:
                    return answer
                if wants_stream:
                    break
            else:
                raise LookupFailed(f"{self.server} does not answer")
        return await (await self._opened()).ask(self._question(name, kind))

    # ---- what a forger has to guess

    def _question(self, name: dns.name.Name, kind: str) -> Message:
        padding = TLS_PADDING if self.server.transport == "tls" else 0
        question = dns.message.make_query(
            self._spelt(name), kind, use_edns=0, payload=limits.DNS_UDP_OCTETS, want_dnssec=self._validates,
            id=self._draw(), pad=padding,
        )  # fmt: skip
        question.flags |= dns.flags.AD  # RFC 6840 5.7: please say whether it is authentic
        if self.server.key is not None:
            question.use_tsig(self.server.key)
        return question

    @property
    def _is_guarded(self) -> bool:
        return self._context.enforces("dns-source")

    def _draw(self) -> int:
        return int.from_bytes(self._context.randomness.octets(2), "big")

    def _spelt(self, name: dns.name.Name) -> dns.name.Name:
        """Each letter in a case that was drawn: the answer repeats them (draft-vixie-dnsext-dns0x20)."""
        if not self._is_guarded:
            return name
        coins = int.from_bytes(self._context.randomness.octets(32), "big")
        labels = []
        for label in name.labels:
            octets = bytearray(label.lower())
            for place, octet in enumerate(octets):
                if 97 <= octet <= 122:
                    octets[place] -= 32 * (coins & 1)
                    coins >>= 1
            labels.append(bytes(octets))
        return dns.name.Name(labels)

    def _read(self, question: Message, data: bytes) -> Message | None:
        """The answer to that question; None for anything else. The cheap look comes first: floods are thrown away."""
        if len(data) < HEADER_OCTETS or int.from_bytes(data[:2], "big") != question.id or not data[2] & 0x80:
            return None
        try:
            message = dns.message.from_wire(data, keyring=question.keyring, request_mac=question.mac)
        except (dns.exception.DNSException, ValueError):
            return None
        if self.server.key is not None and not message.had_tsig:
            return None
        if not isinstance(message, Message) or len(message.question) != 1 or not question.is_response(message):
            return None
        if self._is_guarded and message.question[0].name.labels != question.question[0].name.labels:
            return None
        return message

    # ---- the wires

    async def _by_datagram(self, question: Message) -> tuple[Message | None, bool]:
        """The answer, and without one whether to ask by TCP: because it was cut off, or because somebody forges."""
        loop = asyncio.get_running_loop()
        guesses = limits.DNS_MISFITS if self._is_guarded else 1 << 16
        waiting = _Datagrams(lambda data: self._read(question, data), loop.create_future(), guesses)
        transport = await self._endpoint(waiting)
        wants_stream = True
        try:
            self._send(transport, question.to_wire())
            async with asyncio.timeout(limits.DNS_TRY_S):
                answer = await waiting.answer
        except TimeoutError:
            answer, wants_stream = None, bool(waiting.rejected)
        finally:
            transport.close()
        if waiting.rejected and self._is_guarded:
            self._tell_of_forgers(waiting.rejected)
        if answer is not None and not answer.flags & dns.flags.TC:
            return answer, False
        return None, wants_stream

    def _tell_of_forgers(self, misfits: int) -> None:
        """Once in a while: a flood of them is not to become one of notices."""
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            return
        self._quiet_until = now + limits.DNS_NOTICE_S
        self._context.notice(
            "warning",
            f"{misfits} datagrams answered a question to {self.server} that they did not fit",
            "somebody forges DNS answers; let [dns] servers be reached by tls:, or with a TSIG key",
        )

    async def _endpoint(self, protocol: "_Datagrams") -> asyncio.DatagramTransport:
        """A socket for one question, at a port that was drawn; the system lets only the server's datagrams in."""
        loop, server = asyncio.get_running_loop(), (self.server.host, self.server.port)
        if not self._own_host:
            probe, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=server)
            self._own_host = str(probe.get_extra_info("sockname")[0])
            probe.close()
        for attempt in range(PORTS_TRIED):
            port = PORTS[0] + self._draw() % (PORTS[1] - PORTS[0] + 1) if self._is_guarded else GUESSABLE_PORT + attempt
            try:
                made, _ = await loop.create_datagram_endpoint(
                    lambda: protocol,
                    local_addr=(self._own_host, port),
                    remote_addr=server if self._is_guarded else None,
                )
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    self._own_host = ""  # this machine moved
                    raise
                continue
            return made
        raise LookupFailed("no free port was found to ask from")

    def _send(self, transport: asyncio.DatagramTransport, data: bytes) -> None:
        if self._is_guarded:
            transport.sendto(data)
        else:
            transport.sendto(data, (self.server.host, self.server.port))

    async def _opened(self) -> "_Stream":
        """The connection, kept for the next question (RFC 7766 6.2.1). Raises LookupFailed."""
        async with self._opening:
            if self._stream is None or self._stream.is_closed:
                server = self.server
                stream = _Stream(self._read)
                try:
                    async with asyncio.timeout(limits.DNS_TRY_S):
                        await asyncio.get_running_loop().create_connection(
                            lambda: stream, server.host, server.port, ssl=server.tls,
                            server_hostname=(server.name or server.host) if server.tls is not None else None,
                        )  # fmt: skip
                except TimeoutError:
                    raise LookupFailed(f"{server} can't be reached") from None
                except OSError as error:  # ssl.SSLError is one
                    raise LookupFailed(f"{server}: {error}") from error
                self._stream = stream
            return self._stream


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the one datagram that fits, and counts those that do not."""

    def __init__(
        self, read: Callable[[bytes], Message | None], answer: "asyncio.Future[Message | None]", guesses: int
    ) -> None:
        self._read = read
        self._guesses = guesses
        self.answer = answer
        self.rejected = 0

    def datagram_received(self, data: bytes, _source: object) -> None:
        if self.answer.done():
            return
        message = self._read(data)
        if message is not None:
            self.answer.set_result(message)
            return
        if len(data) != HEADER_OCTETS:  # which servers send who could read no more of the question
            self.rejected += 1
        if self.rejected >= self._guesses or len(data) == HEADER_OCTETS:
            self.answer.set_result(None)

    def error_received(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(LookupFailed(f"the name server can't be reached: {error}"))


class _Stream(asyncio.Protocol):
    """A connection with questions under way; answers come in any order (RFC 7766 6.2.1.1)."""

    def __init__(self, read: Callable[[Message, bytes], Message | None]) -> None:
        self._read = read
        self._waiting: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def ask(self, question: Message) -> Message:
        if self.is_closed or question.id in self._waiting:
            raise LookupFailed("the connection to the name server has no room for the question")
        assert self._transport is not None
        answer = asyncio.get_running_loop().create_future()
        self._waiting[question.id] = (question, answer)
        self._rest()
        wire = question.to_wire()
        self._transport.write(len(wire).to_bytes(2, "big") + wire)
        try:
            return cast(Message, await answer)
        finally:
            self._waiting.pop(question.id, None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._idle is not None:
            self._idle.cancel()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(limits.DNS_IDLE_S, self.close)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._rest()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < 2 + length:
                return
            wire = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            question, answer = self._waiting.get(int.from_bytes(wire[:2], "big"), (None, None))
            if question is None or answer is None:
                continue  # late: whoever asked has gone
            message = self._read(question, wire)
            if message is None:
                self.close()  # what comes here fits, or the server is broken
                if len(wire) == HEADER_OCTETS and not answer.done():
                    said = dns.rcode.to_text(dns.rcode.Rcode(wire[3] & 15))
                    answer.set_exception(LookupFailed(f"the name server answers {said}"))
            elif not answer.done():
                answer.set_result(message)

    def connection_lost(self, _error: Exception | None) -> None:
        self.close()
        for _question, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LookupFailed("the name server closed the connection without an answer"))
