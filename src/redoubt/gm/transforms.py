"""What an ESP association does to octets: one transform a suite (RFC 2403, 2404, 2410, 2451, 3602, 4106, 4543).

A transform knows the keys and nothing of sequence numbers, windows or padding. `seal` gets the ESP header and the
padded plaintext and gives IV, ciphertext and tag; `open` gets a packet and gives the padded plaintext, or None when
the tag is wrong. Tags are compared in constant time, before anything is decrypted.
"""

from hmac import compare_digest
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.sources import Randomness

HEADER_OCTETS = 8  # SPI and sequence number (RFC 4303 2)
WORD_OCTETS = 4  # ciphertext ends on a 32-bit boundary (RFC 4303 2.4)
TAG_OCTETS = 12  # HMAC-SHA-1-96 and HMAC-MD5-96
AEAD_IV_OCTETS = 8
AEAD_TAG_OCTETS = 16


class Transform(Protocol):
    """The cryptography of a set. Its four associations have the same keys (TS 33.203 6.3), so they share one."""

    iv_octets: int
    tag_octets: int
    align_octets: int  # of plaintext with padding and trailer

    def seal(self, header: bytes, plaintext: bytes) -> bytes: ...

    def open(self, packet: bytes) -> bytes | None: ...


class _Hashed:
    """An HMAC truncated to 96 bits over the packet (RFC 2403, RFC 2404); the keyed state is made once."""

    __slots__ = ("_keyed",)

    def __init__(self, integrity: Integrity, keys: EspKeys) -> None:
        algorithm = hashes.SHA1() if integrity is Integrity.HMAC_SHA_1_96 else hashes.MD5()  # noqa: S303
        self._keyed = hmac.HMAC(keys.integrity.reveal(), algorithm)

    def tag(self, data: bytes) -> bytes:
        state = self._keyed.copy()
        state.update(data)
        return state.finalize()[:TAG_OCTETS]


class NullTransform:
    """Integrity alone (RFC 2410)."""

    iv_octets = 0
    tag_octets = TAG_OCTETS
    align_octets = WORD_OCTETS

    __slots__ = ("_tag",)

    def __init__(self, integrity: Integrity, keys: EspKeys) -> None:
        self._tag = _Hashed(integrity, keys).tag

    def seal(self, header: bytes, plaintext: bytes) -> bytes:
        return plaintext + self._tag(header + plaintext)

    def open(self, packet: bytes) -> bytes | None:
        if not compare_digest(self._tag(packet[:-TAG_OCTETS]), packet[-TAG_OCTETS:]):
            return None
        return packet[HEADER_OCTETS:-TAG_OCTETS]


class CbcTransform:
    """CBC encryption, then an HMAC (RFC 3602, RFC 2451).

    Both ciphers run on from packet to packet, which saves making one for each. Sending, a random block goes in first
    and what comes out is the IV: unpredictable, and a correct IV for what follows (RFC 4346 6.2.3.2 (2)(b) does so).
    Receiving, the IV goes in first and its own output means nothing: CBC synchronises itself after one block.
    """

    tag_octets = TAG_OCTETS

    __slots__ = ("_block", "_cipher", "_decryptor", "_encryptor", "_random", "_tag", "align_octets", "iv_octets")

    def __init__(self, suite: Suite, keys: EspKeys, randomness: Randomness) -> None:
        key = keys.encryption.reveal()
        algorithm: Any = AES(key) if suite.encryption is Encryption.AES_CBC else TripleDES(key)
        self._block = self.iv_octets = self.align_octets = algorithm.block_size // 8
        self._cipher = Cipher(algorithm, CBC(bytes(self._block)))
        self._encryptor: CipherContext | None = None  # made when the first packet needs it: many sets see none
        self._decryptor: CipherContext | None = None
        self._tag = _Hashed(suite.integrity, keys).tag
        self._random = randomness.octets

    def seal(self, header: bytes, plaintext: bytes) -> bytes:
        encryptor = self._encryptor
        if encryptor is None:
            encryptor = self._encryptor = self._cipher.encryptor()
        sealed = encryptor.update(self._random(self._block) + plaintext)
        return sealed + self._tag(header + sealed)

    def open(self, packet: bytes) -> bytes | None:
        if not compare_digest(self._tag(packet[:-TAG_OCTETS]), packet[-TAG_OCTETS:]):
            return None
        decryptor = self._decryptor
        if decryptor is None:
            decryptor = self._decryptor = self._cipher.decryptor()
        return decryptor.update(packet[HEADER_OCTETS:-TAG_OCTETS])[self._block :]


class GcmTransform:
    """AES-GCM (RFC 4106): SPI and sequence number are authenticated with what is encrypted.

    All four associations of a set, and so both ends, share one key and salt (TS 33.203 Annex I): a plain counter would
    use every nonce four times. The IV is the ESP header itself, SPI and sequence number: the SPIs of a set differ and
    a sequence number is used once, also over a restart, so no nonce repeats and none needs remembering.
    """

    iv_octets = AEAD_IV_OCTETS
    tag_octets = AEAD_TAG_OCTETS
    align_octets = WORD_OCTETS

    __slots__ = ("_aead", "_salt")

    def __init__(self, keys: EspKeys) -> None:
        self._aead = AESGCM(keys.encryption.reveal())
        self._salt = keys.salt.reveal()

    def seal(self, header: bytes, plaintext: bytes) -> bytes:
        return header + self._aead.encrypt(self._salt + header, plaintext, header)

    def open(self, packet: bytes) -> bytes | None:
        try:
            return self._aead.decrypt(self._salt + packet[8:16], packet[16:], packet[:8])
        except InvalidTag:
            return None


class GmacTransform:
    """AES-GMAC as ESP transform (RFC 4543 3): nothing is encrypted; header, IV and payload are authenticated.

    The IV is made as for AES-GCM, for the same reason.
    """

    iv_octets = AEAD_IV_OCTETS
    tag_octets = AEAD_TAG_OCTETS
    align_octets = WORD_OCTETS

    __slots__ = ("_aead", "_salt")

    def __init__(self, keys: EspKeys) -> None:
        self._aead = AESGCM(keys.integrity.reveal())
        self._salt = keys.salt.reveal()

    def seal(self, header: bytes, plaintext: bytes) -> bytes:
        tag = self._aead.encrypt(self._salt + header, b"", header + header + plaintext)
        return header + plaintext + tag

    def open(self, packet: bytes) -> bytes | None:
        try:
            self._aead.decrypt(self._salt + packet[8:16], packet[-AEAD_TAG_OCTETS:], packet[:-AEAD_TAG_OCTETS])
        except InvalidTag:
            return None
        return packet[16:-AEAD_TAG_OCTETS]


def transform(suite: Suite, keys: EspKeys, randomness: Randomness) -> Transform:
    """The transform of a suite. Raises ValueError for one that would leave packets unauthenticated."""
    if not suite.is_sound:
        raise ValueError(f"{suite} is no suite of TS 33.203 Annex H")
    if suite.encryption is Encryption.AES_GCM:
        return GcmTransform(keys)
    if suite.integrity is Integrity.AES_GMAC:
        return GmacTransform(keys)
    if suite.encryption is Encryption.NULL:
        return NullTransform(suite.integrity, keys)
    return CbcTransform(suite, keys, randomness)
