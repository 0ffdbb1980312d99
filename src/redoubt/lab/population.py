"""Subscribers made up for a lab network, and their phones: the same card on both sides of AKA."""

from collections.abc import Iterable
from dataclasses import dataclass

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.phone.identity import PhoneIdentity
from redoubt.secret import Secret
from redoubt.sources import Randomness


@dataclass(frozen=True, slots=True)
class Resident:
    """One subscriber with the keys of its card."""

    name: str
    realm: str
    k: Secret
    opc: Secret

    @property
    def impi(self) -> str:
        return f"{self.name}@{self.realm}"

    @property
    def impu(self) -> str:
        return f"sip:{self.name}@{self.realm}"

    def subscriber(self) -> Subscriber:
        """What the HSS is given."""
        return Subscriber.simple(PrivateIdentity(self.impi, self.k, opc=self.opc), self.impu)

    def card(self) -> PhoneIdentity:
        """What the phone is given: a new card, whose sequence numbers start at nothing."""
        return PhoneIdentity(self.impi, (self.impu,), self.realm, Isim(Milenage(self.k, self.opc)))


def residents(names: Iterable[str], realm: str, randomness: Randomness) -> list[Resident]:
    """Subscribers with keys of their own."""
    return [Resident(name, realm, Secret(randomness.octets(16)), Secret(randomness.octets(16))) for name in names]
