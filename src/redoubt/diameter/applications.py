"""The Diameter applications of an IMS: their numbers, and the commands of each by their short names."""

from dataclasses import dataclass, field
from enum import IntEnum

from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import Avp, AvpGroup
from redoubt.diameter.results import VENDOR_3GPP

RELAY = 0xFFFFFFFF  # RFC 6733 2.4


class Command(IntEnum):
    """Of the base protocol, between neighbours only (RFC 6733 3.1)."""

    CAPABILITIES_EXCHANGE = 257
    DEVICE_WATCHDOG = 280
    DISCONNECT_PEER = 282


@dataclass(frozen=True, slots=True, eq=False)
class Application:
    """`volatile`: commands whose answers are not kept for duplicates, since they change nothing or carry keys."""

    name: str
    number: int
    commands: dict[str, int]
    vendor: int = VENDOR_3GPP
    accounting: bool = False
    volatile: frozenset[int] = frozenset()
    names: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", {number: name for name, number in self.commands.items()})

    def advertised(self) -> Avp:
        """How CER and CEA say it (RFC 6733 5.3.1, TS 29.229 5.6)."""
        kind = d.ACCT_APPLICATION_ID if self.accounting else d.AUTH_APPLICATION_ID
        if not self.vendor:
            return kind.of(self.number)
        return d.VENDOR_SPECIFIC_APPLICATION_ID.of(self.identifier())

    def identifier(self) -> AvpGroup:
        """Vendor-Specific-Application-Id of its messages (TS 29.229 6.3.1)."""
        kind = d.ACCT_APPLICATION_ID if self.accounting else d.AUTH_APPLICATION_ID
        return AvpGroup().add(d.VENDOR_ID, self.vendor).add(kind, self.number)

    def command_name(self, code: int) -> str:
        return self.names.get(code) or str(code)


CX = Application(
    "cx",
    16777216,
    {"UAR": 300, "SAR": 301, "LIR": 302, "MAR": 303, "RTR": 304, "PPR": 305},
    volatile=frozenset({300, 302, 303}),
)
SH = Application("sh", 16777217, {"UDR": 306, "PUR": 307, "SNR": 308, "PNR": 309}, volatile=frozenset({306}))
RX = Application("rx", 16777236, {"AAR": 265, "RAR": 258, "STR": 275, "ASR": 274})
ZH = Application("zh", 16777221, {"MAR": 303}, volatile=frozenset({303}))
RF = Application("rf", 3, {"ACR": 271}, vendor=0, accounting=True)
RO = Application("ro", 4, {"CCR": 272, "RAR": 258, "ASR": 274}, vendor=0)

APPLICATIONS = {each.name: each for each in (CX, SH, RX, ZH, RF, RO)}
