"""An S-CSCF that dies takes no registration with it (TS 23.380 4): it gets back from the HSS what it has forgotten."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from redoubt.events import Bug, Check
from redoubt.hss.keys import create_key, write_key_file
from redoubt.hss.provisioning import offline
from redoubt.network.configuration import rendered
from redoubt.network.run import Network
from redoubt.sim import run
from redoubt.sip.message import Response
from redoubt.sources import SeededRandomness

from .calls import call
from .client import Card, Client
from .home import subscribers
from .test_apart import SPLITS, Apart, Split, apart, appears, pair, shared_configuration, up

WITH_HSS, ALONE = SPLITS[1], SPLITS[2]  # how the S-CSCF's process is made up


async def restarted(net: Apart) -> None:
    """The S-CSCF's process ends without a word to anybody, and starts again with nothing but its configuration."""
    gone = net.part("s-cscf")
    net.parts.remove(gone)
    await gone.close()
    again = await Network.start(
        gone.config,
        gone.directory,
        only=gone.only,
        randomness=SeededRandomness(78),
        epoch_s=gone.context.clock.now(),  # the wall's time went on with the simulator's
    )
    net.parts.append(again)
    if again.hss is not None:
        net.hss = again.hss
    for part in net.parts:
        for node in part.diameter.nodes.values():
            assert await node.connected(120.0)


def came_back(net: Apart) -> list[str]:
    """Whose registrations the S-CSCF took back."""
    events = net.part("s-cscf").context.events.recent
    return [event.impu for event in events if isinstance(event, Check) and event.clause.startswith("TS 23.380")]


@pytest.mark.parametrize("split", [WITH_HSS, ALONE], ids=["with the HSS", "alone"])
def test_calls_go_on_between_phones_that_the_s_cscf_has_forgotten(split: Split, tmp_path: Path) -> None:
    async def main(_sim: object) -> None:
        async with apart(split, tmp_path) as net:
            alice, bob = await pair(net)
            before = await call(alice, bob)
            await restarted(net)
            assert await before.lives()
            again = await call(bob, alice)
            assert await again.lives()
            assert sorted(came_back(net)) == [alice.card.impu, bob.card.impu]
            assert (await alice.registers()).status == 200
            for part in net.parts:
                assert not [event for event in part.context.events.recent if isinstance(event, Bug)]

    run(main, 11)


def test_a_re_registration_brings_back_the_users_other_phones(tmp_path: Path) -> None:
    async def main(_sim: object) -> None:
        async with apart(ALONE, tmp_path) as net:
            first, second = await net.registered("alice"), await net.registered("alice")
            await restarted(net)
            assert (await first.registers()).status == 200
            s_cscf = net.part("s-cscf").s_cscf
            assert s_cscf is not None
            bindings = s_cscf.registrations.contacts(first.card.impu, asyncio.get_running_loop().time())
            assert {f"<{binding.contact}>" for binding in bindings} == {first.contact, second.contact}

    run(main, 12)


def test_the_p_cscf_hears_of_the_end_of_what_came_back(tmp_path: Path) -> None:
    """Its subscription is kept with the re-registration, and goes on in the same dialog (TS 29.229 6.3.72)."""

    async def main(_sim: object) -> None:
        async with apart(ALONE, tmp_path) as net:
            alice, bob = await pair(net)
            assert (await alice.registers()).status == 200
            await restarted(net)
            made = await call(bob, alice)
            assert await made.lives()
            await net.hss.administration.deregister(alice.card.impi)
            await net.settled(60)
            p_cscf = net.part("p-cscf").p_cscf
            assert p_cscf is not None and p_cscf.table_sizes()["bindings"] == 1

    run(main, 15)


def test_who_left_stays_away(tmp_path: Path) -> None:
    async def main(_sim: object) -> None:
        async with apart(ALONE, tmp_path) as net:
            alice, bob = await pair(net)
            assert (await alice.registers(expires="0")).status == 200
            await net.settled(0.1)
            await restarted(net)
            assert (await bob.ask(bob.make("MESSAGE", net.impu("alice")))).status == 480
            assert came_back(net) == [bob.card.impu]

    run(main, 13)


def test_a_registration_that_ran_out_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    async def main(_sim: object) -> None:
        async with apart(ALONE, tmp_path) as net:
            alice, bob = await net.registered("alice"), await net.phone("bob")
            assert (await bob.registers(expires="3600")).status == 200
            gone = net.part("s-cscf")
            assert gone.s_cscf is not None
            gone.s_cscf.close()  # it dies before it could tell the HSS of an end
            await asyncio.sleep(700)
            await restarted(net)
            assert (await bob.ask(bob.make("MESSAGE", alice.card.impu))).status == 480
            assert came_back(net) == [bob.card.impu]

    run(main, 14)


async def test_calls_go_on_after_the_s_cscfs_process_was_killed(tmp_path: Path) -> None:
    """With kill -9, and real processes: `redoubt up --only` p-cscf,i-cscf, s-cscf and hss."""
    config = shared_configuration()
    state = tmp_path / config.network.state
    state.mkdir()
    (tmp_path / "redoubt.toml").write_text(rendered(config))
    write_key_file(state / config.hss.key_file, create_key(SeededRandomness(1)))
    async with offline(state, config.hss, config.network.realm) as administration:
        await administration.add(subscribers(config.network.realm, ("alice", "bob")))
    running = {only: up(tmp_path, only) for only in ("hss", "s-cscf", "p-cscf,i-cscf")}
    phones: list[Client] = []
    try:
        for name in ("control.sock", "control-s-cscf.sock", "control-p-cscf-i-cscf.sock"):
            await asyncio.to_thread(appears, state / name)
        host, port = config.p_cscf.listen[0].removeprefix("udp:").split(":")
        for name in ("alice", "bob"):
            phones.append(await Client.open(Card.of(name, config.network.realm), (host, int(port))))
            await until(phones[-1].registers)
        alice, bob = phones
        running["s-cscf"].kill()
        await asyncio.to_thread(running["s-cscf"].wait)
        (state / "control-s-cscf.sock").unlink(missing_ok=True)
        running["s-cscf"] = up(tmp_path, "s-cscf")
        await asyncio.to_thread(appears, state / "control-s-cscf.sock")
        await until(lambda: messaged(alice, bob))
        made = await call(bob, alice)
        assert await made.lives()
    finally:
        for phone in phones:
            phone.close()
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            await asyncio.to_thread(process.wait, 20)


async def messaged(sender: Client, receiver: Client) -> Response:
    request = sender.make("MESSAGE", receiver.card.impu)
    sender.send(request)
    receiver.respond(await receiver.request("MESSAGE", 1.0), 200)
    return await sender.final(request, 1.0)


async def until(attempt: Callable[[], Awaitable[Response]]) -> None:
    """Diameter comes up within seconds; a datagram of a raw phone is sent once."""
    for _ in range(60):
        with contextlib.suppress(TimeoutError):
            if (await attempt()).status == 200:
                return
        await asyncio.sleep(0.2)
    raise AssertionError("it never succeeded")
