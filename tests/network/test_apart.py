"""Functions apart: SIP and Diameter cross sockets, and registrations and calls are the same.

The suites that run over both arrangements are listed in conftest.py; here is what only a split network can do.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.ports import free_port

from redoubt.config import Config
from redoubt.diameter.cx import DeregistrationReason
from redoubt.events import Check, Deregistered, EventStream, MessageSeen, Notice
from redoubt.hss.administration import Told
from redoubt.hss.keys import create_key, write_key_file
from redoubt.network.commands import commands
from redoubt.network.configuration import from_tree, rendered
from redoubt.network.run import Network
from redoubt.sim import run
from redoubt.sources import SeededRandomness

from .calls import call
from .client import OPC, Card, Client, key_of
from .home import CLEAR, Home, home, subscribers

SPLITS = [
    (("p-cscf",), ("i-cscf", "s-cscf"), ("hss",)),
    (("p-cscf", "i-cscf"), ("s-cscf", "hss")),
    (("p-cscf",), ("i-cscf",), ("s-cscf",), ("hss",)),
    (("p-cscf", "i-cscf", "s-cscf"), ("hss",)),
]
COMMAND = str(Path(sys.executable).with_name("redoubt"))
Split = tuple[tuple[str, ...], ...]


def free_ports(count: int) -> list[int]:
    """Different ones."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def shared_configuration() -> Config:
    access, core, icscf, scscf, diameter = free_ports(5)
    return from_tree(
        {
            "p-cscf": {"listen": [f"udp:127.0.0.1:{access}"], "core": [f"udp:127.0.0.1:{core}"]},
            "i-cscf": {"listen": [f"udp:127.0.0.1:{icscf}"]},
            "s-cscf": {"listen": [f"udp:127.0.0.1:{scscf}"]},
            "hss": {"diameter": [f"tcp:127.0.0.1:{diameter}"]},
            "gm": {"listen": ["udp:127.0.0.1:0"]},
            "access": CLEAR,
        }
    )


class Apart(Home):
    """The parts of one network, each with a directory of its own; `network` is the one with the P-CSCF."""

    def __init__(self, parts: list[Network]) -> None:
        hss = next(part for part in parts if part.hss is not None)
        assert hss.hss is not None
        super().__init__(next(part for part in parts if part.p_cscf is not None), hss.hss, hss.directory)
        self.parts = parts

    def part(self, function: str) -> Network:
        return next(part for part in self.parts if function in part.only)

    async def hss_goes(self) -> Network:
        """The HSS's process ends; what it was."""
        gone = self.part("hss")
        await gone.close()
        self.parts.remove(gone)
        return gone

    async def hss_comes(self, gone: Network) -> None:
        """It starts again, on the same database."""
        again = await Network.start(gone.config, gone.directory, only=gone.only, randomness=SeededRandomness(77))
        self.parts.append(again)
        assert again.hss is not None
        self.hss = again.hss
        for part in self.parts:
            for node in part.diameter.nodes.values():
                assert await node.connected(120.0)


@asynccontextmanager
async def apart(split: Split, directory: Path) -> AsyncIterator[Apart]:
    config = shared_configuration()
    parts: list[Network] = []
    net: Apart | None = None
    try:
        for number, only in enumerate(reversed(split)):
            place = directory / f"part{number}"
            place.mkdir()
            if "hss" in only:
                write_key_file(place / config.hss.key_file, create_key(SeededRandomness(1)))
            randomness = SeededRandomness(number + 10)
            parts.append(await Network.start(config, place, only=only, events=EventStream(), randomness=randomness))
        net = Apart(parts)
        await net.hss.administration.add(subscribers(net.realm, ("alice", "bob")))
        yield net
    finally:
        if net is not None:
            net.close()
        for part in reversed(parts):
            await part.close()


async def pair(net: Home) -> tuple[Client, Client]:
    return await net.registered("alice"), await net.registered("bob")


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: " | ".join("+".join(part) for part in split))
async def test_a_split_network_registers_and_connects(split: Split, tmp_path: Path) -> None:
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
        phones = [await net.phone(name) for name in ("alice", "bob") * 4]
        answers = await asyncio.gather(*(phone.registers() for phone in phones[:2]))
        assert [answer.status for answer in answers] == [200, 200]


async def test_an_rtr_crosses_to_the_s_cscf(tmp_path: Path) -> None:
    async with apart(SPLITS[0], tmp_path) as net:
        alice, _bob = await pair(net)
        told = await net.hss.administration.deregister(
            alice.card.impi, DeregistrationReason.PERMANENT_TERMINATION
        )
        assert told is Told.DONE
        await net.settled(0.1)
        ended = [e for e in net.part("s-cscf").context.events.recent if isinstance(e, Deregistered)]
        assert [event.impu for event in ended] == [alice.card.impu]


def test_an_hss_that_was_restarted_still_reaches_the_s_cscf(tmp_path: Path) -> None:
    """The Diameter host of each S-CSCF is remembered durably (TS 29.228 6.1.3: Destination-Host)."""

    async def main(_sim: object) -> None:
        async with apart(SPLITS[3], tmp_path) as net:
            alice, bob = await pair(net)
            await net.hss_comes(await net.hss_goes())
            assert await net.hss.administration.reachable() == {net.network.config.s_cscf.uri}
            assert await net.hss.administration.deregister(alice.card.impi) is Told.DONE
            await asyncio.sleep(1)
            s_cscf = net.part("s-cscf").s_cscf
            assert s_cscf is not None
            assert not s_cscf.registrations.contacts(alice.card.impu, asyncio.get_running_loop().time())
            assert s_cscf.registrations.contacts(bob.card.impu, asyncio.get_running_loop().time())

    run(main, 3)


