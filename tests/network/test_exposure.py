"""The packet filter and the check of exposure (TS 33.203 Annex J): phones, partners and a core node, each on a network
of its own around a host of ours, with the kernel's own nftables.
"""

import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.ndm.hostile_wire import inside, may_make_networks

from redoubt.cli import main
from redoubt.config import ConfigError
from redoubt.events import EventStream, Refused
from redoubt.hss.keys import create_key, write_key_file
from redoubt.network.configuration import from_tree
from redoubt.network.exposure import Exposure, Finding, Reach
from redoubt.network.firewall import ruleset
from redoubt.network.openings import Audience
from redoubt.network.run import Network
from redoubt.network.vantage import Vantage
from redoubt.sources import SeededRandomness

ACCESS, BORDER, CORE = "192.0.2.1", "198.51.100.1", "10.1.0.1"
AT = f"udp:{ACCESS}:5060"
NODE = "10.1.0.2"
TREE: dict[str, Any] = {
    "network": {"trusted-nodes": [CORE, NODE, "127.0.0.1"]},
    "p-cscf": {"listen": [f"udp:{ACCESS}:5060", f"tcp:{ACCESS}:5060"], "core": [f"udp:{CORE}:5070"]},
    "i-cscf": {"listen": [f"udp:{CORE}:5071"]},
    "s-cscf": {"listen": [f"udp:{CORE}:5072", f"tcp:{CORE}:5072"]},
    "hss": {"diameter": [f"tcp:{CORE}:3868"]},
    "gm": {"listen": [f"udp:{ACCESS}:4500"]},
}


