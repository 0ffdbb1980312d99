"""Who a phone is: what the ISIM holds (TS 31.103), and the card itself in software."""

from dataclasses import dataclass

from redoubt.aka.isim import Isim


@dataclass(frozen=True, slots=True)
class PhoneIdentity:
    """EF_IMPI, EF_IMPU and EF_DOMAIN of the card, and the application that answers challenges."""

    impi: str
    impus: tuple[str, ...]
    realm: str
    isim: Isim
    instance: str = ""  # +sip.instance, which outlives the phone's process (RFC 5626 4.1); empty: a new one

    @property
    def impu(self) -> str:
        """The identity that the phone registers: the first on the card."""
        return self.impus[0]
