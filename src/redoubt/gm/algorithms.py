"""The algorithms of TS 33.203 Annex H and the expansion of CK and IK for them (Annex I).

A suite is the pair that one association uses. What AES-GCM and AES-GMAC demand of each other's half is a rule of the
suite itself, so that no negotiation can end with traffic that nothing authenticates.
"""

from enum import StrEnum
from functools import cache
from hmac import digest

from msgspec import Struct

from redoubt.secret import Secret


class Integrity(StrEnum):
    """The `alg` parameter (TS 33.203 Annex H)."""

    HMAC_SHA_1_96 = "hmac-sha-1-96"
    AES_GMAC = "aes-gmac"
    HMAC_MD5_96 = "hmac-md5-96"  # withdrawn in Release 12
    NULL = "null"


class Encryption(StrEnum):
    """The `ealg` parameter; absent means null (TS 33.203 Annex H)."""

    AES_CBC = "aes-cbc"
    AES_GCM = "aes-gcm"
    DES_EDE3_CBC = "des-ede3-cbc"  # withdrawn in Release 12
    NULL = "null"


class Suite(Struct, frozen=True, gc=False):
    """An integrity and an encryption algorithm that go together."""

    integrity: Integrity
    encryption: Encryption

    @property
    def is_sound(self) -> bool:
        """alg=null goes with aes-gcm alone and aes-gcm with alg=null alone (Annex H); GMAC is an ESP transform of its
        own, without encryption (RFC 4543 5).
        """
        gcm = self.encryption is Encryption.AES_GCM
        if gcm or self.integrity is Integrity.NULL:
            return gcm and self.integrity is Integrity.NULL
        return self.integrity is not Integrity.AES_GMAC or self.encryption is Encryption.NULL

    @property
    def is_confidential(self) -> bool:
        return self.encryption is not Encryption.NULL

    @property
    def is_legacy(self) -> bool:
        """Withdrawn by TS 33.203 Release 12: only old phones offer nothing else."""
        return self.integrity is Integrity.HMAC_MD5_96 or self.encryption is Encryption.DES_EDE3_CBC

    def __str__(self) -> str:
        return _written(self)


@cache
def _written(suite: Suite) -> str:
    """Each change of each set tells its suite."""
    return f"{suite.integrity}/{suite.encryption}"


SOUND_SUITES = tuple(
    suite for integrity in Integrity for encryption in Encryption if (suite := Suite(integrity, encryption)).is_sound
)


class EspKeys(Struct, frozen=True, gc=False):
    """IK_ESP and CK_ESP of one association set; `salt` is that of the GCM or GMAC nonce, else empty."""

    integrity: Secret
    encryption: Secret
    salt: Secret


def expand(suite: Suite, ck: Secret, ik: Secret) -> EspKeys:
    """The keys of all four associations of a set (TS 33.203 Annex I; for the withdrawn ones its Release 11)."""
    salt = b""
    if suite.encryption is Encryption.AES_GCM:
        salt = _salt(ck, ik, 0x59, b"AES_GCM_SALT")
    elif suite.integrity is Integrity.AES_GMAC:
        salt = _salt(ck, ik, 0x58, b"AES_GMAC_SALT")
    return EspKeys(_integrity_key(suite.integrity, ik), _encryption_key(suite.encryption, ck), Secret(salt))


def _integrity_key(integrity: Integrity, ik: Secret) -> Secret:
    match integrity:
        case Integrity.HMAC_SHA_1_96:
            return Secret(ik.reveal() + bytes(4))  # 160 bits: kernels check the size
        case Integrity.NULL:
            return Secret(b"")
        case _:
            return ik


def _encryption_key(encryption: Encryption, ck: Secret) -> Secret:
    match encryption:
        case Encryption.DES_EDE3_CBC:
            return Secret(ck.reveal() + ck.reveal()[:8])  # CK1, CK2, CK1
        case Encryption.NULL:
            return Secret(b"")
        case _:
            return ck


def _salt(ck: Secret, ik: Secret, function_code: int, name: bytes) -> bytes:
    """The 32 least significant bits of the KDF of TS 33.220 Annex B over CK || IK."""
    text = bytes([function_code]) + name + len(name).to_bytes(2, "big")
    return digest(ck.reveal() + ik.reveal(), text, "sha256")[-4:]
