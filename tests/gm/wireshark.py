"""Has tshark decrypt and authenticate ESP with keys that it is given, in IPv4 and IPv6, raw and in UDP."""

import shutil
import struct
import subprocess
from pathlib import Path

from redoubt.gm.packets import ones_complement, packed

PRESENT = shutil.which("tshark") is not None
RAW_IP = 101  # link type of packets without a link


def capture(file: Path, packets: list[bytes]) -> None:
    """A capture file of IP packets."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP)
    file.write_bytes(head + b"".join(struct.pack("<IIII", 0, n, len(p), len(p)) + p for n, p in enumerate(packets)))


def in_ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    """The outer packet that a kernel would make."""
    ends = packed(source) + packed(target)
    if len(ends) == 32:
        return struct.pack("!IHBB", 0x60000000, len(payload), protocol, 64) + ends + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + ends
    total = 0xFFFF - ones_complement(head)
    return head[:10] + total.to_bytes(2, "big") + head[12:] + payload


def dissected(file: Path, associations: list[str], *fields: str, decode: tuple[str, ...] = ()) -> list[list[str]]:
    """The fields of each packet."""
    command = [
        "tshark", "-n", "-r", str(file), "-o", "esp.enable_encryption_decode:TRUE",
        "-o", "esp.enable_authentication_check:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
        "-o", "esp.enable_null_encryption_decode_heuristic:FALSE", "-o", "ip.defragment:TRUE",
        *(part for line in associations for part in ("-o", f"uat:esp_sa:{line}")),
        *(part for way in decode for part in ("-d", way)),
        "-T", "fields", *(part for field in fields for part in ("-e", field)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]
