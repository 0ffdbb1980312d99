"""A raw SIP endpoint for tests: it says literally what a test tells it, so that it can lie.

Nothing is retransmitted, nothing is answered by itself: a test that reads top to bottom shows all that was sent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Self, cast

from tests.namespaces import phone_at

from redoubt.aka.digest import DigestAlgorithm, DigestFields, aka_password, response
from redoubt.aka.isim import Isim, MacFailure, Success, SyncFailure
from redoubt.aka.milenage import Milenage
from redoubt.aka.nonce import AkaNonce, encode_auts
from redoubt.secret import Secret
from redoubt.sip.fields import WWW_AUTHENTICATE
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import MalformedMessage, Message, Request, Response, parse_message
from redoubt.transport.flow import Address

WAIT_S = 30.0  # for what must come; a busy machine is slow
OPC = Secret(bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf"))
_numbers = count(1)

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Card:
    """An ISIM and the identities on it."""

    impi: str
    impu: str
    realm: str
    functions: Milenage
    isim: Isim

    @classmethod
    def of(cls, name: str, realm: str, k: bytes | None = None) -> Self:
        """The card of the test subscriber of that name; with another `k`, a card that isn't the HSS's."""
        functions = Milenage(Secret(k or key_of(name)), OPC)
        return cls(f"{name}@{realm}", f"sip:{name}@{realm}", realm, functions, Isim(functions))


def key_of(name: str) -> bytes:
    """K of a test subscriber."""
    return name.encode().ljust(16, b".")[:16]


def fresh(what: str) -> str:
    """A Call-ID, tag or branch part that no test has used."""
    return f"{what}-{next(_numbers)}"


class Client(asyncio.DatagramProtocol):
    """One UDP socket, maybe with a card, that talks to `server`."""

    def __init__(self, card: Card, server: Address) -> None:
        self.card = card
        self.server = server
        self.address: Address = ("", 0)
        self.received: list[Request | Response] = []  # in order, also what nobody waited for
        self.unreadable: list[bytes] = []
        self._unread: list[Request | Response] = []
        self._news = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None
        self.call_id = fresh("registration")
        self.from_tag = fresh("tag")
        self.cseq = 0
        self.challenge: Response | None = None  # the last 401
        self.outcome: Success | MacFailure | SyncFailure | None = None  # what the card said of it
        self.tampering: Callable[[Credentials], Credentials] = lambda credentials: credentials

    @classmethod
    async def open(cls, card: Card, server: Address, host: str = "127.0.0.1") -> Self:
        client = cls(card, server)
        local = phone_at(host, is_ipv6=":" in server[0]), 0
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: client, local_addr=local)
        return client

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # ---- the wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, _source: tuple[str, int]) -> None:
        if not data.strip():
            return
        try:
            self.took(parse_message(data))
        except MalformedMessage:
            self.unreadable.append(data)
            self._news.set()

    def took(self, message: Request | Response) -> None:
        """A message came."""
        self.received.append(message)
        self._unread.append(message)
        self._news.set()

    def send(self, message: Request | Response | bytes, to: Address | None = None) -> None:
        """To the server, or to any other address."""
        assert self._transport is not None
        octets = message if isinstance(message, bytes) else message.to_bytes()
        self._transport.sendto(octets, to or self.server)

    async def take(self, wanted: Callable[[Request | Response], bool], wait_s: float = WAIT_S) -> Request | Response:
        """The first message that nobody took yet and that is wanted. Raises TimeoutError."""
        async with asyncio.timeout(wait_s):
            while True:
                for message in self._unread:
                    if wanted(message):
                        self._unread.remove(message)
                        return message
                self._news.clear()
                await self._news.wait()

    async def statuses(self, wait_s: float = 0.3) -> list[int]:
        """The status codes of everything that comes within a while, readable or not."""
        await asyncio.sleep(wait_s)
        readable = [message.status for message in self.received if isinstance(message, Response)]
        return readable + [int(data[8:11]) for data in self.unreadable if data.startswith(b"SIP/2.0 ")]

    async def request(self, method: str, wait_s: float = WAIT_S) -> Request:
        """The next request of that method that came."""
        message = await self.take(lambda m: isinstance(m, Request) and m.method == method, wait_s)
        assert isinstance(message, Request)
        return message

    async def final(self, request: Request, wait_s: float = WAIT_S) -> Response:
        """The final response to a request."""

        def answers(message: Request | Response) -> bool:
            return isinstance(message, Response) and message.is_final and _same_transaction(message, request)

        message = await self.take(answers, wait_s)
        assert isinstance(message, Response)
        return message

    async def ask(self, request: Request, wait_s: float = WAIT_S) -> Response:
        """Sends, and waits for the final response."""
        self.send(request)
        return await self.final(request, wait_s)

    async def hears_nothing(self, wait_s: float = 0.2) -> bool:
        """Whether nothing has come that nobody read, and nothing comes within a while."""
        await asyncio.sleep(wait_s)
        return not self._unread

    # ---- requests

    @property
    def host(self) -> str:
        """As SIP writes it."""
        return f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]

    @property
    def contact(self) -> str:
        return f"<sip:{self.card.impu.partition(':')[2].partition('@')[0]}@{self.host}:{self.address[1]}>"

    def via(self, host: str | None = None, port: int | None = None) -> str:
        return f"SIP/2.0/UDP {host or self.host}:{port or self.address[1]};branch=z9hG4bK{fresh('b')};rport"

    def make(self, method: str, uri: str, to: str | None = None, *more: tuple[str, str], body: bytes = b"") -> Request:
        """A request outside dialogs with headers as an honest phone writes them, and `more` of a test's choice."""
        headers: Pairs = [
            ("Via", self.via()),
            ("Max-Forwards", "70"),
            ("From", f"<{self.card.impu}>;tag={fresh('tag')}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", fresh("call")),
            ("CSeq", f"1 {method}"),
            ("Contact", self.contact),
            *more,
        ]
        return Request(method, uri, headers, body)

    def within(self, first: Message, method: str, cseq: int, *more: tuple[str, str]) -> Request:
        """A request in the dialog that `first` (a 2xx to the caller, the INVITE plus To tag for the callee) shows."""
        request = self.make(method, first_contact(first), None, *more)
        called = isinstance(first, Request)
        request.set("From", (first.get("To") if called else first.get("From")) or "")
        request.set("To", (first.get("From") if called else first.get("To")) or "")
        request.set("Call-ID", first.call_id)
        request.set("CSeq", f"{cseq} {method}")
        routes = first.all("Record-Route")
        for route in routes if called else reversed(routes):
            request.add("Route", route)
        return request

    def respond(self, request: Request, status: int, *more: tuple[str, str], tag: str = "callee") -> Response:
        """Answers a request that came, and shows what it said."""
        record = [("Record-Route", value) for value in request.all("Record-Route")]
        contact = [("Contact", self.contact)] if request.method in ("INVITE", "SUBSCRIBE") else []
        answer = request.response(status, to_tag=tag, headers=(*record, *contact, *more))
        self.send(answer)
        return answer

    # ---- registration

    def register(self, authorization: Credentials | None = None, *more: tuple[str, str], **other: str) -> Request:
        """A REGISTER in this client's series; `other` may be impu, contact, expires, call_id."""
        self.cseq += 1
        impu = other.get("impu", self.card.impu)
        credentials = authorization or self.empty_credentials()
        headers: Pairs = [
            ("Via", self.via()),
            ("Max-Forwards", "70"),
            ("From", f"<{impu}>;tag={self.from_tag}"),
            ("To", f"<{impu}>"),
            ("Call-ID", other.get("call_id", self.call_id)),
            ("CSeq", f"{self.cseq} REGISTER"),
            ("Contact", other.get("contact", self.contact)),
            ("Expires", other.get("expires", "600")),
            ("Supported", "path"),
            ("Authorization", str(credentials)),
            *more,
        ]
        return Request("REGISTER", f"sip:{self.card.realm}", headers)

    def empty_credentials(self) -> Credentials:
        """What the first REGISTER says (TS 24.229 5.1.1.2.2)."""
        return _credentials(self.card, "", "")

    async def challenged(self, *more: tuple[str, str], **other: str) -> Response:
        """Sends a first REGISTER; keeps and returns the answer, a 401 as a rule."""
        answer = await self.ask(self.register(None, *more, **other))
        if answer.status == 401:
            self.challenge = answer
        return answer

    def answer(self, challenge: Response | None = None, password: Secret | None = None) -> Credentials:
        """The card's answer to the last challenge, or a digest over a password of the test's choice."""
        challenge = challenge or self.challenge
        assert challenge is not None
        asked = challenge.need(WWW_AUTHENTICATE)
        nonce = asked.param("nonce") or ""
        algorithm = DigestAlgorithm.named(asked.param("algorithm") or "") or DigestAlgorithm.AKA_V1_MD5
        fields = DigestFields(
            algorithm, self.card.impi, self.card.realm, nonce, f"sip:{self.card.realm}", "REGISTER"
        )  # fmt: skip
        if password is not None:
            return self.tampering(_credentials(self.card, nonce, response(fields, password), algorithm.value))
        aka = AkaNonce.parse(nonce)
        self.outcome = outcome = self.card.isim.authenticate(aka.rand, aka.autn)
        match outcome:
            case Success():
                proof = response(fields, aka_password(algorithm, outcome.res, outcome.ik, outcome.ck))
                return self.tampering(_credentials(self.card, nonce, proof, algorithm.value))
            case SyncFailure():
                made = _credentials(self.card, nonce, response(fields, Secret(b"")), algorithm.value)
                return self.tampering(made.with_param("auts", encode_auts(outcome.auts)))
            case MacFailure():
                return self.tampering(_credentials(self.card, nonce, "", algorithm.value))

    async def registers(self, *more: tuple[str, str], **other: str) -> Response:
        """An honest registration, both halves; the last response, whatever it is."""
        answer = await self.challenged(*more, **other)
        for _ in range(2):  # a second challenge follows an AUTS
            if answer.status != 401:
                break
            self.challenge = answer
            answer = await self.ask(self.register(self.answer(), *more, **other))
        return answer


def _credentials(card: Card, nonce: str, proof: str, algorithm: str = "AKAv1-MD5") -> Credentials:
    named = {"username": card.impi, "realm": card.realm, "nonce": nonce, "uri": f"sip:{card.realm}", "response": proof}
    made = Credentials("Digest", tuple((name, value, True) for name, value in named.items()))
    return made.with_param("algorithm", algorithm)


def _same_transaction(message: Response, request: Request) -> bool:
    return message.call_id == request.call_id and message.get("CSeq") == request.get("CSeq")


def first_contact(message: Message) -> str:
    """The URI of the Contact of a message."""
    return (message.get("Contact") or "").partition("<")[2].partition(">")[0]
