"""ENUM: from a telephone number to a SIP URI, by NAPTR records under the operators' own roots (RFC 6116, RFC 3403).

Whoever writes those records is not this network: chains are short and without circles, expressions take linear time,
and the URI that comes out is looked at as one that a stranger sent (requirement row 113).
"""

from dataclasses import dataclass, field

from redoubt import limits
from redoubt.expressions import Expression, ExpressionError
from redoubt.sip.dns_records import Dns, LookupFailed, Naptr
from redoubt.sip.errors import SipError
from redoubt.sip.uri import SipUri, is_ip_address, parse_uri

SERVICE = "e2u"
SIP_TYPES = frozenset(("sip", "voice:sip", "pstn:sip"))  # RFC 3764, RFC 4769
URI_PARAMETERS = frozenset(("user", "npdi", "rn"))  # what a stranger may say of a number (RFC 3261 19.1.1, RFC 4694)


class EnumFault(Exception):
    """A rule that can't be used; the message says why."""


@dataclass(slots=True)
class EnumAnswer:
    """What was found, and else what was wrong with what there is: empty when the number is not known."""

    uri: SipUri | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def why(self) -> str:
        return "; ".join(self.faults)


class Enum:
    """The numbers under `roots`, the first that knows one decides. With `authentic` forged records lead nowhere."""

    def __init__(self, dns: Dns, roots: tuple[str, ...], realm: str, *, authentic: bool) -> None:
        self._dns = dns
        self._roots = tuple(root.strip(".").lower() for root in roots)
        self._realm = realm.lower()
        self._authentic = authentic

    async def find(self, number: str) -> EnumAnswer:
        """The URI of a number in international form. Never raises for what DNS says."""
        answer = EnumAnswer()
        if not is_international(number):
            answer.faults.append(f"{number[:40]} has no international form")
            return answer
        for root in self._roots:
            search = _Search(self, number, answer)
            answer.uri = await search.among(domain_of(number, root))
            if answer.uri is not None:
                break
        return answer

    async def rules(self, name: str) -> list[Naptr]:
        """The records of a name that are about SIP, or lead to other records, in their order. Raises LookupFailed."""
        records = await self._dns.naptr(name)
        if self._authentic and not records.authentic:
            raise LookupFailed(f"the records of {name} are not authentic, and they must be")
        wanted = [each for each in records.values[: limits.ENUM_RECORDS] if _is_for_sip(each)]
        return sorted(wanted, key=lambda each: (each.order, each.preference))

    def screened(self, text: str) -> SipUri:
        """A URI that a stranger made of a number. Raises EnumFault."""
        try:
            uri = parse_uri(text)
        except SipError:
            uri = None
        if not isinstance(uri, SipUri) or uri.user is None:
            raise EnumFault(f"{text[:80]!r} is no SIP URI of a user")
        if uri.password is not None or uri.headers:
            raise EnumFault(f"{text[:80]!r} carries a password or headers")
        unknown = [name for name, _value in uri.params if name.lower() not in URI_PARAMETERS]
        if unknown:
            raise EnumFault(f"{text[:80]!r} wants to say how it is routed ({', '.join(unknown)})")
        if is_ip_address(uri.host) or "." not in uri.host or uri.host.endswith(f".{self._realm}"):
            raise EnumFault(f"{text[:80]!r} names a node, not a network")
        return uri


class _Search:
    """One number under one root."""

    def __init__(self, enum: Enum, number: str, answer: EnumAnswer) -> None:
        self._enum = enum
        self._number = number
        self._faults = answer.faults
        self._asked: list[str] = []

    async def among(self, name: str, depth: int = 0) -> SipUri | None:
        """RFC 6116 5: the first rule that applies decides, with others of its order (RFC 3403 4.1)."""
        name = name.lower().rstrip(".")
        try:
            self._count(name, depth)
            rules = await self._enum.rules(name)
        except (EnumFault, LookupFailed) as fault:
            self._faults.append(str(fault))
            return None
        decided: int | None = None
        for rule in rules:
            if decided is not None and rule.order != decided:
                break
            try:
                made = rewritten(rule.regexp, self._number) if rule.regexp else rule.replacement
                if made is None:
                    continue
                decided = rule.order
                found = self._enum.screened(made) if rule.flags == "u" else await self.among(made, depth + 1)
            except EnumFault as fault:
                self._faults.append(str(fault))
                continue
            if found is not None:
                return found
        return None

    def _count(self, name: str, depth: int) -> None:
        if name in self._asked:
            raise EnumFault(f"the records of {self._asked[0]} lead in a circle to {name}")
        if depth > limits.ENUM_CHAIN or len(self._asked) >= limits.ENUM_LOOKUPS:
            raise EnumFault(f"the records of {self._asked[0]} lead on and on")
        self._asked.append(name)


def is_international(number: str) -> bool:
    """The Application Unique String (RFC 6116 3.1): "+" and digits, as many as E.164 has at most."""
    digits = number[1:]
    return number[:1] == "+" and digits.isascii() and digits.isdecimal() and len(digits) <= limits.E164_DIGITS


def domain_of(number: str, root: str) -> str:
    """Where a number's records are (RFC 6116 3.2)."""
    return ".".join((*reversed(number[1:]), root))


def rewritten(rule: str, number: str) -> str | None:
    """What a substitution makes of the number; None if it is not about it (RFC 3402 3.2). Raises EnumFault.

    The expression must match the whole number: of a part, sed would leave the rest standing beside the URI. The flag
    "i" changes nothing, a number has no letters.
    """
    delimiter = rule[:1]
    if not delimiter or delimiter.isdigit() or delimiter in "\\i":
        raise EnumFault(f"{rule[:80]!r} is no substitution")
    pieces = _pieces(rule[1:], delimiter)
    if len(pieces) != 3 or pieces[2].lower() not in ("", "i"):
        raise EnumFault(f"{rule[:80]!r} is no substitution")
    try:
        groups = Expression(pieces[0]).groups(number)
    except ExpressionError as error:
        raise EnumFault(f"{rule[:80]!r}: {error}") from error
    return None if groups is None else _filled(pieces[1], groups)


def _pieces(text: str, delimiter: str) -> list[str]:
    """Parts between delimiters; one behind a backslash is a character of its part."""
    pieces, at = [""], 0
    while at < len(text):
        step = text[at : at + 2] if text[at] == "\\" else text[at]
        at += len(step)
        if step == delimiter:
            pieces.append("")
        else:
            pieces[-1] += delimiter if step == f"\\{delimiter}" else step
    return pieces


def _filled(replacement: str, groups: tuple[str | None, ...]) -> str:
    """Back-references filled in."""
    made, at = "", 0
    while at < len(replacement):
        character = replacement[at]
        if character == "\\" and at + 1 < len(replacement):
            at += 1
            character = replacement[at]
            if character.isdecimal():
                if not 1 <= int(character) <= len(groups):
                    raise EnumFault(f"{replacement[:80]!r} names a group that is not there")
                character = groups[int(character) - 1] or ""
        made += character
        at += 1
    return made


def _is_for_sip(rule: Naptr) -> bool:
    """Flag "u" and a SIP service (RFC 6116 3.4.3), or no flag: then it leads to other rules (RFC 6116 3.4.2)."""
    service, *types = rule.service.lower().split("+")
    is_sip = service == SERVICE and not SIP_TYPES.isdisjoint(types)
    if rule.flags == "u":
        return is_sip and bool(rule.regexp)
    return rule.flags == "" and (is_sip or not rule.service)
