"""The ways that one end of Gm has for ESP, as one path: a set gets that of its mode and address family.

Transport mode (TS 33.203 7.1) is what handsets speak: the kernel's ESP carries it, or raw sockets where the kernel has
none. ESP in UDP (Annex M) crosses NATs and needs no privileges.
"""

import socket
from enum import StrEnum
from typing import Protocol

from redoubt.gm.agreement import Mode
from redoubt.gm.association_set import AssociationSet, Path, PathFailed, Role, Usage
from redoubt.gm.kernel_path import KernelPath
from redoubt.gm.raw_esp import open_raw_esp
from redoubt.gm.raw_tcp import RawTcp
from redoubt.gm.user_space import Keeper, Refused
from redoubt.sources import Randomness
from redoubt.transport.flow import Address, Flow, Security
from redoubt.transport.ports import is_free
from redoubt.transport.raw import lacks_raw
from redoubt.transport.udp import OnDatagram
from redoubt.transport.xfrm import Xfrm, XfrmError, lacks_esp


class Carrier(StrEnum):
    """Whose ESP transport mode has."""

    KERNEL = "kernel"
    RAW = "raw"


class Lacking(Exception):
    """This machine can't carry transport mode as it was told to; the message says what it lacks and what to do."""


def carrier_for(wanted: str, addresses: list[str]) -> Carrier:
    """What carries transport mode at these addresses: `wanted`, or with `auto` the best that there is. Raises
    Lacking.
    """
    reasons = []
    for carrier, lacks in ((Carrier.KERNEL, lacks_esp), (Carrier.RAW, lacks_raw)):
        if wanted in ("auto", carrier):
            missing = next((why for why in map(lacks, addresses) if why), "")
            if not missing:
                return carrier
            reasons.append(f"{carrier}: {missing}")
    raise Lacking("; ".join(reasons))


class DataPath(Path, Protocol):
    """A path with its upkeep. The hooks are for the keeper of association sets and for whoever reports."""

    received: Keeper
    exhausted: Keeper
    refused: Refused

    @property
    def local(self) -> Address: ...

    def close(self) -> None: ...


class Streams(Protocol):
    """TCP inside the associations of one address."""

    def listener(self, port: int) -> socket.socket:
        """For `create_server`, at a protected port. Raises OSError."""

    async def call(self, port: int, there: Address) -> socket.socket:
        """A connection from a protected port, for `create_connection`. Raises OSError."""

    def security_of(self, here: Address, there: Address) -> Security:
        """What protects a connection between these ends."""


class Paths:
    """A `Path` of several."""

    def __init__(self) -> None:
        self._of: dict[tuple[Mode, bool], DataPath] = {}
        self._streams: dict[tuple[Mode, bool], Streams] = {}
        self._devices: list[RawTcp] = []
        self.kernel: list[KernelPath] = []
        self.tunnels: list[Address] = []  # where ESP in UDP comes in
        self.own: list[str] = []  # this end's addresses inside
        self.described: list[str] = []  # for operators

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Those that there is a path for, transport mode first."""
        return tuple(mode for mode in Mode if any(mode is each for each, _ in self._of))

    @property
    def streams(self) -> list[tuple[str, Streams]]:
        """TCP, with the address inside that it is at."""
        distinct = {id(streams): (family, streams) for (_, family), streams in self._streams.items()}
        return [(self._own(family), streams) for family, streams in distinct.values()]

    def stream_of(self, association_set: AssociationSet) -> Streams | None:
        """TCP inside a set; None: it carries UDP alone."""
        return self._streams.get(_kind(association_set))

    def may_have(self, port: int) -> bool:
        """Whether a set may get this port of ours: the kernel's path opens it on this host."""
        return all(is_free(path.local[0], port) for path in self.kernel)

    def add_tunnel(self, here: str, path: DataPath) -> None:
        self._add(Mode.UDP_TUNNEL, here, path)
        self.tunnels.append(path.local)
        self.described.append(f"ESP in UDP at {_place(*path.local)}, by {_WHOSE[isinstance(path, KernelPath)]}")

    def add_carrier(
        self,
        carrier: Carrier,
        role: Role,
        here: str,
        ports: list[int],
        randomness: Randomness,
        receive: OnDatagram,
        *,
        nat_port: int | None = None,
        goes_on: bool = False,
    ) -> None:
        """Opens transport mode at an address; in the kernel with `nat_port` the tunnel too. Raises OSError and
        Lacking.
        """
        self.described.append(f"ESP in transport mode at {here}, by {_WHOSE[carrier is Carrier.KERNEL]}")
        if carrier is Carrier.RAW:
            raw = open_raw_esp(role, here, randomness, receive)
            self._add(Mode.TRANSPORT, here, raw)
            self._devices.append(RawTcp(raw, here))
            self._streams[Mode.TRANSPORT, ":" in here] = self._devices[-1]
            return
        try:
            kernel = KernelPath.open(role, here, ports, receive, nat_port=nat_port, goes_on=goes_on)
        except XfrmError as error:
            raise Lacking(f"the kernel's IPsec refused: {error}") from error
        self._add(Mode.TRANSPORT, here, kernel)
        self._streams[Mode.TRANSPORT, ":" in here] = kernel
        self.kernel.append(kernel)
        if nat_port is not None:
            self.add_tunnel(here, kernel)
            self._streams[Mode.UDP_TUNNEL, ":" in here] = kernel

    def report_to(self, received: Keeper, exhausted: Keeper, refused: Refused) -> None:
        for path in self._of.values():
            path.received, path.exhausted, path.refused = received, exhausted, refused

    def close(self) -> None:
        for path in {id(path): path for path in self._of.values()}.values():
            path.close()
        for device in self._devices:
            device.close()

    # ---- Path

    def install(self, association_set: AssociationSet) -> Flow:
        path = self._of.get(_kind(association_set))
        if path is None:
            mode, inner = association_set.agreement.mode, association_set.inner
            raise PathFailed(f"there is no path for {mode} to {inner}")
        return path.install(association_set)

    def remove(self, association_set: AssociationSet) -> None:
        self._of[_kind(association_set)].remove(association_set)

    def usage(self, association_set: AssociationSet) -> Usage:
        return self._of[_kind(association_set)].usage(association_set)

    # ---- inside

    def _add(self, mode: Mode, here: str, path: DataPath) -> None:
        self._of[mode, ":" in here] = path
        if here not in self.own:
            self.own.append(here)

    def _own(self, is_ipv6: bool) -> str:
        return next(address for address in self.own if (":" in address) == is_ipv6)


_WHOSE = {True: "the kernel", False: "this process"}


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _kind(association_set: AssociationSet) -> tuple[Mode, bool]:
    return association_set.agreement.mode, ":" in association_set.inner


def sweep_kernel(addresses: list[str]) -> int:
    """Removes what a process that had the kernel's ESP left: it would take packets of other paths. How much."""
    try:
        xfrm = Xfrm()
    except OSError:
        return 0
    swept = 0
    for here in addresses:
        try:
            swept += xfrm.sweep(here, lambda port, here=here: is_free(here, port))  # type: ignore[misc]
        except (OSError, XfrmError):  # nothing that this user may touch, and so nothing of ours
            break
    xfrm.close()
    return swept
