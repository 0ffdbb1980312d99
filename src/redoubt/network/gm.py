"""Gm as the configuration has it: the operator's policy, the association sets and the ways that their packets take."""

from collections.abc import Iterable

from redoubt.config import AccessPolicy, Config, ConfigError, GmConfig
from redoubt.cscf.pcscf.gm import Gm
from redoubt.gm.admission import Admission
from redoubt.gm.agreement import STRENGTH, AgreementPolicy, Mode
from redoubt.gm.algorithms import Suite
from redoubt.gm.allocation import Allocator
from redoubt.gm.association_set import AssociationSet, Role, Usage
from redoubt.gm.associations import Associations
from redoubt.gm.half_open import WITHOUT_CEILING, HalfOpen
from redoubt.gm.ledger import Keepsakes
from redoubt.gm.paths import Paths
from redoubt.gm.reports import Reports
from redoubt.gm.restart import resume
from redoubt.gm.set_streams import SetStreams
from redoubt.gm.states import Event
from redoubt.network.gm_memory import Kept, MemoryPlace, open_memory
from redoubt.network.gm_paths import open_paths
from redoubt.sip.protected import ProtectedStreams
from redoubt.sip.service import Context, Service
from redoubt.sip.stack import Stack
from redoubt.sip.stack_wire import named
from redoubt.transport.flow import Address


class GmNode:
    """The P-CSCF's access security, open: its paths, its connections, what outlives it."""

    def __init__(self, gm: Gm, paths: Paths, streams: SetStreams, kept: Kept | None) -> None:
        self.gm = gm
        self._paths = paths
        self._streams = streams
        self._kept = kept
        self._protected: ProtectedStreams | None = None

    @property
    def tunnels(self) -> list[Address]:
        """Where ESP in UDP comes in."""
        return self._paths.tunnels

    @property
    def described(self) -> list[str]:
        """Its paths, in words."""
        return self._paths.described

    def places_inside(self, ports: Iterable[int]) -> list[str]:
        """Where phones find the P-CSCF inside, as events name it."""
        return [named((address, port)) for address in self._paths.own for port in ports]

    def usage(self, association_set: AssociationSet) -> Usage:
        return self._paths.usage(association_set)

    async def listen(self, stack: Stack, service: Service, ports: Iterable[int]) -> None:
        """TCP at the protected server ports (TS 33.203 7.1)."""
        self._protected = ProtectedStreams(stack, service)
        for here, streams in self._paths.streams:
            try:
                for port in ports:
                    await self._protected.listen(streams.listener(port), self._streams.voucher(streams))
            except OSError as error:
                advice = "phones that want it go on by UDP; it needs /dev/net/tun and CAP_NET_ADMIN, and free ports"
                stack.context.notice("alarm", f"no TCP inside ESP at {here}: {error.strerror or error}", advice)

    def close(self) -> None:
        if self._protected is not None:
            self._protected.close()
        self._paths.close()
        if self._kept is not None:
            self._kept.close()


async def open_gm(
    context: Context, config: Config, stack: Stack, service: Service, memory: MemoryPlace | None
) -> GmNode | None:
    """Opens the paths; None where there is none. With `memory` the association sets of a former process go on. Raises
    ConfigError and OSError.
    """
    policy_of(config.gm, config.access.policy)  # the operator hears of it before anything is open
    kept = open_memory(context, memory) if memory is not None else None
    paths, opened = Paths(), False
    try:
        await open_paths(paths, context, config, stack.serves(service), goes_on=kept is not None)
        node = _open(context, config, paths, kept) if paths.modes else None
        if node is not None:
            await node.listen(stack, service, config.gm.server_ports)
            opened = True
    finally:
        if not opened:
            paths.close()
            if kept is not None:
                kept.close()
    return node


def _open(context: Context, config: Config, paths: Paths, kept: Kept | None) -> GmNode:
    policy = policy_of(config.gm, config.access.policy, paths.modes)
    associations = Associations(Role.NETWORK, paths)
    reports, streams = Reports(context.node, context.events, context.clock), SetStreams()
    associations.listeners += [reports.changed, streams.changed]
    paths.report_to(associations.received, lambda worn: associations.ended(worn, Event.EXHAUSTED), reports.refused)
    first, last = config.gm.client_ports
    allocator = Allocator(context.randomness, config.gm.server_ports, range(first, last + 1))
    half_open = HalfOpen() if context.enforces("gm-half-open") else HalfOpen(WITHOUT_CEILING, WITHOUT_CEILING)
    admission = Admission(associations, allocator, policy, half_open)
    keepsakes = None
    if kept is not None:
        ways = [str(mode) for mode in paths.modes], [kernel.local for kernel in paths.kernel]
        whose = f"{config.p_cscf.uri} {config.gm.listen} {paths.own} {ways}"
        ledger = kept.open_ledger(whose)
        taken = resume(ledger, associations, admission, context.clock)
        keepsakes = Keepsakes(ledger)
        if taken:
            context.notice("info", f"{len(taken)} association sets of a former process go on")
        for kernel in paths.kernel:
            kernel.settle()
    return GmNode(Gm(context, policy, associations, admission, keepsakes), paths, streams, kept)


def policy_of(config: GmConfig, access: AccessPolicy, modes: tuple[Mode, ...] = (Mode.UDP_TUNNEL,)) -> AgreementPolicy:
    """The operator's policy. Raises ConfigError."""
    preference = tuple(_suite(name, "preference") for name in config.preference)
    try:
        return AgreementPolicy(
            preference or STRENGTH, _suite(config.floor, "floor"), config.confidentiality, config.legacy,
            modes, access == "ipsec",
        )  # fmt: skip
    except ValueError as fault:
        raise ConfigError(f"[gm] preference, floor, confidentiality, legacy: {fault}") from fault


def _suite(name: str, option: str) -> Suite:
    for suite in STRENGTH:
        if str(suite) == name:
            return suite
    known = ", ".join(str(suite) for suite in STRENGTH)
    raise ConfigError(f"[gm] {option}: {name} is no pair of algorithms; known are {known}")
