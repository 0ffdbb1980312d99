"""Associations joined by hand: the two ends of one direction, with any suite."""

from redoubt.gm.algorithms import SOUND_SUITES, Encryption, Integrity, Suite, expand
from redoubt.gm.esp import InboundAssociation, OutboundAssociation
from redoubt.gm.transforms import transform
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness

CK, IK = Secret(bytes(range(16))), Secret(bytes(range(16, 32)))
CBC_SHA1 = Suite(Integrity.HMAC_SHA_1_96, Encryption.AES_CBC)
GCM = Suite(Integrity.NULL, Encryption.AES_GCM)
GMAC = Suite(Integrity.AES_GMAC, Encryption.NULL)
SUITES = SOUND_SUITES
SPI = 0x1001
UDP = 17


def sender(suite: Suite = CBC_SHA1, spi: int = SPI, seed: int = 1, after: int = 0) -> OutboundAssociation:
    return OutboundAssociation(spi, transform(suite, expand(suite, CK, IK), SeededRandomness(seed)), after)


def receiver(suite: Suite = CBC_SHA1, spi: int = SPI) -> InboundAssociation:
    return InboundAssociation(spi, transform(suite, expand(suite, CK, IK), SeededRandomness(2)))
