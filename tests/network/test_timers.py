"""What takes minutes, in virtual time: rows 6, 18 and 19, and registrations that end by themselves."""

import asyncio

from redoubt.events import Deregistered, Registered
from redoubt.secret import Secret
from redoubt.sim import run

from .calls import pair
from .client import Client
from .home import Home, home


async def reaches(sender: Client, receiver: Client) -> bool:
    request = sender.make("MESSAGE", receiver.card.impu)
    sender.send(request)
    try:
        receiver.respond(await receiver.request("MESSAGE", 3.0), 200)
    except TimeoutError:
        return False
    return (await sender.final(request)).status == 200


def test_a_challenge_may_be_answered_after_239_seconds() -> None:
    """Row 6 (TS 24.229 7.8): reg-await-auth is four minutes."""

    async def main(_sim: object) -> None:
        async with home() as net:
            phone = await net.phone("alice")
            await phone.challenged()
            await asyncio.sleep(239)
            assert (await phone.ask(phone.register(phone.answer()))).status == 200

    run(main, 1)


def test_a_challenge_may_not_be_answered_after_241_seconds() -> None:
    """Row 6: a new challenge, never 200."""

    async def main(_sim: object) -> None:
        async with home() as net:
            phone = await net.phone("alice")
            await phone.challenged()
            await asyncio.sleep(241)
            assert (await phone.ask(phone.register(phone.answer()))).status in (401, 403)
            assert not net.events(Registered)

    run(main, 1)


def test_an_unanswered_challenge_leaves_the_registered_user_alone() -> None:
    """TS 33.203 6.1.2.3."""

    async def main(_sim: object) -> None:
        async with home() as net:
            alice, bob = await pair(net)
            await (await net.phone("alice")).challenged()
            await asyncio.sleep(300)
            assert not net.events(Deregistered)
            assert await reaches(bob, alice)

    run(main, 1)


def test_a_registration_ends_when_it_expires() -> None:
    """TS 24.229 5.4.1.5: 600 s here; calls find nobody then, and every table is empty again."""

    async def main(_sim: object) -> None:
        async with home() as net:
            before = net.network.table_sizes()
            alice, bob = await net.registered("alice"), await net.phone("bob")
            assert (await bob.registers(expires="3600")).status == 200
            await asyncio.sleep(590)
            assert await reaches(bob, alice)
            await asyncio.sleep(20)
            assert [event.cause for event in net.events(Deregistered)] == ["expired"]
            assert (await bob.ask(bob.make("MESSAGE", net.impu("alice")))).status == 480
            await asyncio.sleep(4000)
            assert bindings(net) == {
                name: size for name, size in before.items() if "binding" in name or "regis" in name
            }

    run(main, 1)


def bindings(net: Home) -> dict[str, int]:
    return {name: size for name, size in net.network.table_sizes().items() if "binding" in name or "regis" in name}


def test_a_user_who_ignores_forced_re_authentication_is_dropped() -> None:
    """Row 19 (TS 33.203 6.1.4)."""

    async def main(_sim: object) -> None:
        async with home() as net:
            alice, bob = await pair(net)
            assert net.network.s_cscf is not None
            assert net.network.s_cscf.require_authentication(alice.card.impu)
            await asyncio.sleep(200)
            assert await reaches(bob, alice)
            await asyncio.sleep(60)
            assert [event.impu for event in net.events(Deregistered)] == [alice.card.impu]
            assert (await bob.ask(bob.make("MESSAGE", net.impu("alice")))).status == 480

    run(main, 1)


def test_a_user_who_re_authenticates_stays() -> None:
    """Row 19: and the phone is told by its registration state, shortened."""

    async def main(_sim: object) -> None:
        async with home() as net:
            alice, bob = await pair(net)
            watch = alice.make("SUBSCRIBE", alice.card.impu, None, ("Event", "reg"), ("Expires", "600"))
            assert (await alice.ask(watch)).status == 200
            alice.respond(await alice.request("NOTIFY"), 200)
            assert net.network.s_cscf is not None
            assert net.network.s_cscf.require_authentication(alice.card.impu)
            told = await alice.request("NOTIFY")
            alice.respond(told, 200)
            assert b"shortened" in told.body
            assert (await alice.registers()).status == 200
            await asyncio.sleep(300)
            assert not net.events(Deregistered)
            assert await reaches(bob, alice)

    run(main, 1)


def test_a_guesser_who_waits_is_forgiven() -> None:
    """Row 18: back-off ends, no identity is locked for ever."""

    async def main(_sim: object) -> None:
        async with home() as net:
            phone = await net.phone("alice")
            statuses = []
            for _ in range(12):
                answer = await phone.challenged()
                if answer.status == 401:
                    answer = await phone.ask(phone.register(phone.answer(password=Secret(b"guess"))))
                statuses.append(answer.status)
            assert 503 in statuses
            await asyncio.sleep(2000)
            assert (await phone.registers()).status == 200

    run(main, 1)
