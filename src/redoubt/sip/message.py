"""SIP messages (RFC 3261 clause 7): headers in their order as (name, value) pairs, typed views on demand.

Forwarding copies the list of headers and shares the strings. A typed view is parsed when it is asked
for, and remembered until its header is changed, so change headers through the methods.
"""

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CSEQ, FROM, TO, VIA, Field
from redoubt.sip.grammar import TOKEN, malformed, split_list
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.cseq import CSeq
from redoubt.sip.lines import Headers, check_repeats, read_head, take_length
from redoubt.sip.names import canonical
from redoubt.sip.reasons import REASONS
from redoubt.sip.uri import Uri, parse_uri

T = TypeVar("T")
MANDATORY = frozenset(("Via", "From", "To", "Call-ID", "CSeq"))  # RFC 3261 8.1.1, without Max-Forwards (RFC 2543)


class Message:
    """What requests and responses share. Header names are canonical, values unfolded and otherwise raw."""

    __slots__ = ("_every", "_first", "body", "headers")

    def __init__(self, headers: Headers | None = None, body: bytes = b"") -> None:
        self.headers: Headers = [] if headers is None else headers
        self.body = body
        self._first: dict[str, Any] = {}
        self._every: dict[str, tuple[Any, ...]] = {}

    # ---- raw values

    def get(self, name: str) -> str | None:
        """The first line of that name."""
        for known, value in self.headers:
            if known == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Every line of that name."""
        return [value for known, value in self.headers if known == name]

    def has(self, name: str) -> bool:
        """Whether there is a line of that name."""
        return self.get(name) is not None

    def set(self, name: str, value: str) -> None:
        """Replace the first line of that name and drop the others, or append."""
        self._replace(canonical(name), [value])

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        name = canonical(name)
        self._forget(name)
        self.headers.append((name, value))

    def push(self, name: str, value: str) -> None:
        """Insert before the first line of that name; else Via at the top, others after the Vias."""
        name = canonical(name)
        self._forget(name)
        self.headers.insert(self._place_of(name), (name, value))

    def remove(self, name: str) -> None:
        """Drop every line of that name."""
        self._forget(name)
        if self.get(name) is not None:
            self.headers = [pair for pair in self.headers if pair[0] != name]

    # ---- typed views

    def first(self, field: Field[T]) -> T | None:
        """The first value; None if the header is absent; SipError 400 if it is malformed."""
        name = field.name
        known: T | None = self._first.get(name)
        if known is not None:
            return known
        text = self.get(name)
        if text is None:
            return None
        value = field.parse(split_list(text)[0] if field.listed else text)
        self._first[name] = value
        return value

    def need(self, field: Field[T]) -> T:
        """The first value, which the message must have."""
        known: T | None = self._first.get(field.name)
        if known is None:
            known = self.first(field)
            if known is None:
                raise malformed(f"{field.name} is missing", "RFC 3261 8.1.1")
        return known

    def every(self, field: Field[T]) -> tuple[T, ...]:
        """All values, over all lines and commas."""
        name = field.name
        known: tuple[T, ...] | None = self._every.get(name)
        if known is not None:
            return known
        texts = self.all(name)
        if field.listed:
            texts = [element for text in texts for element in split_list(text)]
        values = tuple([field.parse(text) for text in texts])
        self._every[name] = values
        return values

    def read(self, fields: Mapping[str, Field[Any]]) -> None:
        """Parse and remember every header that has a field here, in one pass; SipError 400 at a bad one."""
        found: dict[str, list[object]] = {}
        for name, text in self.headers:
            field = fields.get(name)
            if field is None or name in self._every:
                continue
            parse = field.parse
            values = [parse(element) for element in split_list(text)] if field.listed else [parse(text)]
            if name in found:
                found[name] += values
            else:
                found[name] = values
        for name, values in found.items():
            self._every[name] = tuple(values)
            self._first[name] = values[0]

    def put(self, field: Field[T], *values: T) -> None:
        """Replace all values of the header; without values, remove it."""
        name = field.name
        self._replace(name, [str(value) for value in values])
        self._every[name] = values
        if values:
            self._first[name] = values[0]

    def pop_first(self, field: Field[T]) -> T | None:
        """Remove and return the first value, whether it has a line of its own or starts a comma list."""
        value = self.first(field)
        if value is None:
            return None
        name = field.name
        at = self._place_of(name)
        rest = split_list(self.headers[at][1])[1:] if field.listed else []
        self._forget(name)
        if rest:
            self.headers[at] = (name, ", ".join(rest))
        else:
            del self.headers[at]
        return value

    @property
    def call_id(self) -> str:
        """Raw: compared octet by octet (RFC 3261 20.8)."""
        return self.get("Call-ID") or ""

    @property
    def cseq(self) -> CSeq:
        """CSeq, which parsing has checked."""
        return self.need(CSEQ)

    @property
    def from_(self) -> NameAddr:
        """From."""
        return self.need(FROM)

    @property
    def to(self) -> NameAddr:
        """To."""
        return self.need(TO)

    # ---- inside

    def _forget(self, name: str) -> None:
        self._first.pop(name, None)
        self._every.pop(name, None)

    def _place_of(self, name: str) -> int:
        after_vias = 0
        for at, (known, _) in enumerate(self.headers):
            if known == name:
                return at
            if known == "Via":
                after_vias = at + 1
        return 0 if name == "Via" else after_vias

    def _replace(self, name: str, values: list[str]) -> None:
        self._forget(name)
        headers = self.headers
        places = [at for at, pair in enumerate(headers) if pair[0] == name]
        if len(places) == 1 == len(values):  # nearly always
            headers[places[0]] = (name, values[0])
            return
        at = places[0] if places else len(headers)
        tail = [pair for pair in headers[at:] if pair[0] != name]
        headers[at:] = [(name, value) for value in values] + tail

    def _copy_into(self, other: "Message") -> None:
        other.headers = self.headers.copy()
        other.body = self.body
        other._first = self._first.copy()
        other._every = self._every.copy()

    def _octets(self, start: str) -> bytes:
        lines = [start, *map(": ".join, self.headers), f"Content-Length: {len(self.body)}", "", ""]
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a header value that this process made has a line end in it")
        return text.encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """A request. `uri` is the raw text of the Request-URI."""

    __slots__ = ("_uri", "method")

    def __init__(self, method: str, uri: str, headers: Headers | None = None, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self._uri = uri

    @property
    def uri(self) -> str:
        """The Request-URI as written."""
        return self._uri

    @uri.setter
    def uri(self, text: str) -> None:
        self._uri = text

    @property
    def request_uri(self) -> Uri:
        """The Request-URI, parsed."""
        return parse_uri(self._uri)

    def copy(self) -> Self:
        """A request of its own that shares the strings, and what was parsed already."""
        other = object.__new__(type(self))
        other.method = self.method
        other._uri = self._uri
        self._copy_into(other)
        return other

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> "Response":
        """A response to this request (RFC 3261 8.2.6.2). Record-Route is the duty of who makes a dialog."""
        copied = [pair for pair in self.headers if pair[0] in MANDATORY]
        if to_tag is not None and not self._has_to_tag():
            copied = [(n, f"{v};tag={to_tag}" if n == "To" else v) for n, v in copied]
        return Response(status, reason, [*copied, *headers])

    def _has_to_tag(self) -> bool:
        try:
            return self.to.tag is not None
        except SipError:  # a To that can't be read is returned as it came, in the 400 that it earned
            return True

    def to_bytes(self) -> bytes:
        """The octets, with the Content-Length of the body as it is."""
        return self._octets(f"{self.method} {self._uri} SIP/2.0")

    def __repr__(self) -> str:
        return f"<{self.method} {self._uri} cseq={self.get('CSeq')!r} call-id={self.call_id!r}>"


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status")

    def __init__(
        self, status: int, reason: str | None = None, headers: Headers | None = None, body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = REASONS.get(status, "Unknown") if reason is None else reason

    @property
    def is_provisional(self) -> bool:
        """1xx."""
        return self.status < 200

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """2xx to 6xx."""
        return self.status >= 200

    def copy(self) -> Self:
        """A response of its own that shares the strings, and what was parsed already."""
        other = object.__new__(type(self))
        other.status = self.status
        other.reason = self.reason
        self._copy_into(other)
        return other

    def to_bytes(self) -> bytes:
        """The octets, with the Content-Length of the body as it is."""
        return self._octets(f"SIP/2.0 {self.status} {self.reason}")

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason} cseq={self.get('CSeq')!r} call-id={self.call_id!r}>"


class MalformedMessage(SipError):
    """A message that can't be taken. `response_to` is as much of a request as answering it needs."""

    def __init__(self, fault: SipError, response_to: Request | None) -> None:
        super().__init__(fault.status, fault.why, fault.clause, fault.headers)
        self.response_to = response_to


