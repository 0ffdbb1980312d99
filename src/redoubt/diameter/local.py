"""What is true of this Diameter node in all its conversations: identity, applications, identifiers, what it reports."""

from dataclasses import dataclass, field

from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import Application
from redoubt.diameter.avp import Avp
from redoubt.diameter.codec import REQUEST, DiameterMessage
from redoubt.diameter.tunnelled import Tunnelled
from redoubt.events import Check, Fault
from redoubt.sip.service import Context
from redoubt.transport.tls import TlsSettings

LAST = 0xFFFFFFFF


@dataclass(slots=True, eq=False)
class Local:
    """One node: what its peers and links share."""

    context: Context
    identity: str
    realm: str
    trusted_nodes: frozenset[str]
    tls: TlsSettings | None
    watchdog_s: float
    applications: dict[int, Application]
    tunnelled: Tunnelled = field(default_factory=Tunnelled)
    closing: bool = False
    origin: list[Avp] = field(init=False)  # Origin-Host and Origin-Realm, made once
    state_id: int = field(init=False)
    _end_to_end: int = field(init=False)
    _session: int = field(init=False)

    def __post_init__(self) -> None:
        self.origin = [d.ORIGIN_HOST.of(self.identity), d.ORIGIN_REALM.of(self.realm)]
        now = int(self.context.clock.now())
        self.state_id = now & LAST  # rises with each start (RFC 6733 8.16)
        # RFC 6733 3: the low 12 bits of the time, then 20 random ones, so that a restart repeats none
        self._end_to_end = (now & 0xFFF) << 20 | int.from_bytes(self.context.randomness.octets(4), "big") & 0xFFFFF
        self._session = now << 32 | int.from_bytes(self.context.randomness.octets(4), "big")

    def next_end_to_end(self) -> int:
        self._end_to_end = self._end_to_end + 1 & LAST
        return self._end_to_end

    def session_id(self) -> str:
        """Unique for ever (RFC 6733 8.8)."""
        self._session += 1
        return f"{self.identity};{self._session >> 32};{self._session & LAST}"

    def base_request(self, command: int) -> DiameterMessage:
        """A request to the neighbour itself: CER, DWR, DPR."""
        avps = list(self.origin)
        return DiameterMessage(command, 0, REQUEST, end_to_end=self.next_end_to_end(), avps=avps)

    def enforces(self, protection: str) -> bool:
        return self.context.enforces(protection)

    def violated(
        self,
        step: str,
        rule: str,
        *,
        expected: str,
        seen: str,
        clause: str,
        advice: str,
        session: str = "",
        impi: str = "",
    ) -> None:
        """Reports that a peer broke a rule: what was checked, what came, what an operator can do."""
        self.context.events.emit(
            Check(
                at=self.context.clock.now(),
                node=self.context.node,
                call_id=session,
                step=step,
                rule=rule,
                passed=False,
                impi=impi,
                expected=expected,
                seen=seen,
                fault=Fault.PEER,
                clause=clause,
                advice=advice,
            )
        )
