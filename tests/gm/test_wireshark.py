"""Software that nobody here wrote reads what we send: tshark decrypts it, finds its tags right, and SIP inside."""

import asyncio
import struct
from pathlib import Path

import pytest

from redoubt.gm.algorithms import expand
from redoubt.gm.packets import UDP, UdpEnvelope
from redoubt.gm.wireshark import line, lines_of
from redoubt.sim import Network, run
from redoubt.sim.packet import Trace

from .ends import Gm, flow_of
from .suites import CBC_SHA1, CK, GMAC, IK, SUITES, sender
from .wireshark import PRESENT, capture, dissected, in_ip

pytestmark = pytest.mark.skipif(not PRESENT, reason="tshark is not installed")

OPTIONS = b"OPTIONS sip:ims.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.7:31001;branch=z9hG4bK1\r\n\r\n"
GOOD = "1"  # Wireshark's word for a checksum that is right; 3 is none
ESP = 50
# tshark has no AES-GMAC for ESP: tests/gm/kernel.py has the kernel read it.
READABLE = [suite for suite in SUITES if suite != GMAC]


def in_udp(esp: bytes) -> bytes:
    return struct.pack("!HHHH", 4500, 4500, 8 + len(esp), 0) + esp


def test_every_suite_is_decrypted_and_authenticated_in_both_modes(tmp_path: Path) -> None:
    packets, associations = [], []
    (inner,) = UdpEnvelope(("10.0.0.7", 31000), ("192.0.2.1", 5062)).wrap(OPTIONS)
    for number, suite in enumerate(READABLE):
        outbound = sender(suite, 0x2000 + number)
        associations.append(line(suite, expand(suite, CK, IK), 0x2000 + number))
        packets.append(in_ip("10.0.0.7", "192.0.2.1", UDP, in_udp(outbound.seal(inner, 4))))
        packets.append(in_ip("10.0.0.7", "192.0.2.1", ESP, outbound.seal(inner[20:], UDP)))
    capture(tmp_path / "suites.pcap", packets)
    seen = dissected(
        tmp_path / "suites.pcap", associations, "sip.Method", "esp.icv_good", "esp.icv_bad", "_ws.malformed",
        "udp.checksum.status", "ip.checksum.status", decode=("udp.port==5062,sip",),
    )  # fmt: skip
    assert len(seen) == 2 * len(READABLE)
    for in_tunnel, raw in zip(seen[::2], seen[1::2], strict=True):
        assert in_tunnel == ["OPTIONS", "1", "0", "", f"3,{GOOD}", f"{GOOD},{GOOD}"]  # no checksum on UDP outside
        assert raw == ["OPTIONS", "1", "0", "", GOOD, GOOD]


def test_one_changed_bit_is_a_bad_tag_to_tshark_as_well(tmp_path: Path) -> None:
    packet = bytearray(sender().seal(OPTIONS, UDP))
    packet[40] ^= 1
    capture(tmp_path / "changed.pcap", [in_ip("10.0.0.7", "192.0.2.1", ESP, bytes(packet))])
    keys = line(CBC_SHA1, expand(CBC_SHA1, CK, IK), 0x1001)
    assert dissected(tmp_path / "changed.pcap", [keys], "esp.icv_bad", "esp.icv_good") == [["1", "0"]]


@pytest.mark.parametrize(
    ("host", "phone"), [("192.0.2.1", "10.0.0.7"), ("2001:db8::1", "2001:db8::7")], ids=["ipv4", "ipv6"]
)
def test_a_conversation_through_the_tunnel_is_read_whole(tmp_path: Path, host: str, phone: str) -> None:
    trace, known = Trace(), list[str]()
    large = OPTIONS[:-2] + b"Subject: " + b"x" * 4000 + b"\r\n\r\n"

    async def conversation(wire: Network) -> None:
        gm = await Gm.open(host=host)
        wire.tap(trace)
        theirs, mine = gm.challenge(await gm.phone(host=phone))
        known.extend(lines_of(theirs))
        for message in (OPTIONS, large):
            flow_of(mine).send(message)
            await asyncio.sleep(1)
            flow_of(theirs).send(message)
            await asyncio.sleep(1)
        gm.close()

    run(conversation, 1)
    packets = [
        in_ip(p.source.host, p.target.host, UDP, struct.pack(
            "!HHHH", p.source.port, p.target.port, 8 + len(p.payload), 0) + p.payload)
        for p in trace.packets
    ]  # fmt: skip
    capture(tmp_path / "tunnel.pcap", packets)
    seen = dissected(
        tmp_path / "tunnel.pcap", known, "esp.icv_good", "esp.icv_bad",
        "sip.Method", "sip.Subject", decode=("udp.port==6001,sip", "udp.port==31005,sip"),
    )  # fmt: skip
    assert {(good, bad) for good, bad, *_ in seen} == {("1", "0")}
    assert [method for _, _, method, _ in seen if method] == ["OPTIONS"] * 4
    assert [len(subject) for *_, subject in seen if subject] == [4000, 4000]
