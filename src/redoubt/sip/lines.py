"""The head of a message (RFC 3261 7, 7.3.1): octets to a start line and unfolded lines by name.

The order of lines with different names means nothing (7.3.1), so lines of one name stand together: the name is looked
up once, and copying a message copies one table whose values are shared.

Bounds are checked before anything is taken apart. NUL and a bare CR or LF are refused: two nodes that
read them differently are how a message is smuggled past the first (requirement row 95).
"""

from collections.abc import Iterable

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import TOKEN, malformed, number
from redoubt.sip.names import CANONICAL, SINGLE, canonical

Headers = list[tuple[str, str]]
Lines = dict[str, tuple[str, ...]]  # the raw values of each name, in their order


def read_head(octets: bytes) -> tuple[str, Lines]:
    """Start line and headers, names canonical, values unfolded. `octets` end before the empty line.

    400 if a header that may occur once occurs twice (RFC 3261 7.3.1).
    """
    read = _read_lines(octets)
    lines: Lines = {}
    last = ""
    known = CANONICAL.get
    for line in read[1:]:
        name, colon, value = line.partition(":")
        canonical_name = known(name)
        if canonical_name is None:
            if line[:1] in (" ", "\t"):
                _unfold(lines, last, line)
                continue
            canonical_name = _unusual_name(name, colon)
        last = canonical_name
        if last not in lines:
            lines[last] = (value.strip(" \t"),)
        elif last in SINGLE:
            raise malformed(f"{last} occurs more than once", "RFC 3261 7.3.1")
        else:
            lines[last] = (*lines[last], value.strip(" \t"))
    return read[0], lines


def gathered(headers: Iterable[tuple[str, str]]) -> Lines:
    """Lines by name."""
    lines: Lines = {}
    append(lines, headers)
    return lines


def append(lines: Lines, headers: Iterable[tuple[str, str]]) -> None:
    """Adds lines; names are canonical."""
    for name, value in headers:
        lines[name] = (*lines[name], value) if name in lines else (value,)


def one_by_one(lines: Lines) -> Headers:
    """Every line as (name, value)."""
    return [(name, value) for name, values in lines.items() for value in values]


def take_length(lines: Lines) -> int | None:
    """Removes Content-Length: it belongs to the framing, and is computed again when a message is written."""
    length = lines.pop("Content-Length", None)
    return None if length is None else number(length[0], 2**53)


def length_despite(octets: bytes) -> int | None:
    """The Content-Length of a head that is refused for another reason; None if any other node might read another."""
    length: int | None = None
    name = ""
    try:
        for line in _read_lines(octets)[1:]:
            if line[:1] not in (" ", "\t"):
                before, colon, value = line.partition(":")
                name = _unusual_name(before, colon)
                if name == "Content-Length" and length is None:
                    length = number(value.strip(" \t"), 2**53)
                    continue
            if name == "Content-Length":  # folded, or there twice
                return None
    except SipError:
        return None
    return length


def _read_lines(octets: bytes) -> list[str]:
    if len(octets) > limits.SIP_HEADER_SECTION_OCTETS:
        raise SipError(513, "the header section is too long", "limits.SIP_HEADER_SECTION_OCTETS")
    text = octets.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    content = "".join(lines)
    if "\0" in content or "\r" in content or "\n" in content:
        raise malformed("NUL, or a CR or LF without the other, in a header", "RFC 3261 7")
    if len(lines) > limits.SIP_HEADER_LINES + 1:
        raise malformed("too many header lines", "limits.SIP_HEADER_LINES")
    if len(octets) > limits.SIP_LINE_OCTETS:
        _check_line_lengths(lines)
    return lines


def _unfold(lines: Lines, name: str, line: str) -> None:
    """A line that starts with a blank continues the one before it, of that name (RFC 3261 7.3.1)."""
    if not name:
        raise malformed("the start line is folded", "RFC 3261 7.1")
    *before, value = lines[name]
    value = " ".join((value, line.strip(" \t"))).strip(" \t")
    if len(value) > limits.SIP_LINE_OCTETS:
        raise malformed("a header line is too long", "limits.SIP_LINE_OCTETS")
    lines[name] = (*before, value)


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
