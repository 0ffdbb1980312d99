"""CSeq (RFC 3261 20.16) and RAck (RFC 3262 7.2)."""


from msgspec import Struct

from redoubt.sip.grammar import malformed, number, token


class CSeq(Struct, frozen=True, gc=False):
    """Sequence number and method."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "CSeq":
        """1*DIGIT LWS Method, the number below 2**31 (RFC 3261 8.1.1.5)."""
        parts = text.split()
        if len(parts) != 2:
            raise malformed("CSeq is not a number and a method", "RFC 3261 20.16")
        return cls(number(parts[0], 2**31 - 1), token(parts[1]))

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class RAck(Struct, frozen=True, gc=False):
    """The provisional response that a PRACK acknowledges: its RSeq and its CSeq."""

    rseq: int
    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "RAck":
        """response-num LWS CSeq-num LWS Method."""
        parts = text.split()
        if len(parts) != 3:
            raise malformed("RAck is not two numbers and a method", "RFC 3262 7.2")
        return cls(number(parts[0], 2**32 - 1), number(parts[1], 2**31 - 1), token(parts[2]))

    def __str__(self) -> str:
        return f"{self.rseq} {self.number} {self.method}"
