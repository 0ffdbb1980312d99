"""Roaming and a hub where each border is a process of its own, which knows of the others by the configuration only."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.ports import free_port

from redoubt.network.run import FUNCTIONS, Network
from redoubt.sources import SeededRandomness

from .home import USERS, Home, subscribers
from .peering import MONTH, NOW, running
from .roaming import ROAMING, Protected, registered_at, talk, unbroken


class Apart(Protected):
    """Its border runs by itself; each core function has a port that the other process knows."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        inside = f"127.{self.number}.0.2"
        self.ports = {name: free_port(inside) for name in ("p-cscf", "i-cscf", "s-cscf", "ibcf", "bgcf")}

    def tree(self) -> dict[str, Any]:
        tree = super().tree()
        inside = f"127.{self.number}.0.2"
        for name, port in self.ports.items():
            both = [f"udp:{inside}:{port}", f"tcp:{inside}:{port}"]
            tree[name]["core" if name in ("p-cscf", "ibcf") else "listen"] = both
        return tree


@asynccontextmanager
async def apart(*operators: Apart) -> AsyncIterator[list[Network]]:
    """Two processes each: the border, and all else. The borders."""
    borders = []
    async with AsyncExitStack() as stack:
        for operator in operators:
            randomness = SeededRandomness(operator.number)
            border = await Network.temporary(operator.tree(), only=["ibcf"], randomness=randomness)
            stack.push_async_callback(border.close)
            borders.append(border)
            rest = [name for name in FUNCTIONS if name not in ("ibcf", "bgcf")]
            network = await Network.temporary(operator.tree(), only=rest, randomness=randomness)
            stack.push_async_callback(network.close)
            assert network.hss is not None
            operator.home = made = Home(network, network.hss, network.directory)
            stack.callback(made.close)
            roamers = [replace(each, visited_networks=operator.roaming) for each in subscribers(made.realm, USERS)]
            await network.hss.administration.add(roamers)
        yield borders


def pair(folder: Path) -> tuple[Apart, Apart]:
    home, visited = Apart.of(folder, "alpha", 1), Apart.of(folder, "beta", 2)
    home.agrees(visited, **ROAMING)
    visited.agrees(home, **ROAMING)
    home.roaming = (visited.realm,)
    return home, visited  # type: ignore[return-value]


async def test_a_phone_roams_between_networks_whose_borders_are_processes_of_their_own(tmp_path: Path) -> None:
    home, visited = pair(tmp_path)
    async with apart(home, visited) as borders:
        alice = await registered_at(visited, "alice", home)
        carol, bob = await registered_at(home, "carol", home), await registered_at(visited, "bob", visited)
        for caller, callee in ((carol, alice), (alice, carol), (bob, alice), (alice, bob), (carol, bob)):
            await talk(caller, callee)
        assert (await alice.message(bob.identity.impu, "here")).status == 200
        assert (await alice.deregister()).status == 200
        unbroken(home, visited)
        for border in borders:
            assert border.border is not None and border.border.ibcf.table_sizes()["calls"] == 0


async def test_a_hub_needs_nothing_but_a_border(tmp_path: Path) -> None:
    """No users, no HSS: what comes from one partner leaves to another."""
    alpha, beta, hub = (Protected.of(tmp_path, name, number) for number, name in enumerate(("alpha", "beta", "hub"), 1))
    for one, other in ((alpha, beta), (beta, alpha)):
        one.agrees(hub, **{"transit-to": [other.realm]})
        hub.agrees(one, **{"transit-for": [other.name]})
    hub.pki.write_revocations(NOW, MONTH, [each.pki.path / "own.crl" for each in (alpha, beta)])
    between = await Network.temporary(hub.tree(), only=["ibcf"], randomness=SeededRandomness(3))
    try:
        async with running(alpha, beta):
            carol, bob = await registered_at(alpha, "carol", alpha), await registered_at(beta, "bob", beta)
            await talk(carol, bob)
            await talk(bob, carol)
            unbroken(alpha, beta)
    finally:
        await between.close()
