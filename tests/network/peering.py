"""Operators on loopback addresses of their own, joined at their borders by TLS with certificates of their making."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.ports import free_port

from redoubt.events import Refused
from redoubt.ndm.pki import Names
from redoubt.ndm.pki_folder import PkiFolder
from redoubt.network.run import Network
from redoubt.sources import SeededRandomness

from .home import CLEAR, USERS, Home, subscribers

MONTH = timedelta(days=30)
NOW = datetime.now(UTC)


@dataclass
class Operator:
    """One network as it is before it runs: certificates, addresses, agreements."""

    name: str
    number: int
    pki: PkiFolder
    port: int
    security: str = "tls"  # or none: plain SIP in clear
    partners: list[dict[str, Any]] = field(default_factory=list)
    roaming: tuple[str, ...] = ()  # where its users may register
    home: Home | None = None

    @classmethod
    def of(cls, folder: Path, name: str, number: int) -> "Operator":
        pki = PkiFolder(folder / name)
        pki.create(name, NOW)
        made = cls(name, number, pki, free_port(f"127.{number}.0.1"))
        made.pki.issue("border", Names((made.realm,)), NOW, MONTH)
        made.pki.write_revocations(NOW, MONTH, [])
        return made

    @property
    def realm(self) -> str:
        return f"{self.name}.example"

    @property
    def host(self) -> str:
        """The border's address."""
        return f"127.{self.number}.0.1"

    @property
    def address(self) -> tuple[str, int]:
        """Where partners reach it."""
        return self.host, self.port

    @property
    def border(self) -> str:
        """The same, as redoubt.toml has it."""
        return f"{'tls' if self.security == 'tls' else 'udp'}:{self.host}:{self.port}"

    def agrees(self, other: "Operator", **options: Any) -> None:
        """Cross-certifies the other's authority, and writes down the agreement."""
        self.pki.cross(other.name, other.pki.path / "ca.pem", [other.realm], NOW, MONTH)
        self.learns_revocations(other)
        agreement = {"name": other.name, "domains": [other.realm], "connect": [other.border]}
        authority = str(self.pki.path / f"cross-{other.name}.pem")
        self.partners.append({**agreement, "authority": authority, **options})

    def learns_revocations(self, other: "Operator") -> None:
        self.pki.write_revocations(NOW, MONTH, [other.pki.path / "own.crl"])

    def tree(self) -> dict[str, Any]:
        """Its redoubt.toml."""
        inside = f"127.{self.number}.0.2"
        ca = self.pki.path
        certificates = {
            "certificate": f"{ca}/border.pem", "key": f"{ca}/border.key", "authority": f"{ca}/authority.pem",
            "revoked": f"{ca}/revoked.pem",
        }  # fmt: skip
        return {
            "access": CLEAR,
            "network": {"realm": self.realm, "trusted-nodes": [inside]},
            "p-cscf": {"listen": [f"udp:{inside}:0", f"tcp:{inside}:0"], "core": [f"udp:{inside}:0"]},
            "i-cscf": {"listen": [f"udp:{inside}:0"]},
            "s-cscf": {"listen": [f"udp:{inside}:0"]},
            "ibcf": {"listen": [self.border], "core": [f"udp:{inside}:0"], **certificates},
            "gm": {"listen": []},
            "hss": {"diameter": [f"tcp:{inside}:0"]},
            "bgcf": {"listen": [f"udp:{inside}:0"]},
            "partners": self.partners,
        }

    @property
    def net(self) -> Home:
        assert self.home is not None
        return self.home

    def refusals(self) -> list[str]:
        """Why its nodes refused something, as events say."""
        return [event.why for event in self.net.events(Refused)]


@asynccontextmanager
async def running(*operators: Operator, **options: Any) -> AsyncIterator[None]:
    """All of them, in one process."""
    async with AsyncExitStack() as stack:
        for operator in operators:
            network = await Network.temporary(
                {**operator.tree(), **options}, randomness=SeededRandomness(operator.number)
            )
            stack.push_async_callback(network.close)
            assert network.hss is not None
            operator.home = made = Home(network, network.hss, network.directory)
            stack.callback(made.close)
            roamers = [replace(each, visited_networks=operator.roaming) for each in subscribers(made.realm, USERS)]
            await network.hss.administration.add(roamers)
        yield


def pair_of(folder: Path, **options: Any) -> tuple[Operator, Operator]:
    """Alpha and Beta, who agree on each other with the same options."""
    alpha, beta = Operator.of(folder, "alpha", 1), Operator.of(folder, "beta", 2)
    alpha.agrees(beta, **options)
    beta.agrees(alpha, **options)
    return alpha, beta


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until something holds."""
    for _ in range(int(seconds * 100)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