def parse_message(data: bytes) -> Request | Response:
    """Read one datagram (RFC 3261 18.3): octets beyond Content-Length are dropped, too few are refused."""
    end = data.find(b"\r\n\r\n")
    try:
        if end < 0:
            raise malformed("the head of the message does not end", "RFC 3261 7")
        message, length = read_message_head(data[:end])
        body = data[end + 4 :]
        if length is not None:
            if length > len(body):
                raise malformed("Content-Length is beyond the end of the datagram", "RFC 3261 18.3")
            body = body[:length]
        if len(body) > limits.SIP_BODY_OCTETS:
            raise SipError(413, "the body is too long", "limits.SIP_BODY_OCTETS")
    except SipError as fault:
        raise MalformedMessage(fault, answerable(data if end < 0 else data[:end])) from fault
    message.body = body
    return message


def read_message_head(octets: bytes) -> tuple[Request | Response, int | None]:
    """A message without its body, and its Content-Length. Checks what everything that follows relies on."""
    start, headers = read_head(octets)
    last = dict(headers)
    if len(last) != len(headers):
        check_repeats(headers)
    if not last.keys() >= MANDATORY:
        raise malformed("Via, From, To, Call-ID or CSeq is missing", "RFC 3261 8.1.1")
    length = last.get("Content-Length")
    declared = None if length is None else take_length(headers, length)
    message = _start(start, headers)
    message.need(VIA)
    cseq = message.need(CSEQ)
    if isinstance(message, Request) and cseq.method != message.method:
        raise malformed("the method of CSeq is not that of the request", "RFC 3261 8.1.1.5")
    return message, declared


