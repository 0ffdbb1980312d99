"""A whole simulated network under IPsec in virtual time, for what takes minutes to hours."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from redoubt.gm.association_set import AssociationSet
from redoubt.gm.associations import Associations
from redoubt.lab.seed_world import World
from redoubt.sim import Network as Wire
from redoubt.sim import run

T = TypeVar("T")


def in_world(story: Callable[[World], Awaitable[T]], phones: int = 2, *, days: float = 2.0) -> T:
    """Runs a story on a network with so many phones, none of them registered."""

    async def main(wire: Wire) -> T:
        world = await World.build(wire, phones, hosts=1, access="ipsec", tracing=False)
        try:
            result = await story(world)
            assert not world.bugs, world.bugs[0].traceback
            return result
        finally:
            await world.close()

    return run(main, 1, limit_s=days * 86_400)


def associations(world: World) -> Associations:
    """The P-CSCF's."""
    p_cscf = world.parts[0].p_cscf
    assert p_cscf is not None and p_cscf.gm is not None
    return p_cscf.gm.associations


def sets_of(world: World, name: str) -> list[AssociationSet]:
    return [each for each in associations(world).sets.values() if each.phone.key.impi.startswith(name)]


def states_of(world: World, name: str) -> list[str]:
    return sorted(each.state.value for each in sets_of(world, name))
