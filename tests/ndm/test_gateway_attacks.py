"""What an attacker on the way between two security gateways can do: rows 54 to 58 (TS 33.210, RFC 7296, RFC 8247)."""

import asyncio
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from redoubt.config import ConfigError
from redoubt.config.interconnect import GatewayConfig
from redoubt.events import EventStream
from redoubt.ndm.gateways import Gateways
from redoubt.ndm.vici import Vici
from redoubt.sim import Network
from redoubt.sim.loop import SimLoop
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

from .hostile_wire import ENDS, UDP, Operators, udp_packet
from .tunnels import FALLS_SOON, NAME, Tunnels, tunnels, until

SIP = b"OPTIONS sip:ibcf.b.example SIP/2.0\r\n\r\n"
PORT = 5060
IKE_SA_INIT, INITIATOR, SECURITY_ASSOCIATION = 34, 0x08, 33
NO_COOKIES = (
    ("cookie_threshold = 10", "dos_protection = no"), ("init_limit_half_open = 500", "init_limit_half_open = 0")
)  # fmt: skip


def heard(where: socket.socket, wait_s: float = 0.3) -> bytes:
    where.settimeout(wait_s)
    try:
        return where.recv(2000)
    except TimeoutError:
        return b""


# ---- row 54


@pytest.mark.parametrize("filtered", [False, True], ids=["without the rules", "with the rules"])
async def test_the_clear_from_a_partners_network_reaches_nobody(
    hosts: Operators, tmp_path: Path, filtered: bool
) -> None:
    """A packet in the partner's name comes from the wire itself, and not out of the tunnel."""
    async with tunnels(hosts, tmp_path) as net:
        net.begin()
        await net.stand()
        if filtered:
            net.filtered("b")
        with hosts.udp("a", (ENDS["a"][1], PORT)) as partner, hosts.udp("b", (ENDS["b"][1], PORT)) as ours:
            hosts.wire.inject("b", hosts.frame("b", udp_packet((ENDS["a"][1], PORT), (ENDS["b"][1], PORT), SIP)))
            assert heard(ours) == (b"" if filtered else SIP)
            partner.sendto(b"through the tunnel", ours.getsockname())
            assert heard(ours) == b"through the tunnel"


@pytest.mark.parametrize("filtered", [False, True], ids=["without the rules", "with the rules"])
async def test_when_our_own_gateway_dies_nothing_leaves_in_the_clear(
    hosts: Operators, tmp_path: Path, filtered: bool
) -> None:
    async with tunnels(hosts, tmp_path) as net:
        net.begin()
        await net.stand()
        if filtered:
            net.filtered("a")
        net.a.charon.kill()
        await until(lambda: not net.a.stands, net.why)
        assert any("charon closed its control socket" in alarm for alarm in net.a.alarms())
        with hosts.udp("a", (ENDS["a"][1], PORT)) as ours:
            try:
                ours.sendto(SIP, (ENDS["b"][1], PORT))
            except PermissionError:  # what a packet filter answers to a sender on the same host
                assert filtered
        await asyncio.sleep(0.1)
        assert hosts.wire.contains(SIP) is not filtered
        net.a.charon.start()
        await until(lambda: net.a.stands, net.why)


async def test_when_the_partners_gateway_dies_nothing_leaves_in_the_clear_and_it_recovers_by_itself(
    hosts: Operators, tmp_path: Path
) -> None:
    async with tunnels(hosts, tmp_path, FALLS_SOON) as net:
        net.begin()
        await net.stand()
        changes: list[tuple[str, bool]] = []
        net.a.gateways.listeners.append(lambda name, stands: changes.append((name, stands)))
        net.b.charon.kill()
        with hosts.udp("a", (ENDS["a"][1], PORT)) as ours:
            while net.a.stands:
                ours.sendto(SIP, (ENDS["b"][1], PORT))
                await asyncio.sleep(0.05)
            ours.sendto(SIP, (ENDS["b"][1], PORT))  # a trap stays where the tunnel was
        assert changes == [(NAME, False)]
        (alarm,) = net.a.alarms()
        assert "the partner's gateway does not answer; nothing is sent to partners behind it" in alarm
        net.b.charon.start()
        await until(lambda: net.a.stands and net.b.stands, net.why)
        assert changes[-1] == (NAME, True) and net.a.row.falls == 1
        assert not hosts.wire.clear()


# ---- row 55


