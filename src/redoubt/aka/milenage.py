"""MILENAGE, the example algorithm set of TS 35.206 with AES-128 as its kernel.

One object is one subscriber's K and OPc, with the key schedule made once: a vector then costs two AES calls. All
rotations are by whole octets, so they are slices.
"""

from collections.abc import Callable
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from redoubt.aka.algorithm import AMF_OCTETS, RAND_OCTETS, SQN_OCTETS, KeyAgreement, expect_octets
from redoubt.secret import Secret

KEY_OCTETS = 16
# TS 35.206 4.1: the constants c2 to c5. c1 is 0; the rotations r1 to r5 are 64, 0, 32, 64 and 96 bits.
_C2, _C3, _C4, _C5 = 1, 2, 4, 8
_C2_C3_C4 = _C2 << 256 | _C3 << 128 | _C4
_MODE = ECB()  # noqa: S305  over single blocks: the bare AES kernel that TS 35.206 builds its own construction from


class Milenage:
    """f1 to f5* for one K and OPc (TS 35.206 clause 4.1). Satisfies `AuthenticationFunctions`."""

    __slots__ = ("_encrypt", "_opc", "_opc_four_times", "_opc_rotated")

    def __init__(self, k: Secret, opc: Secret) -> None:
        expect_octets("K", k, KEY_OCTETS)
        expect_octets("OPc", opc, KEY_OCTETS)
        self._encrypt = _block_cipher(k)
        octets = opc.reveal()
        self._opc = int.from_bytes(octets, "big")
        self._opc_rotated = int.from_bytes(octets[8:] + octets[:8], "big")
        self._opc_four_times = int.from_bytes(octets * 4, "big")

    @classmethod
    def with_op(cls, k: Secret, op: Secret) -> Self:
        """From the operator's OP instead of the subscriber's OPc."""
        return cls(k, derive_opc(k, op))

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A: OUT1[0..63]."""
        return self._out1(rand, sqn, amf)[:8]

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-S: OUT1[64..127]."""
        return self._out1(rand, sqn, amf)[8:]

    def f2345(self, rand: bytes) -> KeyAgreement:
        """OUT2 holds AK and RES, OUT3 is CK, OUT4 is IK."""
        return self.vector(rand, bytes(SQN_OCTETS), bytes(AMF_OCTETS))[1]

    def f5_star(self, rand: bytes) -> bytes:
        """AK*: OUT5[0..47]."""
        masked = (self._temp(rand) ^ self._opc).to_bytes(16, "big")
        rotated = int.from_bytes(masked[12:] + masked[:12], "big")
        out5 = self._encrypt((rotated ^ _C5).to_bytes(16, "big"))
        return (int.from_bytes(out5, "big") ^ self._opc).to_bytes(16, "big")[:6]

    def vector(self, rand: bytes, sqn: bytes, amf: bytes) -> tuple[bytes, KeyAgreement]:
        """OUT1 to OUT4 in one pass through the cipher: they depend on TEMP and not on each other."""
        temp = self._temp(rand)
        masked = (temp ^ self._opc).to_bytes(16, "big")
        in2_to_in4 = masked + masked[4:] + masked[:4] + masked[8:] + masked[:8]
        blocks = (temp ^ self._rotated_in1(sqn, amf)) << 384 | int.from_bytes(in2_to_in4, "big") ^ _C2_C3_C4
        out = self._encrypt(blocks.to_bytes(64, "big"))
        out = (int.from_bytes(out, "big") ^ self._opc_four_times).to_bytes(64, "big")
        keys = KeyAgreement(Secret(out[24:32]), Secret(out[32:48]), Secret(out[48:64]), Secret(out[16:22]))
        return out[:8], keys

    def _temp(self, rand: bytes) -> int:
        expect_octets("RAND", rand, RAND_OCTETS)
        masked = (int.from_bytes(rand, "big") ^ self._opc).to_bytes(16, "big")
        return int.from_bytes(self._encrypt(masked), "big")

    def _rotated_in1(self, sqn: bytes, amf: bytes) -> int:
        """IN1 = SQN, AMF, SQN, AMF; masked with OPc and turned by r1 = 64 bits, which leaves IN1 itself as it is."""
        in1 = sqn + amf
        expect_octets("SQN and AMF", in1, SQN_OCTETS + AMF_OCTETS)
        return int.from_bytes(in1 + in1, "big") ^ self._opc_rotated

    def _out1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        out1 = self._encrypt((self._temp(rand) ^ self._rotated_in1(sqn, amf)).to_bytes(16, "big"))
        return (int.from_bytes(out1, "big") ^ self._opc).to_bytes(16, "big")


def derive_opc(k: Secret, op: Secret) -> Secret:
    """OPc = OP xor E[OP]K (TS 35.206 clause 4.1), so that OP need not be kept beside every key."""
    expect_octets("K", k, KEY_OCTETS)
    expect_octets("OP", op, KEY_OCTETS)
    encrypted = int.from_bytes(_block_cipher(k)(op.reveal()), "big")
    return Secret((encrypted ^ int.from_bytes(op.reveal(), "big")).to_bytes(16, "big"))


def _block_cipher(k: Secret) -> Callable[[bytes], bytes]:
    return Cipher(AES(k.reveal()), _MODE).encryptor().update
