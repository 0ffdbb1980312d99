"""Where somebody stands who tries to reach the network: a network namespace, an address of this host, or the host."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from redoubt.config import ConfigError
from redoubt.network.openings import Audience

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
ZONES = {"access": Audience.ACCESS, "border": Audience.BORDER, "core": Audience.CORE, "host": Audience.ALL}


@dataclass(frozen=True, slots=True)
class Vantage:
    """`zone` says whose place it is: what that audience is meant to reach is no exposure from there."""

    zone: Audience
    namespace: str = ""
    address: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`access=ns:phones`, `border=192.0.2.9`, `core=ns:core@10.0.0.9`. Raises ConfigError."""
        name, _, place = text.partition("=")
        if name not in ZONES or not place:
            raise ConfigError(f"--from {text} is not ZONE=PLACE; write access=ns:NAME, border=ADDRESS or core=...")
        if not place.startswith("ns:"):
            return cls(ZONES[name], address=place)
        namespace, _, address = place.removeprefix("ns:").partition("@")
        if not (NAMESPACES / namespace).exists():
            raise ConfigError(f"--from {text}: there is no network namespace {namespace}; `ip netns list` shows them")
        return cls(ZONES[name], namespace, address)

    def __str__(self) -> str:
        name = next(name for name, zone in ZONES.items() if zone is self.zone)
        place = "@".join(filter(None, (self.namespace, self.address)))
        return f"{name} ({place})" if place else name

    def socket(self, kind: socket.SocketKind, host: str, protocol: int = 0) -> socket.socket:
        """One that stands there. Raises ConfigError where this user may not, or the address is nobody's."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with self._there():
                made = socket.socket(family, kind, protocol)
        except OSError as error:
            raise ConfigError(f"{self}: {error.strerror}; network namespaces and raw sockets need root") from None
        made.setblocking(False)
        if self.address and (":" in self.address) == (":" in host):
            try:
                made.bind((self.address, 0))
            except OSError as error:
                made.close()
                raise ConfigError(f"{self}: {error.strerror}; write an address of this host, or a namespace") from None
        return made

    @contextmanager
    def _there(self) -> Iterator[None]:
        """What is opened meanwhile belongs to the namespace, and stays there."""
        if not self.namespace:
            yield
            return
        libc = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(NAMESPACES / self.namespace, os.O_RDONLY)
        try:
            _enter(libc, there)
            yield
        finally:
            _enter(libc, home)
            os.close(home)
            os.close(there)


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
