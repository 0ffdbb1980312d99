"""`redoubt trace` beside a running network: tshark reads what it writes, and reads the wire with the keys it writes."""

import asyncio
import json
import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from gm.wireshark import capture, in_ip
from network.handsets import Field
from redoubt.cli.trace_files import Recording
from redoubt.events import MessageSeen, Notice
from redoubt.gm.packets import UDP
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer
from redoubt.network.run import Network
from redoubt.network.tracing import Passed

from .test_ue import Lab
from .watched import watched

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: make peers, as root")
SIP = ("sip.Request-Line", "sip.Status-Line", "sip.Call-ID", "sip.CSeq")
BEGUN_S = 10.0


async def until_tracing(net: Field, running: bool = True) -> None:
    async with asyncio.timeout(BEGUN_S):
        while net.network.context.events.tracing is not running:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def register_and_talk(net: Field) -> None:
    alice, bob = await net.registered("alice", routed=True), await net.registered("bob", routed=True)
    assert (await alice.message(bob.identity.impu, "a rather long secret " * 100)).status == 200
    assert (await bob.deregister()).status == 200
    await asyncio.sleep(0.1)


def read(file: Path, *options: str, shown: tuple[str, ...] = SIP) -> list[tuple[str, ...]]:
    """These fields of each packet, as tshark has them."""
    fields = [part for name in shown for part in ("-e", name)]
    command = ["tshark", "-n", "-r", str(file), "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    home = {**os.environ, "HOME": str(file.parent), "XDG_CONFIG_HOME": str(file.parent / ".config")}
    done = subprocess.run(
        [*command, *options, "-T", "fields", *fields], env=home, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def taken_on_the_wire(net: Field, file: Path) -> None:
    """What somebody's tcpdump beside the P-CSCF has of the ESP packets."""
    tunnels = net.routers[1::2]
    packets = [
        in_ip("10.9.0.1", "10.9.0.2", UDP, struct.pack("!HHHH", 4500, 4500, 8 + len(data), 0) + data)
        for tunnel in tunnels
        for _, data in tunnel.seen
    ]
    capture(file, packets)


@needs_tshark
async def test_tshark_reads_a_trace_clean_and_with_the_keys_the_same_from_the_wire(tmp_path: Path) -> None:
    async with watched(tmp_path) as (net, made):
        before = len(net.events(MessageSeen))
        process = await made.start("trace", "--pcap", "all.pcapng", "--keys", "esp_sa", "--json")
        await until_tracing(net)
        await register_and_talk(net)
        process.send_signal(signal.SIGINT)
        told, complaints = await process.communicate()
        await until_tracing(net, running=False)
        assert (process.returncode, len(net.events(MessageSeen))) == (0, before), complaints
        taken_on_the_wire(net, tmp_path / "wire.pcap")
        facts = json.loads(told)
        assert (facts["association_sets"], facts["lost"]) == (2, 0)
        secrets = [each.keys.encryption.reveal().hex() for each in net.sets("alice")]
    assert (tmp_path / "esp_sa").stat().st_mode & 0o777 == (tmp_path / "all.pcapng").stat().st_mode & 0o777 == 0o600
    assert any(secret in (tmp_path / "esp_sa").read_text() for secret in secrets)

    everything = read(tmp_path / "all.pcapng", shown=("frame.interface_name", "_ws.malformed", "udp.checksum.status"))
    assert len(everything) == facts["messages"]
    assert {interface for interface, *_ in everything} == {"udp", "esp", "internal"}
    assert {(malformed, checksum) for _, malformed, checksum in everything} == {("", "1")}
    assert not read(tmp_path / "all.pcapng", "-Y", "not sip or sip.Warning or _ws.expert.severity >= 0x600000")

    inside = [row for row in read(tmp_path / "all.pcapng", "-Y", 'frame.interface_name == "esp"') if any(row)]
    profile = tmp_path / ".config/wireshark/profiles/redoubt"
    profile.mkdir(parents=True)
    shutil.copy(tmp_path / "esp_sa", profile / "esp_sa")
    decoding = (
        "-C",
        "redoubt",
        "-o",
        "esp.enable_encryption_decode:TRUE",
        "-o",
        "esp.enable_authentication_check:TRUE",
    )
    wire = [row for row in read(tmp_path / "wire.pcap", *decoding) if any(row)]
    assert len(inside) == 10 and sorted(wire) == sorted(inside)
    assert not any(any(row) for row in read(tmp_path / "wire.pcap"))


async def test_a_trace_blots_out_keys_and_costs_nothing_when_it_has_ended(tmp_path: Path) -> None:
    async with watched(tmp_path) as (net, made):
        process = await made.start("trace", "--pcap", "all.pcapng")
        await until_tracing(net)
        await net.registered("alice")
        process.send_signal(signal.SIGINT)
        _, told = await process.communicate()
        await until_tracing(net, running=False)
        assert b"messages are in all.pcapng" in told
        octets = (tmp_path / "all.pcapng").read_bytes()
        assert b'ck="hidden"' in octets and b'ik="hidden"' in octets
        assert octets.count(b'ck="') == octets.count(b'ck="hidden"')
        assert not net.events(Notice)


async def test_who_takes_keys_is_told_of_with_how_long_they_are_good(tmp_path: Path) -> None:
    async with watched(tmp_path) as (net, made):
        await net.registered("alice")
        (tmp_path / "esp_sa").write_text("of an earlier day")
        (tmp_path / "esp_sa").chmod(0o644)
        done = await made("trace", "--keys", "esp_sa", "--seconds", "0.2")
        assert done.status == 0, done.errors
        assert (
            "Keys of 1 association sets are in esp_sa" in done.errors
            and "the last of these sets ends at" in done.errors
        )
        text = (tmp_path / "esp_sa").read_text()
        assert (tmp_path / "esp_sa").stat().st_mode & 0o777 == 0o600
        assert text.count('"IPv4"') == 4 and "good until" in text
        notices = [event for event in net.events(Notice) if "ESP keys of 1 association sets" in event.what]
        assert len(notices) == 2 and all("a set ends with its registration" in event.advice for event in notices)


async def test_a_trace_of_nothing_or_of_no_network_says_what_to_do(tmp_path: Path) -> None:
    async with watched(tmp_path) as (_net, made):
        assert "say --pcap FILE, --keys FILE or both" in (await made("trace")).errors
        assert "is no file" in (await made("trace", "--keys", "/dev/null")).errors
    (tmp_path / "state").mkdir()
    (tmp_path / "redoubt.toml").write_text('[network]\nstate = "state"\n')
    done = await made("trace", "--pcap", "all.pcapng")
    assert (done.status, "start it with `redoubt up`" in done.errors) == (1, True)


async def test_where_no_associations_are_there_are_no_keys_and_that_is_said(tmp_path: Path) -> None:
    hss = await Network.temporary(only=("hss",))
    control = ControlServer(hss.directory / "control.sock", commands(hss))
    await control.start()
    (tmp_path / "redoubt.toml").write_text(f'[network]\nstate = "{hss.directory}"\n')
    done = await Lab(tmp_path, None)("trace", "--keys", "esp_sa", "--seconds", "20")
    await control.close()
    await hss.close()
    assert (done.status, "no P-CSCF with IPsec runs here" in done.errors) == (1, True), done.errors


async def test_messages_can_be_piped_while_they_pass(tmp_path: Path) -> None:
    async with watched(tmp_path) as (net, made):
        process = await made.start("trace", "--pcap", "-")
        await until_tracing(net)
        await net.registered("alice")
        assert process.stdout is not None
        async with asyncio.timeout(BEGUN_S):
            assert b"REGISTER sip:" in await process.stdout.readuntil(b"REGISTER sip:")
        process.terminate()
        await process.communicate()
        assert process.returncode == 0


def test_a_message_between_two_processes_is_written_once_and_a_repetition_again(tmp_path: Path) -> None:
    hop = Passed(1.0, "p-cscf", "udp", ("10.0.0.1", 5070), ("10.0.0.2", 5071), b"OPTIONS sip:x SIP/2.0\r\n\r\n", "")
    with Recording(str(tmp_path / "all.pcapng"), "") as recording:
        for process in (0, 1, 0, 1, 0):  # sent, come, repeated, come again, repeated and lost
            recording.take(hop, process)
        assert recording.messages == 3
        for process in (1, 1, 0, 0):  # two on their way at once
            recording.take(Passed(2.0, "s-cscf", *hop_back(hop)), process)
    assert recording.messages == 5


def hop_back(hop: Passed) -> tuple[str, tuple[str, int], tuple[str, int], bytes, str]:
    return hop.carrier, hop.target, hop.source, hop.octets, hop.comment


@needs_tshark
async def test_the_demo_can_be_read_in_wireshark(tmp_path: Path) -> None:
    done = await Lab(tmp_path, None)("demo", "--pcap", "demo.pcapng", "--keys", "esp_sa", "--json")
    assert done.status == 0, done.errors
    rows = read(tmp_path / "demo.pcapng", "-Y", 'frame.interface_name == "esp" and sip.Method == "INVITE"')
    assert len(rows) == 2  # Alice's, and the one to Bob
    assert not read(tmp_path / "demo.pcapng", "-Y", "_ws.malformed or not sip")
    assert (tmp_path / "esp_sa").read_text().count('"IPv4"') == 8
