"""SIP requests and responses (RFC 3261 clause 7), and how they are read from octets."""

from collections.abc import Iterable
from typing import Self

from redoubt import limits
from redoubt.sip.base_message import Message
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CSEQ, VIA
from redoubt.sip.grammar import TOKEN, malformed
from redoubt.sip.lines import Headers, Lines, append, read_head, take_length
from redoubt.sip.names import canonical
from redoubt.sip.reasons import REASONS
from redoubt.sip.uri import Uri, parse_uri

__all__ = ["MalformedMessage", "Message", "Request", "Response", "answerable", "parse_message", "read_message_head"]

MANDATORY = ("Via", "From", "To", "Call-ID", "CSeq")  # RFC 3261 8.1.1, without Max-Forwards (RFC 2543)
REQUIRED = frozenset(MANDATORY)


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
        if headers:
            append(response._lines, headers)
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
    """As much of a malformed request as its response needs, if that much can be read; never of an ACK.

    So that the response can be read, a header that must be there once is: its first line, or one that says nothing.
    """
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
    return _completed(Request(method, "sip:malformed.invalid", headers))


def _completed(request: Request) -> Request | None:
    try:
        if request.first(VIA) is None:
            return None
    except SipError:
        return None
    nobody = {"From": "<sip:malformed.invalid>", "To": "<sip:malformed.invalid>", "Call-ID": "malformed.invalid"}
    for name, stand_in in nobody.items():
        request.set(name, request.get(name) or stand_in)
    try:
        request.set("CSeq", request.get("CSeq") or "")
        request.need(CSEQ)
    except SipError:
        request.set("CSeq", f"0 {request.method}")
    return request
