"""What one association set is to the kernel: four states and four policies, its algorithms by the kernel's names.

TS 33.203 7.1: client to server and server to client, both ways, the protocol no part of them.
"""

from dataclasses import dataclass, replace

from redoubt.gm.agreement import Ends
from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.gm.transforms import AEAD_TAG_OCTETS, TAG_OCTETS
from redoubt.transport.xfrm_entries import (
    OWNED,
    OWNED_MASK,
    Algorithms,
    Between,
    Change,
    Direction,
    Outside,
    delete_policy,
    delete_state,
)

CIPHERS = {
    Encryption.AES_CBC: "cbc(aes)",
    Encryption.DES_EDE3_CBC: "cbc(des3_ede)",
    Encryption.NULL: "ecb(cipher_null)",
}
DIGESTS = {Integrity.HMAC_SHA_1_96: "hmac(sha1)", Integrity.HMAC_MD5_96: "hmac(md5)"}


def algorithms(suite: Suite, keys: EspKeys) -> Algorithms:
    """As the kernel names them."""
    tag_bits, salt = 8 * AEAD_TAG_OCTETS, keys.salt.reveal()
    if suite.encryption is Encryption.AES_GCM:
        return Algorithms(("rfc4106(gcm(aes))", keys.encryption.reveal() + salt, tag_bits))
    if suite.integrity is Integrity.AES_GMAC:
        return Algorithms(("rfc4543(gcm(aes))", keys.integrity.reveal() + salt, tag_bits))
    auth = (DIGESTS[suite.integrity], keys.integrity.reveal(), 8 * TAG_OCTETS)
    return Algorithms(None, (CIPHERS[suite.encryption], keys.encryption.reveal()), auth)


BASES = (OWNED_MASK ^ 0xFFFFFFFF) // 4  # a set takes four request identifiers
BASES_OF_PORT = BASES // 65_536


@dataclass(frozen=True, slots=True)
class Way:
    """One of a set's four associations: what it carries, between which addresses."""

    between: Between
    outside: Outside
    spi: int
    direction: Direction


def ways_between(here: str, mine: Ends, there: str, theirs: Ends, around: Outside) -> tuple[Way, ...]:
    """TS 33.203 7.1: client to server and server to client, both ways; an SPI is its receiver's."""
    ports = around.ports[::-1] if around.ports is not None else None
    back = Outside(around.target, around.source, ports)
    return (
        Way(Between(there, theirs.port_c, here, mine.port_s), back, mine.spi_s, Direction.IN),
        Way(Between(there, theirs.port_s, here, mine.port_c), back, mine.spi_c, Direction.IN),
        Way(Between(here, mine.port_c, there, theirs.port_s), around, theirs.spi_s, Direction.OUT),
        Way(Between(here, mine.port_s, there, theirs.port_c), around, theirs.spi_c, Direction.OUT),
    )


def led(ways: tuple[Way, ...], around: Outside) -> tuple[Way, ...]:
    """The same ways around a phone that is elsewhere."""
    back = Outside(around.target, around.source, around.ports[::-1] if around.ports is not None else None)
    return tuple(replace(way, outside=around if way.direction is Direction.OUT else back) for way in ways)


def reqid(base: int, place: int) -> int:
    """Ours, and another for each way of a set."""
    return OWNED | 4 * base + place


def removals(ways: tuple[Way, ...]) -> list[Change]:
    """Policies last: while a state is gone and its policy stays, nothing passes in the clear."""
    states = [delete_state(way.outside.target, way.spi) for way in ways]
    return states + [delete_policy(way.between, way.direction) for way in ways]
