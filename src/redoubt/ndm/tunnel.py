"""One tunnel between security gateways: whether it stands, why not, and what it has carried."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import msgspec

from redoubt.config.interconnect import GatewayConfig
from redoubt.ndm.gateway_causes import Cause
from redoubt.ndm.gateway_policy import ANY_ADDRESS
from redoubt.ndm.gateway_rendering import connection_name
from redoubt.sip.service import Context

TOLD_AGAIN_S = 60.0  # how often the same cause is told while nothing changes
# The end that is asked has a tunnel before the one that asks has looked at its certificate, and perhaps ends it.
SETTLED_S = 0.1
# States of charon's in which an association carries packets; a REKEYED one has a successor that does.
CARRYING = frozenset({"INSTALLED", "UPDATING", "REKEYING", "REKEYED"})
AUTHENTICATED = frozenset({"ESTABLISHED", "REKEYING", "REKEYED"})
NULL = frozenset({"", "NULL"})
NOT_YET = Cause("it has not been set up yet", "TS 33.210 5", "wait a moment")


class TunnelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the gateway table: counters are packets since charon loaded the tunnel, over all its keys."""

    name: str
    local: str
    remote: str
    local_networks: tuple[str, ...]
    remote_networks: tuple[str, ...]
    stands: bool
    cause: str  # why it does not stand, or last did not
    since: float  # wall-clock seconds of the last change
    ike: str = ""  # "IKEv2 AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384"
    esp: str = ""
    spi_in: str = ""
    spi_out: str = ""
    udp: bool = False  # ESP in UDP (RFC 3948)
    left_s: int = 0  # until the keys end, unless they are renewed
    renewed_in_s: int = 0
    ike_renewed_in_s: int = 0
    renewals: int = 0
    encaps: int = 0
    encrypt: int = 0
    digest: int = 0
    decaps: int = 0
    decrypt: int = 0
    verify: int = 0
    octets_out: int = 0
    octets_in: int = 0
    send_errors: int = 0
    receive_errors: int = 0
    falls: int = 0
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Carried:
    """Packets and octets of one association."""

    packets_out: int = 0
    packets_in: int = 0
    octets_out: int = 0
    octets_in: int = 0
    encrypted: bool = True

    def __add__(self, other: "Carried") -> "Carried":
        return Carried(
            self.packets_out + other.packets_out,
            self.packets_in + other.packets_in,
            self.octets_out + other.octets_out,
            self.octets_in + other.octets_in,
            self.encrypted and other.encrypted,
        )


