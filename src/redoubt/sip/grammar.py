"""Scanning primitives of RFC 3261 clause 25: tokens, quoted strings, comma lists, parameters.

Everything is scanned left to right with `str` methods. `text.strip(CHARACTERS) == ""` asks, in C, whether
a text consists of these characters alone. Parameter names are lowered when read, values stay as written.
"""

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache

from redoubt import limits
from redoubt.sip.errors import SipError

Params = tuple[tuple[str, str | None], ...]

DIGITS = "0123456789"
HEX = "0123456789abcdefABCDEF"
ALPHANUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
TOKEN = ALPHANUM + "-.!%*_+`'~"
WORD = TOKEN + '()<>:\\"/[]?{}'
DISPLAY = TOKEN + " \t"
# gen-value is a token, a host or a quoted string. Read more: RFC 3329 and P- headers of real phones carry
# ':', '@', '/' and '=' unquoted. What would end the value or the message is never part of it.
VALUE = ALPHANUM + "-.!%*_+`'~[]:/@=?&$#(){}|^\\"
# Names of parameters that nearly every message has.
USUAL_NAMES = {
    name: sys.intern(name)
    for name in (
        "branch", "expires", "lr", "received", "rport", "tag",
        "q", "alg", "ealg", "prot", "mod", "spi-c", "spi-s", "port-c", "port-s",
    )
}  # fmt: skip


def malformed(what: str, clause: str = "RFC 3261 25.1") -> SipError:
    """A 400: the text broke the grammar."""
    return SipError(400, what, clause)


def is_token(text: str) -> bool:
    """token of RFC 3261 25.1, not empty."""
    return bool(text) and not text.strip(TOKEN)


def token(text: str) -> str:
    """The text, if it is a token."""
    if not text or text.strip(TOKEN):
        raise malformed(f"{text[:40]!r} is no token")
    return text


def number(text: str, maximum: int) -> int:
    """1*DIGIT up to a maximum. `int` alone would take signs, underscores and the digits of other scripts."""
    if not text or text.strip(DIGITS) or len(text) > 32:
        raise malformed(f"{text[:40]!r} is no number")
    value = int(text)
    if value > maximum:
        raise malformed(f"{text} is above {maximum}")
    return value


def quoted_end(text: str, start: int) -> int:
    """The index after the quote that closes the quoted string which opens at `start`."""
    at = start + 1
    while True:
        quote = text.find('"', at)
        if quote < 0:
            raise malformed("a quoted string is not closed")
        escape = text.find("\\", at, quote)
        if escape < 0:
            return quote + 1
        at = escape + 2


def unquote(text: str) -> str:
    """The value of a quoted string, or the text itself if it isn't one."""
    if len(text) < 2 or text[0] != '"':
        return text
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    pieces, at = [], 0
    while (escape := inner.find("\\", at)) >= 0:
        pieces.append(inner[at:escape] + inner[escape + 1 : escape + 2])
        at = escape + 2
    return "".join(pieces) + inner[at:]


def quote(text: str) -> str:
    """A quoted string with this value."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside quoted strings and angle brackets."""
    if '"' not in text and "<" not in text:
        return text.split(separator)
    pieces, start, at, cut, bracket = [], 0, 0, -1, -1
    while True:
        # What was found beyond `at` stays found: a hostile line is not scanned again for each of its quotes.
        cut = _next(text, separator, at, cut)
        if cut == len(text):
            pieces.append(text[start:])
            return pieces
        bracket = _next(text, "<", at, bracket)
        mark = text.find('"', at, min(cut, bracket))
        if mark >= 0:
            at = quoted_end(text, mark)
        elif bracket < cut:
            at = text.find(">", bracket) + 1
            if not at:
                raise malformed("an angle bracket is not closed")
        else:
            pieces.append(text[start:cut])
            start = at = cut + 1


