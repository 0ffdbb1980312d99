"""What is asked of DNS (RFC 3263, RFC 6116): records, how far they can be trusted, and who answers."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

R = TypeVar("R")
SYSTEM_TTL_S = 30.0  # the system's resolver names no TTL


@dataclass(frozen=True, slots=True)
class Naptr:
    """RFC 3403 4.1. With flag "s" the replacement names SRV records, with "u" the expression makes a URI."""

    order: int
    preference: int
    service: str
    replacement: str
    flags: str = "s"
    regexp: str = ""


@dataclass(frozen=True, slots=True)
class Srv:
    """RFC 2782."""

    priority: int
    weight: int
    target: str
    port: int


@dataclass(frozen=True, slots=True)
class Records(Generic[R]):
    """An answer: what there is of a kind, perhaps nothing, and for how long. `authentic`: it is proved that the zone's
    owner says so, that there is nothing included (DNSSEC, or a validating resolver behind TSIG or TLS).
    """

    values: tuple[R, ...] = ()
    ttl_s: float = SYSTEM_TTL_S
    authentic: bool = False


class LookupFailed(Exception):
    """There is no answer, or none that can be believed; the message says why."""


class Dns(Protocol):
    """Who answers. Each raises LookupFailed: no answer is not the answer that there is nothing."""

    async def naptr(self, name: str) -> Records[Naptr]: ...

    async def srv(self, name: str) -> Records[Srv]:
        """Without the target ".", which says that there is no such service (RFC 2782)."""
        ...

    async def addresses(self, name: str) -> Records[str]:
        """IPv4 and IPv6."""
        ...


class SystemNames:
    """The machine's own knowledge of addresses (its hosts file, its resolver), and nothing else."""

    async def naptr(self, _name: str) -> Records[Naptr]:
        return Records()

    async def srv(self, _name: str) -> Records[Srv]:
        return Records()

    async def addresses(self, name: str) -> Records[str]:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(name, 0, type=socket.SOCK_STREAM)
        except OSError:
            return Records()
        return Records(tuple(dict.fromkeys(str(answer[4][0]) for answer in answers)))
