"""HTTP digest (RFC 2617, RFC 7616) and the passwords that AKA gives it (RFC 3310, RFC 4169), on plain
values.

The caller takes the fields from the Authorization header without their quotes; nothing here knows SIP. The
session variants (MD5-sess) are left out: RFC 3310 3.1 warns against them, and no IMS document uses them.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from enum import Enum

from redoubt.aka.nonce import is_nonce_count
from redoubt.secret import Secret

_AKA_V2_LABEL = b"http-digest-akav2-password"


class DigestAlgorithm(Enum):
    """The `algorithm` values that Redoubt speaks, as they are written."""

    MD5 = "MD5"
    SHA_256 = "SHA-256"
    AKA_V1_MD5 = "AKAv1-MD5"
    AKA_V2_MD5 = "AKAv2-MD5"
    AKA_V2_SHA_256 = "AKAv2-SHA-256"

    @classmethod
    def named(cls, text: str) -> "DigestAlgorithm | None":
        """By name, letter case ignored (RFC 7616 3.3: a token); None for one that we don't speak."""
        return _BY_NAME.get(text.lower())

    @property
    def hash_name(self) -> str:
        """What hashlib calls the hash."""
        return _HASH_NAMES[self]

    @property
    def is_aka(self) -> bool:
        """Whether the password comes from a card and the nonce is a challenge to it."""
        return self in _AKA


_BY_NAME = {algorithm.value.lower(): algorithm for algorithm in DigestAlgorithm}
_AKA = frozenset((DigestAlgorithm.AKA_V1_MD5, DigestAlgorithm.AKA_V2_MD5, DigestAlgorithm.AKA_V2_SHA_256))
_HASH_NAMES = {
    DigestAlgorithm.MD5: "md5",
    DigestAlgorithm.SHA_256: "sha256",
    DigestAlgorithm.AKA_V1_MD5: "md5",
    DigestAlgorithm.AKA_V2_MD5: "md5",
    DigestAlgorithm.AKA_V2_SHA_256: "sha256",
}


@dataclass(frozen=True, slots=True)
class DigestFields:
    """What a digest is computed over. `qop` is None, "auth" or "auth-int"; `nc` and `cnonce` count only
    with a qop.
    """

    algorithm: DigestAlgorithm
    username: str
    realm: str
    nonce: str
    uri: str
    method: str
    qop: str | None = None
    nc: str = ""
    cnonce: str = ""
    body: bytes = b""


def aka_password(algorithm: DigestAlgorithm, res: Secret, ik: Secret, ck: Secret) -> Secret:
    """The digest password of an AKA run.

    AKAv1: the octets of RES themselves (RFC 3310 3.3). AKAv2: base64 of HMAC(RES || IK || CK, label) with
    the hash of the algorithm (RFC 4169 2.1); the order is RES, IK, CK.
    """
    if algorithm is DigestAlgorithm.AKA_V1_MD5:
        return res
    if not algorithm.is_aka:
        raise ValueError(f"{algorithm.value} takes a subscriber's password, not a card's RES")
    key = res.reveal() + ik.reveal() + ck.reveal()
    return Secret(base64.b64encode(hmac.digest(key, _AKA_V2_LABEL, algorithm.hash_name)))


def digest_ha1(fields: DigestFields, password: Secret) -> Secret:
    """H(A1), A1 = username:realm:password. What an HSS keeps, and Cx carries, instead of a password (TS
    29.228 6.3.41).
    """
    a1 = b"%b:%b:%b" % (_octets(fields.username), _octets(fields.realm), password.reveal())
    return Secret(_hash(fields.algorithm, a1).encode("ascii"))


def response(fields: DigestFields, password: Secret) -> str:
    """The `response` value, lower-case hexadecimal (RFC 7616 3.4.1). Raises ValueError for a qop that there
    isn't.
    """
    return response_from_ha1(fields, digest_ha1(fields, password))


def response_from_ha1(fields: DigestFields, ha1: Secret) -> str:
    """The same from H(A1) in hexadecimal."""
    a2 = b"%b:%b" % (_octets(fields.method), _octets(fields.uri))
    if fields.qop == "auth-int":
        a2 += b":" + _hash(fields.algorithm, fields.body).encode("ascii")
    elif fields.qop not in (None, "auth"):
        raise ValueError(f"qop {fields.qop!r} is neither auth nor auth-int")
    ha2 = _hash(fields.algorithm, a2)
    if fields.qop is None:  # RFC 2617 3.2.2.1, for those who leave qop out (RFC 2069)
        middle = fields.nonce
    else:
        middle = f"{fields.nonce}:{fields.nc}:{fields.cnonce}:{fields.qop}"
    return _hash(fields.algorithm, b"%b:%b:%b" % (ha1.reveal(), _octets(middle), ha2.encode("ascii")))


def verify(fields: DigestFields, password: Secret, claimed: str) -> bool:
    """Whether `claimed` proves knowledge of the password, in constant time.

    An empty response is no try at all, and an empty password proves nothing: anyone can compute with it, as
    the phone does when it sends AUTS (RFC 3310 3.4), so neither ever authenticates.
    """
    if not password:
        return False
    return _matches(fields, digest_ha1(fields, password), claimed)


def verify_ha1(fields: DigestFields, ha1: Secret, claimed: str) -> bool:
    """`verify` for who holds H(A1) and no password (TS 33.203 Annex N)."""
    return bool(ha1) and _matches(fields, ha1, claimed)


def matches_empty_password(fields: DigestFields, claimed: str) -> bool:
    """Whether the response beside an AUTS is well formed (RFC 3310 3.4). It authenticates nobody: MAC-S in
    AUTS does.
    """
    return _matches(fields, digest_ha1(fields, Secret(b"")), claimed)


def response_auth(fields: DigestFields, password: Secret) -> str:
    """`rspauth` of Authentication-Info, by which the server shows that it knows the password too: A2 has no
    method.
    """
    return response(replace(fields, method=""), password)


def _matches(fields: DigestFields, ha1: Secret, claimed: str) -> bool:
    if not claimed or not _is_complete(fields):
        return False
    expected = response_from_ha1(fields, ha1)
    return hmac.compare_digest(expected.encode("ascii"), _octets(claimed.lower()))


def _is_complete(fields: DigestFields) -> bool:
    """With qop there must be nc and cnonce (RFC 7616 3.4); a qop that was never offered is refused here
    too.
    """
    if fields.qop is None:
        return True
    return fields.qop in ("auth", "auth-int") and is_nonce_count(fields.nc) and bool(fields.cnonce)


def _hash(algorithm: DigestAlgorithm, octets: bytes) -> str:
    # MD5 is what RFC 3310 asks for: RES, used once, is what protects, not the hash's collision resistance.
    make = hashlib.md5 if algorithm.hash_name == "md5" else hashlib.sha256
    return make(octets, usedforsecurity=False).hexdigest()


def _octets(text: str) -> bytes:
    # What came as octets that aren't UTF-8 goes back to the same octets.
    return text.encode("utf-8", "surrogateescape")
