"""The table with which Wireshark decrypts and authenticates the ESP of association sets (its preference `esp_sa`).

Each line holds keys: whoever asks for it reads all that the phone says. It is for an operator's own traces.
"""

from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.gm.association_set import AssociationSet

ENCRYPTION = {
    Encryption.AES_CBC: "AES-CBC [RFC3602]",
    Encryption.AES_GCM: "AES-GCM with 16 octet ICV [RFC4106]",
    Encryption.DES_EDE3_CBC: "TripleDES-CBC [RFC2451]",
    Encryption.NULL: "NULL",
}
INTEGRITY = {
    Integrity.HMAC_SHA_1_96: "HMAC-SHA-1-96 [RFC2404]",
    Integrity.HMAC_MD5_96: "HMAC-MD5-96 [RFC2403]",
    Integrity.AES_GMAC: "ANY 128 bit authentication [no checking]",
    Integrity.NULL: "NULL",
}


def lines_of(association_set: AssociationSet) -> list[str]:
    """A line for each of the set's four associations."""
    agreement, address = association_set.agreement, association_set.address
    family = "IPv6" if ":" in address else "IPv4"
    spis = agreement.network.spi_c, agreement.network.spi_s, agreement.phone.spi_c, agreement.phone.spi_s
    return [line(agreement.suite, association_set.keys, spi, family) for spi in spis]


def line(suite: Suite, keys: EspKeys, spi: int, family: str = "IPv4") -> str:
    """One association, between any two addresses of that family."""
    encryption = (keys.encryption.reveal() + keys.salt.reveal()).hex() if keys.encryption else ""
    fields = (
        family, "*", "*", f"0x{spi:08x}", ENCRYPTION[suite.encryption], f"0x{encryption}" if encryption else "",
        INTEGRITY[suite.integrity], f"0x{keys.integrity.reveal().hex()}" if keys.integrity else "",
    )  # fmt: skip
    return ",".join(f'"{field}"' for field in fields)
