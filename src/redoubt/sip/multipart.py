"""Multipart bodies (RFC 2046 5.1, RFC 5621): split into parts, bounded in number and depth."""

from dataclasses import dataclass

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import malformed
from redoubt.sip.headers.subscription import ContentType
from redoubt.sip.lines import Lines, one_by_one, read_head

PLAIN = ContentType("text/plain")  # RFC 2046 5.1: what a part without Content-Type is


@dataclass(frozen=True, slots=True)
class Part:
    """One body part; `parts` are those inside it if it is itself multipart."""

    content_type: ContentType
    headers: tuple[tuple[str, str], ...]
    body: bytes
    parts: tuple["Part", ...] = ()


def split_body(content_type: ContentType, body: bytes, depth: int = 1) -> tuple[Part, ...]:
    """The parts of a multipart body; a body of another type is the one part that it is."""
    if not content_type.media_type.startswith("multipart/"):
        return (Part(content_type, (), body),)
    if depth > limits.MULTIPART_DEPTH:
        raise SipError(400, "multipart bodies are nested too deep", "limits.MULTIPART_DEPTH")
    boundary = content_type.param("boundary")
    if not boundary or len(boundary) > 70:
        raise malformed("a multipart body has no boundary", "RFC 2046 5.1.1")
    pieces = _pieces(b"\r\n" + body, b"\r\n--" + boundary.encode("utf-8", "surrogateescape"))
    return tuple([_part(piece, depth) for piece in pieces])


def _pieces(body: bytes, delimiter: bytes) -> list[bytes]:
    """What stands between delimiter lines; preamble and epilogue are ignored (RFC 2046 5.1.1)."""
    pieces: list[bytes] = []
    at = body.find(delimiter)
    while at >= 0:
        start = at + len(delimiter)
        if body[start : start + 2] == b"--":
            if not pieces:
                raise malformed("a multipart body has no part", "RFC 2046 5.1.1")
            return pieces
        end_of_line = body.find(b"\r\n", start)
        at = body.find(delimiter, start)
        if end_of_line < 0 or body[start:end_of_line].strip(b" \t") or at < 0:
            break
        pieces.append(body[end_of_line + 2 : at] if at > end_of_line else b"")
        if len(pieces) > limits.MULTIPART_PARTS:
            raise SipError(400, "a multipart body has too many parts", "limits.MULTIPART_PARTS")
    raise malformed("a multipart body is not closed", "RFC 2046 5.1.1")


def _part(octets: bytes, depth: int) -> Part:
    lines: Lines = {}
    if octets[:2] == b"\r\n":
        body = octets[2:]
    else:
        head, end, body = octets.partition(b"\r\n\r\n")
        if not end:
            raise malformed("a body part has no end of its headers", "RFC 2046 5.1")
        # The first line of a part is a header already, where a message has its start line.
        _, lines = read_head(b"part\r\n" + head)
    content_type = ContentType.parse(lines["Content-Type"][0]) if "Content-Type" in lines else PLAIN
    nested = content_type.media_type.startswith("multipart/")
    parts = split_body(content_type, body, depth + 1) if nested else ()
    return Part(content_type, tuple(one_by_one(lines)), body, parts)