def _next(text: str, character: str, at: int, known: int) -> int:
    if known >= at:
        return known
    found = text.find(character, at)
    return len(text) if found < 0 else found


def split_list(text: str) -> list[str]:
    """The elements of a comma list (RFC 3261 7.3.1), stripped. None may be empty."""
    if "," not in text:
        return [text]
    elements = [piece.strip(" \t") for piece in split_outside(text, ",")]
    if "" in elements:
        raise malformed("a comma list has an empty element")
    if len(elements) > limits.SIP_LIST_ELEMENTS:
        raise malformed("a comma list has too many elements", "limits.SIP_LIST_ELEMENTS")
    return elements


def read_params(text: str) -> Params:
    """The parameters of `;a=b;c`, without the first semicolon."""
    if '"' in text:
        return _params_one_by_one(split_outside(text, ";"))
    if " " in text:
        text = text.strip(" ").replace("; ", ";")
    if " " in text or "," in text or "<" in text or ">" in text or not (text.isascii() and text.isprintable()):
        return _params_one_by_one(text.split(";"))
    # Most parameters: what stands here can't be anything but names and values.
    params: list[tuple[str, str | None]] = []
    for piece in text.split(";"):
        written, equals, value = piece.partition("=")
        name = USUAL_NAMES.get(written) or param_name(written)
        if value:
            params.append((name, value))
        elif equals:
            raise malformed(f"parameter {name[:40]} has no value after '='")
        else:
            params.append((name, None))
    if len(params) > limits.SIP_HEADER_PARAMETERS:
        raise malformed("too many header parameters", "limits.SIP_HEADER_PARAMETERS")
    return tuple(params)


@lru_cache(1024)
def param_name(name: str) -> str:
    """A parameter's name in lower case: a token, without the blanks around it."""
    name = name.strip(" \t")
    if not name or name.strip(TOKEN):
        raise malformed(f"{name[:40]!r} is no name of a parameter")
    return sys.intern(name.lower())


def _params_one_by_one(pieces: list[str]) -> Params:
    if len(pieces) > limits.SIP_HEADER_PARAMETERS:
        raise malformed("too many header parameters", "limits.SIP_HEADER_PARAMETERS")
    return tuple([_param(piece) for piece in pieces])


def _param(piece: str) -> tuple[str, str | None]:
    name, equals, value = piece.partition("=")
    name = param_name(name)
    if not equals:
        return name, None
    value = value.strip(" \t")
    if not value:
        raise malformed(f"parameter {name[:40]} has no value after '='")
    if value[0] == '"':
        if quoted_end(value, 0) != len(value):
            raise malformed(f"parameter {name[:40]} goes on after its quoted value")
    elif value.strip(VALUE):
        raise malformed(f"parameter {name[:40]} has a value with forbidden characters")
    return name, value


def value_and_params(text: str) -> tuple[str, Params]:
    """The shape of most headers: a value without semicolons, then parameters."""
    value, semicolon, rest = text.partition(";")
    return value.strip(" \t"), read_params(rest) if semicolon else ()


def find_param(params: Sequence[tuple[str, str | None]], name: str) -> str | None:
    """A parameter's value without quotes, "" if it has none, None if it is absent. The first one counts."""
    for known, value in params:
        if known == name:
            if value is None:
                return ""
            return unquote(value) if value[:1] == '"' else value
    return None


def print_params(params: Iterable[tuple[str, str | None]]) -> str:
    """`;a=b;c`, or nothing."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def change_params(params: Params, changes: dict[str, str | None]) -> Params:
    """Set parameters in place or at the end. "" means a parameter without a value, None: remove it."""
    left = dict(changes)
    changed: list[tuple[str, str | None]] = []
    for name, value in params:
        if name not in changes:
            changed.append((name, value))
        elif name in left and (new := left.pop(name)) is not None:
            changed.append((name, new or None))
    changed += [(name, new or None) for name, new in left.items() if new is not None]
    return tuple(changed)