def test_the_hss_going_away_costs_nobody_a_registration(tmp_path: Path) -> None:
    async def main(_sim: object) -> None:
        async with apart(SPLITS[0], tmp_path) as net:
            alice, bob = await pair(net)
            gone = await net.hss_goes()
            other = await net.phone("alice")
            assert (await other.challenged()).status in (480, 500, 504)
            notices = [e for e in net.part("s-cscf").context.events.recent if isinstance(e, Notice)]
            assert any(notice.level == "alarm" and notice.advice for notice in notices)
            await asyncio.sleep(60)  # an outage that lasts
            await net.hss_comes(gone)
            assert (await alice.registers()).status == 200
            made = await call(bob, alice)
            assert await made.lives()

    run(main, 5)


async def test_the_hss_knows_no_cscf_that_nobody_configured(tmp_path: Path) -> None:
    """Row 104. The S-CSCF of another network, with another Diameter identity, gets no answer and is reported."""
    async with apart(SPLITS[3], tmp_path) as net:
        config = net.network.config
        stranger = from_tree(
            {
                "s-cscf": {"diameter-identity": "mallory.net", "listen": ["udp:127.0.0.1:0"]},
                "hss": {"diameter": list(config.hss.diameter)},
            }
        )
        other = await Network.start(stranger, tmp_path, only=("s-cscf",), randomness=SeededRandomness(3))
        net.parts.append(other)
        assert not await other.diameter.nodes["s-cscf"].connected(0.3)
        seen = [e for e in net.part("hss").context.events.recent if isinstance(e, Check) and not e.passed]
        assert any("mallory.net" in check.seen for check in seen)


async def test_an_hss_by_itself_explains_what_it_refused(tmp_path: Path) -> None:
    """It hears of identities and of no Call-ID; the CSCFs tell of the same attempt by its Call-ID."""
    async with apart(SPLITS[3], tmp_path) as net:
        carol = await net.phone("carol")
        await carol.ask(carol.register())
        for about in (carol.card.impi, carol.card.impu):
            at_hss, *_ = await commands(net.part("hss"))["explain"]({"about": about})
            assert (at_hss["call_id"], at_hss["passed"]) == ("", False)
            assert "the identity is provisioned" in at_hss["verdict"] and at_hss["advice"]
        (at_cscfs,) = await commands(net.part("i-cscf"))["explain"]({"about": carol.card.impu})
        assert at_cscfs["call_id"] == carol.call_id
        assert await commands(net.part("hss"))["explain"]({"about": ""}) == []


@pytest.mark.parametrize("arranged", ["collapsed", "apart"], indirect=True)
async def test_a_ladder_shows_what_crosses_cx(arranged: str) -> None:
    async with home(tracing=True) as net:
        alice = await net.registered("alice")
        await net.hss.administration.deregister(alice.card.impi)
        await net.settled()
        lines = [
            f"{e.sender} -> {e.receiver} {e.text.split()[0]}"
            for e in net.events(MessageSeen)
            if e.transport == "cx" and e.text[:3] not in ("LIR", "LIA")  # of the P-CSCF's SUBSCRIBE
        ]
        assert lines == [
            "i-cscf -> hss UAR", "hss -> i-cscf UAA", "s-cscf -> hss MAR", "hss -> s-cscf MAA",
            "i-cscf -> hss UAR", "hss -> i-cscf UAA", "s-cscf -> hss SAR", "hss -> s-cscf SAA",
            "hss -> s-cscf RTR", "s-cscf -> hss RTA",
        ]  # fmt: skip


def up(folder: Path, only: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([COMMAND, "up", "--only", only], cwd=folder, stdout=subprocess.DEVNULL)


def appears(path: Path) -> None:
    for _ in range(1200):  # the machine may be busy
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


async def test_two_processes_are_a_network(tmp_path: Path) -> None:
    """`redoubt up --only hss` and `redoubt up --only p-cscf,i-cscf,s-cscf`, joined by Diameter."""
    config = shared_configuration()
    state = tmp_path / config.network.state
    state.mkdir()
    (tmp_path / "redoubt.toml").write_text(rendered(config))
    write_key_file(state / config.hss.key_file, create_key(SeededRandomness(1)))
    card = Card.of("alice", config.network.realm)
    line = {"impi": card.impi, "k": key_of("alice").hex(), "opc": OPC.reveal().hex()}
    (tmp_path / "alice.jsonl").write_text(json.dumps(line))
    imported = [COMMAND, "subscriber", "import", "alice.jsonl"]
    await asyncio.to_thread(subprocess.run, imported, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    running = [up(tmp_path, "hss"), up(tmp_path, "p-cscf,i-cscf,s-cscf")]
    try:
        for name in ("control.sock", "control-p-cscf-i-cscf-s-cscf.sock"):
            await asyncio.to_thread(appears, state / name)
        host, port = config.p_cscf.listen[0].removeprefix("udp:").split(":")
        phone = await Client.open(card, (host, int(port)))
        for _ in range(300):  # the process that came first tries again after a second, then ever more rarely
            with contextlib.suppress(TimeoutError):  # a datagram of a raw phone is sent once
                if (status := (await phone.registers()).status) == 200:
                    break
            await asyncio.sleep(0.2)
        assert status == 200
        phone.close()
        asked = [COMMAND, "status"]
        told = await asyncio.to_thread(subprocess.run, asked, cwd=tmp_path, check=True, capture_output=True)
        assert b"open, by us" in told.stdout and b"open, by the peer" in told.stdout
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            await asyncio.to_thread(process.wait, 120)
