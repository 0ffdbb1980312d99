"""The shape that every AKA algorithm set has: TS 33.102 clause 6.3.2, f1 to f5 and the two
resynchronisation functions.

MILENAGE and TUAK satisfy it. Which one a subscriber's card runs is the operator's choice; nothing else here
asks.
"""

from typing import Protocol

from msgspec import Struct

from redoubt.secret import Secret

RAND_OCTETS = 16
SQN_OCTETS = 6
AMF_OCTETS = 2
MAC_OCTETS = 8
"""What AUTN and AUTS have room for (TS 33.102 6.3.2). TUAK can make longer ones, which no IMS message
carries.
"""


class KeyAgreement(Struct, frozen=True, gc=False):
    """What f2 to f5 make of one RAND: RES (4 to 32 octets), CK and IK (16 or 32), AK (6)."""

    res: Secret
    ck: Secret
    ik: Secret
    ak: Secret


class AuthenticationFunctions(Protocol):
    """One subscriber's f1 to f5* under one K. `rand` is 16 octets, `sqn` 6, `amf` 2; a MAC is 8 octets
    unless TUAK says more.
    """

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, by which the network shows itself to the card."""
        ...

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-S, by which the card shows the authentication centre that AUTS is its own."""
        ...

    def f2345(self, rand: bytes) -> KeyAgreement:
        """RES, CK, IK and AK."""
        ...

    def f5_star(self, rand: bytes) -> bytes:
        """AK*, which hides SQN_MS in AUTS: 6 octets."""
        ...

    def vector(self, rand: bytes, sqn: bytes, amf: bytes) -> tuple[bytes, KeyAgreement]:
        """f1 and f2 to f5 at once, for less than the two calls cost: what an authentication vector is made
        of.
        """
        ...


def exclusive_or(left: bytes, right: bytes) -> bytes:
    """Bitwise sum of two strings of the same length; SQN is hidden with it."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


def expect_octets(name: str, value: bytes | Secret, *allowed: int) -> None:
    """Refuse an input of the wrong length; the message never holds the value."""
    if len(value) not in allowed:
        wanted = " or ".join(str(octets) for octets in allowed)
        raise ValueError(f"{name} has {len(value)} octets and must have {wanted}")
