"""Retry-After (RFC 3261 20.33) and Date (RFC 3261 20.17, RFC 1123)."""


from msgspec import Struct

from redoubt.sip.grammar import DIGITS, Params, malformed, number, print_params, read_params

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class RetryAfter(Struct, frozen=True, gc=False):
    """Seconds, a comment (without its parentheses) and parameters."""

    seconds: int
    comment: str = ""
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "RetryAfter":
        """delta-seconds [comment] *(;param)."""
        seconds = text[: len(text) - len(text.lstrip(DIGITS))]
        rest = text[len(seconds) :].strip(" \t")
        comment = ""
        if rest[:1] == "(":
            end = _comment_end(rest)
            comment, rest = rest[1 : end - 1], rest[end:].strip(" \t")
        if rest and rest[0] != ";":
            raise malformed("Retry-After is malformed", "RFC 3261 20.33")
        return cls(number(seconds, 2**32 - 1), comment, read_params(rest[1:]) if rest else ())

    def __str__(self) -> str:
        comment = f" ({self.comment})" if self.comment else ""
        return f"{self.seconds}{comment}{print_params(self.params)}"


def _comment_end(text: str) -> int:
    depth, at = 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    raise malformed("a comment is not closed", "RFC 3261 25.1")


def check_date(text: str) -> str:
    """rfc1123-date: always GMT (RFC 3261 20.17)."""
    parts = text.split(" ")
    if len(parts) != 6 or parts[0].rstrip(",") not in DAYS or parts[0][-1] != "," or parts[5] != "GMT":
        raise malformed("Date is no RFC 1123 date in GMT", "RFC 3261 20.17")
    clock = parts[4].split(":")
    shape = [len(parts[1]), len(parts[3]), *map(len, clock)]
    if shape != [2, 4, 2, 2, 2] or parts[2] not in MONTHS:
        raise malformed("Date is no RFC 1123 date in GMT", "RFC 3261 20.17")
    for text_, maximum in zip([parts[1], parts[3], *clock], [31, 9999, 23, 59, 60], strict=True):
        number(text_, maximum)
    return text
