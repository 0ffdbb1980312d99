"""A P-CSCF's process is killed and another one starts: phones under IPsec notice nothing."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.namespaces import at_core, phone_at

from redoubt.config import Config
from redoubt.events import EventStream, MessageSeen
from redoubt.hss.keys import create_key, write_key_file
from redoubt.lab import seed_world
from redoubt.lab.population import residents
from redoubt.network.configuration import from_tree, rendered
from redoubt.network.gm_memory import memory_of
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import REDOUBT
from redoubt.sim import Network as Wire
from redoubt.sim import at_host, run
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

from .home import carrier, host_of_core
from .test_apart import free_ports

COMMAND = str(Path(sys.executable).with_name("redoubt"))
SHARED_MEMORY = Path("/dev/shm")
NAMES = ("alice", "bob")


def configuration() -> Config:
    access, core, icscf, scscf, diameter, tunnel = free_ports(6)
    host = host_of_core()
    return from_tree(
        {
            "p-cscf": {"listen": [f"udp:{host}:{access}"], "core": [f"udp:127.0.0.1:{core}"]},
            "i-cscf": {"listen": [f"udp:127.0.0.1:{icscf}"]},
            "s-cscf": {"listen": [f"udp:127.0.0.1:{scscf}"]},
            "hss": {"diameter": [f"tcp:127.0.0.1:{diameter}"]},
            "gm": {"listen": [f"udp:{host}:{tunnel}"], "path": carrier()},
            "access": {"policy": "ipsec"},
        }
    )


def port_of(listen: str) -> int:
    return int(listen.rpartition(":")[2])


class World:
    """The core in this process, the P-CSCF in one of its own, and two phones."""

    def __init__(self, config: Config, folder: Path, core: Network) -> None:
        self.config, self.folder, self.core = config, folder, core
        self.p_cscf: subprocess.Popen[bytes] | None = None
        self.phones: dict[str, Phone] = {}

    async def start(self) -> None:
        control = self.folder / self.config.network.state / "control-p-cscf.sock"
        control.unlink(missing_ok=True)
        command = [COMMAND, "up", "--only", "p-cscf"]
        with at_core():
            self.p_cscf = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        async with asyncio.timeout(60):
            while not control.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)

    async def stop(self, how: signal.Signals) -> None:
        assert self.p_cscf is not None
        self.p_cscf.send_signal(how)
        await asyncio.to_thread(self.p_cscf.wait, 30)

    async def phone(self, name: str) -> Phone:
        people = {each.name: each for each in residents(NAMES, self.config.network.realm, SeededRandomness(2))}
        clock = Clock(asyncio.get_running_loop())
        context = Context(f"ue-{name}", EventStream(), clock, SeededRandomness(100 + len(name)))
        options = GmOptions(port=port_of(self.config.gm.listen[0]), path=carrier())
        proxy = f"sip:{self.config.p_cscf.listen[0].removeprefix('udp:')}"
        profile = replace(REDOUBT, tcp_after_challenge=name == "bob" and carrier() != "user-space")  # a connection dies
        phone = Phone(context, people[name].card(), Stack(context), proxy, renews=False, gm=options, profile=profile)
        await phone.open(f"udp:{phone_at('127.0.0.1')}:0")
        assert (await phone.register(3600)).registered
        self.phones[name] = phone
        return phone

    @property
    def registers(self) -> int:
        """How many REGISTER requests came to the S-CSCF."""
        recent = self.core.context.events.recent
        return sum(isinstance(event, MessageSeen) and event.text.startswith("REGISTER") for event in recent)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    with at_core():
        config = configuration()
    state = folder / config.network.state
    state.mkdir()
    (folder / "redoubt.toml").write_text(rendered(config))
    write_key_file(state / config.hss.key_file, create_key(SeededRandomness(1)))
    events = EventStream()
    events.tracing = True
    only = ("i-cscf", "s-cscf", "hss")
    with at_core():
        core = await Network.start(config, state, only=only, events=events, randomness=SeededRandomness(3))
    assert core.hss is not None
    people = residents(NAMES, config.network.realm, SeededRandomness(2))
    await core.hss.administration.add([person.subscriber() for person in people])
    made = World(config, folder, core)
    try:
        await made.start()
        yield made
    finally:
        for phone in made.phones.values():
            await phone.close()
        if made.p_cscf is not None:
            with contextlib.suppress(ProcessLookupError):
                await made.stop(signal.SIGTERM)
        await core.close()
        memory = memory_of(config, state)
        assert memory is not None
        memory.file.unlink(missing_ok=True)


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no /dev/shm")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "restarted"])
async def test_calls_and_registrations_outlive_the_p_cscfs_process(tmp_path: Path, how: signal.Signals) -> None:
    async with world(tmp_path) as net:
        alice, bob = await net.phone("alice"), await net.phone("bob")
        call = await alice.call(bob.identity.impu)
        assert call.status == 200
        registers = net.registers
        await net.stop(how)
        await net.start()
        await call.hang_up()  # the call of before has its end
        assert bob.open_dialogs == alice.open_dialogs == 0
        for caller, callee in ((alice, bob), (bob, alice)):
            call = await caller.call(callee.identity.impu)
            assert call.status == 200
            await call.hang_up()
        assert net.registers == registers  # nobody had to register for that
        assert (await alice.register()).registered
        assert (await alice.message(bob.identity.impu, "still here")).status == 200
        assert [message.text for message in bob.messages] == ["still here"]


def test_after_the_death_of_the_machine_phones_register_again_and_none_is_locked_out() -> None:
    async def story(wire: Wire) -> None:
        net = await seed_world.World.build(wire, 5, hosts=2, access="ipsec", tracing=False)
        phones = [handset.phone for handset in net.handsets]
        for phone in phones:
            assert (await phone.register(3600)).registered
        dead = net.parts[0]
        wire.crash(seed_world.P_CSCF_HOST)
        await dead.close()
        with at_host(seed_world.P_CSCF_HOST):
            net.parts[0] = await Network.start(
                dead.config, dead.directory, only=dead.only, events=net.events, randomness=wire.randomness,
                epoch_s=seed_world.EPOCH_S,
            )  # fmt: skip
        began = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(phone.register() for phone in phones))
        assert all(result.registered for result in results), results
        assert asyncio.get_running_loop().time() - began < 150  # 64*T1 without an answer, then from the start
        for phone, other in pairwise(phones):
            assert (await phone.message(other.identity.impu, "hello")).status == 200
        assert not net.bugs
        await net.close()

    run(story, 1, settle_s=300, allow_pending=True)
