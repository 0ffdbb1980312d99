"""Authorization, WWW-Authenticate and their relatives (RFC 3261 20.7, 20.44; RFC 7616; RFC 3310).

All are a scheme and a comma list of `name=value`; Authentication-Info has no scheme.
"""


from msgspec import Struct

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import TOKEN, malformed, param_name, quote, quoted_end, unquote

# RFC 7616 3.3 to 3.5 and TS 24.229 7.2A.2: a few parameters stand without quotes, all others have them.
BARE = frozenset(("algorithm", "stale", "nc", "qop", "expires"))


class Credentials(Struct, frozen=True, gc=False):
    """Scheme and parameters: each a lower-case name, the value without quotes, and whether it had them."""

    scheme: str
    params: tuple[tuple[str, str, bool], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Credentials":
        """challenge or credentials (RFC 3261 25.1). A parameter may occur once (RFC 7616 3.4)."""
        scheme, blank, rest = text.partition(" ")
        if not blank or not scheme or scheme.strip(TOKEN):
            raise malformed("an authentication scheme is missing", "RFC 3261 20.7")
        return cls(scheme, _params(rest.strip(" \t")))

    @classmethod
    def parse_info(cls, text: str) -> "Credentials":
        """Authentication-Info (RFC 3261 20.6): parameters without a scheme."""
        return cls("", _params(text))

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, None if absent."""
        for known, value, _ in self.params:
            if known == name:
                return value
        return None

    def with_param(self, name: str, value: str, quoted: bool | None = None) -> "Credentials":
        """A parameter set in place, or added at the end; quoted as its definition has it unless told."""
        if quoted is None:
            quoted = name not in BARE
        new = (name, value, quoted)
        if self.param(name) is None:
            return Credentials(self.scheme, (*self.params, new))
        return Credentials(self.scheme, tuple([new if p[0] == name else p for p in self.params]))

    def without_param(self, *names: str) -> "Credentials":
        """The same without these parameters."""
        return Credentials(self.scheme, tuple([p for p in self.params if p[0] not in names]))

    def __str__(self) -> str:
        pairs = [f"{name}={quote(value) if quoted else value}" for name, value, quoted in self.params]
        return f"{self.scheme} {','.join(pairs)}" if self.scheme else ",".join(pairs)


Challenge = Credentials


def _params(text: str) -> tuple[tuple[str, str, bool], ...]:
    """auth-param *(COMMA auth-param), scanned by the marks that end each piece."""
    params: list[tuple[str, str, bool]] = []
    at, end, escapes = 0, len(text), "\\" in text
    if text[-1:] == ",":
        raise _malformed()
    while at < end:
        equals = text.find("=", at)
        if equals < 0:
            raise _malformed()
        name = param_name(text[at:equals])
        # The common case, spelled out: a quoted value without escapes, then a comma or the end.
        close = text.find('"', equals + 2)
        if text[equals + 1 : equals + 2] == '"' and text[close + 1 : close + 2] in (",", "") and not escapes:
            if close < 0:
                raise _malformed()
            params.append((name, text[equals + 2 : close], True))
            at = close + 2
        else:
            value, quoted, at = _value(text, equals + 1)
            params.append((name, value, quoted))
    if len(params) > limits.SIP_HEADER_PARAMETERS or len({param[0] for param in params}) != len(params):
        raise malformed("an authentication parameter occurs twice", "RFC 7616 3.4")
    return tuple(params)


def _value(text: str, at: int) -> tuple[str, bool, int]:
    """The value at a place, whether it is quoted, and where the next parameter begins."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    quoted = text[at : at + 1] == '"'
    close = quoted_end(text, at) if quoted else at
    comma = text.find(",", close)
    if comma < 0:
        comma = len(text)
    rest = text[close:comma].strip(" \t")
    if quoted:
        if rest:
            raise _malformed()
        return unquote(text[at:close]), True, comma + 1
    if not rest or '"' in rest or not rest.isascii() or not rest.isprintable() or " " in rest:
        raise _malformed()
    return rest, False, comma + 1


def _malformed() -> SipError:
    return malformed("an authentication parameter is malformed", "RFC 3261 25.1")
