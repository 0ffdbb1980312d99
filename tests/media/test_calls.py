"""Calls whose media goes through the relay: offers and answers in every place that RFC 3261 has for them."""

from .parties import World, call_in, hang_up, simulated


def test_media_of_a_call_passes_both_ways_and_ends_with_it() -> None:
    async def script(world: World) -> None:
        alice, bob = await world.ear("198.51.100.1"), await world.ear("10.0.0.2")
        call = await call_in(world, alice, bob)
        assert call.for_outside[0] == "192.0.2.1" and call.for_inside[0] == "10.9.0.1"
        assert await alice.reaches(call.for_outside, bob)
        assert await bob.reaches(call.for_inside, alice)
        await hang_up(world)
        assert not await alice.reaches(call.for_outside, bob)

    simulated(script)
