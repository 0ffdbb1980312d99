"""The seed suite: whole networks and their phones under loss, duplication, reordering and cuts, replayed by a number.

`run_seed(n)` lives through one story in virtual time and judges it: every registration and call ends as it must, no
request hangs, phone, P-CSCF, S-CSCF and HSS agree on who is registered, and every table returns to nothing.
`run_operators(n)` does it with several operators, whose users roam and call each other, and between whom the ways break
and heal. A failing seed's message tells what went wrong and the last events of that call; `python -m redoubt.lab.seeds
N` replays it, or `operators-N`.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from redoubt.config import AccessPolicy
from redoubt.events import Event, MessageSeen
from redoubt.lab.seed_operators import build_operators
from redoubt.lab.seed_story import SeedFailed, Story, deregisters, is_deregistered, registers
from redoubt.lab.seed_world import EPOCH_S, World
from redoubt.limits import DIALOG_LIFETIME_S
from redoubt.sim import Network as Wire
from redoubt.sim import run

PHONES = (5, 8)
HOSTS = (1, 2, 1, 3)  # with two the P-CSCF is on a host of its own, with three the HSS is too, behind Diameter
DRAINED_S = 700.0  # after the last registration: 64*T1 on Gm for the NOTIFY, what it leads to, timer I and J
AWAY_S = 400.0  # what began while the network was cut has ended, and who got no NOTIFY has asked anew
EVENTS_TOLD = 40
HEADERS_TOLD = ("CSeq", "RSeq", "RAck", "Retry-After", "Event", "Subscription-State")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed held."""

    seed: int
    hosts: int  # on which the networks' functions are
    cut: bool  # the network was partitioned for a while
    virtual_s: float
    acts: dict[str, int] = field(default_factory=dict)


def run_seed(seed: int, loss: float = 0.1, *, tracing: bool = False) -> Outcome:
    """One network. Raises SeedFailed, or what the simulator found, with the seed and the last events."""

    async def build(wire: Wire, rng: random.Random) -> World:
        phones, hosts = rng.randint(*PHONES), HOSTS[seed % len(HOSTS)]
        return await World.build(wire, phones, hosts=hosts, access=access_of(seed), tracing=tracing)

    return _run(f"story {seed}", seed, loss, build, cut=seed % 5 == 4)


def run_operators(seed: int, loss: float = 0.03, *, tracing: bool = False) -> Outcome:
    """Two or three, whose borders are cut off from each other for a while. Raises what `run_seed` raises."""

    async def build(wire: Wire, rng: random.Random) -> World:
        count, apart = 2 + seed % 2, seed % 4 < 2
        return await build_operators(wire, rng, count, apart=apart, access=access_of(seed), tracing=tracing)

    return _run(f"operators {seed}", seed, loss, build, cut=True)


def _run(
    name: str, seed: int, loss: float, build: Callable[[Wire, random.Random], Awaitable[World]], *, cut: bool
) -> Outcome:
    rng = random.Random(name)
    wire = Wire(seed, loss=loss, duplicate=rng.choice((0.0, 0.02, 0.1)), reorder=rng.choice((0.0, 0.05, 0.2)))
    worlds: list[World] = []

    async def story(wire: Wire) -> Outcome:
        world = await build(wire, rng)
        worlds.append(world)
        try:
            return await _lived(world, rng, seed, cut=cut)
        finally:
            await world.close()

    with _Teller(worlds):
        return run(story, seed, network=wire, limit_s=200_000.0)


def access_of(seed: int) -> AccessPolicy:
    """Phones come in by IPsec, but in one seed of three."""
    return "aka-without-ipsec" if seed % 3 == 2 else "ipsec"


class _Teller:
    """Adds to a failure what happened before it; of a group of failures it leaves the first."""

    def __init__(self, worlds: list[World]) -> None:
        self._worlds = worlds

    def __enter__(self) -> None:
        """Nothing to tell yet."""

    def __exit__(self, _kind: object, caught: BaseException | None, _trace: object) -> None:
        if caught is None:
            return
        failure = _first_of(caught)
        failure.__notes__ = [*caught.__notes__, *(_last_events(world, failure) for world in self._worlds)]
        if failure is not caught:
            raise failure from None


