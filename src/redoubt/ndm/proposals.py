"""What security gateways may agree on (TS 33.210 5.3, 5.4, RFC 8247): proposals in strongSwan's words, read and judged.

A proposal has encryption, integrity (unless the cipher brings it), and a Diffie-Hellman group; in IKE also a PRF, by
default that of the integrity algorithm.
"""

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import GatewayConfig

AEAD = frozenset(
    {f"aes{bits}{mode}{icv}" for bits in (128, 192, 256) for mode in ("gcm", "ccm") for icv in (8, 12, 16)}
    | {f"aes{bits}{mode}{icv}" for bits in (128, 192, 256) for mode in ("gcm", "ccm") for icv in (64, 96, 128)}
    | {"aes128gcm", "aes192gcm", "aes256gcm", "chacha20poly1305"}
)
CIPHERS = frozenset(
    {"aes", "aes128", "aes192", "aes256"} | {f"aes{bits}ctr" for bits in (128, 192, 256)}
    | {f"camellia{bits}" for bits in (128, 192, 256)}
)  # fmt: skip
INTEGRITY = frozenset(
    {"sha1", "sha", "sha256", "sha2_256", "sha384", "sha2_384", "sha512", "sha2_512", "aesxcbc", "aescmac"}
)
PRFS = frozenset({"prfsha1", "prfsha256", "prfsha384", "prfsha512", "prfaesxcbc", "prfaescmac"})
GROUPS = frozenset(
    {"modp2048", "modp3072", "modp4096", "modp6144", "modp8192", "ecp256", "ecp384", "ecp521"}
    | {"curve25519", "x25519", "curve448", "x448", "ecp256bp", "ecp384bp", "ecp512bp"}
)
EXTRAS = frozenset({"esn", "noesn"})
# What once was in use, with why not: only where the agreement says `legacy`.
WEAK_CIPHERS = {
    "3des": "3DES has blocks of 64 bit", "des": "DES has keys of 56 bit", "null": "null encrypts nothing",
    "blowfish": "Blowfish has blocks of 64 bit", "blowfish128": "Blowfish has blocks of 64 bit",
    "cast128": "CAST has blocks of 64 bit",
}  # fmt: skip
WEAK_INTEGRITY = {"md5": "MD5 is broken"}
WEAK_PRFS = {"prfmd5": "MD5 is broken"}
WEAK_GROUPS = {
    "modp768": "group 1 has 768 bit", "modp1024": "group 2 has 1024 bit", "modp1536": "group 5 has 1536 bit",
    "modp1024s160": "group 22 has 1024 bit", "modp2048s224": "group 23 has small subgroups",
    "modp2048s256": "group 24 has small subgroups", "ecp192": "group 25 has 192 bit", "ecp224": "group 26 has 224 bit",
}  # fmt: skip
WEAK = WEAK_CIPHERS | WEAK_INTEGRITY | WEAK_PRFS | WEAK_GROUPS
IKE_DEFAULTS = {
    1: ("aes256-sha384-ecp384", "aes128-sha256-ecp256"),
    2: ("aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256"),
}
INSTEAD = "write aes256gcm16-prfsha384-ecp384 for IKE or aes256gcm16-ecp384 for ESP (RFC 8247)"


def ike_proposals(gateway: GatewayConfig) -> tuple[str, ...]:
    """What IKE's own association may be agreed on."""
    return gateway.ike_proposals or IKE_DEFAULTS[gateway.ike]


def check_proposals(gateway: GatewayConfig) -> None:
    """Raises ConfigError for a proposal that is weak, unless the gateway says `legacy`, or that no one can read."""
    for option, proposals in (("ike-proposals", ike_proposals(gateway)), ("esp-proposals", gateway.esp_proposals)):
        where = f"[[gateways]] {gateway.name}: {option}"
        if not proposals:
            raise ConfigError(f"{where} is empty; {INSTEAD}")
        for proposal in proposals:
            wrong = _wrong(proposal.lower(), gateway.legacy)
            if wrong:
                raise ConfigError(f"{where}: {proposal}: {wrong}; {INSTEAD}")
            if gateway.ike == 1 and option == "ike-proposals" and AEAD & set(proposal.lower().split("-")):
                raise ConfigError(f"{where}: {proposal}: IKEv1 has no such cipher; write {IKE_DEFAULTS[1][0]}")


def weaknesses(gateway: GatewayConfig) -> list[str]:
    """What makes the gateway's agreement weak, for the operator to see."""
    words = {word for each in (*gateway.ike_proposals, *gateway.esp_proposals) for word in each.lower().split("-")}
    return sorted(WEAK[word] for word in words & WEAK.keys())


def _wrong(proposal: str, legacy: bool) -> str:
    """Why a proposal is refused; empty: it is not."""
    words = proposal.split("-")
    if not legacy and (weak := next((word for word in words if word in WEAK), "")):
        return f"{WEAK[weak]}; where a partner has nothing better, legacy = true allows it"
    known = AEAD | CIPHERS | INTEGRITY | PRFS | GROUPS | EXTRAS | WEAK.keys()
    if unknown := next((word for word in words if word not in known), ""):
        return f"{unknown or 'an empty word'} is no algorithm"
    if not any(word in AEAD or word in CIPHERS or word in WEAK_CIPHERS for word in words):
        return "it has no encryption"
    if not any(word in AEAD or word in INTEGRITY or word in WEAK_INTEGRITY for word in words):
        return "it has no integrity algorithm"
    if not any(word in GROUPS or word in WEAK_GROUPS for word in words):
        return "it has no Diffie-Hellman group, so that keys would be made of old ones"
    return ""
