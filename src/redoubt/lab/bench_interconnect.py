"""What a call costs that leaves its network: two operators with TLS and hidden topology between, beside one alone.

Each operator is a process, with certificates of an authority of its own; both run on one core, so that what they use
together is what the call costs, and the load on another.
"""

import json
import os
import socket
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redoubt.lab.bench import WARM_UP, Result, Server, Tick, bench, measured, two_cores
from redoubt.lab.load import ABROAD, Load, Site
from redoubt.ndm.pki import Names
from redoubt.ndm.pki_folder import PkiFolder

REALMS = ("home1.test", "home2.test")
BORDERS = ("127.0.1.1", "127.0.2.1")  # beside the addresses inside, which are hidden
LIFE = timedelta(days=1)
NO_LIMIT = 1_000_000  # calls a second and at a time are what is measured


@dataclass(frozen=True, slots=True)
class InterconnectCost:
    """A call inside one network, and one between two, all of whose CPU counts."""

    inside: Result
    between: Result

    @property
    def ratio(self) -> float:
        return round(self.between.cpu_us / self.inside.cpu_us, 2)


def bench_interconnect(
    count: int, *, profiled: bool = False, tick: Tick = lambda what, done, of: None
) -> InterconnectCost:
    """Measures that many calls of each kind. Raises LoadFailed."""
    inside = bench("call", count, profiled=profiled, tick=tick)
    users = min(max(count // 5, 200), 2000)
    network_core, load_core = two_cores()
    with tempfile.TemporaryDirectory(prefix="redoubt-bench-") as folder:
        files = _configurations(Path(folder))
        operators = Operators([Server(users, network_core, profiled, str(file)) for file in files])
        if load_core >= 0:
            os.sched_setaffinity(0, {load_core})
        load = Load(*operators.sites())
        try:
            return InterconnectCost(inside, _between(count, users, operators, load, tick))
        finally:
            load.close()
            operators.close()


class Operators:
    """Both, whose figures are added."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers

    def sites(self) -> list[Site]:
        started = [server.started for server in self._servers]
        return [Site(one["host"], one["port"], realm) for one, realm in zip(started, REALMS, strict=True)]

    def ask(self, question: str) -> dict[str, Any]:
        first, other = (server.ask(question) for server in self._servers)
        if "layers" in first:
            names = {**first["layers"], **other["layers"]}
            return {"layers": {name: first["layers"].get(name, 0.0) + other["layers"].get(name, 0.0) for name in names}}
        return {name: first[name] + other[name] for name in ("cpu_s", "rss") if name in first}

    def close(self) -> None:
        for server in self._servers:
            server.close()


def _between(count: int, users: int, operators: Operators, load: Load, tick: Tick) -> Result:
    load.run(
        lambda number: load.register(number if number < users else ABROAD + number - users),
        2 * users,
        tick=lambda done: tick("registering phones of both", done, 2 * users),
    )

    def start(number: int) -> bytes:
        """From the one to the other, and then back."""
        one, other = number % users, ABROAD + (number * 7 + 1) % users
        return load.call(one, other) if number % 2 else load.call(other, one)

    few = min(WARM_UP, count)
    load.run(start, few, tick=lambda done: tick("warming up between both", done, few))
    return measured("interconnect", count, operators, load, start, tick)[0]


def _configurations(folder: Path) -> list[Path]:
    """Certificates, agreements and sockets of both; the files that tell each process of them."""
    now = datetime.now(UTC)
    ports = [_free_port(host) for host in BORDERS]
    kept = [PkiFolder(folder / realm) for realm in REALMS]
    for each, realm in zip(kept, REALMS, strict=True):
        each.create(realm, now)
        each.issue("border", Names((realm,)), now, LIFE)
    files = []
    for number, (each, other) in enumerate(zip(kept, reversed(kept), strict=True)):
        there = 1 - number
        each.cross(REALMS[there], other.path / "ca.pem", [REALMS[there]], now, LIFE)
        at = {"name": REALMS[there], "domains": [REALMS[there]], "connect": [f"tls:{BORDERS[there]}:{ports[there]}"]}
        config = {
            "network": {"realm": REALMS[number], "trusted-nodes": ["127.0.0.1"]},
            "ibcf": {
                "listen": [f"tls:{BORDERS[number]}:{ports[number]}"], "core": ["udp:127.0.0.1:0"],
                "certificate": str(each.path / "border.pem"), "key": str(each.path / "border.key"),
                "authority": str(each.path / "authority.pem"),
            },
            "partners": [{**at, "requests-per-s": NO_LIMIT, "sessions": NO_LIMIT}],
        }  # fmt: skip
        files.append(folder / f"{REALMS[number]}.json")
        files[-1].write_text(json.dumps({"first": ABROAD * number, "config": config}))
    return files


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
