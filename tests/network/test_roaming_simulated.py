"""Hours of roaming in virtual time, over a wire that loses, doubles and reorders: a phone stays registered abroad."""

import asyncio
from dataclasses import replace

import pytest

from redoubt.events import Bug, Deregistered, EventStream
from redoubt.lab.population import Resident, residents
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sim import Network as Wire
from redoubt.sim import run
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

from .roaming import ROAMING
from .test_peering_simulated import HOSTS, declared

HOUR_S = 3600.0


async def operator(wire: Wire, name: str, other: str) -> Network:
    """A network that demands IPsec of phones, its border at .1 and all else at .2."""
    border, inside, there = f"{HOSTS[name]}.1", f"{HOSTS[name]}.2", f"{HOSTS[other]}.1"
    agreement = {"name": other, "domains": [f"{other}.example"], "connect": [f"tls:{there}:5061"], **ROAMING}
    tree = {
        "network": {"realm": f"{name}.example", "trusted-nodes": [inside]},
        "p-cscf": {"listen": [f"udp:{inside}:5060", f"tcp:{inside}:5060"], "core": [f"udp:{inside}:5070"]},
        "i-cscf": {"listen": [f"udp:{inside}:5071"]},
        "s-cscf": {"listen": [f"udp:{inside}:5072"]},
        "gm": {"listen": [f"udp:{inside}:4500"]},
        "hss": {"diameter": [f"tcp:{inside}:3868"]},
        "ibcf": {"listen": [f"tls:{border}:5061"], "core": [f"udp:{inside}:5073"]},
        "partners": [agreement],
    }
    tls = declared(f"sip:{name}.example")
    return await Network.temporary(tree, randomness=wire.randomness, epoch_s=1.8e9, border_tls=tls)


async def phone_at(network: Network, resident: Resident, number: int) -> Phone:
    """At an address of its own in the access network, with that resident's card."""
    context = Context(resident.name, EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(number))
    host, port = network.p_cscf_address
    phone = Phone(context, resident.card(), Stack(context), f"sip:{host}:{port}", gm=GmOptions())
    await phone.open(f"udp:{host.removesuffix('.2')}.{number}:5060")
    return phone


async def talk(caller: Phone, callee: Phone) -> bool:
    call = await caller.call(callee.identity.impu)
    if not 200 <= call.status < 300:
        return False
    await call.hang_up()
    return True


@pytest.mark.parametrize("seed", range(3))
def test_a_phone_stays_registered_abroad_over_a_bad_wire_and_everything_drains(seed: int) -> None:
    wire = Wire(seed, loss=0.07 * seed, duplicate=0.05, reorder=0.1)

    async def main(_wire: Wire) -> None:
        home, visited = await operator(wire, "alpha", "beta"), await operator(wire, "beta", "alpha")
        people = residents(("alice", "carol"), "alpha.example", wire.randomness)
        assert home.hss is not None
        await home.hss.administration.add(
            [replace(person.subscriber(), visited_networks=("beta.example",)) for person in people]
        )
        alice, carol = await phone_at(visited, people[0], 9), await phone_at(home, people[1], 9)
        assert (await alice.register(600)).registered and (await carol.register(6 * 3600)).registered
        for _ in range(4):
            await asyncio.sleep(HOUR_S / 2)
            assert await talk(carol, alice), "the phone is reached abroad"
            assert await talk(alice, carol), "and calls from there"
        wire.partition(f"{HOSTS['alpha']}.1", f"{HOSTS['beta']}.1")
        call = await carol.call(alice.identity.impu)
        assert call.status >= 400, "nothing hangs while nobody can pass"
        wire.heal()
        await asyncio.sleep(HOUR_S / 2)
        assert await talk(carol, alice), "and it is reached again when the ground holds"
        assert not [event for event in home.context.events.recent if isinstance(event, Deregistered)]
        for phone in (alice, carol):
            assert (await phone.deregister()).status == 200
        await asyncio.sleep(HOUR_S / 4)
        for network in (home, visited):
            bugs = [event for event in network.context.events.recent if isinstance(event, Bug)]
            assert not bugs, bugs[0].traceback
            assert not {name: size for name, size in network.table_sizes().items() if size}
        for each in (alice, carol, home, visited):
            await each.close()

    run(main, seed, network=wire)
