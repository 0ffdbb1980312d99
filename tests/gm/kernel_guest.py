"""Runs inside a Linux kernel that has ESP, as root: our user-space ESP against the kernel's, in every suite.

The kernel's end is a network namespace with SAs and policies of `ip xfrm` and a UDP echo server that knows nothing of
ESP. Ours is a raw socket, or a UDP socket for ESP in UDP. Prints one line of JSON for each suite.
"""

import ctypes
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import time

from redoubt.gm.algorithms import SOUND_SUITES, Encryption, EspKeys, Integrity, Suite, expand
from redoubt.gm.esp import InboundAssociation, OutboundAssociation
from redoubt.gm.packets import UDP, IpPacket, UdpEnvelope, parse_ip, parse_udp
from redoubt.gm.transforms import transform
from redoubt.secret import Secret
from redoubt.sources import SystemRandomness

OURS, THEIRS, INNER = "10.99.0.1", "10.99.0.2", "10.98.0.7"
CK, IK = Secret(bytes(range(16))), Secret(bytes(range(100, 116)))
ECHO, LOCAL = 7000, 31000  # the echo server's port for the first suite, and ours
SIZES = [0, 1, 2, 3, 13, 14, 15, 16, 17, 100, 511, 512, 513, 1000, 1200]
UDP_ENCAP, ESP_IN_UDP = 100, 2
WAIT_S = 2.0
LIBC, CLONE_NEWNET = ctypes.CDLL(None), 0x40000000
TUNNELLED = (Suite(Integrity.HMAC_SHA_1_96, Encryption.AES_CBC), Suite(Integrity.NULL, Encryption.AES_GCM))


def algorithms(suite: Suite, keys: EspKeys) -> str:
    """As `ip xfrm state` writes them."""
    integrity, encryption = keys.integrity.reveal().hex(), keys.encryption.reveal().hex()
    salt = keys.salt.reveal().hex()
    if suite.encryption is Encryption.AES_GCM:
        return f"aead rfc4106(gcm(aes)) 0x{encryption}{salt} 128"
    if suite.integrity is Integrity.AES_GMAC:
        return f"aead rfc4543(gcm(aes)) 0x{integrity}{salt} 128"
    name = {Encryption.AES_CBC: "cbc(aes)", Encryption.DES_EDE3_CBC: "cbc(des3_ede)"}.get(suite.encryption)
    cipher = f"enc {name} 0x{encryption}" if name else 'enc ecb(cipher_null) ""'
    digest = "hmac(sha1)" if suite.integrity is Integrity.HMAC_SHA_1_96 else "hmac(md5)"
    return f"{cipher} auth-trunc {digest} 0x{integrity} 96"


def configuration() -> str:
    """A batch for ip: what the kernel's end needs for all suites."""
    lines = []
    for n, suite in enumerate(SOUND_SUITES):
        there, back = 0x1000 + n, 0x2000 + n
        how = algorithms(suite, expand(suite, CK, IK))
        ends = (OURS, THEIRS, there, LOCAL + n, ECHO + n, "in"), (THEIRS, OURS, back, ECHO + n, LOCAL + n, "out")
        for src, dst, spi, sport, dport, way in ends:
            lines += [
                f"xfrm state add src {src} dst {dst} proto esp spi {spi} reqid {spi} mode transport {how}"
                " replay-window 32",
                f"xfrm policy add src {src} dst {dst} proto udp sport {sport} dport {dport} dir {way}"
                f" tmpl src {src} dst {dst} proto esp reqid {spi} mode transport",
            ]
    for n, suite in enumerate(TUNNELLED):
        how = algorithms(suite, expand(suite, CK, IK))
        inner = INNER[:-1] + str(n + 7)
        for src, dst, a, b, spi, way in (
            (OURS, THEIRS, inner, THEIRS, 0x3000 + n, "in"), (THEIRS, OURS, THEIRS, inner, 0x4000 + n, "out"),
        ):  # fmt: skip
            lines += [
                f"xfrm state add src {src} dst {dst} proto esp spi {spi} reqid {spi} mode tunnel {how}"
                " replay-window 32 encap espinudp 4500 4500 0.0.0.0",
                f"xfrm policy add src {a} dst {b} dir {way} tmpl src {src} dst {dst} proto esp reqid {spi} mode tunnel",
            ]
    return "\n".join(lines) + "\n"


def run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")


def enter(namespace: str) -> None:
    """This process lives in that network from now on: another interpreter would take seconds to start here."""
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    assert LIBC.setns(there, CLONE_NEWNET) == 0
    os.close(there)


