"""Addresses of the virtual network: numeric hosts, where code runs, and the little of a socket that code
looks at.
"""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from errno import EADDRNOTAVAIL, ENETUNREACH
from functools import lru_cache
from typing import NamedTuple

DEFAULT_HOST = "10.255.0.1"
DEFAULT_HOST_V6 = "fd00:255::1"

host: ContextVar[str] = ContextVar("sim.host", default=DEFAULT_HOST)
"""The host whose code is running: the source of connections that name no local address."""


@contextmanager
def at_host(name: str) -> Iterator[None]:
    """Run the block, and every task started in it, on that host."""
    token = host.set(canonical(name))
    try:
        yield
    finally:
        host.reset(token)


class Address(NamedTuple):
    """A numeric host in canonical form, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """As the socket module writes it, which is what asyncio hands to protocols."""
        return (self.host, self.port, 0, 0) if ":" in self.host else (self.host, self.port)


@lru_cache(maxsize=65_536)
def canonical(name: str) -> str:
    """The one spelling of a numeric address; ValueError if it is a name."""
    return str(ipaddress.ip_address(name))


def concrete(name: str | None) -> str:
    """The host to bind: the given one, or that of the running code. Wildcards belong to no simulated host."""
    if not name:
        return host.get()
    address = ipaddress.ip_address(name)
    if address.is_unspecified:
        raise OSError(EADDRNOTAVAIL, f"the simulator binds a concrete address, not {name}: name the host's own")
    return str(address)


def source_host(target: str) -> str:
    """The host from which the running code reaches `target`; OSError when it has no address of that
    family.
    """
    own = host.get()
    if own == DEFAULT_HOST and ipaddress.ip_address(target).is_loopback:
        return "::1" if ":" in target else "127.0.0.1"  # as a kernel does for code that is nowhere in particular
    if (":" in own) == (":" in target):
        return own
    if own == DEFAULT_HOST:
        return DEFAULT_HOST_V6
    raise OSError(ENETUNREACH, f"{own} has no address of the family of {target}: pass local_addr")


class VirtualSocket:
    """What `get_extra_info("socket")` gives: addresses; options are accepted and mean nothing."""

    def __init__(self, kind: socket.SocketKind, local: Address, remote: Address | None = None) -> None:
        self.type = kind
        self.family = local.family
        self._local = local
        self._remote = remote

    def getsockname(self) -> tuple[str, int] | tuple[str, int, int, int]:
        return self._local.sockaddr

    def getpeername(self) -> tuple[str, int] | tuple[str, int, int, int]:
        if self._remote is None:
            raise OSError("not connected")
        return self._remote.sockaddr

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Buffers, Nagle and path MTU discovery do not exist here."""

    def getsockopt(self, level: int, option: int) -> int:
        return 0

    def fileno(self) -> int:
        return -1
