"""`redoubt ue`, `explain`, `status` as a person runs them: each in a process of its own, beside a running network."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from redoubt.cli.output import shown
from redoubt.lab.population import residents
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer
from redoubt.network.run import Network
from redoubt.phone.sim_file import SimFile, write_sim_file
from redoubt.sources import SeededRandomness

REALM = "home.example"
MAIN = "from redoubt.cli import main; main()"
ALICE, BOB = f"sip:alice@{REALM}", f"sip:bob@{REALM}"
K = "465b5ce8b199b49faa5f0a2ee238a6bc"


class Done(NamedTuple):
    status: int
    output: str
    errors: str


class Lab:
    """A network, and a directory in which commands are run."""

    def __init__(self, directory: Path, network: Network | None) -> None:
        self.directory = directory
        self.network = network

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAIN, *words, cwd=self.directory,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *words: str) -> Done:
        process = await self.start(*words)
        output, errors = await process.communicate()
        return Done(process.returncode or 0, output.decode(), errors.decode())

    def sizes(self, name: str) -> int:
        assert self.network is not None
        return self.network.table_sizes()[name]


@asynccontextmanager
async def lab(directory: Path, transport: str = "udp", host: str = "127.0.0.1") -> AsyncIterator[Lab]:
    """Alice's and Bob's SIM files lie where `redoubt subscriber add` puts them."""
    network = await Network.temporary(
        {
            "network": {"realm": REALM},
            "p-cscf": {"listen": [f"{transport}:{host}:0"]},
            "gm": {"listen": [f"udp:{host}:0"]},
        }
    )
    control = ControlServer(network.directory / "control.sock", commands(network))
    await control.start()
    assert network.hss is not None
    people = residents(["alice", "bob"], REALM, SeededRandomness(1))
    await network.hss.administration.add([person.subscriber() for person in people])
    for person, name in zip(people, ("alice", "bob"), strict=True):
        sim = SimFile(
            impi=person.impi, impus=[person.impu], realm=REALM, k=person.k.reveal().hex(), opc=person.opc.reveal().hex()
        )
        write_sim_file(network.directory / "sim" / f"{name}.json", sim)
    (directory / "redoubt.toml").write_text(
        f'[network]\nrealm = "{REALM}"\nstate = "{network.directory}"\n'
        f'[p-cscf]\nlisten = ["{transport}:{host}:{network.p_cscf_by(transport)[1]}"]\n'
        f'[gm]\nlisten = ["udp:{host}:{network.tunnel_address[1]}"]\n'
    )
    try:
        yield Lab(directory, network)
    finally:
        await control.close()
        await network.close()


@pytest.mark.parametrize(("transport", "host"), [("udp", "127.0.0.1"), ("tcp", "127.0.0.1"), ("udp", "[::1]")])
async def test_one_command_ends_the_registration_that_another_made(tmp_path: Path, transport: str, host: str) -> None:
    """The phone that comes back is the same one (RFC 5626 4.1), however often it is switched on."""
    async with lab(tmp_path, transport, host) as made:
        for seconds in ("3600", "600"):
            done = await made("ue", "register", "alice", "--expires", seconds)
            assert done.status == 0, done.errors
            assert f"{ALICE} is registered for {seconds} s; card and network proved" in done.output
        assert made.sizes("s-cscf registrations") == 1
        done = await made("ue", "deregister", "alice")
        assert done.output == f"ok {ALICE} is no longer registered from this phone\n"
        assert made.sizes("s-cscf registrations") == 0


async def test_a_phone_behaves_as_the_handset_that_it_is_told_to_be(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        for profile in ("iphone", "xiaomi"):
            done = await made("ue", "register", "alice", "--profile", profile)
            assert done.status == 0, done.errors
        done = await made("ue", "register", "alice", "--profile", "xiaomi", "--flight-mode")
        assert (done.status, "the card had resynchronised the HSS (AUTS)" in done.output) == (0, True), done.errors
        done = await made("ue", "register", "bob", "--profile", "samsung-null")
        assert (done.status, "494" in done.errors) == (1, True)
        assert made.sizes("s-cscf registrations") == 1
        done = await made("ue", "deregister", "alice", "--profile", "xiaomi")
        assert done.status == 0, done.errors
        assert made.sizes("s-cscf registrations") == 0


async def test_the_list_of_handsets_says_where_each_is_known_from_and_what_is_assumed(tmp_path: Path) -> None:
    listed = await Lab(tmp_path, None)("ue", "profiles", "--json")
    profiles = json.loads(listed.output)["profiles"]
    assert {"iphone", "samsung", "pixel", "xiaomi", "huawei"} <= {profile["name"] for profile in profiles}
    assert all("#" in each["known"] and each["assumed"] for each in profiles if each["name"] != "redoubt")
    assert "known: " in (await Lab(tmp_path, None)("ue", "profiles")).output


async def test_a_waiting_phone_says_what_comes_and_says_good_bye_on_sigterm(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        waiting = await made.start("ue", "answer", "bob", "--ring", "0")
        assert waiting.stdout is not None
        assert f"{BOB} is registered for 3600 s" in (await waiting.stdout.readline()).decode()
        called = await made("ue", "call", "alice", BOB, "--talk", "0.5")
        assert called.status == 0 and f"{BOB} answered; the call lasted 0.5 s" in called.output
        assert "with the tone of a test phone" in called.output
        sent = await made("ue", "message", "alice", BOB, "[red]hello[/] \x1b[31m")
        assert sent.status == 0 and f"{BOB} has the message" in sent.output
        waiting.send_signal(signal.SIGTERM)
        output, _ = await waiting.communicate()
        assert waiting.returncode == 0
        calls, answered, over, *rest = output.decode().splitlines()
        assert over.startswith(f"the call of {ALICE} is over; ") and "with the tone of a test phone" in over
        assert [calls, answered, *rest] == [
            f"{ALICE} calls",
            f"the call of {ALICE} is answered",
            f"{ALICE} writes: [red]hello[/] \N{REPLACEMENT CHARACTER}[31m",
            "ok calls: 1, messages: 1; deregistered",
        ]
        assert made.sizes("s-cscf registrations") == 1  # Alice's


async def test_what_failed_is_said_with_the_command_that_says_why(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        failed = await made("ue", "call", "alice", f"sip:nobody@{REALM}")
        assert failed.status == 1 and f"sip:nobody@{REALM} is not known: 404 Not Found" in failed.errors
        why = failed.errors.split("`")[1].split()
        explained = await made(*why[1:])
        assert "try      compare the address with `redoubt subscriber list`" in explained.output
        absent = await made("ue", "message", "alice", BOB, "hello", "--json")
        assert absent.status == 1
        assert json.loads(absent.output)["status"] == 480


async def test_nobody_at_the_p_cscfs_address_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "redoubt.toml").write_text(f'[network]\nrealm = "{REALM}"\n')
    write_sim_file(tmp_path / "sim.json", SimFile(impi=f"a@{REALM}", impus=[ALICE], realm=REALM, k=K, opc=K))
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    done = await Lab(tmp_path, None)("ue", "register", "./sim.json", "--proxy", f"sip:127.0.0.1:{free}")
    assert done.status == 1
    assert done.errors.startswith(f"error: nobody listens at sip:127.0.0.1:{free}; start the network with `redoubt up`")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("register", "nobody"), "there is no SIM file"),
        (("register", "."), "no SIM file"),
        (("register", "./"), "can't be read"),
        (("register", "./redoubt.toml"), "is no SIM file"),
        (("register", "./short.json"), "is no SIM file"),
        (("register", "./sim.json", "--proxy", "foo"), "foo is no address of a P-CSCF; write sip:HOST:PORT"),
        (("register", "./sim.json", "--proxy", "sip:h;transport=sctp"), "is no address of a P-CSCF"),
        (("call", "./sim.json", "bob"), "bob is no address; write sip:bob@REALM or tel:NUMBER"),
        (("register", "./sim.json", "--config", "./absent.toml"), "there is no configuration here"),
    ],
)
async def test_wrong_input_gets_a_sentence(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "redoubt.toml").write_text(f'[network]\nrealm = "{REALM}"\n')
    (tmp_path / "state").mkdir()
    sim: dict[str, Any] = {"impi": f"a@{REALM}", "impus": [ALICE], "realm": REALM, "k": K, "opc": K}
    (tmp_path / "sim.json").write_text(json.dumps(sim))
    (tmp_path / "short.json").write_text(json.dumps(sim | {"k": "00"}))
    done = await Lab(tmp_path, None)("ue", *words)
    assert done.status == 1
    assert done.errors.startswith("error: ") and said in done.errors and "Traceback" not in done.errors


async def test_status_and_explain_know_all_processes_of_a_network(tmp_path: Path) -> None:
    """`redoubt up --only` in two terminals, one directory: the P-CSCF alone saw a malformed REGISTER."""
    async with lab(tmp_path) as made:
        assert made.network is not None
        other = await Network.temporary({"network": {"realm": REALM}}, only=["p-cscf"])
        control = ControlServer(made.network.directory / "control-p-cscf.sock", commands(other))
        await control.start()
        try:
            other.context.refused(400, "a bad Contact", "RFC 3261 8.1.1.8", method="REGISTER", call_id="lost")
            status = json.loads((await made("status", "--events", "5", "--json")).output)
            assert status["functions"].count("p-cscf") == 2
            assert [event["why"] for event in status["events"]] == ["a bad Contact"]
            explained = await made("explain", "lost")
            assert "answered REGISTER with 400: a bad Contact" in explained.output
        finally:
            await control.close()
            await other.close()


def test_what_strangers_wrote_is_neither_markup_nor_a_control_sequence() -> None:
    assert shown("sip:a@[fe80::1] [/x]\x1b[2J\u202e") == r"sip:a@\[fe80::1] \[/x]" + "\ufffd[2J\ufffd"
