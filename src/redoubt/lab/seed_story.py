"""What the owners of the phones do in one seed: who acts, with whom, how and when is drawn from the seed.

Each act is one thing that a user does, and states how it must end. While the network is cut (`lenient`) an act may
fail, but not hang.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from redoubt.lab.seed_world import Handset, World, open_calls
from redoubt.phone.call import Call, CallState
from redoubt.phone.incoming import Answering
from redoubt.phone.media import Direction
from redoubt.sip.errors import SipError
from redoubt.sip.message import Response

HANGS_S = 1_500.0  # far beyond every timer of a call: registration of both sides, 64*T1 twice, timer C
ARRIVAL_S = 200.0  # within which a call that rings at the caller has reached the callee's user
AGREEMENT_S = 400.0  # a NOTIFY to a phone takes 64*T1 (128 s) at most, and may be followed by a registration
PATIENCE_S = 60.0
TRIES = 3  # a core transaction gives up after 32 s, in which a phone's slow timers send five times only

Act = Callable[["Story", Handset, Handset], Awaitable[None]]
T = TypeVar("T")


class SeedFailed(AssertionError):
    """Something didn't end as it must; `about` is a Call-ID or an identity by which its events are found."""

    def __init__(self, what: str, about: str = "") -> None:
        super().__init__(what)
        self.about = about


class Abandoned(Exception):
    """An act could not go on because the network is cut."""


@dataclass(slots=True, eq=False)
class Story:
    """One seed's acts and their count."""

    world: World
    random: random.Random
    lenient: bool = False
    done: dict[str, int] = field(default_factory=dict)

    def expect(self, holds: bool, what: str, about: str = "") -> None:
        """An act's condition: fails the seed, or in a cut network ends the act."""
        if holds:
            return
        if self.lenient:
            raise Abandoned(what)
        raise SeedFailed(what, about)

    async def act(self, act: Act, one: Handset, other: Handset) -> None:
        """One act, which must not hang."""
        name = act.__name__
        try:
            async with asyncio.timeout(HANGS_S):
                await act(self, one, other)
        except TimeoutError:
            raise SeedFailed(f"{one.name} {name} {other.name}: not over after {HANGS_S} s", one.impu) from None
        except Abandoned:
            return
        except SipError as fault:
            if not self.lenient:
                raise SeedFailed(f"{one.name} {name} {other.name}: {fault.status} {fault.why}", one.impu) from fault
            return
        self.done[name] = self.done.get(name, 0) + 1

    async def rounds(self, count: int, *, spread_s: float = 20.0) -> None:
        """Pairs of phones act at once, then other pairs."""
        for _ in range(count):
            handsets = list(self.world.handsets)
            self.random.shuffle(handsets)
            acts = [self.random.choices(ACTS, WEIGHTS)[0] for _ in handsets[::2]]
            async with asyncio.TaskGroup() as group:
                for act, one, other in zip(acts, handsets[::2], handsets[1::2], strict=False):
                    group.create_task(self._later(self.random.uniform(0, spread_s), act, one, other))

    async def _later(self, delay_s: float, act: Act, one: Handset, other: Handset) -> None:
        await asyncio.sleep(delay_s)
        await self.act(act, one, other)

    async def agreement(self, when: str) -> None:
        """Phone, P-CSCF, S-CSCF and HSS come to agree on who is registered."""
        loop = asyncio.get_running_loop()
        gives_up = loop.time() + AGREEMENT_S
        while found := await self.world.disagreements():
            if loop.time() > gives_up:
                name, views = next(iter(found.items()))
                raise SeedFailed(f"{when}, disagreement about {name}: {views}", name)
            await asyncio.sleep(1.0)

    async def pause(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.random.uniform(least_s, most_s))

    async def everybody(self, act: Act, handsets: list[Handset], spread_s: float = 20.0) -> None:
        """All of them do the same, at about the same time."""
        async with asyncio.TaskGroup() as group:
            for handset in handsets:
                group.create_task(self._later(self.random.uniform(0, spread_s), act, handset, handset))

    async def clear_line(self) -> None:
        """Everybody puts the phone down."""
        calls = [call for handset in self.world.handsets for call in open_calls(handset.phone)]
        async with asyncio.timeout(HANGS_S), asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(put_down(call))


