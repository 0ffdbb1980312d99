"""Who watches a registration while the network is cut loses the subscription, and takes up another afterwards."""

import asyncio

import pytest

from redoubt.config import AccessPolicy
from redoubt.lab.seed_world import CORE_HOST, P_CSCF_HOST, World
from redoubt.sim import Network as Wire
from redoubt.sim import run


@pytest.mark.parametrize("access", ["ipsec", "aka-without-ipsec"])
@pytest.mark.parametrize("cut_off", ["phone", "p-cscf"])
def test_who_was_cut_off_beyond_a_registration_hears_of_the_end_of_the_next_one(
    cut_off: str, access: AccessPolicy
) -> None:
    """RFC 6665 4.2.2: the S-CSCF forgets a watcher whom it can't tell of the end."""

    async def main(wire: Wire) -> None:
        world = await World.build(wire, 1, hosts=2, tracing=False, access=access)
        [alice] = world.handsets
        assert (await alice.phone.register(600, subscribe=True)).registered
        await asyncio.sleep(5)
        wire.partition([alice.host] if cut_off == "phone" else [CORE_HOST], P_CSCF_HOST)
        await asyncio.sleep(1_000)
        assert not any((await world.views(alice)).values())
        wire.heal()
        assert (await alice.phone.register(3_600, subscribe=True)).registered
        await asyncio.sleep(300)
        await world.hss.administration.deregister(alice.resident.impi)
        await asyncio.sleep(100)
        assert not any((await world.views(alice)).values())
        alice.phone.registration.stop()
        await asyncio.sleep(1_000)
        assert not world.leftovers() and not world.bugs
        await world.close()

    run(main, 1)
