"""Sequence numbers by TS 33.102 Annex C: SQN is 48 bits, SEQ followed by IND.

The authentication centre counts SEQ up and hands out indices; the card keeps the highest SEQ that it
accepted for each index. So vectors fetched in arrays by several nodes may be used out of order between
nodes, and never twice.
"""

from dataclasses import dataclass
from typing import Self

SQN_BITS = 48


class SequenceExhausted(Exception):
    """The subscriber's SEQ has reached its end: the card must be replaced (TS 33.102 C.1.1.1 note on
    wrap-around).
    """


@dataclass(frozen=True, slots=True)
class SequenceScheme:
    """The parameters that card and authentication centre share (TS 33.102 C.3.2: not time-based, 5 bits of
    IND, 32 entries).

    `delta` is the largest jump of SEQ that a card takes, `age_limit` (L of C.2.2) how far behind the
    highest a late one may be; None is no such limit.
    """

    ind_bits: int = 5
    delta: int = 1 << 28
    age_limit: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.ind_bits <= 16:
            raise ValueError(f"ind_bits is {self.ind_bits}; it must be 0 to 16")
        if not 0 < self.delta < 1 << (SQN_BITS - self.ind_bits):
            raise ValueError(f"delta is {self.delta}; it must be positive and below the range of SEQ")
        if self.age_limit is not None and self.age_limit < 0:
            raise ValueError(f"age_limit is {self.age_limit}; leave it out for none")

    @property
    def indices(self) -> int:
        """How many entries the card's array has."""
        return 1 << self.ind_bits

    def join(self, seq: int, ind: int) -> int:
        """SQN = SEQ || IND."""
        return seq << self.ind_bits | ind

    def split(self, sqn: int) -> tuple[int, int]:
        """SEQ and IND of a SQN."""
        return sqn >> self.ind_bits, sqn & (self.indices - 1)

    def following(self, sqn_he: int, ind: int | None = None) -> int:
        """The SQN to use after `sqn_he`: SEQ one higher (C.1.1.2); IND as given, or the next in turn
        (C.1.2).
        """
        seq, last_ind = self.split(sqn_he)
        if ind is None:
            ind = (last_ind + 1) % self.indices
        elif not 0 <= ind < self.indices:
            raise ValueError(f"index {ind} is outside the {self.indices} entries of the card's array")
        sqn = self.join(seq + 1, ind)
        if sqn >> SQN_BITS:
            raise SequenceExhausted(f"SEQ {seq} is the last of {SQN_BITS - self.ind_bits} bits")
        return sqn

    def in_range(self, sqn_he: int, sqn_ms: int) -> bool:
        """Whether the card at `sqn_ms` takes what follows `sqn_he`, whatever index it gets (TS 33.102 6.3.5
        step 3).
        """
        ahead = self.split(sqn_he)[0] + 1 - self.split(sqn_ms)[0]
        return 0 < ahead <= self.delta

    def resynchronised(self, sqn_he: int, sqn_ms: int) -> int:
        """SQN_HE after a genuine AUTS: unchanged if it was in range, else the card's own (TS 33.102 6.3.5
        steps 3 to 5).
        """
        return sqn_he if self.in_range(sqn_he, sqn_ms) else sqn_ms


class SequenceArray:
    """The card's half: the highest SEQ accepted for each index (TS 33.102 C.2.1)."""

    __slots__ = ("_highest", "_seqs", "scheme")

    def __init__(self, scheme: SequenceScheme | None = None, seqs: tuple[int, ...] = ()) -> None:
        """`seqs` is a former `state`; nothing is a card that was never used."""
        self.scheme = scheme or SequenceScheme()
        if seqs and len(seqs) != self.scheme.indices:
            raise ValueError(f"{len(seqs)} stored sequence numbers for an array of {self.scheme.indices}")
        self._seqs = list(seqs) or [0] * self.scheme.indices
        self._highest = max(self.scheme.join(seq, ind) for ind, seq in enumerate(self._seqs))

    @classmethod
    def at(cls, sqn: int, scheme: SequenceScheme | None = None) -> Self:
        """A card for which everything up to the SEQ of `sqn` is used."""
        scheme = scheme or SequenceScheme()
        return cls(scheme, (scheme.split(sqn)[0],) * scheme.indices)

    @property
    def highest(self) -> int:
        """SQN_MS: the highest SQN accepted so far, which AUTS reports."""
        return self._highest

    @property
    def state(self) -> tuple[int, ...]:
        """SEQ by index, to be stored."""
        return tuple(self._seqs)

    def accept(self, sqn: int) -> bool:
        """Take `sqn` if it is fresh, and remember it. A refused one changes nothing (TS 33.102 C.2.2)."""
        seq, ind = self.scheme.split(sqn)
        highest_seq = self.scheme.split(self._highest)[0]
        if seq - highest_seq > self.scheme.delta:
            return False  # (i): a jump that would wear the counter out
        if self.scheme.age_limit is not None and highest_seq - seq > self.scheme.age_limit:
            return False  # (ii): too old
        if seq <= self._seqs[ind]:
            return False  # (iii): used, or overtaken by a later one of its index
        self._seqs[ind] = seq
        self._highest = max(self._highest, sqn)
        return True
