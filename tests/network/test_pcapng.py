"""Captures of messages are what Wireshark expects of packets: streams, both address families, any size, any octets."""

import shutil
import subprocess
from pathlib import Path

import pytest

from redoubt.network.pcapng import MessageCapture

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: make peers, as root")
HERE, THERE = ("192.0.2.1", 5060), ("10.0.0.7", 31005)
HERE_6, THERE_6 = ("2001:db8::1", 5062), ("2001:db8::7", 31005)
SHOWN = ("frame.interface_name", "sip.CSeq.seq", "_ws.malformed", "tcp.analysis.flags", "udp.checksum.status",
         "tcp.checksum.status", "sip.Content-Length")  # fmt: skip


def message(number: int, transport: str = "UDP", body: bytes = b"") -> bytes:
    head = (
        f"MESSAGE sip:bob@ims.test SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.1;branch=z9hG4bK{number}\r\n"
        f"From: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\nCall-ID: {number}\r\nCSeq: {number} MESSAGE\r\n"
        f"Content-Type: application/vnd.3gpp.sms\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read(file: Path) -> list[list[str]]:
    checked = ("-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
    fields = [part for name in SHOWN for part in ("-e", name)]
    done = subprocess.run(
        ["tshark", "-n", "-r", str(file), *checked, "-T", "fields", *fields], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_datagrams_and_streams_of_both_families_are_read_clean(tmp_path: Path) -> None:
    capture, blocks = MessageCapture(), [MessageCapture.head()]
    ways = [
        ("udp", HERE, THERE), ("tcp", HERE, THERE), ("tcp", THERE, HERE), ("tls", HERE_6, THERE_6),
        ("udp", HERE_6, THERE_6), ("esp", THERE_6, HERE_6), ("tcp", HERE, THERE), ("internal", HERE, HERE_6),
    ]  # fmt: skip
    for number, (carrier, source, target) in enumerate(ways, start=1):
        octets = message(number, "TCP" if carrier in ("tcp", "esp") else "UDP")
        blocks.append(capture.add(1_700_000_000.5 + number, carrier, source, target, octets, f"no. {number}"))
    (tmp_path / "ways.pcapng").write_bytes(b"".join(blocks))
    rows = read(tmp_path / "ways.pcapng")
    assert [row[:4] for row in rows] == [[way[0], str(n), "", ""] for n, way in enumerate(ways, start=1)]
    streams = [carrier in ("tcp", "tls", "esp") for carrier, *_ in ways]
    assert [row[4:6] for row in rows] == [["", "1"] if stream else ["1", ""] for stream in streams]


def test_octets_that_are_no_text_and_messages_larger_than_a_datagram_stay_whole(tmp_path: Path) -> None:
    capture = MessageCapture()
    binary, large = bytes(range(256)), b"x" * 100_000
    blocks = [
        capture.head(), capture.add(1.0, "udp", HERE, THERE, message(1, body=binary), ""),
        capture.add(2.0, "internal", HERE, THERE, message(2, body=large), ""),
    ]  # fmt: skip
    (tmp_path / "large.pcapng").write_bytes(b"".join(blocks))
    rows = read(tmp_path / "large.pcapng")
    assert [row[1] for row in rows] == ["1", "", "2"]
    assert (rows[0][6], rows[2][6], {row[2] for row in rows}) == ("256", "100000", {""})
    assert binary in (tmp_path / "large.pcapng").read_bytes()
