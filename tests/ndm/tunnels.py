"""Two operators' gateways: hosts, charons and Redoubt's `Gateways` at both ends of a hostile wire."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.peers.strongswan import Strongswan, strongswan

from redoubt.config import Config
from redoubt.config.interconnect import GatewayConfig
from redoubt.events import Event, EventStream, Notice, Refused
from redoubt.ndm.gateways import Gateways
from redoubt.ndm.tunnel import TunnelRow
from redoubt.network.firewall import ruleset
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

from .hostile_wire import ENDS, Operators

NAME = "za"
SOON_S = 15.0
NETWORKS = {"a": "10.1.0.0/16", "b": "10.2.0.0/16"}
KEY = "a key of both ends, long enough: 0123456789"


class Side:
    """One operator's gateway."""

    def __init__(self, side: str, charon: Strongswan, folder: Path) -> None:
        self.side = side
        self.other = "b" if side == "a" else "a"
        self.charon = charon
        self.folder = folder
        self.events: list[Event] = []
        self.options: dict[str, Any] = {}
        self._context: Context | None = None

    def begin(self, **options: Any) -> None:
        """Redoubt drives the gateway, with these options of [[gateways]] besides, or instead of, the usual ones."""
        self.begin_all(self.config(**options))

    def begin_all(self, *configs: GatewayConfig) -> None:
        """The same with several gateways; the first is the one that is looked at."""
        stream = EventStream()
        stream.listen(self.events.append)
        self._context = Context(self.side, stream, Clock(asyncio.get_running_loop()), SystemRandomness())
        self.gateways = Gateways(self._context, configs)
        self.gateways.start()

    def config(self, **options: Any) -> GatewayConfig:
        secret = self.folder / f"{self.side}.psk"
        if not secret.exists():
            secret.write_text(KEY)
        usual: dict[str, Any] = {
            "name": NAME, "local": ENDS[self.side][0], "remote": ENDS[self.other][0],
            "local_networks": (NETWORKS[self.side],), "remote_networks": (NETWORKS[self.other],),
            "vici": self.charon.vici, "authentication": "psk", "secret_file": str(secret), "dpd": 1,
        }  # fmt: skip
        return GatewayConfig(**{**usual, **options})

    async def end(self) -> None:
        """Redoubt's process ends; what charon holds stays."""
        if self._context is not None:
            await self._context.close()

    @property
    def stands(self) -> bool:
        return self.gateways.stands(NAME)

    @property
    def row(self) -> TunnelRow:
        return self.gateways.rows()[0]

    def refusals(self) -> list[str]:
        """Why what was refused."""
        return [event.why for event in self.events if isinstance(event, Refused)]

    def alarms(self) -> list[str]:
        return [event.what for event in self.events if isinstance(event, Notice) and event.level == "alarm"]

    def why(self) -> str:
        return "\n".join(map(str, self.events)) + "\n" + "\n".join(self.charon.said().splitlines()[-30:])


FALLS_SOON = ("retransmit_tries = 3", "retransmit_tries = 1")  # a silent partner is given up after 2.5 s instead of 8


class Tunnels:
    """Both sides."""

    def __init__(self, hosts: Operators, a: Side, b: Side) -> None:
        self.hosts, self.a, self.b = hosts, a, b

    def begin(self, a: dict[str, Any] | None = None, b: dict[str, Any] | None = None, **both: Any) -> None:
        self.a.begin(**both, **(a or {}))
        self.b.begin(**both, **(b or {}))

    def filtered(self, *sides: str) -> None:
        """These hosts follow the rules that Redoubt writes."""
        for side in (self.a, self.b):
            if side.side in sides:
                self.hosts.firewall(side.side, ruleset(Config(gateways=(side.config(),))))

    async def stand(self) -> None:
        await until(lambda: self.a.stands and self.b.stands, self.why)

    def why(self) -> str:
        return f"a: {self.a.why()}\nb: {self.b.why()}"


async def until(holds: Callable[[], Any], why: Callable[[], str] = str, within_s: float = SOON_S) -> None:
    """Returns when it holds. Raises AssertionError with the reasons when it does not soon."""
    end = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < end, why()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def tunnels(
    hosts: Operators, folder: Path, *changes: tuple[str, str], user_space: bool = True
) -> AsyncIterator[Tunnels]:
    """Both gateways' charons run; `begin` has Redoubt drive them."""
    hosts.wire.forget()
    hosts.unfiltered()
    async with AsyncExitStack() as stack:
        sides = []
        for side in "ab":
            charon = stack.enter_context(strongswan(hosts.names[side], folder / side, *changes, user_space=user_space))
            sides.append(Side(side, charon, folder))
            stack.push_async_callback(sides[-1].end)
        yield Tunnels(hosts, *sides)
    assert not hosts.wire.faults