class Place:
    """Our host, in a namespace, and one host on each of three networks."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.host = f"host{tag}"
        self.around = {zone: f"{zone}{tag}" for zone in ("access", "border", "core")}
        _run(f"ip netns add {self.host}", f"ip -n {self.host} link set lo up")
        for (zone, name), ours in zip(self.around.items(), (ACCESS, BORDER, CORE), strict=True):
            theirs = ours.rpartition(".")[0] + ".2"
            _run(
                f"ip netns add {name}",
                f"ip link add {zone} netns {self.host} type veth peer name eth0 netns {name}",
                f"ip -n {self.host} addr add {ours}/24 dev {zone}",
                f"ip -n {name} addr add {theirs}/24 dev eth0",
                f"ip -n {self.host} link set {zone} up",
                f"ip -n {name} link set eth0 up",
                f"ip -n {name} route add default via {ours}",
            )

    def filtered(self, rules: str) -> None:
        """The kernel follows these rules on our host."""
        command = ["ip", "netns", "exec", self.host, "nft", "-f", "-"]
        subprocess.run(command, input=rules, text=True, check=True)

    def vantages(self) -> list[Vantage]:
        return [Vantage.parse(f"{zone}=ns:{name}") for zone, name in self.around.items()]

    def close(self) -> None:
        for name in (self.host, *self.around.values()):
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def place() -> Iterator[Place]:
    if not may_make_networks():
        pytest.skip("needs root: network namespaces")
    if shutil.which("nft") is None:
        pytest.skip("nft is not here; `make peers` installs it")
    made = Place()
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def running(place: Place, folder: Path) -> AsyncIterator[Network]:
    """A network on our host."""
    config = from_tree(TREE)
    write_key_file(folder / config.hss.key_file, create_key(SeededRandomness(1)))
    with inside(place.host):
        network = await Network.start(config, folder, events=EventStream(), randomness=SeededRandomness(1))
    try:
        yield network
    finally:
        await network.close()


async def findings(network: Network, vantages: list[Vantage]) -> list[Finding]:
    async def told() -> dict[str, tuple[int, str]]:
        refused = [event for event in network.context.events.recent if isinstance(event, Refused)]
        return {event.call_id: (event.status, event.why) for event in refused}

    return await Exposure(network.config, vantages, told, SeededRandomness(2)).findings()


def of(found: list[Finding], zone: Audience, function: str, transport: str = "udp", spoofed: bool = False) -> Reach:
    (reach,) = {
        each.reach for each in found
        if (each.vantage.zone, each.opening.function, each.opening.transport, bool(each.spoofed))
        == (zone, function, transport, spoofed)
    }  # fmt: skip
    return reach


async def test_without_the_rules_a_phone_reaches_the_core_and_only_its_own_checks_hold(
    place: Place, tmp_path: Path
) -> None:
    async with running(place, tmp_path) as network:
        found = await findings(network, place.vantages())
        assert of(found, Audience.ACCESS, "s-cscf") is Reach.REFUSED
        assert of(found, Audience.ACCESS, "i-cscf") is Reach.REFUSED
        assert of(found, Audience.ACCESS, "s-cscf", "tcp") is Reach.REFUSED
        assert of(found, Audience.BORDER, "s-cscf") is Reach.REFUSED
        # In the name of a core node no check of the S-CSCF's own can tell: that is what the rules are for.
        assert of(found, Audience.ACCESS, "s-cscf", spoofed=True) is Reach.SERVED
        assert any(each.is_exposed for each in found)


async def test_with_the_rules_each_reaches_what_it_is_meant_to_and_nothing_else(place: Place, tmp_path: Path) -> None:
    async with running(place, tmp_path) as network:
        place.filtered(ruleset(network.config))
        found = await findings(network, place.vantages())
        assert not [each for each in found if each.is_exposed]
        assert of(found, Audience.ACCESS, "s-cscf") is Reach.SILENT
        assert of(found, Audience.ACCESS, "s-cscf", spoofed=True) is Reach.SILENT
        assert of(found, Audience.ACCESS, "hss", "tcp") is Reach.SILENT
        assert of(found, Audience.CORE, "s-cscf") is Reach.SERVED
        assert of(found, Audience.CORE, "s-cscf", "tcp") is Reach.SERVED
        meant = [each for each in found if each.vantage.zone is Audience.ACCESS and each.opening.function == "p-cscf"]
        assert {each.reach for each in meant if each.opening.ports[0] == 5060} == {Reach.SERVED}


async def test_a_flood_in_the_clear_from_one_address_is_cut_off_and_others_are_served(
    place: Place, tmp_path: Path
) -> None:
    async with running(place, tmp_path) as network:
        place.filtered(ruleset(network.config).replace("400/second burst 1000", "1/minute burst 20"))
        access = place.around["access"]
        _run(f"ip -n {access} addr add 192.0.2.3/24 dev eth0")
        flooder, other = (Vantage.parse(f"access=ns:{access}@192.0.2.{number}") for number in (2, 3))
        with flooder.socket(socket.SOCK_DGRAM, ACCESS) as flooding:
            for _ in range(30):
                flooding.sendto(b"flood", (ACCESS, 5060))
        found = [each for each in await findings(network, [flooder, other]) if str(each.opening) == AT]
        assert {each.vantage: each.reach for each in found} == {flooder: Reach.SILENT, other: Reach.SERVED}


def test_rules_let_nothing_into_or_out_of_a_tunnels_networks_but_the_tunnel(tmp_path: Path) -> None:
    gateway = {
        "name": "za", "remote": "203.0.113.9", "remote-networks": ["10.2.0.0/16", "fd02::/64"],
        "local-networks": ["10.1.0.0/16"], "authentication": "psk", "secret-file": "psk",
    }  # fmt: skip
    rules = ruleset(from_tree({**TREE, "gateways": [gateway]}))
    assert "elements = { 10.2.0.0/16 }" in rules and "elements = { fd02::/64 }" in rules
    assert 'ip daddr @tunnelled4 oifname != "ipsec*" rt ipsec missing drop' in rules
    assert 'ip6 saddr @tunnelled6 iifname != "ipsec*" meta ipsec missing drop' in rules


def test_what_else_stays_open_is_named_and_checked() -> None:
    assert "tcp dport 2222 accept" in ruleset(from_tree(TREE), ("tcp:2222",))
    with pytest.raises(ConfigError, match="TRANSPORT:PORT"):
        ruleset(from_tree(TREE), ("ssh",))


def test_the_command_prints_the_rules_and_says_what_is_exposed(place: Place, tmp_path: Path) -> None:
    runner, path = CliRunner(), tmp_path / "redoubt.toml"
    assert runner.invoke(main, ["init", "--config", str(path)]).exit_code == 0
    text = path.read_text().replace('"tcp:127.0.0.1:3868"', '"tcp:192.0.2.1:22"')
    path.write_text(text)
    printed = runner.invoke(main, ["check", "exposure", "--nftables", "--config", str(path)])
    assert printed.exit_code == 0 and "table inet redoubt" in printed.output
    with inside(place.host):
        listening = subprocess.Popen(["python3", "-m", "http.server", "22", "--bind", "192.0.2.1"])
    try:
        while subprocess.run(
            ["ip", "netns", "exec", place.host, "sh", "-c", "ss -ltn | grep -q :22"], check=False
        ).returncode:
            pass
        arguments = ["check", "exposure", "--from", f"access=ns:{place.around['access']}", "--config", str(path)]
        told = runner.invoke(main, [*arguments, "--json"])
        assert told.exit_code == 1, told.output
        (finding,) = [each for each in json.loads(told.output)["findings"] if each["exposed"]]
        assert (finding["function"], finding["reach"]) == ("hss", "connected")
        assert "EXPOSED" in runner.invoke(main, arguments).output
    finally:
        listening.terminate()
        listening.wait()


def test_a_place_that_is_not_there_is_said() -> None:
    for text in ("access=ns:nowhere", "mars=192.0.2.1", "access"):
        with pytest.raises(ConfigError, match="--from"):
            Vantage.parse(text)


def _run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True)
