"""The head of a message (RFC 3261 7, 7.3.1): octets to a start line and unfolded (name, value) pairs.

Bounds are checked before anything is taken apart. NUL and a bare CR or LF are refused: two nodes that
read them differently are how a message is smuggled past the first (requirement row 95).
"""

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import TOKEN, malformed, number
from redoubt.sip.names import CANONICAL, SINGLE, canonical

Headers = list[tuple[str, str]]


def read_head(octets: bytes) -> tuple[str, Headers]:
    """Start line and headers, names canonical, values unfolded. `octets` end before the empty line."""
    lines = _read_lines(octets)
    start = lines[0]
    headers: Headers = []
    known = CANONICAL.get
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if (canonical_name := known(name)) is not None:
            headers.append((canonical_name, value.strip(" \t")))
        elif line[:1] in (" ", "\t"):
            _unfold(headers, line)
        else:
            headers.append((_unusual_name(name, colon), value.strip(" \t")))
    return start, headers


def take_length(headers: Headers, value: str) -> int:
    """Removes Content-Length: it belongs to the framing, and is computed again when a message is written."""
    if headers[-1][0] == "Content-Length":
        headers.pop()
    else:
        headers.remove(("Content-Length", value))
    return number(value, 2**53)


def _read_lines(octets: bytes) -> list[str]:
    if len(octets) > limits.SIP_HEADER_SECTION_OCTETS:
        raise SipError(513, "the header section is too long", "limits.SIP_HEADER_SECTION_OCTETS")
    text = octets.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    ends = len(lines) - 1
    if "\0" in text or text.count("\r") != ends or text.count("\n") != ends:
        raise malformed("NUL, or a CR or LF without the other, in a header", "RFC 3261 7")
    if len(lines) > limits.SIP_HEADER_LINES + 1:
        raise malformed("too many header lines", "limits.SIP_HEADER_LINES")
    if len(octets) > limits.SIP_LINE_OCTETS:
        _check_line_lengths(lines)
    return lines


def _unfold(headers: Headers, line: str) -> None:
    """A line that starts with a blank continues the one before it (RFC 3261 7.3.1)."""
    if not headers:
        raise malformed("the start line is folded", "RFC 3261 7.1")
    name, value = headers[-1]
    value = " ".join((value, line.strip(" \t"))).strip(" \t")
    if len(value) > limits.SIP_LINE_OCTETS:
        raise malformed("a header line is too long", "limits.SIP_LINE_OCTETS")
    headers[-1] = (name, value)


def _check_line_lengths(lines: list[str]) -> None:
    for line in lines:
        if len(line.encode("utf-8", "surrogateescape")) > limits.SIP_LINE_OCTETS:
            if line is lines[0]:
                raise SipError(414, "the start line is too long", "limits.SIP_LINE_OCTETS")
            raise malformed("a header line is too long", "limits.SIP_LINE_OCTETS")


def _unusual_name(name: str, colon: str) -> str:
    name = name.rstrip(" \t")
    if not colon or not name or name.strip(TOKEN):
        raise malformed("a header line has no name and colon", "RFC 3261 7.3.1")
    return canonical(name)


def check_repeats(headers: Headers) -> None:
    """400 if a header that may occur once occurs twice (RFC 3261 7.3.1)."""
    seen: set[str] = set()
    for name, _ in headers:
        if name in SINGLE:
            if name in seen:
                raise malformed(f"{name} occurs more than once", "RFC 3261 7.3.1")
            seen.add(name)
