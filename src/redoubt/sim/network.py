"""The virtual network: hosts, ports and names, and how a seed treats what passes between them.

Datagrams are delayed, lost, doubled and held back as their link says; streams (`sim/stream.py`) ask here
how long a piece takes. Taps see every packet; interceptors sit on the path. Time comes from the loop that
attaches itself.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from errno import EADDRINUSE, ECONNREFUSED
from typing import TYPE_CHECKING, Any

from redoubt.sim.addresses import Address, canonical
from redoubt.sim.faults import ANY, Hosts, Link, Partitions, hosts_of
from redoubt.sim.packet import Fate, Interceptor, Packet, Tap, opaque
from redoubt.sources import SeededRandomness

if TYPE_CHECKING:
    from redoubt.sim.datagram import DatagramEndpoint
    from redoubt.sim.listener import Listener
    from redoubt.sim.stream import StreamTransport

FIRST_EPHEMERAL_PORT = 49_152  # RFC 6335 6
RETRANSMISSION_S = 0.2  # the first retransmission time-out of a stream, doubled each time
LONGEST_RETRANSMISSION_S = 60.0
SPACING_S = 1e-6  # between two datagrams that keep their order


class Network:
    """Everything between the simulated hosts. One network serves one run."""

    def __init__(
        self,
        seed: int,
        *,
        latency_s: tuple[float, float] = (0.001, 0.005),
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> None:
        self.seed = seed
        self.randomness = SeededRandomness(seed)  # for whoever is simulated; the wire has its own, below
        self.random = random.Random(f"wire {seed}")
        self.datagrams: dict[Address, DatagramEndpoint] = {}
        self.listeners: dict[Address, Listener] = {}
        self.connections: dict[tuple[Address, Address], StreamTransport] = {}
        self.outgoing: Counter[Address] = Counter()  # connections that a local address opened
        self._loop: asyncio.AbstractEventLoop | None = None
        self._default = Link(latency_s, loss, duplicate, reorder)
        self._rules: dict[tuple[str, str], Link] = {}
        self._resolved: dict[tuple[str, str], Link] = {}
        self._last_due: dict[tuple[str, str], float] = {}
        self._partitions = Partitions()
        self._names: dict[str, tuple[str, ...]] = {}
        self._next_port: dict[tuple[str, str], int] = {}
        self._taps: list[Tap] = []
        self._interceptors: list[Interceptor] = []

    # -- who is there -----------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("this network belongs to no loop yet: pass it to sim.run or SimLoop")
        return self._loop

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise RuntimeError("this network has served a run already: make a new one, so that the seed replays")
        self._loop = loop

    def name(self, name: str, *hosts: str) -> None:
        """What `getaddrinfo` answers for a host name."""
        self._names[name.lower().rstrip(".")] = tuple(canonical(host) for host in hosts)

    def resolve(self, name: str) -> tuple[str, ...]:
        """The hosts of a name or a numeric address; nothing when it is neither."""
        try:
            return (canonical(name),)
        except ValueError:
            return self._names.get(name.lower().rstrip("."), ())

    def free_port(self, transport: str, host: str) -> int:
        """The next ephemeral port that nobody on the host holds (RFC 6335 6)."""
        port = self._next_port.get((transport, host), FIRST_EPHEMERAL_PORT)
        for _ in range(65_536 - FIRST_EPHEMERAL_PORT):
            candidate, port = port, port + 1 if port < 65_535 else FIRST_EPHEMERAL_PORT
            address = Address(host, candidate)
            if not self._taken(transport, address) and not (transport == "tcp" and self.outgoing[address]):
                self._next_port[transport, host] = port
                return candidate
        raise OSError(EADDRINUSE, f"no free {transport} port on {host}")

    def claim(self, transport: str, host: str, port: int) -> Address:
        """The address to bind; OSError(EADDRINUSE) when somebody has it."""
        address = Address(host, port or self.free_port(transport, host))
        if self._taken(transport, address):
            raise OSError(EADDRINUSE, f"address already in use: {transport} {address}")
        return address

    def _taken(self, transport: str, address: Address) -> bool:
        if transport == "udp":
            return address in self.datagrams
        return address in self.listeners

    # -- faults -----------------------------------------------------------------------

    def link(self, source: str = ANY, target: str = ANY, *, both_ways: bool = False, **rule: Any) -> None:
        """Change the link from source to target ("*": any host): fields of `Link`. The most specific rule
        counts.
        """
        pair = (_rule_host(source), _rule_host(target))
        for key in (pair, pair[::-1]) if both_ways else (pair,):
            self._rules[key] = replace(self._rules.get(key, self._default), **rule)
        self._resolved.clear()

    def link_between(self, source: str, target: str) -> Link:
        """The rule in force for one direction."""
        found = self._resolved.get((source, target))
        if found is None:
            keys = ((source, target), (source, ANY), (ANY, target), (ANY, ANY))
            found = next((self._rules[key] for key in keys if key in self._rules), self._default)
            self._resolved[source, target] = found
        return found

    def partition(self, one: Hosts, other: Hosts = ANY, *, one_way: bool = False) -> None:
        """From now nothing passes between the hosts (what is on the wire arrives); streams wait and retry."""
        self._partitions.sever(_rule_hosts(one), _rule_hosts(other), one_way=one_way)

    def heal(self, one: Hosts | None = None, other: Hosts = ANY) -> None:
        """End the partition that was made with these arguments; without arguments, all of them."""
        if one is None:
            self._partitions.heal_all()
        else:
            self._partitions.heal(_rule_hosts(one), _rule_hosts(other))

    def separate(self, source: str, target: str) -> bool:
        """Whether a partition stops what source sends to target."""
        return self._partitions.separate(source, target)

    def cut(self, one: str, other: str = ANY) -> int:
        """Reset every stream between two hosts, or of one host; both sides see it at once. How many there
        were.
        """
        ends = [
            end
            for end in self.connections.values()
            if end.dialled and _joins(end.local.host, end.remote.host, one, other)
        ]
        for end in ends:
            for broken in (end, end.outbound.receiver):
                broken.fail(ConnectionResetError("the network cut the connection"))
        return len(ends)

    def crash(self, host: str) -> None:
        """The host loses power: its ports are gone and nobody on it is told. Cancel its tasks yourself."""
        host = canonical(host)
        for address, endpoint in list(self.datagrams.items()):
            if address.host == host:
                endpoint.vanish()
        for address, listener in list(self.listeners.items()):
            if address.host == host:
                listener.close()
        for (local, _), connection in list(self.connections.items()):
            if local.host == host:
                connection.vanish()

    # -- on the wire -----------------------------------------------------------------------

    def tap(self, callback: Tap) -> Callable[[], None]:
        """Let the callback see every packet; returns what removes it."""
        self._taps.append(callback)
        return lambda: self._taps.remove(callback)

    def intercept(self, callback: Interceptor) -> Callable[[], None]:
        """Put the callback on the path of every payload; returns what removes it."""
        self._interceptors.append(callback)
        return lambda: self._interceptors.remove(callback)

    def inject(self, source: tuple[str, int], target: tuple[str, int], payload: bytes) -> None:
        """Send a datagram from an address that the sender need not own."""
        self.carry(Address(canonical(source[0]), source[1]), Address(canonical(target[0]), target[1]), payload)

    def carry(self, source: Address, target: Address, payload: bytes) -> None:
        """Take a datagram; it arrives once, twice or never."""
        passed = self.intercepted("udp", source, target, payload) if self._interceptors else payload
        if passed is None:
            self.show("udp", source, target, payload, Fate.STOPPED)
            return
        fate, arrivals = self._fate(source.host, target.host)
        if fate is Fate.DELIVERED and passed != payload:
            fate = Fate.ALTERED
        if self._taps:
            self.show("udp", source, target, passed, fate)
        for due in arrivals:
            self.loop.call_at(due, self._arrive, source, target, passed)

    def _arrive(self, source: Address, target: Address, payload: bytes) -> None:
        endpoint = self.datagrams.get(target)
        if endpoint is not None:
            endpoint.receive(source, payload)
        elif source in self.datagrams and not self.separate(target.host, source.host):
            self.show("icmp", target, source, b"", Fate.DELIVERED, "port unreachable")
            self.loop.call_later(self.latency(target.host, source.host), self._unreachable, source, target)

    def _unreachable(self, source: Address, target: Address) -> None:
        endpoint = self.datagrams.get(source)
        if endpoint is not None and endpoint.peer == target:  # Linux tells only sockets that are connected
            endpoint.report(ConnectionRefusedError(ECONNREFUSED, f"nobody listens on udp {target}"))

    def _fate(self, source: str, target: str) -> tuple[Fate, tuple[float, ...]]:
        if self.separate(source, target):
            return Fate.PARTITIONED, ()
        link = self.link_between(source, target)
        if link.loss and self.random.random() < link.loss:
            return Fate.LOST, ()
        due = self._due(link, source, target)
        if link.duplicate and self.random.random() < link.duplicate:
            return Fate.DUPLICATED, (due, due + SPACING_S + self.random.uniform(*link.latency_s))
        return Fate.DELIVERED, (due,)

    def _due(self, link: Link, source: str, target: str) -> float:
        due = self.loop.time() + self.random.uniform(*link.latency_s)
        if link.reorder and self.random.random() < link.reorder:
            return due + self.random.uniform(*link.reorder_s)
        due = max(due, self._last_due.get((source, target), 0.0) + SPACING_S)
        self._last_due[source, target] = due
        return due

    # -- for streams -----------------------------------------------------------------------

    def blocked(self, source: str, target: str) -> bool:
        """Whether no piece of a stream gets through, however often it is sent."""
        return self.separate(source, target) or self.link_between(source, target).loss >= 1.0

    def latency(self, source: str, target: str) -> float:
        """How long one piece of a stream takes: losses on the way are retransmissions (RFC 6298 5)."""
        link = self.link_between(source, target)
        delay = self.random.uniform(*link.latency_s)
        timeout = RETRANSMISSION_S
        while link.loss and self.random.random() < link.loss and timeout < LONGEST_RETRANSMISSION_S:
            delay += timeout
            timeout *= 2
        return delay

    def intercepted(self, transport: str, source: Address, target: Address, payload: bytes) -> bytes | None:
        """The payload after everybody on the path had it in hand; None when somebody kept it."""
        for interceptor in list(self._interceptors):
            passed = interceptor(Packet(self.loop.time(), transport, source, target, payload))
            if passed is None:
                return None
            payload = passed
        return payload

    @property
    def has_interceptors(self) -> bool:
        return bool(self._interceptors)

    def show(
        self, transport: str, source: Address, target: Address, payload: bytes, fate: Fate, flag: str = ""
    ) -> None:
        """Let the taps see a packet; what TLS protects, they see as its length."""
        if self._taps:
            seen = opaque(payload) if transport == "tls" and payload else payload
            packet = Packet(self.loop.time(), transport, source, target, seen, fate, flag)
            for tap in list(self._taps):
                tap(packet)


def _rule_host(host: str) -> str:
    return host if host == ANY else canonical(host)


def _rule_hosts(hosts: Hosts) -> tuple[str, ...]:
    return tuple(_rule_host(host) for host in hosts_of(hosts))


def _joins(local: str, remote: str, one: str, other: str) -> bool:
    ends = {_rule_host(one), _rule_host(other)} - {ANY}
    return ends <= {local, remote}
