"""A software ISIM: what the application on the card does when a challenge comes (TS 33.102 6.3.3, TS 31.103
AUTHENTICATE).

It checks that the network knows K (MAC-A), then that the challenge is fresh (SQN), and only then answers.
"""

import hmac
from dataclasses import dataclass

from redoubt.aka.algorithm import AMF_OCTETS, RAND_OCTETS, SQN_OCTETS, AuthenticationFunctions, exclusive_or
from redoubt.aka.sequence import SequenceArray
from redoubt.aka.vector import AUTN_OCTETS, make_auts
from redoubt.secret import Secret


@dataclass(frozen=True, slots=True)
class Success:
    """The network is authentic and the challenge fresh: here is the answer, and the keys of the session."""

    res: Secret
    ck: Secret
    ik: Secret


@dataclass(frozen=True, slots=True)
class MacFailure:
    """AUTN wasn't made with this card's K: the network isn't authentic."""


@dataclass(frozen=True, slots=True)
class SyncFailure:
    """AUTN is genuine and not fresh: `auts` (14 octets) tells the authentication centre where the card's
    SQN stands.
    """

    auts: bytes


class Isim:
    """One card: an algorithm set under its K, and its array of sequence numbers."""

    __slots__ = ("_functions", "_sequence")

    def __init__(self, functions: AuthenticationFunctions, sequence: SequenceArray | None = None) -> None:
        self._functions = functions
        self._sequence = sequence or SequenceArray()

    @property
    def state(self) -> tuple[int, ...]:
        """SEQ by index: what must survive the process, given back as `SequenceArray(scheme, state)`."""
        return self._sequence.state

    def authenticate(self, rand: bytes, autn: bytes) -> Success | MacFailure | SyncFailure:
        """Answer a challenge. Only a Success changes the card's state."""
        if len(rand) != RAND_OCTETS or len(autn) != AUTN_OCTETS:
            return MacFailure()
        keys = self._functions.f2345(rand)
        sqn = exclusive_or(autn[:SQN_OCTETS], keys.ak.reveal())
        amf, mac_a = autn[SQN_OCTETS : SQN_OCTETS + AMF_OCTETS], autn[SQN_OCTETS + AMF_OCTETS :]
        if not hmac.compare_digest(self._functions.f1(rand, sqn, amf), mac_a):
            return MacFailure()
        if not self._sequence.accept(int.from_bytes(sqn, "big")):
            return SyncFailure(make_auts(self._functions, rand, self._sequence.highest))
        return Success(keys.res, keys.ck, keys.ik)
