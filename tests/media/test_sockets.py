"""The relay on real sockets, on asyncio's loop and on uvloop: IPv4 to IPv6, taken ports, addresses that lack."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from redoubt.config import ConfigError
from redoubt.config.interconnect import MediaConfig
from redoubt.media.ports import Ports
from redoubt.network.run import Network
from redoubt.sources import SeededRandomness

from .parties import World, answers, asks, call_in, described, hang_up, place

HERE = MediaConfig(inside=("127.0.0.1", "::1"), outside=("127.0.0.2", "::1"), ports=(21_000, 22_999))
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def real(loop: Callable[[], asyncio.AbstractEventLoop], script: Callable[[World], Awaitable[None]]) -> None:
    """Runs a script on that loop; nothing may stay open."""

    async def main() -> None:
        world = World(HERE)
        await script(world)
        assert world.is_empty()
        for ear in world.ears:
            ear.socket.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("outside", "inside"), [("127.0.0.3", "127.0.0.4"), ("::1", "127.0.0.4"), ("127.0.0.3", "::1")]
)
def test_media_crosses_the_relay_whatever_ip_versions_the_sides_have(
    loop: Callable[[], asyncio.AbstractEventLoop], outside: str, inside: str
) -> None:
    async def script(world: World) -> None:
        alice, bob, mallory = await world.ear(outside), await world.ear(inside), await world.ear(outside)
        if ":" in inside:  # bob calls: his description says which version he has
            to, seen = answers(described(*alice.local))
            got = await world.outward(asks("INVITE", described(*bob.local)), to)
            assert got is not None and got.status == 200, world.refusals()
            for_outside, for_inside = place(seen[0].body), place(got.body)
        else:
            call = await call_in(world, alice, bob)
            for_outside, for_inside = call.for_outside, call.for_inside
        assert await alice.reaches(for_outside, bob)
        assert await bob.reaches(for_inside, alice)
        assert not await mallory.reaches(for_outside, bob)
        bye, _seen = answers()
        if ":" in inside:
            await world.outward(asks("BYE", to_tag="b", cseq=2), bye)
        else:
            await hang_up(world)

    real(loop, script)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_port_that_another_program_has_is_passed_over(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def script(_world: World) -> None:
        ports = Ports(23_000, 23_003, SeededRandomness(1))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 23_001))
            pair = await ports.draw("127.0.0.1")
            assert [each.local[1] for each in pair] == [23_002, 23_003]
            ports.give_back(pair)
        assert not len(ports)

    real(loop, script)


async def test_an_address_of_another_machine_is_refused_at_start_and_named() -> None:
    media = {"access": "always", "outside": ["192.0.2.77"]}
    with pytest.raises(ConfigError, match=r"\[media\] inside and outside"):
        await Network.temporary({"media": media})


async def test_ports_that_make_no_sense_are_refused_at_start_and_named() -> None:
    with pytest.raises(ConfigError, match=r"\[media\] ports"):
        await Network.temporary({"media": {"access": "nat", "ports": [5000, 4000]}})


async def test_a_relay_without_a_protection_serves_loopback_only() -> None:
    media = {"access": "always", "outside": ["192.0.2.77"]}
    with pytest.raises(ConfigError, match=r"protections-off.*192\.0\.2\.77"):
        await Network.temporary({"media": media, "test": {"protections-off": ["media-source"]}})