def _start(line: str, headers: Headers) -> Request | Response:
    """Request-Line or Status-Line (RFC 3261 7.1, 7.2): single blanks, nothing else."""
    if line[:8] == "SIP/2.0 ":
        code, _, reason = line[8:].partition(" ")
        if len(code) != 3 or not code.isascii() or not code.isdigit() or not "100" <= code <= "699":
            raise malformed("a status line has no status code", "RFC 3261 7.2")
        return Response(int(code), reason, headers)
    parts = line.split(" ")
    if len(parts) != 3 or not parts[0] or parts[0].strip(TOKEN) or not parts[1]:
        raise malformed("the start line is malformed", "RFC 3261 7.1")
    if parts[2] != "SIP/2.0":
        if parts[2][:4].upper() == "SIP/" and parts[2].upper() != "SIP/2.0":
            raise SipError(505, "another version of SIP", "RFC 3261 7.1")
        if parts[2].upper() != "SIP/2.0":
            raise malformed("the start line is malformed", "RFC 3261 7.1")
    if parts[1][0] == "<":
        raise malformed("the Request-URI stands in angle brackets", "RFC 4475 3.1.2.7")
    return Request(parts[0], parts[1], headers)


def answerable(octets: bytes) -> Request | None:
    """As much of a malformed request as its response needs, if that much can be read; never of an ACK."""
    text = octets[: limits.SIP_HEADER_SECTION_OCTETS].decode("utf-8", "surrogateescape")
    start, *lines = text.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    method = start.partition(" ")[0]
    if not start.rstrip().endswith(" SIP/2.0") or not method or method.strip(TOKEN) or method == "ACK":
        return None
    headers: Headers = []
    for line in lines[: limits.SIP_HEADER_LINES]:
        name, _, value = line.partition(":")
        name = canonical(name.strip())
        if name in MANDATORY and "\r" not in value and "\n" not in value and "\0" not in value:
            headers.append((name, value.strip(" \t")))
    request = Request(method, "sip:malformed.invalid", headers)
    try:
        return request if request.first(VIA) is not None else None
    except SipError:
        return None