async def _lived(world: World, rng: random.Random, seed: int, *, cut: bool) -> Outcome:
    told = Story(world, rng)
    for handset in world.handsets:
        handset.subscribes = rng.random() < 0.5
    await told.everybody(registers, world.handsets)
    await told.agreement("after everybody registered")
    await told.rounds(rng.randint(1, 3))
    await told.agreement("after the first acts")
    if cut:
        await _cut(told)
        await told.rounds(1)
    await _ending(told)
    if world.bugs:
        raise SeedFailed(f"bugs: {world.bugs[0].node}\n{world.bugs[0].traceback}", world.bugs[0].call_id)
    return Outcome(seed, len(world.parts), cut, asyncio.get_running_loop().time(), told.done)


async def _cut(told: Story) -> None:
    """A partition that heals: acts may fail and must not hang; after registering anew all is well."""
    world, rng = told.world, told.random
    told.lenient = True
    some = rng.sample(world.handsets, rng.randint(1, len(world.handsets)))
    one, other = rng.choice([*world.phones_cut_off(some), *world.links])

    async def partition() -> None:
        await told.pause(0, 30)
        world.wire.partition(one, other, one_way=rng.random() < 0.3)
        await told.pause(5, 400)
        world.wire.heal()

    async with asyncio.TaskGroup() as group:
        group.create_task(partition())
        group.create_task(told.rounds(2))
    await told.clear_line()
    await asyncio.sleep(AWAY_S)
    told.lenient = False
    await told.everybody(registers, world.handsets)
    await told.agreement("after the cut")
    await asyncio.sleep(AWAY_S)  # a subscription may have ended unheard in the cut: the lack of news of a renewal tells


async def _ending(told: Story) -> None:
    """Some deregister, some are deregistered, of some the battery is empty; then nothing is left of anybody."""
    world, rng = told.world, told.random
    fates = {handset: rng.randrange(3) for handset in world.handsets}
    await told.everybody(deregisters, [handset for handset, fate in fates.items() if fate == 0])
    await told.everybody(is_deregistered, [handset for handset, fate in fates.items() if fate == 1])
    await told.agreement("at the end")
    for handset in world.handsets:
        handset.phone.registration.stop()
    await asyncio.sleep(world.longest_registration_s + DRAINED_S)
    await told.agreement("when all registrations have ended")
    for handset in world.handsets:
        if any((await world.views(handset)).values()):
            raise SeedFailed(f"{handset.name} is still registered", handset.impu)
    left = world.leftovers()
    if left and all(" border " in name for name in left):  # a BYE that never crossed a cut: silence ends what it ended
        await asyncio.sleep(DIALOG_LIFETIME_S)
        left = world.leftovers()
    if left:
        raise SeedFailed(f"something is left: {left}")


def _first_of(failure: BaseException) -> BaseException:
    """What went wrong first: acts run in groups, which wrap it."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _last_events(world: World, failure: BaseException) -> str:
    about = failure.about if isinstance(failure, SeedFailed) else ""
    told = [event for event in world.events.recent if about in str(event)]
    return "\n".join([f"last events about {about or 'all'}:", *(_line(event) for event in told[-EVENTS_TOLD:])])


def _line(event: Event) -> str:
    """One event on one line; of a message what tells it from others."""
    at = f"  {event.at - EPOCH_S:.3f} {event.node}"
    if isinstance(event, MessageSeen):
        lines = event.text.split("\r\n")
        kept = [line for line in lines[1:] if line.startswith(HEADERS_TOLD)]
        return f"{at} {event.sender} -> {event.receiver} {lines[0]}  {'; '.join(kept)}"
    texts = [f"{name}={value}" for name, value in msgspec.structs.asdict(event).items() if value]
    return f"{at} {type(event).__name__} {' '.join(texts[2:])}"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        kind, _, number = argument.rpartition("-")
        print((run_operators if kind else run_seed)(int(number), tracing=True))
