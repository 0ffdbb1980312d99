"""Gm as the configuration has it: the operator's policy, the association sets and the ways that their packets take."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from redoubt.config import AccessPolicy, Config, ConfigError, GmConfig
from redoubt.cscf.pcscf.gm import Gm
from redoubt.gm.admission import Admission
from redoubt.gm.agreement import STRENGTH, AgreementPolicy, Mode
from redoubt.gm.algorithms import Suite
from redoubt.gm.allocation import Allocator
from redoubt.gm.association_set import AssociationSet, PathFailed, Role, Usage
from redoubt.gm.associations import Associations
from redoubt.gm.ledger import Keepsakes, Ledger
from redoubt.gm.reports import Reports
from redoubt.gm.restart import resume
from redoubt.gm.states import Event
from redoubt.gm.udp_tunnel import open_udp_tunnel
from redoubt.gm.user_space import UserSpacePath
from redoubt.limits import LEDGER_SLOT_OCTETS, LEDGER_SLOTS
from redoubt.sip.service import Context
from redoubt.sip.stack_wire import named
from redoubt.transport.flow import Address, Flow, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.memory_file import MemoryFile, MemoryFileError
from redoubt.transport.udp import OnDatagram


class Tunnels:
    """The tunnels of a P-CSCF as one path: a phone gets the one of its address family."""

    def __init__(self, tunnels: list[UserSpacePath], own: list[str]) -> None:
        self._tunnels = tunnels
        self._own = own
        self.memory: MemoryFile | None = None
        self.ledger: Ledger | None = None
        self._of_family = {":" in address: tunnel for tunnel, address in zip(tunnels, own, strict=True)}

    @property
    def addresses(self) -> list[Address]:
        """Where they listen."""
        return [tunnel.local for tunnel in self._tunnels]

    def places_inside(self, ports: Iterable[int]) -> list[str]:
        """Where phones find the P-CSCF inside, as events name it."""
        return [named((address, port)) for address in self._own for port in ports]

    def install(self, association_set: AssociationSet) -> Flow:
        return self._of(association_set).install(association_set)

    def remove(self, association_set: AssociationSet) -> None:
        self._of(association_set).remove(association_set)

    def usage(self, association_set: AssociationSet) -> Usage:
        return self._of(association_set).usage(association_set)

    def close(self) -> None:
        for tunnel in self._tunnels:
            tunnel.close()
        if self.memory is not None:
            if self.ledger is None or self.ledger.is_empty:
                self.memory.remove()
            self.memory.close()

    def _of(self, association_set: AssociationSet) -> UserSpacePath:
        tunnel = self._of_family.get(":" in association_set.inner)
        if tunnel is None:
            raise PathFailed(f"no tunnel is of the address family of {association_set.inner}")
        return tunnel


async def open_gm(
    context: Context, config: Config, receive: OnDatagram, memory: Path | None = None
) -> tuple[Gm, Tunnels] | None:
    """Opens the tunnels; None where the configuration has none. With `memory` the association sets of a former process
    go on. Raises ConfigError and OSError.
    """
    policy = policy_of(config.gm, config.access.policy)
    if not config.gm.listen:
        if policy.required:
            raise ConfigError("[access] policy is ipsec, and [gm] listen is empty: write an address, or another policy")
        return None
    listens = [Listen.parse(text, Zone.ACCESS) for text in config.gm.listen]
    own = [config.gm.address or listen.host for listen in listens]
    opened = []
    for listen, here in zip(listens, own, strict=True):
        opened.append(await open_udp_tunnel(Role.NETWORK, listen, here, context.randomness, receive))
    tunnels = Tunnels(opened, own)
    associations = Associations(Role.NETWORK, tunnels)
    reports = Reports(context.node, context.events, context.clock)
    associations.listeners.append(reports.changed)
    for tunnel in opened:
        tunnel.received = associations.received
        tunnel.exhausted = lambda worn: associations.ended(worn, Event.EXHAUSTED)
        tunnel.refused = reports.refused
    first, last = config.gm.client_ports
    allocator = Allocator(context.randomness, config.gm.server_ports, range(first, last + 1))
    admission = Admission(associations, allocator, policy)
    tunnels.memory = _memory(context, memory) if memory is not None else None
    keepsakes = None
    if tunnels.memory is not None:
        ledger = Ledger(tunnels.memory.mapping, f"{config.p_cscf.uri} {listens} {own}", tunnels.memory.reserve)
        tunnels.ledger = ledger
        taken = resume(ledger, associations, admission, context.clock)
        keepsakes = Keepsakes(ledger)
        if taken:
            context.notice("info", f"{len(taken)} association sets of a former process go on")
    return Gm(context, policy, associations, admission, keepsakes), tunnels


def memory_of(config: Config, directory: Path) -> Path | None:
    """The file in memory that belongs to a state directory."""
    digest = sha256(str(directory.resolve()).encode()).hexdigest()[:16]
    return Path(config.gm.memory) / f"redoubt-gm-{digest}" if config.gm.memory else None


def _memory(context: Context, path: Path) -> MemoryFile | None:
    """Phones are served without it, too: they only have to register again when the process dies."""
    try:
        return MemoryFile(path, (LEDGER_SLOTS + 1) * LEDGER_SLOT_OCTETS)
    except (OSError, MemoryFileError) as fault:
        context.notice("alarm", f"associations will end with this process: {fault}", "set [gm] memory, or empty it")
        return None


def policy_of(config: GmConfig, access: AccessPolicy) -> AgreementPolicy:
    """The operator's policy. Raises ConfigError."""
    preference = tuple(_suite(name, "preference") for name in config.preference)
    try:
        return AgreementPolicy(
            preference or STRENGTH, _suite(config.floor, "floor"), config.confidentiality, config.legacy,
            (Mode.UDP_TUNNEL,), access == "ipsec",
        )  # fmt: skip
    except ValueError as fault:
        raise ConfigError(f"[gm] preference, floor, confidentiality, legacy: {fault}") from fault


def _suite(name: str, option: str) -> Suite:
    for suite in STRENGTH:
        if str(suite) == name:
            return suite
    known = ", ".join(str(suite) for suite in STRENGTH)
    raise ConfigError(f"[gm] {option}: {name} is no pair of algorithms; known are {known}")
