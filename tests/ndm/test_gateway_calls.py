"""Two operators, each a `redoubt up` on a host of its own, call each other through a tunnel (TS 33.210, row 54)."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.network.calls import Call, call
from tests.network.client import OPC, Card, Client, key_of

from redoubt.ndm.charon import POLL_S
from redoubt.network.configuration import from_tree, rendered
from redoubt.network.control import ask

from .hostile_wire import ENDS, Operators, inside
from .tunnels import FALLS_SOON, NAME, Tunnels, tunnels

COMMAND = str(Path(sys.executable).with_name("redoubt"))
REALMS = {"a": "alpha.example", "b": "beta.example"}
USERS = {"a": "alice", "b": "bob"}
P_CSCF = ("127.0.0.1", 5060)
UP_WITHIN_S = 20


class Site:
    """One operator: its redoubt.toml, its network, the phone of its user."""

    def __init__(self, net: Tunnels, side: str, folder: Path) -> None:
        self.net, self.side, self.folder = net, side, folder / f"network-{side}"
        self.folder.mkdir()
        self.toml = self.folder / "redoubt.toml"
        self.realm, self.user = REALMS[side], USERS[side]
        self._command("init")
        self.toml.write_text(rendered(from_tree(self._tree())))
        k, opc = key_of(self.user).hex(), OPC.reveal().hex()
        self._command("subscriber", "add", self.user, "--k", k, "--opc", opc)
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", net.hosts.names[side], COMMAND, "up", "--config", str(self.toml)],
            stdout=(self.folder / "output").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _tree(self) -> dict[str, Any]:
        other = "b" if self.side == "a" else "a"
        gateway = getattr(self.net, self.side).config()
        (_, here), (_, there) = ENDS[self.side], ENDS[other]
        agreement = {
            "name": REALMS[other], "domains": [REALMS[other]], "security": "gateway", "gateway": NAME,
            "addresses": [there], "connect": [f"udp:{there}:5060"],
        }  # fmt: skip
        return {
            "network": {"realm": self.realm},
            "access": {"policy": "aka-without-ipsec"},
            "gm": {"listen": []},
            "ibcf": {"listen": [f"udp:{here}:5060", f"tcp:{here}:5060"]},
            "partners": [agreement],
            "gateways": [msgspec.to_builtins(gateway)],
        }

    def command(self, *arguments: str) -> str:
        """What a command prints, whatever its exit status."""
        ran = subprocess.run([COMMAND, *arguments, "--config", str(self.toml)], capture_output=True, text=True)
        return ran.stdout + ran.stderr

    def _command(self, *arguments: str) -> None:
        subprocess.run([COMMAND, *arguments, "--config", str(self.toml)], capture_output=True, check=True)

    async def phone(self) -> Client:
        """Its user's, registered."""
        card = Card.of(self.user, self.realm)
        with inside(self.net.hosts.names[self.side]):
            phone = await Client.open(card, P_CSCF)
        answer = await phone.registers()
        assert answer.status == 200, self.output()
        return phone

    async def asked(self, command: str, **more: Any) -> Any:
        return await ask(self.folder / "state" / "control.sock", command, **more)

    async def stands(self) -> bool:
        return bool((await self.asked("gateways"))[0]["stands"])

    async def events(self) -> str:
        return str((await self.asked("status", events=500))["events"])

    async def is_up(self) -> None:
        until_s = time.monotonic() + UP_WITHIN_S
        while not (self.folder / "state" / "control.sock").exists():
            assert self._process.poll() is None and time.monotonic() < until_s, self.output()
            await asyncio.sleep(0.05)

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


async def become(site: Site, stands: bool) -> None:
    """Returns when the network there says so of its tunnel."""
    end = asyncio.get_running_loop().time() + 20
    while await site.stands() is not stands:
        assert asyncio.get_running_loop().time() < end, site.output()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def two_networks(hosts: Operators, folder: Path) -> AsyncIterator[tuple[Tunnels, Site, Site]]:
    """Both run, their tunnel stands, and both hosts follow the rules that Redoubt writes for them."""
    async with tunnels(hosts, folder, FALLS_SOON) as net:
        sites = [Site(net, side, folder) for side in "ab"]
        try:
            for site in sites:
                await site.is_up()
                hosts.firewall(site.side, site.command("check", "exposure", "--nftables"))
            for site in sites:
                await become(site, True)
            yield net, *sites
        finally:
            for site in sites:
                site.close()


async def test_a_call_crosses_the_tunnel_and_nothing_of_it_is_ever_in_the_clear(
    hosts: Operators, tmp_path: Path
) -> None:
    """Nor when the partner's gateway is killed in the middle, nor when our own is: then it is refused, and goes on
    when they are back."""
    async with two_networks(hosts, tmp_path) as (net, alpha, beta):
        alice, bob = await alpha.phone(), await beta.phone()
        talk = Talk(await call(alice, bob))
        assert await talk.lives()
        await shown(alpha)
        net.b.charon.kill()
        await become(alpha, False)
        assert await talk.is_refused() and "nothing is sent to partners behind it" in await alpha.events()
        net.b.charon.start()
        await become(alpha, True)
        await become(beta, True)
        assert await talk.lives()
        net.a.charon.kill()
        await become(alpha, False)
        assert await talk.is_refused()
        net.a.charon.start()
        await become(alpha, True)
        await become(beta, True)
        assert await talk.lives()
        alice.close()
        bob.close()
    assert not hosts.wire.clear() and not hosts.wire.contains(b"INVITE") and not hosts.wire.contains(b"SIP/2.0")
    assert spoken(hosts, tmp_path) <= {"isakmp", "udpencap", "esp", "icmp"}


class Talk:
    """A call, in which one request follows another."""

    def __init__(self, made: Call) -> None:
        self._made = made
        self._numbers = count(2)

    async def lives(self) -> bool:
        """Whether a request of the caller's reaches the callee."""
        asked = self._made.from_caller("INFO", next(self._numbers))
        self._made.caller.send(asked)
        self._made.callee.respond(await self._made.callee.request("INFO"), 200)
        return (await self._made.caller.final(asked)).status == 200

    async def is_refused(self) -> bool:
        """Whether it ends with a failure, at once and not by a timer."""
        asked = self._made.from_caller("INFO", next(self._numbers))
        self._made.caller.send(asked)
        began = asyncio.get_running_loop().time()
        answer = await self._made.caller.final(asked)
        return answer.status >= 400 and asyncio.get_running_loop().time() - began < 3


async def shown(site: Site) -> None:
    """`redoubt gateways`, for a person and for a machine."""
    await asyncio.sleep(POLL_S)
    (row,) = json.loads(site.command("gateways", "--json"))
    assert row["stands"] and row["encaps"] == row["encrypt"] == row["digest"] > 2 and row["verify"] > 2
    text = site.command("gateways")
    assert "stands" in text and "#pkts encaps: " in text and "10.1.0.0/16 <-> 10.2.0.0/16" in text


def spoken(hosts: Operators, folder: Path) -> set[str]:
    """What Wireshark finds in what was on the wire."""
    if shutil.which("tshark") is None:
        pytest.skip("the call crossed; tshark is not here to say so too: `make peers` installs it")
    file = hosts.wire.pcap(folder / "wire.pcap")
    command = ["tshark", "-n", "-r", str(file), "-T", "fields", "-e", "frame.protocols"]
    lines = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert lines
    return {name for line in lines for name in line.split(":")} - {"raw", "ip", "udp", "data", "eth", "ethertype"}
