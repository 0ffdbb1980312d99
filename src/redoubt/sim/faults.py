"""What a virtual wire does to packets: latency and faults of a link, and partitions between hosts."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

ANY = "*"
"""Stands for every other host in a rule."""


@dataclass(frozen=True, slots=True)
class Link:
    """How packets from one host to another fare. Chances are 0.0 to 1.0, times are uniform between two
    bounds.

    Datagrams keep their order unless `reorder` holds one back. Streams lose nothing: what is lost comes
    late.
    """

    latency_s: tuple[float, float] = (0.001, 0.005)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: tuple[float, float] = (0.0, 0.2)
    split: float = 0.1
    """Chance that one write to a stream arrives in two pieces."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder", "split"):
            chance = getattr(self, name)
            if not 0.0 <= chance <= 1.0:
                raise ValueError(f"{name}={chance}: a chance is between 0.0 and 1.0")
        for name in ("latency_s", "reorder_s"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high:
                raise ValueError(f"{name}={low, high}: give the lower bound, then the upper, in seconds")


Hosts = str | Iterable[str]


def hosts_of(hosts: Hosts) -> tuple[str, ...]:
    """One host or many, as a tuple."""
    return (hosts,) if isinstance(hosts, str) else tuple(hosts)


class Partitions:
    """Pairs (from, to) of hosts between which nothing passes."""

    def __init__(self) -> None:
        self._pairs: set[tuple[str, str]] = set()

    def sever(self, one: Hosts, other: Hosts, *, one_way: bool) -> None:
        for pair in product(hosts_of(one), hosts_of(other)):
            self._pairs.add(pair)
            if not one_way:
                self._pairs.add(pair[::-1])

    def heal(self, one: Hosts, other: Hosts) -> None:
        for pair in product(hosts_of(one), hosts_of(other)):
            self._pairs -= {pair, pair[::-1]}

    def heal_all(self) -> None:
        self._pairs.clear()

    def separate(self, source: str, target: str) -> bool:
        """Whether a packet from source to target is stopped; a host always reaches itself."""
        if not self._pairs or source == target:
            return False
        pairs = self._pairs
        return (source, target) in pairs or (source, ANY) in pairs or (ANY, target) in pairs
