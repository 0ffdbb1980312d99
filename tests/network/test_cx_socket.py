"""Functions apart, on one directory: SIP and Cx cross sockets, and registrations and calls are the same."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redoubt.config import Config
from redoubt.diameter.cx import DeregistrationReason
from redoubt.events import Deregistered, EventStream, Notice
from redoubt.hss.keys import create_key, write_key_file
from redoubt.network.configuration import from_tree
from redoubt.network.run import Network
from redoubt.sources import SeededRandomness

from .calls import call
from .client import Client
from .home import Home, subscribers

SPLITS = [
    (("p-cscf",), ("i-cscf", "s-cscf"), ("hss",)),
    (("p-cscf", "i-cscf"), ("s-cscf", "hss")),
    (("p-cscf",), ("i-cscf",), ("s-cscf",), ("hss",)),
    (("p-cscf", "i-cscf", "s-cscf"), ("hss",)),
]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses now."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def shared_configuration() -> Config:
    access, core, icscf, scscf = free_ports(4)
    return from_tree(
        {
            "p-cscf": {"listen": [f"udp:127.0.0.1:{access}"], "core": [f"udp:127.0.0.1:{core}"]},
            "i-cscf": {"listen": [f"udp:127.0.0.1:{icscf}"]},
            "s-cscf": {"listen": [f"udp:127.0.0.1:{scscf}"]},
        }
    )


class Apart(Home):
    """The parts of one network; `network` is the one with the P-CSCF."""

    def __init__(self, parts: list[Network]) -> None:
        super().__init__(next(part for part in parts if part.p_cscf is not None))
        self.parts = parts

    def part(self, function: str) -> Network:
        return next(part for part in self.parts if function in part.only)


@asynccontextmanager
async def apart(split: tuple[tuple[str, ...], ...], directory: Path) -> AsyncIterator[Apart]:
    config = shared_configuration()
    write_key_file(directory / config.hss.key_file, create_key(SeededRandomness(1)))
    parts: list[Network] = []
    net: Apart | None = None
    try:
        for number, only in enumerate(reversed(split)):
            part = await Network.start(
                config, directory, only=only, events=EventStream(), randomness=SeededRandomness(number + 10)
            )
            parts.append(part)
        net = Apart(parts)
        hss = net.part("hss").hss
        assert hss is not None
        await hss.administration.add(subscribers(net.realm, ("alice", "bob")))
        yield net
    finally:
        if net is not None:
            net.close()
        for part in reversed(parts):
            await part.close()


async def pair(net: Apart) -> tuple[Client, Client]:
    return await net.registered("alice"), await net.registered("bob")


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: " | ".join("+".join(part) for part in split))
async def test_a_split_network_registers_and_connects(split: tuple[tuple[str, ...], ...], tmp_path: Path) -> None:
    async with apart(split, tmp_path) as net:
        alice, bob = await pair(net)
        made = await call(alice, bob)
        assert await made.lives()
        bye = made.from_callee("BYE", 1)
        bob.send(bye)
        alice.respond(await alice.request("BYE"), 200)
        assert (await bob.final(bye)).status == 200
        assert (await alice.registers(expires="0")).status == 200
        await net.settled(0.1)
        assert (await bob.ask(bob.make("MESSAGE", net.impu("alice")))).status == 480


async def test_registrations_that_run_together_get_their_own_answers(tmp_path: Path) -> None:
    async with apart(SPLITS[0], tmp_path) as net:
        phones = [await net.phone(name) for name in ("alice", "bob")]
        answers = await asyncio.gather(*(phone.registers() for phone in phones))
        assert [answer.status for answer in answers] == [200, 200]
        cx = net.part("s-cscf")._cx_connection
        assert cx is not None
        found = await asyncio.gather(*(cx.location_info(net.impu(name)) for name in ("alice", "nobody") * 20))
        assert [answer.result.name for answer in found] == ["SUCCESS", "USER_UNKNOWN"] * 20


async def test_an_rtr_crosses_the_socket(tmp_path: Path) -> None:
    async with apart(SPLITS[0], tmp_path) as net:
        alice, _bob = await pair(net)
        hss = net.part("hss").hss
        assert hss is not None
        await hss.administration.deregister(alice.card.impi, DeregistrationReason.PERMANENT_TERMINATION)
        await net.settled(0.1)
        ended = [e for e in net.part("s-cscf").context.events.recent if isinstance(e, Deregistered)]
        assert [event.impu for event in ended] == [alice.card.impu]


async def test_the_hss_going_away_costs_nobody_a_registration(tmp_path: Path) -> None:
    async with apart(SPLITS[0], tmp_path) as net:
        alice, bob = await pair(net)
        hss = net.part("hss")
        await hss.close()
        net.parts.remove(hss)
        carol = await net.phone("alice")
        assert (await carol.challenged()).status in (480, 500, 504)
        notices = [e for e in net.part("s-cscf").context.events.recent if isinstance(e, Notice)]
        assert any(notice.level == "alarm" and notice.advice for notice in notices)
        again = await Network.start(hss.config, tmp_path, only=("hss",), randomness=SeededRandomness(77))
        net.parts.append(again)
        try:
            for _ in range(20):
                if (await alice.registers()).status == 200:
                    break
                await asyncio.sleep(0.1)
            made = await call(bob, alice)
            assert await made.lives()
        finally:
            await again.close()


async def test_the_socket_is_its_owners_only(tmp_path: Path) -> None:
    async with apart(SPLITS[0], tmp_path):
        assert (tmp_path / "cx.sock").stat().st_mode & 0o077 == 0
