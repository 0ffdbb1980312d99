"""A phone behind a real NAT (Linux, nftables), under IPsec, talks with one that is not: `redoubt up` and `redoubt ue`
as people run them, each in a network namespace. Needs root, ip and nft."""

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAIN = "from redoubt.cli import main; main()"
SERVER, BOB, ALICE = "198.51.100.1", "198.51.100.2", "192.168.1.2"
REALM = "ims.mnc001.mcc001.3gppnetwork.org"
RULES = (
    "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; };"
    " add rule ip nat out oifname wan0 masquerade random"
)
CONFIG = """
[p-cscf]
listen = ["udp:198.51.100.1:5060"]
[gm]
listen = ["udp:198.51.100.1:4500"]
memory = ""
[media]
access = "nat"
inside = ["198.51.100.1"]
outside = ["198.51.100.1"]
"""


def can_make_networks() -> bool:
    name = f"may{os.getpid()}"
    if os.geteuid() or not shutil.which("nft") or not shutil.which("ip"):
        return False
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    works = made and subprocess.run(
        ["ip", "netns", "exec", name, "nft", RULES], capture_output=True
    ).returncode == 0  # fmt: skip
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return works


pytestmark = pytest.mark.skipif(not can_make_networks(), reason="needs root, ip netns and nft")


class Street:
    """The network's host, Bob's, and a house with Alice behind a router that translates addresses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tag = secrets.token_hex(3)

    def ns(self, name: str) -> str:
        return f"{name}-{self.tag}"

    def build(self) -> None:
        for name in ("net", "bob", "router", "alice"):
            self.ip(f"netns add {self.ns(name)}", f"-n {self.ns(name)} link set lo up")
        self.ip(f"-n {self.ns('net')} link add name switch type bridge")
        for name, device, address in (("bob", "wan0", BOB), ("router", "wan0", "198.51.100.9")):
            self.ip(f"link add {device} netns {self.ns(name)} type veth peer name {name}0 netns {self.ns('net')}")
            self.ip(
                f"-n {self.ns('net')} link set {name}0 master switch up", f"-n {self.ns(name)} link set {device} up"
            )
            self.ip(f"-n {self.ns(name)} addr add {address}/24 dev {device}")
        self.ip(f"-n {self.ns('net')} addr add {SERVER}/24 dev switch", f"-n {self.ns('net')} link set switch up")
        self.ip(f"link add lan0 netns {self.ns('router')} type veth peer name wan0 netns {self.ns('alice')}")
        self.ip(f"-n {self.ns('router')} addr add 192.168.1.1/24 dev lan0", f"-n {self.ns('router')} link set lan0 up")
        self.ip(f"-n {self.ns('alice')} addr add {ALICE}/24 dev wan0", f"-n {self.ns('alice')} link set wan0 up")
        self.ip(f"-n {self.ns('alice')} route add default via 192.168.1.1")
        self.inside("router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.inside("router", "nft", RULES)

    def ip(self, *lines: str) -> None:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)

    def inside(self, name: str, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.ns(name), *command], check=True)

    async def start(self, name: str, *words: str) -> asyncio.subprocess.Process:
        """`redoubt` on that host."""
        return await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", self.ns(name), sys.executable, "-c", MAIN, *words, cwd=self.directory,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def redoubt(self, name: str, *words: str) -> tuple[int, str]:
        """Its exit status and what it says."""
        process = await self.start(name, *words)
        output, errors = await process.communicate()
        return process.returncode or 0, output.decode() + errors.decode()

    def clear(self) -> None:
        for name in ("net", "bob", "router", "alice"):
            subprocess.run(["ip", "netns", "del", self.ns(name)], capture_output=True)


async def until(street: Street, name: str, *words: str) -> str:
    """A command, again until it succeeds: others are still starting."""
    said = ""
    for _ in range(50):
        status, said = await street.redoubt(name, *words, "--json")
        if not status:
            return said
        await asyncio.sleep(0.2)
    raise AssertionError(said)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    made = Street(tmp_path)
    try:
        made.build()
        yield made
    finally:
        made.clear()


async def test_a_phone_behind_a_real_nat_is_heard_and_hears(street: Street) -> None:
    """That it is the relay, test_access.py shows in virtual time, with and without it."""
    await street.redoubt("net", "init")
    path = street.directory / "redoubt.toml"
    path.write_text(CONFIG)
    for name in ("alice", "bob"):
        await street.redoubt("net", "subscriber", "add", name)
    up = await street.start("net", "up")
    waiting = None
    try:
        await until(street, "net", "status")
        waiting = await street.start("bob", "ue", "answer", "bob", "--once", "--ring", "0", "--json")
        output = await until(street, "alice", "ue", "call", "alice", f"sip:bob@{REALM}", "--talk", "1")
        called = json.loads(output)
        answered = json.loads((await waiting.communicate())[0])["calls"][0]
        assert called["rtp_packets"]["tones"] > 30 and answered["rtp_packets"]["tones"] > 30, (called, answered)
    finally:
        for process in (up, waiting):
            if process is not None and process.returncode is None:
                process.terminate()
                await process.communicate()