class Flood:
    """IKE_SA_INIT from forged addresses, each second one the true partner's, made of one that it sent."""

    def __init__(self, hosts: Operators, template: bytes) -> None:
        self._hosts = hosts
        self._ike = template[28:]
        hosts.wire.keeps = False
        hosts.wire.alter = lambda side, frame: [] if frame[30:32] == b"\x0a\xc8" else [frame]  # answers to nobody

    def send(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            anyone = socket.inet_ntoa(struct.pack("!I", 0x0AC80000 + number % 65_536))
            source = anyone if number % 2 else ENDS["a"][0]
            message = struct.pack("!Q", number + 1) + self._ike[8:]
            packet = udp_packet((source, 500), (ENDS["b"][0], 500), message)
            self._hosts.wire.inject("b", self._hosts.frame("b", packet))

    async def send_all(self, count: int, at_once: int = 500) -> None:
        loop = asyncio.get_running_loop()
        for first in range(0, count, at_once):
            await loop.run_in_executor(None, self.send, first, at_once)
            await asyncio.sleep(0.002)


async def template(net: Tunnels) -> bytes:
    """The first packet that the true partner sends; its gateway then forgets it."""
    net.a.begin()
    await until(lambda: any(is_first(packet) for packet in net.hosts.wire.packets(of="a")))
    await net.a.end()
    net.a.charon.stop()
    return next(packet for packet in net.hosts.wire.packets(of="a") if is_first(packet))


def is_first(packet: bytes) -> bool:
    return packet[9] == UDP and packet[22:24] == (500).to_bytes(2) and packet[46] == IKE_SA_INIT


async def associations(vici: str) -> int:
    control = await Vici.open(vici)
    try:
        return int((await control.request("stats"))["ikesas"]["total"])
    finally:
        control.close()


async def test_without_cookies_a_flood_of_half_open_associations_fills_the_gateway(
    hosts: Operators, tmp_path: Path
) -> None:
    async with tunnels(hosts, tmp_path, *NO_COOKIES) as net:
        flood = Flood(hosts, await template(net))
        net.b.begin()
        await until(lambda: "added vici connection" in net.b.charon.said(), net.why)
        before = net.b.charon.resident_octets
        await flood.send_all(4_000)
        await asyncio.sleep(0.5)
        assert await associations(net.b.charon.vici) > 500
        assert net.b.charon.resident_octets - before > 4 * 1024 * 1024


async def test_under_a_flood_from_forged_addresses_memory_stays_flat_and_the_partner_gets_in(
    hosts: Operators, tmp_path: Path
) -> None:
    async with tunnels(hosts, tmp_path) as net:
        flood = Flood(hosts, await template(net))
        net.a.charon.start()
        net.b.begin()
        await flood.send_all(2_000)
        before = net.b.charon.resident_octets
        net.a.begin()
        sent = 0
        while sent < 48_000 or not net.a.stands:  # it gets in while the flood goes on
            await flood.send_all(2_000)
            sent += 2_000
            assert sent < 1_000_000, net.why()
        assert net.b.charon.resident_octets - before < 4 * 1024 * 1024
        assert await associations(net.b.charon.vici) <= 20
        assert len(net.b.refusals()) < 30  # Redoubt says one a second, and how many more there were


# ---- row 56


def weakened(packet: bytes) -> bytes:
    """The first message without its first proposal (RFC 7296 3.3.1), as if it had never been offered."""
    ike = bytearray(packet[28:])
    kind, start = ike[16], 28
    while kind != SECURITY_ASSOCIATION:  # a cookie may come before
        kind, start = ike[start], start + int.from_bytes(ike[start + 2 : start + 4])
    end = start + int.from_bytes(ike[start + 2 : start + 4])
    first = int.from_bytes(ike[start + 6 : start + 8])
    body = bytearray(ike[start + 4 + first : end])
    body[4] = 1  # the second is the first now
    payload = ike[start : start + 2] + (4 + len(body)).to_bytes(2) + body
    altered = ike[:start] + payload + ike[end:]
    altered[24:28] = len(altered).to_bytes(4)
    source, target = (socket.inet_ntoa(packet[at : at + 4]) for at in (12, 16))
    return udp_packet((source, 500), (target, 500), bytes(altered))


@pytest.mark.parametrize("altered", [False, True], ids=["as sent", "altered"])
async def test_a_proposal_that_is_taken_out_on_the_way_ends_the_exchange(
    hosts: Operators, tmp_path: Path, altered: bool
) -> None:
    offered = ("aes256gcm16-prfsha384-ecp256", "aes128gcm16-prfsha384-ecp256")

    def alter(side: str, frame: bytes) -> list[bytes]:
        packet = frame[14:]
        is_it = frame[12:14] == b"\x08\x00" and is_first(packet) and packet[47] & INITIATOR
        return [hosts.frame({"a": "b", "b": "a"}[side], weakened(packet))] if is_it else [frame]

    async with tunnels(hosts, tmp_path) as net:
        hosts.wire.alter = alter if altered else None
        net.b.begin(ike_proposals=offered)
        net.a.begin(ike_proposals=offered)
        if altered:
            await until(lambda: any("altered on the way" in why for why in refusals_of(net)), net.why)
            assert "AES_GCM_16_128" in net.a.charon.said() + net.b.charon.said()
            assert not net.a.stands and not net.b.stands
        else:
            await net.stand()
            assert net.b.row.ike.startswith("IKEv2 AES_GCM_16-256")


def refusals_of(net: Tunnels) -> list[str]:
    """At whichever end was asked."""
    return net.a.refusals() + net.b.refusals()


# ---- row 57


async def test_keys_are_renewed_every_few_seconds_under_load_and_nothing_is_lost(
    hosts: Operators, tmp_path: Path
) -> None:
    async with tunnels(hosts, tmp_path) as net:
        net.begin(rekey=1)
        await net.stand()
        load = Load(hosts)
        try:
            await until(lambda: net.a.row.renewals >= 4, net.why)
            ike_renewed_in_s = net.a.row.ike_renewed_in_s
        finally:
            sent, came = load.stop()
        assert sent == came > 500
        # What an association carried between the last look and its end is not in the table's sum.
        await until(lambda: 0.8 * sent < net.a.row.verify <= sent, lambda: f"{net.a.row} {sent}")
        assert ike_renewed_in_s <= 4 and not hosts.wire.clear()


class Load:
    """A datagram to and fro all the time."""

    def __init__(self, hosts: Operators) -> None:
        self._ours, self._theirs = (hosts.udp(side, (ENDS[side][1], PORT)) for side in "ab")
        self._over = threading.Event()
        self._sent = self._came = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        self._over.set()
        self._thread.join()
        self._ours.close()
        self._theirs.close()
        return self._sent, self._came

    def _run(self) -> None:
        while not self._over.wait(0.003):
            self._sent += 1
            self._ours.sendto(b"%d" % self._sent, self._theirs.getsockname())
            self._theirs.sendto(*self._theirs.recvfrom(100))
            self._came += self._ours.recv(100) == b"%d" % self._sent


# ---- row 58


@pytest.mark.parametrize("group", ["modp768", "modp1024", "modp1536"])
async def test_small_groups_are_not_agreed_on(hosts: Operators, tmp_path: Path, group: str) -> None:
    """Groups 1, 2 and 5: a partner that offers nothing else gets NO_PROPOSAL_CHOSEN."""
    weak = {"legacy": True, "ike_proposals": (f"aes256-sha256-{group}",), "esp_proposals": (f"aes256-sha256-{group}",)}
    async with tunnels(hosts, tmp_path) as net:
        net.a.begin()
        net.b.begin(**weak)
        await until(lambda: any("accepts none of our proposals" in why for why in net.b.refusals()), net.why)
        await until(lambda: any("no proposal that is accepted" in why for why in net.a.refusals()), net.why)
        assert not net.a.stands and not net.b.stands
        await net.a.end()
        net.a.begin(**weak)  # were it allowed, it would be used
        await net.stand()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"ike_proposals": ("aes256-sha256-modp1024",)}, "group 2 has 1024 bit"),
        ({"ike_proposals": ("3des-sha256-modp2048",)}, "3DES has blocks of 64 bit"),
        ({"esp_proposals": ("aes256-md5-ecp256",)}, "MD5 is broken"),
        ({"esp_proposals": ("null-sha256-ecp256",)}, "null encrypts nothing"),
        ({"esp_proposals": ("aes256gcm16",)}, "no Diffie-Hellman group"),
        ({"esp_proposals": ("aes256-ecp256",)}, "no integrity"),
        ({"ike_proposals": ("rot13-sha256-ecp256",)}, "rot13 is no algorithm"),
        ({"ike": 1, "ike_proposals": ("aes256gcm16-prfsha384-ecp384",)}, "IKEv1 has no such cipher"),
        ({"remote": "gateway.example"}, "write IP addresses"),
        ({"remote_networks": ()}, "say what the tunnel carries"),
        ({"remote_networks": ("10.2.0.1/16",)}, "write for example 10.1.0.0/16"),
        ({"authentication": "certificate"}, "needs certificate, key and authority"),
        ({"secret_file": ""}, "psk needs secret-file"),
    ],
)
def test_a_weak_or_incomplete_gateway_is_refused_with_what_to_write(options: dict[str, Any], wrong: str) -> None:
    usual: dict[str, Any] = {
        "name": NAME, "remote": "192.0.2.2", "remote_networks": ("10.2.0.0/16",), "local_networks": ("10.1.0.0/16",),
        "authentication": "psk", "secret_file": "psk",
    }  # fmt: skip
    context = Context("border", EventStream(), Clock(SimLoop(Network(1))), SystemRandomness())
    with pytest.raises(ConfigError, match=wrong):
        Gateways(context, [GatewayConfig(**{**usual, **options})])