def echo(ready: int) -> None:
    """The kernel's end, above ESP."""
    encapsulated = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    encapsulated.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, ESP_IN_UDP)
    encapsulated.bind((THEIRS, 4500))
    servers = []
    for n in range(len(SOUND_SUITES)):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((THEIRS, ECHO + n))
        servers.append(server)
    os.write(ready, b"!")
    while True:
        for heard in select.select([*servers, encapsulated], [], [])[0]:
            data, source = heard.recvfrom(65535)
            if heard is not encapsulated:
                heard.sendto(data, source)


class Wire:
    """Sends an ESP packet to the kernel and waits for one."""

    def __init__(self, *, in_udp: bool) -> None:
        kind = (socket.SOCK_DGRAM, 0) if in_udp else (socket.SOCK_RAW, socket.IPPROTO_ESP)
        self._socket = socket.socket(socket.AF_INET, *kind)
        self._socket.bind((OURS, 4500 if in_udp else 0))
        self._socket.settimeout(WAIT_S)
        self._target = (THEIRS, 4500 if in_udp else 0)
        self._in_udp = in_udp

    def send(self, packet: bytes) -> None:
        self._socket.sendto(packet, self._target)

    def receive(self, within_s: float = WAIT_S) -> bytes:
        self._socket.settimeout(within_s)
        packet = self._socket.recv(65535)
        return packet if self._in_udp else packet[(packet[0] & 15) * 4 :]


def converse(suite: Suite, wire: Wire, spis: tuple[int, int], envelope: UdpEnvelope, tunnel: bool) -> dict[str, object]:
    """Echoes of all sizes; then what the kernel must refuse."""
    cipher = transform(suite, expand(suite, CK, IK), SystemRandomness())
    outbound, inbound = OutboundAssociation(spis[0], cipher), InboundAssociation(spis[1], cipher)
    answered, packet = 0, b""
    started = time.monotonic()
    for size in SIZES:
        message = random.randbytes(size)
        for inner in envelope.wrap(message):
            packet = outbound.seal(inner if tunnel else inner[20:], envelope.next_header if tunnel else UDP)
            wire.send(packet)
        opened = inbound.open(wire.receive())
        if opened is not None:
            inside = parse_ip(opened[0]) if tunnel else IpPacket(struct.pack("!4s4s", *ends()), UDP, opened[0])
            answered += parse_udp(inside)[1] == message
    took = time.monotonic() - started
    changed = bytearray(outbound.seal(b"", UDP))
    changed[-1] ^= 1
    refused = True
    for bad in (packet, bytes(changed)):  # a replay, a wrong tag
        wire.send(bad)
        try:
            wire.receive(0.05)
            refused = False
        except TimeoutError:
            pass
    return {
        "suite": str(suite), "tunnel": tunnel, "answered": answered, "of": len(SIZES), "refused": refused,
        "ms": round(1000 * took / len(SIZES), 2),
    }  # fmt: skip


def ends() -> tuple[bytes, bytes]:
    return socket.inet_aton(THEIRS), socket.inet_aton(OURS)


def main() -> None:
    run("ip", "-batch", "-", given=(
        "link set lo up\nnetns add peer\nlink add ours type veth peer name theirs netns peer\n"
        f"addr add {OURS}/24 dev ours\nlink set ours up\n"
    ))  # fmt: skip
    run("ip", "-n", "peer", "-batch", "-", given=(
        f"link set lo up\naddr add {THEIRS}/24 dev theirs\nlink set theirs up\nroute add 10.98.0.0/24 via {OURS}\n"
        + configuration()
    ))  # fmt: skip
    told, ready = os.pipe()
    server = os.fork()
    if not server:
        enter("peer")
        echo(ready)
    os.read(told, 1)
    raw = Wire(in_udp=False)
    for n, suite in enumerate(SOUND_SUITES):
        envelope = UdpEnvelope((OURS, LOCAL + n), (THEIRS, ECHO + n), 1400)
        print(json.dumps(converse(suite, raw, (0x1000 + n, 0x2000 + n), envelope, False)), flush=True)
    in_udp = Wire(in_udp=True)
    for n, suite in enumerate(TUNNELLED):
        envelope = UdpEnvelope((INNER[:-1] + str(n + 7), LOCAL), (THEIRS, ECHO), 1400)
        print(json.dumps(converse(suite, in_udp, (0x3000 + n, 0x4000 + n), envelope, True)), flush=True)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)