async def put_down(call: Call) -> None:
    """Hangs up; a call that ended meanwhile is as good."""
    with suppress(SipError):
        await call.hang_up()


async def arriving(story: Story, call: Call, caller: Handset, callee: Handset) -> Call:
    """The same call, at the phone that it is for, by whatever Call-ID a border gave it; older ones that nobody took are
    passed over.
    """
    try:
        async with asyncio.timeout(ARRIVAL_S):
            while True:
                came = await callee.phone.incoming.get()
                is_on = came.other == caller.impu and came.state is not CallState.ENDED
                if came.call_id == call.call_id or is_on:
                    return came
    except TimeoutError:
        story.expect(False, f"a call never reached {callee.name}", call.call_id)
        raise Abandoned from None


def decided(story: Story, call: Call, status: int) -> None:
    story.expect(call.status == status, f"a call ended with {call.status} {call.reason}, not {status}", call.call_id)


async def over(story: Story, call: Call) -> None:
    """The other side hears that the call ended, unless the network is cut."""
    try:
        async with asyncio.timeout(ARRIVAL_S):
            await call.ended()
    except TimeoutError:
        story.expect(False, "the other side never heard that the call ended", call.call_id)


# ---- registration


async def registers(story: Story, one: Handset, _other: Handset) -> None:
    """First or again, for a lifetime of the owner's choice (TS 24.229 5.1.1.2, 5.1.1.4)."""
    result = await one.phone.register(
        story.random.randint(400, story.world.longest_registration_s), subscribe=one.subscribes
    )
    why = f"{result.status} {result.reason} {result.why}"
    story.expect(result.registered, f"{one.name} was not registered: {why}", one.impu)


async def deregisters(story: Story, one: Handset, _other: Handset) -> None:
    result = await one.phone.deregister()
    story.expect(result.status == 200, f"{one.name} was not deregistered: {result.status} {result.reason}", one.impu)
    story.expect(not one.phone.registration.holds, f"{one.name} still holds a registration", one.impu)


async def leaves_and_returns(story: Story, one: Handset, other: Handset) -> None:
    """De-registration by the user; a call in between finds nobody (TS 24.229 5.1.1.6, 5.4.3.3)."""
    await deregisters(story, one, other)
    call = await other.phone.call(one.impu)
    story.expect(call.status in (404, 480), f"a call to nobody ended with {call.status}", call.call_id)
    await registers(story, one, other)


async def is_deregistered(story: Story, one: Handset, other: Handset) -> None:
    """De-registration by the network (TS 24.229 5.4.1.5), which only a phone that subscribes hears of."""
    if one.subscribes and one.phone.subscription is not None and one.phone.subscription.state == "active":
        began = story.world.now()
        await story.world.hss_of(one.realm).administration.deregister(one.resident.impi)
        with suppress(TimeoutError):
            async with asyncio.timeout(AGREEMENT_S):
                while any((await story.world.views(one)).values()):  # noqa: ASYNC110 - nobody tells when all know
                    await asyncio.sleep(1.0)
        views = await story.world.views(one)
        # A renewal that was under way when the network deregistered is a new registration.
        renewed = all(views.values()) and story.world.registered_since(one, began)
        why = f"{one.name} was deregistered by the network, but {views}"
        story.expect(renewed or not any(views.values()), why, one.impu)
    await registers(story, one, other)


async def is_asked_again(story: Story, one: Handset, _other: Handset) -> None:
    """Network-initiated re-authentication (TS 24.229 5.4.1.6)."""
    if one.subscribes:
        story.world.s_cscf_of(one.realm).require_authentication(one.impu)
    await story.pause(0, 60)


# ---- calls


