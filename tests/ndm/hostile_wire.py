"""Two operators' hosts in network namespaces, and between them a wire that keeps, drops, alters and forges packets."""

import ctypes
import fcntl
import os
import secrets
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
ALL_PROTOCOLS, OUTGOING = 3, 4
SIOCGIFHWADDR, SIOCETHTOOL, SET_TX_CHECKSUMS = 0x8927, 0x8946, 0x17
IPV4 = 0x0800
UDP, TCP, ESP, ICMP = 17, 6, 50, 1
ENDS = {"a": ("192.0.2.1", "10.1.0.1"), "b": ("192.0.2.2", "10.2.0.1")}  # outside, inside
INSIDE_6 = {"a": "fd01::1", "b": "fd02::1"}
Alter = Callable[[str, bytes], list[bytes]]  # the sending side and a frame -> the frames that go on


def may_make_networks() -> bool:
    name = f"may{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    except OSError:
        return False
    return made and os.access("/dev/net/tun", os.W_OK)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets and devices that are made now belong to that network; they stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert LIBC.setns(there, CLONE_NEWNET) == 0
        yield
    finally:
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


class Wire:
    """Carries frames from one host to the other. `seen` is every IPv4 packet that was on it, with its sending side."""

    def __init__(self, namespace: str) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.alter: Alter | None = None
        self.faults: list[Exception] = []  # of `alter`
        self.keeps = True
        with inside(namespace):
            self._sides = {side: _everything(f"w{side}") for side in "ab"}
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """It carries everything, and has seen nothing."""
        self.alter, self.keeps = None, True
        self.seen.clear()
        self.faults.clear()

    def inject(self, to: str, frame: bytes) -> None:
        """A forged frame, to side a or b."""
        self._sides[to].send(frame)

    def close(self) -> None:
        os.write(self._end, b"x")
        self._thread.join()
        for each in self._sides.values():
            each.close()
        os.close(self._ended)
        os.close(self._end)

    def packets(self, *, of: str = "ab") -> list[bytes]:
        """IPv4 packets that were on the wire."""
        return [packet for side, packet in list(self.seen) if side in of]

    def clear(self) -> list[bytes]:
        """Packets between the hosts' inside addresses, which no one on this wire should ever see."""
        own = [socket.inet_aton(inner) for _, inner in ENDS.values()]
        return [packet for packet in self.packets() if packet[12:16] in own or packet[16:20] in own]

    def contains(self, text: bytes) -> bool:
        return any(text in packet for packet in self.packets())

    def pcap(self, file: Path) -> Path:
        """What was seen, for tshark."""
        header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 228)  # LINKTYPE_IPV4
        packets = self.packets()
        file.write_bytes(
            header
            + b"".join(
                struct.pack("<IIII", at // 1000, at % 1000, len(packet), len(packet)) + packet
                for at, packet in enumerate(packets)
            )
        )
        return file

    def _carry(self) -> None:
        others = {"a": "b", "b": "a"}
        sides = {each.fileno(): side for side, each in self._sides.items()}
        while True:
            ready, _, _ = select.select([*sides, self._ended], [], [])
            if self._ended in ready:
                return
            for number in ready:
                side = sides[number]
                self._take(side, self._sides[side], self._sides[others[side]])

    def _take(self, side: str, here: socket.socket, there: socket.socket) -> None:
        for _ in range(64):
            try:
                frame, (_, kind, way, *_) = here.recvfrom(65_535)
            except BlockingIOError:
                return
            if way == OUTGOING:
                continue
            for each in self._altered(side, frame):
                if kind == IPV4 and self.keeps:
                    self.seen.append((side, each[14:]))
                try:
                    there.send(each)
                except OSError:  # the other end is going away, or its queue is full: a wire loses that
                    pass

    def _altered(self, side: str, frame: bytes) -> list[bytes]:
        try:
            return self.alter(side, frame) if self.alter is not None else [frame]
        except (AssertionError, IndexError, ValueError) as error:  # the next test needs this wire too
            self.faults.append(error)
            return [frame]


def _everything(device: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    made.bind((device, 0))
    made.setsockopt(socket.SOL_SOCKET, 33, 16 * 1024 * 1024)  # SO_RCVBUFFORCE
    made.setblocking(False)
    return made


class Operators:
    """Hosts a and b, each with an address outside on the wire and one inside, and the way to the other by the wire."""

    def __init__(self, tag: str) -> None:
        self.names = {side: f"{side}{tag}" for side in "ab"}
        self.between = f"w{tag}"
        self.macs: dict[str, bytes] = {}
        _ip(*(f"netns add {name}" for name in (*self.names.values(), self.between)))
        for side, other in (("a", "b"), ("b", "a")):
            name, (outside, inner) = self.names[side], ENDS[side]
            _ip(
                f"link add eth0 netns {name} type veth peer name w{side} netns {self.between}",
                f"-n {name} addr add {outside}/24 dev eth0",
                f"-n {name} addr add {inner}/32 dev lo",
                f"-n {name} addr add {INSIDE_6[side]}/128 dev lo",
                f"-n {name} link set lo up",
                f"-n {name} link set eth0 up",
                f"-n {self.between} link set w{side} up",
                f"-n {name} route add default via {ENDS[other][0]}",  # the clear has a way: only protection stops it
            )
            with inside(name):
                _compute_checksums("eth0")
                self.macs[side] = _mac("eth0")
        self.wire = Wire(self.between)

    def frame(self, to: str, packet: bytes) -> bytes:
        """An IPv4 packet as it comes from the wire to a host."""
        other = "b" if to == "a" else "a"
        return self.macs[to] + self.macs[other] + IPV4.to_bytes(2, "big") + packet

    def firewall(self, side: str, rules: str) -> None:
        """Loads nftables rules in a host, as `nft -f` does."""
        command = ["ip", "netns", "exec", self.names[side], "nft", "-f", "-"]
        done = subprocess.run(command, input=rules, text=True, capture_output=True)
        assert not done.returncode, done.stderr

    def unfiltered(self) -> None:
        """No host has rules."""
        for name in self.names.values():
            subprocess.run(["ip", "netns", "exec", name, "nft", "flush", "ruleset"], check=True)

    def udp(self, side: str, address: tuple[str, int]) -> socket.socket:
        """A UDP socket of a host."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with inside(self.names[side]):
            made = socket.socket(family, socket.SOCK_DGRAM)
        made.bind(address)
        made.settimeout(1.0)
        return made

    def close(self) -> None:
        self.wire.close()
        for name in (*self.names.values(), self.between):
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def operators() -> Iterator[Operators]:
    made = Operators(secrets.token_hex(3))
    try:
        yield made
    finally:
        made.close()


def udp_packet(source: tuple[str, int], target: tuple[str, int], payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram, without a UDP checksum, which IPv4 allows."""
    length = 28 + len(payload)
    ends = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    header = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, UDP, 0) + ends
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = header[:10] + checksum.to_bytes(2, "big") + header[12:]
    return header + struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def _mac(device: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        return fcntl.ioctl(made, SIOCGIFHWADDR, struct.pack("40s", device.encode()))[18:24]


def _compute_checksums(device: str) -> None:
    """A packet's checksum is in it when it reaches the wire, not left to a card that is none."""
    value = ctypes.create_string_buffer(struct.pack("II", SET_TX_CHECKSUMS, 0))
    request = struct.pack("16sP8x", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        fcntl.ioctl(made, SIOCETHTOOL, request)