class Tunnel:
    """Learns its state from charon's list of associations alone (`listed`); the log gives words to it."""

    def __init__(self, context: Context, config: GatewayConfig, changed: Callable[[str, bool], None]) -> None:
        self.config = config
        self.name = config.name
        self.connection = connection_name(config)
        self.stands = False
        self.cause = NOT_YET
        self.receive_errors = 0
        self.send_errors = 0
        self._context = context
        self._changed = changed
        self._since = context.clock.now()
        self._falls = self._refusals = self._renewals = 0
        self._seen_at: float | None = None  # since when there is an association without a gap
        self._told: dict[str, float] = {}
        self._ike: dict[str, Any] = {}
        self._carrying: dict[str, dict[str, Any]] = {}  # by charon's number
        self._known: dict[str, dict[str, Any]] = {}  # with those that have ended, while charon keeps them
        self._ended = Carried()  # by associations that are no more

    @property
    def is_first(self) -> bool:
        """Whether it is this end that begins, when both could: the one with the lower address."""
        local, remote = self.config.local, self.config.remote
        return local == ANY_ADDRESS or ip_address(local).packed < ip_address(remote).packed

    @property
    def is_settling(self) -> bool:
        """Whether it is there, and not yet for long enough to stand."""
        return self._seen_at is not None and not self.stands

    @property
    def is_being_set_up(self) -> bool:
        return self._ike.get("state") == "CONNECTING" or self.is_settling

    def listed(self, associations: list[dict[str, Any]]) -> None:
        """What charon has of this connection now."""
        self._ike = next((one for one in associations if one["state"] in AUTHENTICATED), {}) or next(
            iter(associations), {}
        )
        known = {
            child["uniqueid"]: child
            for one in associations
            if one["state"] in AUTHENTICATED
            for child in one.get("child-sas", {}).values()
        }
        now = {number: child for number, child in known.items() if child["state"] in CARRYING}
        if self._carrying and now.keys() - self._carrying.keys():
            self._renewals += 1
        for number in self._known.keys() - known.keys():
            self._ended += _carried(self._known[number])
        self._known, self._carrying = known, now
        clock = self._context.clock.now()
        self._seen_at = (clock if self._seen_at is None else self._seen_at) if now else None
        if self._seen_at is not None and not self.stands and clock - self._seen_at >= SETTLED_S:
            self._rose()
        elif not now and self.stands:
            self._fell()

    def lost(self, cause: Cause) -> None:
        """charon itself is gone: nothing is known, so nothing stands."""
        self.cause = cause
        if self.stands:
            self.listed([])
        else:
            self._tell("alarm", f"the tunnel {self.name} to {self.config.remote} can't be set up: {cause.why}", cause)

    def failed(self, cause: Cause, source: str = "") -> None:
        """An attempt to set it up, by either end, was refused, or what stands is about to end."""
        self.cause = cause
        if not cause.ends:
            return
        self._refusals += 1
        if self._is_news(cause.why):
            why = f"the tunnel {self.name}: {cause.why}; {cause.advice}"
            self._context.refused(0, why, cause.clause, method="IKE", source=source or self.config.remote)

    def row(self) -> TunnelRow:
        config, carried = self.config, self._ended
        for child in self._known.values():
            carried += _carried(child)
        newest = max(self._carrying.values(), key=lambda child: int(child["uniqueid"]), default={})
        return TunnelRow(
            name=self.name,
            local=self._ike.get("local-host", config.local),
            remote=config.remote,
            local_networks=tuple(newest.get("local-ts", config.local_networks)),
            remote_networks=tuple(newest.get("remote-ts", config.remote_networks)),
            stands=self.stands,
            cause="" if self.stands else self.cause.why,
            since=self._since,
            ike=_ike_words(self._ike) if self.stands else "",
            esp=_algorithms(newest),
            spi_in=newest.get("spi-in", ""),
            spi_out=newest.get("spi-out", ""),
            udp=newest.get("encap") == "yes",
            left_s=int(newest.get("life-time", 0)),
            renewed_in_s=int(newest.get("rekey-time", 0)),
            ike_renewed_in_s=int(self._ike.get("rekey-time", 0)),
            renewals=self._renewals,
            encaps=carried.packets_out,
            encrypt=carried.packets_out if carried.encrypted else 0,
            digest=carried.packets_out,
            decaps=carried.packets_in + self.receive_errors,
            decrypt=carried.packets_in if carried.encrypted else 0,
            verify=carried.packets_in,
            octets_out=carried.octets_out,
            octets_in=carried.octets_in,
            send_errors=self.send_errors,
            receive_errors=self.receive_errors,
            falls=self._falls,
            refusals=self._refusals,
        )

    def _rose(self) -> None:
        self.stands, self._since = True, self._context.clock.now()
        self._told.clear()
        self.cause = NOT_YET
        self._context.notice("info", f"the tunnel {self.name} to {self.config.remote} stands: {self.row().esp}")
        self._changed(self.name, True)

    def _fell(self) -> None:
        self.stands, self._since = False, self._context.clock.now()
        self._falls += 1
        why = f"the tunnel {self.name} to {self.config.remote} fell: {self.cause.why}"
        self._told[self.cause.why] = self._since
        self._context.notice("alarm", f"{why}; nothing is sent to partners behind it", self.cause.advice)
        self._changed(self.name, False)

    def _tell(self, level: str, what: str, cause: Cause) -> None:
        if self._is_news(cause.why):
            self._context.notice(level, what, cause.advice)

    def _is_news(self, why: str) -> bool:
        now = self._context.clock.now()
        if now - self._told.get(why, 0.0) < TOLD_AGAIN_S:
            return False
        self._told[why] = now  # as many as there are causes
        return True


def _carried(child: dict[str, Any]) -> Carried:
    out, came, octets_out, octets_in = (
        int(child.get(name, 0)) for name in ("packets-out", "packets-in", "bytes-out", "bytes-in")
    )
    return Carried(out, came, octets_out, octets_in, child.get("encr-alg", "") not in NULL)


def _algorithms(found: dict[str, Any]) -> str:
    """As strongSwan names them, cipher with its key length first."""
    if not found:
        return ""
    cipher = "-".join(filter(None, (found.get("encr-alg", "NULL"), found.get("encr-keysize", ""))))
    rest = (found.get(name, "") for name in ("integ-alg", "prf-alg", "dh-group"))
    return "/".join(filter(None, (cipher, *rest)))


def _ike_words(found: dict[str, Any]) -> str:
    return f"IKEv{found['version']} {_algorithms(found)}" if found else ""
