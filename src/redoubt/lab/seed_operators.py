"""The seed suite's world of two or three operators: each with borders of its own, some of its users abroad.

Every operator has an agreement with every other: calls, and roaming both ways. Borders speak TLS, which the simulator
declares. What is drawn from the seed: how many operators, on how many hosts each is, who is where, whether dialogs end
at a border, and how it hides its nodes.
"""

import itertools
import random
from dataclasses import replace
from typing import Any

from redoubt.config import AccessPolicy
from redoubt.lab.population import Resident, residents
from redoubt.lab.seed_world import Parts, Tree, World
from redoubt.phone.gm import GmOptions
from redoubt.sim import DeclaredTls
from redoubt.sim import Network as Wire
from redoubt.transport.tls import TlsSettings

NAMES = ("alpha", "beta", "gamma")
LONGEST_REGISTRATION_S = 1_200  # what happens in an hour happens in this time too, and takes less of ours
USERS = ("ann", "ben")
INNER = ("p-cscf", "i-cscf", "s-cscf", "hss", "ibcf")


async def build_operators(
    wire: Wire, rng: random.Random, operators: int, *, apart: bool, access: AccessPolicy, tracing: bool
) -> World:
    """So many networks, each on one host or with its border, its P-CSCF and the rest on hosts of their own."""
    world = World.empty(wire, tracing=tracing)
    world.longest_registration_s = LONGEST_REGISTRATION_S
    names = NAMES[:operators]
    for name in names:
        others = [(other, rng.choice(("proxy", "proxy", "b2bua"))) for other in names if other != name]
        tree = _tree(name, apart, access, rng.choice(("gcm", "cbc")), others)
        await world.start_network(tree, _parts(name, apart), _declared(name))
    for name in names:
        await _people(world, rng, name, names, apart, GmOptions() if access == "ipsec" else None)
    borders = [[_host(name, "border", apart)] for name in names]
    world.links = list(itertools.combinations(borders, 2))
    return world


async def _people(
    world: World, rng: random.Random, name: str, names: tuple[str, ...], apart: bool, gm: GmOptions | None
) -> None:
    """An operator's users, each at home or abroad."""
    made = residents([f"{name}-{user}" for user in USERS], f"{name}.example", world.wire.randomness)
    await world.hss_of(f"{name}.example").administration.add([_roamer(each, names) for each in made])
    for number, resident in enumerate(made, 1):
        visited = rng.choice((name, name, *names))
        host = f"10.{10 * (names.index(visited) + 1)}.{3 + names.index(name)}.{number}"
        await world.open_phone(resident, host, _host(visited, "access", apart), gm, f"{visited}.example")


def _roamer(resident: Resident, names: tuple[str, ...]) -> Any:
    return replace(resident.subscriber(), visited_networks=tuple(f"{name}.example" for name in names))


def _host(name: str, where: str, apart: bool) -> str:
    """Of an operator's border, access or core."""
    number = ("access", "core", "border").index(where) if apart else 0
    return f"10.{10 * (NAMES.index(name) + 1)}.{number}.1"


def _parts(name: str, apart: bool) -> Parts:
    if not apart:
        return ((_host(name, "access", apart), INNER),)
    return (
        (_host(name, "access", apart), ("p-cscf",)),
        (_host(name, "core", apart), ("i-cscf", "s-cscf", "hss")),
        (_host(name, "border", apart), ("ibcf",)),
    )


def _declared(name: str) -> TlsSettings:
    mine = DeclaredTls((f"sip:{name}.example",), check_hostname=False, require_peer=True)
    return TlsSettings(mine, mine)  # type: ignore[arg-type]


def _tree(name: str, apart: bool, access: AccessPolicy, hiding: str, others: list[tuple[str, str]]) -> Tree:
    at = {where: _host(name, where, apart) for where in ("access", "core", "border")}

    def both(where: str, port: int) -> list[str]:
        return [f"udp:{at[where]}:{port}", f"tcp:{at[where]}:{port}"]

    return {
        "network": {"realm": f"{name}.example", "trusted-nodes": sorted(set(at.values()))},
        "p-cscf": {"listen": both("access", 5060), "core": both("access", 5070)},
        "i-cscf": {"listen": both("core", 5071)},
        "s-cscf": {"listen": both("core", 5072)},
        "ibcf": {"listen": [f"tls:{at['border']}:5061"], "core": both("border", 5073), "hiding": hiding},
        "hss": {"diameter": [f"tcp:{at['core']}:3868"]},
        "gm": {"listen": [f"udp:{at['access']}:4500"]},
        "access": {"policy": access},
        "partners": [_agreement(other, mode, apart) for other, mode in others],
    }


def _agreement(other: str, mode: str, apart: bool) -> dict[str, Any]:
    return {
        "name": other,
        "domains": [f"{other}.example"],
        "connect": [f"tls:{_host(other, 'border', apart)}:5061"],
        "serves-visitors": True,
        "visited-networks": [f"{other}.example"],
        "mode": mode,
    }
