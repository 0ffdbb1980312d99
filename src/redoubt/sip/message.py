"""SIP messages (RFC 3261 clause 7): header lines by name, typed views on demand.

Forwarding copies two tables and shares what they hold. A typed view is parsed when it is asked for, and remembered
until its header is changed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeVar

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CSEQ, FROM, TO, VIA, Field
from redoubt.sip.grammar import TOKEN, malformed, split_list
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.cseq import CSeq
from redoubt.sip.lines import Headers, Lines, gathered, one_by_one, read_head, take_length
from redoubt.sip.names import canonical
from redoubt.sip.reasons import REASONS
from redoubt.sip.uri import Uri, parse_uri

T = TypeVar("T")
MANDATORY = ("Via", "From", "To", "Call-ID", "CSeq")  # RFC 3261 8.1.1, without Max-Forwards (RFC 2543)
REQUIRED = frozenset(MANDATORY)


class Message:
    """What requests and responses share. Header names are canonical, values unfolded and otherwise raw."""

    __slots__ = ("_lines", "_views", "body")

    def __init__(self, headers: Iterable[tuple[str, str]] | Lines = (), body: bytes = b"") -> None:
        self._lines: Lines = headers if isinstance(headers, dict) else gathered(headers)
        self._views: dict[str, tuple[Any, ...]] = {}  # all values of a name, parsed
        self.body = body

    # ---- raw values

    @property
    def headers(self) -> Headers:
        """Every line; those of one name stand together."""
        return one_by_one(self._lines)

    def get(self, name: str) -> str | None:
        """The first line of that name."""
        known = self._lines.get(name)
        return None if known is None else known[0]

    def all(self, name: str) -> list[str]:
        """Every line of that name."""
        return list(self._lines.get(name, ()))

    def has(self, name: str) -> bool:
        """Whether there is a line of that name."""
        return name in self._lines

    def present(self, names: frozenset[str]) -> frozenset[str]:
        """Which of these names the message has lines of."""
        return names.intersection(self._lines)

    def set(self, name: str, value: str) -> None:
        """Replace the first line of that name and drop the others, or append."""
        name = canonical(name)
        self._lines[name] = (value,)
        self._views.pop(name, None)

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        name = canonical(name)
        self._lines[name] = (*self._lines.get(name, ()), value)
        self._views.pop(name, None)

    def extend(self, headers: Iterable[tuple[str, str]]) -> None:
        """Append lines."""
        for name, value in headers:
            self.add(name, value)

    def push(self, name: str, value: str) -> None:
        """Insert before the first line of that name; else Via at the top, others after the Vias."""
        name = canonical(name)
        lines = self._lines
        if name in lines:
            lines[name] = (value, *lines[name])
            self._views.pop(name, None)
        elif name == "Via" or "Via" not in lines:
            self._lines = {name: (value,), **lines}
        else:
            self._lines = {"Via": lines["Via"], name: (value,), **lines}

    def remove(self, name: str) -> None:
        """Drop every line of that name."""
        if self._lines.pop(name, None) is not None:
            self._views.pop(name, None)

    # ---- typed views

    def first(self, field: Field[T]) -> T | None:
        """The first value; None if the header is absent; SipError 400 if it is malformed."""
        name = field.name
        known: tuple[T, ...] | None = self._views.get(name)
        if known is not None:
            return known[0]
        lines = self._lines.get(name)
        if lines is None:
            return None
        text = lines[0]
        if field.listed and "," in text:
            return field.parse(split_list(text)[0])  # what follows may be malformed, and nobody asked for it
        value = field.parse(text)
        if len(lines) == 1:
            self._views[name] = (value,)
        return value

    def need(self, field: Field[T]) -> T:
        """The first value, which the message must have."""
        value = self.first(field)
        if value is None:
            raise malformed(f"{field.name} is missing", "RFC 3261 8.1.1")
        return value

    def every(self, field: Field[T]) -> tuple[T, ...]:
        """All values, over all lines and commas."""
        name = field.name
        known: tuple[T, ...] | None = self._views.get(name)
        if known is None:
            lines = self._lines.get(name)
            if lines is None:
                return ()
            known = self._views[name] = field.values(lines)
        return known

    def read(self, fields: Mapping[str, Field[Any]]) -> None:
        """Parse and remember every header that has a field here, in one pass; SipError 400 at a bad one."""
        views = self._views
        for name, lines in self._lines.items():
            if name not in views and (field := fields.get(name)) is not None:
                views[name] = field.values(lines)

    def put(self, field: Field[T], *values: T) -> None:
        """Replace all values of the header; without values, remove it."""
        if values:
            self._lines[field.name] = tuple([str(value) for value in values])
            self._views[field.name] = values
        else:
            self.remove(field.name)

    def pop_first(self, field: Field[T]) -> T | None:
        """Remove and return the first value, whether it has a line of its own or starts a comma list."""
        value = self.first(field)
        if value is None:
            return None
        name = field.name
        line, *lines = self._lines[name]
        if field.listed and "," in line and (rest := split_list(line)[1:]):
            lines.insert(0, ", ".join(rest))
        known = self._views.pop(name, ())
        if lines:
            self._lines[name] = tuple(lines)
            if len(known) > 1:
                self._views[name] = known[1:]
        else:
            del self._lines[name]
        return value

    @property
    def call_id(self) -> str:
        """Raw: compared octet by octet (RFC 3261 20.8)."""
        known = self._lines.get("Call-ID")
        return "" if known is None else known[0]

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

    def _copy_into(self, other: "Message") -> None:
        other._lines = self._lines.copy()
        other._views = self._views.copy()
        other.body = self.body

    def _octets(self, start: str) -> bytes:
        lines = [f"{name}: {value}" for name, values in self._lines.items() for value in values]
        lines = [start, *lines, f"Content-Length: {len(self.body)}", "", ""]
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a header value that this process made has a line end in it")
        return text.encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """A request. `uri` is the raw text of the Request-URI."""

    __slots__ = ("_uri", "method")

    def __init__(
        self, method: str, uri: str, headers: Iterable[tuple[str, str]] | Lines = (), body: bytes = b""
    ) -> None:
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
        mine = self._lines
        response = Response(status, reason, {name: mine[name] for name in MANDATORY if name in mine})
        if to_tag is not None and "To" in mine and not self._has_to_tag():
            response._lines["To"] = (f"{mine['To'][0]};tag={to_tag}",)
        for name, value in headers:
            response.add(name, value)
        return response

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
        self,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] | Lines = (),
        body: bytes = b"",
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
    start, lines = read_head(octets)
    if not lines.keys() >= REQUIRED:
        raise malformed("Via, From, To, Call-ID or CSeq is missing", "RFC 3261 8.1.1")
    declared = take_length(lines)
    message = _start(start, lines)
    message.need(VIA)
    cseq = message.need(CSEQ)
    if isinstance(message, Request) and cseq.method != message.method:
        raise malformed("the method of CSeq is not that of the request", "RFC 3261 8.1.1.5")
    return message, declared


def _start(line: str, lines: Lines) -> Request | Response:
    """Request-Line or Status-Line (RFC 3261 7.1, 7.2): single blanks, nothing else."""
    if line[:8] == "SIP/2.0 ":
        code, _, reason = line[8:].partition(" ")
        if len(code) != 3 or not code.isascii() or not code.isdigit() or not "100" <= code <= "699":
            raise malformed("a status line has no status code", "RFC 3261 7.2")
        return Response(int(code), reason, lines)
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
    return Request(parts[0], parts[1], lines)


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
