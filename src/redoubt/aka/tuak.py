"""TUAK, the Keccak-based algorithm set of TS 35.231, with every length that it allows.

A TUAK block with one Keccak iteration is exactly one block of SHAKE256 (96 octets in, and TUAK's padding is
SHAKE's own), so hashlib does the common case; `keccak` does the rest. Strings stand reversed in the block
(TS 35.231 clause 5).
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from redoubt.aka.algorithm import AMF_OCTETS, RAND_OCTETS, SQN_OCTETS, KeyAgreement, expect_octets
from redoubt.aka.keccak import keccak_f1600
from redoubt.secret import Secret

TOP_OCTETS = 32
MOST_ITERATIONS = 255
"""TS 35.231 lets the operator choose; each costs about half a millisecond, so more is a mistake."""

_ALGORITHM_NAME = b"TUAK1.0"
_SHAKE256_RATE_OCTETS = 136
_NO_RAND, _NO_SQN, _NO_AMF = bytes(RAND_OCTETS), bytes(SQN_OCTETS), bytes(AMF_OCTETS)
# The INSTANCE octet (TS 35.231 clause 6): which function, then the lengths of what it makes, then that of K.
_F1, _F1_STAR, _F2345, _F5_STAR = 0x00, 0x80, 0x40, 0xC0
_MAC_LENGTH = {64: 0x08, 128: 0x10, 256: 0x20}
_RES_LENGTH = {32: 0x00, 64: 0x08, 128: 0x10, 256: 0x20}
_CK_LENGTH = {128: 0x00, 256: 0x04}
_IK_LENGTH = {128: 0x00, 256: 0x02}
_LONG_KEY = 0x01


@dataclass(frozen=True, slots=True)
class TuakLengths:
    """How long TUAK's results are, in bits. IMS AKA carries a MAC of 64 bits, RES of 32 to 128, keys of
    128.
    """

    mac: int = 64
    res: int = 64
    ck: int = 128
    ik: int = 128

    def __post_init__(self) -> None:
        _expect_bits("mac", self.mac, _MAC_LENGTH)
        _expect_bits("res", self.res, _RES_LENGTH)
        _expect_bits("ck", self.ck, _CK_LENGTH)
        _expect_bits("ik", self.ik, _IK_LENGTH)


class Tuak:
    """f1 to f5* for one K and TOPc (TS 35.231 clauses 6.2 to 6.6). Satisfies `AuthenticationFunctions`."""

    __slots__ = ("_iterations", "_k", "_keys_instance", "_lengths", "_long_key", "_mac_instance", "_topc")

    def __init__(
        self, k: Secret, topc: Secret, lengths: TuakLengths | None = None, keccak_iterations: int = 1
    ) -> None:
        expect_octets("K", k, 16, 32)
        expect_octets("TOPc", topc, TOP_OCTETS)
        _expect_iterations(keccak_iterations)
        self._lengths = lengths or TuakLengths()
        self._iterations = keccak_iterations
        self._k = _key_field(k)
        self._long_key = _long_key(k)
        self._topc = topc.reveal()[::-1]
        self._mac_instance = _MAC_LENGTH[self._lengths.mac]
        self._keys_instance = (
            _RES_LENGTH[self._lengths.res] | _CK_LENGTH[self._lengths.ck] | _IK_LENGTH[self._lengths.ik]
        )

    @classmethod
    def with_top(
        cls, k: Secret, top: Secret, lengths: TuakLengths | None = None, keccak_iterations: int = 1
    ) -> Self:
        """From the operator's TOP instead of the subscriber's TOPc."""
        return cls(k, derive_topc(k, top, keccak_iterations), lengths, keccak_iterations)

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A (TS 35.231 clause 6.3)."""
        return self._block(_F1 | self._mac_instance, rand, amf, sqn)[: self._lengths.mac // 8][::-1]

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-S (TS 35.231 clause 6.4)."""
        return self._block(_F1_STAR | self._mac_instance, rand, amf, sqn)[: self._lengths.mac // 8][::-1]

    def f2345(self, rand: bytes) -> KeyAgreement:
        """RES, CK, IK and AK from one block (TS 35.231 clause 6.5): they start at bits 0, 256, 512 and 768.
        """
        out = self._block(_F2345 | self._keys_instance, rand, _NO_AMF, _NO_SQN)
        lengths = self._lengths
        return KeyAgreement(
            res=Secret(out[: lengths.res // 8][::-1]),
            ck=Secret(out[32 : 32 + lengths.ck // 8][::-1]),
            ik=Secret(out[64 : 64 + lengths.ik // 8][::-1]),
            ak=Secret(out[96:102][::-1]),
        )

    def f5_star(self, rand: bytes) -> bytes:
        """AK* (TS 35.231 clause 6.6)."""
        return self._block(_F5_STAR, rand, _NO_AMF, _NO_SQN)[96:102][::-1]

    def vector(self, rand: bytes, sqn: bytes, amf: bytes) -> tuple[bytes, KeyAgreement]:
        """f1 and f2 to f5."""
        return self.f1(rand, sqn, amf), self.f2345(rand)

    def _block(self, instance: int, rand: bytes, amf: bytes, sqn: bytes) -> bytes:
        expect_octets("RAND", rand, RAND_OCTETS)
        expect_octets("AMF", amf, AMF_OCTETS)
        expect_octets("SQN", sqn, SQN_OCTETS)
        return _permuted(self._topc, instance | self._long_key, rand, amf, sqn, self._k, self._iterations)


def derive_topc(k: Secret, top: Secret, keccak_iterations: int = 1) -> Secret:
    """TOPc from TOP and K (TS 35.231 clause 6.1), so that TOP need not be kept beside every key."""
    expect_octets("K", k, 16, 32)
    expect_octets("TOP", top, TOP_OCTETS)
    _expect_iterations(keccak_iterations)
    reversed_top = top.reveal()[::-1]
    out = _permuted(
        reversed_top, _long_key(k), _NO_RAND, _NO_AMF, _NO_SQN, _key_field(k), keccak_iterations
    )
    return Secret(out[:TOP_OCTETS][::-1])


def _permuted(
    top: bytes, instance: int, rand: bytes, amf: bytes, sqn: bytes, key: bytes, iterations: int
) -> bytes:
    """The block of TS 35.231 clause 5 after the permutation: its first 102 octets, still reversed. `top`,
    `key` come so.
    """
    fields = (top, bytes((instance,)), _ALGORITHM_NAME[::-1], rand[::-1], amf[::-1], sqn[::-1], key)
    block = b"".join(fields)
    if iterations == 1:
        return hashlib.shake_256(block).digest(102)
    state = bytearray(200)
    state[: len(block)] = block
    state[len(block)] = 0x1F
    state[_SHAKE256_RATE_OCTETS - 1] = 0x80
    permuted = bytes(state)
    for _ in range(iterations):
        permuted = keccak_f1600(permuted)
    return permuted[:102]


def _key_field(k: Secret) -> bytes:
    return k.reveal()[::-1].ljust(32, b"\0")


def _long_key(k: Secret) -> int:
    return _LONG_KEY if len(k) == 32 else 0


def _expect_iterations(count: int) -> None:
    if not 1 <= count <= MOST_ITERATIONS:
        raise ValueError(f"TUAK runs Keccak 1 to {MOST_ITERATIONS} times, not {count}")


def _expect_bits(name: str, bits: int, allowed: dict[int, int]) -> None:
    if bits not in allowed:
        raise ValueError(f"TUAK {name} of {bits} bits; it must be one of {sorted(allowed)}")