async def talks(story: Story, one: Handset, other: Handset) -> None:
    """A call that is answered; in it, either side may hold, resume or update; either hangs up."""
    rng = story.random
    other.phone.answering = Answering(200, rng.choice((0.0, rng.uniform(0.1, 20))), 60.0, rng.random() < 0.7)
    call = await one.phone.call(other.impu)
    decided(story, call, 200)
    sides = [call, await arriving(story, call, one, other)]
    await story.pause(0, 20)
    for _ in range(rng.randint(0, 2)):
        if refused := await within(story, rng.choice(sides)):
            # With 10 % loss on each of eight hops, once in some thousand calls no ACK arrives in 64*T1, and the callee
            # hangs up as it must (RFC 3261 13.3.1.4): the one way in which an answered call may end by itself.
            story.expect(any(side.never_acknowledged for side in sides), refused, call.call_id)
            story.done["without any ACK"] = story.done.get("without any ACK", 0) + 1
            break
        await story.pause(0, 20)
    rng.shuffle(sides)
    await sides[0].hang_up()
    await over(story, sides[1])


async def within(story: Story, side: Call) -> str:
    """A request or two within a call (RFC 3261 14, RFC 3311); what failed, or nothing. An UPDATE is tried twice."""
    kind = story.random.choice(("hold", "re-INVITE", "UPDATE"))
    try:
        match kind:
            case "hold":
                held = await side.hold()
                await story.pause(0, 5)
                worked = held and await side.resume()
            case "re-INVITE":
                worked = await side.reinvite(Direction.SENDRECV)
            case _:
                worked = await side.update() or await side.update()
    except SipError as fault:
        return f"a {kind} failed: {fault.status} {fault.why}"
    return "" if worked else f"a {kind} failed"


async def gives_up(story: Story, one: Handset, other: Handset) -> None:
    """The caller cancels, sometimes before anything rings (RFC 3261 9.1)."""
    other.phone.answering = Answering(0, patience_s=170.0, reliable=story.random.random() < 0.5)
    call = one.phone.dial(other.impu)
    if story.random.random() < 0.7:
        with suppress(TimeoutError):  # a 180 that isn't reliable may be lost: the caller doesn't wait for ever
            async with asyncio.timeout(PATIENCE_S):
                await call.rings()
    await story.pause(0, 8)
    await call.hang_up()
    decided(story, call, 487)


async def is_refused(story: Story, one: Handset, other: Handset) -> None:
    """Busy or declined, at once or after ringing."""
    status = story.random.choice((486, 603))
    ring_s = story.random.choice((0.0, story.random.uniform(0.1, 10)))
    other.phone.answering = Answering(status, ring_s)
    decided(story, await one.phone.call(other.impu), status)


async def waits_in_vain(story: Story, one: Handset, other: Handset) -> None:
    """Nobody answers."""
    other.phone.answering = Answering(0, patience_s=story.random.uniform(5, 40))
    decided(story, await one.phone.call(other.impu), 480)


async def misdials(story: Story, one: Handset, other: Handset) -> None:
    call = await one.phone.call(f"sip:nobody@{other.realm}")
    decided(story, call, 404)


# ---- outside of calls


async def writes(story: Story, one: Handset, other: Handset) -> None:
    """A MESSAGE (RFC 3428) arrives as it was written."""
    text = f"{one.name} says {story.random.randrange(10**6)}"
    response = await answered(lambda: one.phone.message(other.impu, text))
    story.expect(response.status == 200, f"a message ended with {response.status}", response.call_id)
    story.expect(any(text == got.text for got in other.phone.messages), "a message was lost", response.call_id)


async def asks(story: Story, one: Handset, other: Handset) -> None:
    """OPTIONS."""
    response = await answered(lambda: one.phone.options(other.impu))
    story.expect(response.status == 200, f"OPTIONS ended with {response.status}", response.call_id)


async def answered(send: Callable[[], Awaitable[Response]]) -> Response:
    """As a user does: again when it timed out."""
    for _ in range(TRIES):
        response = await send()
        if response.status not in (408, 504):  # 504: the HSS, by a connection that lost three segments running
            break
    return response


WEIGHED: tuple[tuple[Act, int], ...] = (
    (talks, 8),
    (gives_up, 3),
    (is_refused, 3),
    (waits_in_vain, 2),
    (misdials, 1),
    (writes, 3),
    (asks, 1),
    (registers, 1),
    (leaves_and_returns, 2),
    (is_deregistered, 2),
    (is_asked_again, 1),
)
ACTS = [act for act, _ in WEIGHED]
WEIGHTS = [weight for _, weight in WEIGHED]
