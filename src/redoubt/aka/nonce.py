"""The nonce that carries an AKA challenge inside HTTP digest (RFC 3310 3.2), AUTS (3.4), and how often a
nonce was used.
"""

import base64
import binascii
from dataclasses import dataclass

from redoubt.aka.algorithm import RAND_OCTETS
from redoubt.aka.vector import AUTN_OCTETS, AUTS_OCTETS

_NC_DIGITS = frozenset("0123456789abcdefABCDEF")


class MalformedNonce(ValueError):
    """The nonce or AUTS isn't base64 of what RFC 3310 puts there."""


@dataclass(frozen=True, slots=True)
class AkaNonce:
    """base64(RAND, 16 octets || AUTN, 16 octets || server data, any)."""

    rand: bytes
    autn: bytes
    server_data: bytes = b""

    @classmethod
    def parse(cls, text: str) -> "AkaNonce":
        """Raises MalformedNonce for anything that can't be a challenge."""
        octets = _decode(text, "nonce")
        if len(octets) < RAND_OCTETS + AUTN_OCTETS:
            raise MalformedNonce(f"the nonce holds {len(octets)} octets, and RAND and AUTN are 32")
        autn_end = RAND_OCTETS + AUTN_OCTETS
        return cls(octets[:RAND_OCTETS], octets[RAND_OCTETS:autn_end], octets[autn_end:])

    def __str__(self) -> str:
        return base64.b64encode(self.rand + self.autn + self.server_data).decode("ascii")


def encode_auts(auts: bytes) -> str:
    """AUTS as the `auts` parameter carries it (RFC 3310 3.4)."""
    return base64.b64encode(auts).decode("ascii")


def decode_auts(text: str) -> bytes:
    """The 14 octets of an `auts` parameter; raises MalformedNonce."""
    octets = _decode(text, "auts")
    if len(octets) != AUTS_OCTETS:
        raise MalformedNonce(f"auts holds {len(octets)} octets and must hold {AUTS_OCTETS}")
    return octets


class NonceUse:
    """How far one nonce is used: every nonce-count is accepted once, in rising order (RFC 7616 3.4, `nc`)."""

    __slots__ = ("_last",)

    def __init__(self, last: int = 0) -> None:
        self._last = last

    @property
    def last(self) -> int:
        """The highest nonce-count accepted; 0 is a nonce never used."""
        return self._last

    def accept(self, nc: str | None) -> bool:
        """Whether `nc` is fresh, remembered if so. Ask only once the response is verified, or a forger
        burns counts.

        Without qop there is no count (None): such a response can't be told from its own replay, so it is
        good once, and only for a nonce that no other response used.
        """
        if nc is None:
            count = 1 if self._last == 0 else 0
        else:
            count = int(nc, 16) if is_nonce_count(nc) else 0
        if count <= self._last:
            return False
        self._last = count
        return True


def is_nonce_count(nc: str) -> bool:
    """Eight hexadecimal digits (RFC 7616 3.4, nc-value)."""
    return len(nc) == 8 and _NC_DIGITS.issuperset(nc)


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedNonce(f"the {what} is not base64") from None
