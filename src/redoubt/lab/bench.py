"""Benchmarks: the network in a process of its own on one core, the load on another; CPU, rate, latency, memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from redoubt.lab.load import Load, Site

Name = Literal["registration", "call", "message"]
WARM_UP = 500
LATENCY_RATE = 100.0
LATENCY_COUNT = 500


class Tick(Protocol):
    """Told of progress: what is being done, how much of it is, and of how much."""

    def __call__(self, what: str, done: int, of: int) -> None: ...


@dataclass(slots=True)
class Result:
    """One benchmark. `cpu_us` is per operation, of all the network's processes; memory is resident, per user."""

    operation: str
    count: int
    cpu_us: float
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    bytes_per_user: int = 0
    layers: dict[str, float] = field(default_factory=dict)  # CPU microseconds per operation by folder, profiled run


class Server:
    """The process under measurement, and questions to it."""

    def __init__(self, users: int, core: int, profiled: bool, what: str = "network") -> None:
        how = (str(users), str(core), str(int(profiled)), what)
        command = [sys.executable, "-m", "redoubt.lab.bench_server", *how]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        self.started = self._read()

    def ask(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process under measurement ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def bench(operation: Name, count: int, *, profiled: bool = False, tick: Tick = lambda what, done, of: None) -> Result:
    """Measures `count` operations: saturated for CPU and rate, at 100 a second for latency. Raises LoadFailed."""
    users = count + WARM_UP + LATENCY_COUNT if operation == "registration" else min(max(count // 5, 200), 2000)
    network_core, load_core = two_cores()
    server = Server(users, network_core, profiled)
    load = Load(Site(server.started["host"], server.started["port"]))
    if load_core >= 0:
        os.sched_setaffinity(0, {load_core})
    try:
        return _measured(operation, count, users, server, load, tick)
    finally:
        load.close()
        server.close()


def _measured(operation: Name, count: int, users: int, server: Server, load: Load, tick: Tick) -> Result:
    empty = server.ask("cpu")["rss"]
    if operation == "registration":
        start: Callable[[int], bytes] = load.register
        load.run(start, WARM_UP, tick=lambda done: tick("warming up", done, WARM_UP))
        offset, registered = WARM_UP, WARM_UP + count
    else:
        load.run(load.register, users, tick=lambda done: tick("registering phones", done, users))
        verb = load.call if operation == "call" else load.message
        start = lambda number: verb(number % users, (number * 7 + 1) % users)  # noqa: E731
        load.run(start, WARM_UP, tick=lambda done: tick("warming up", done, WARM_UP))
        offset, registered = 0, users
        empty_after = server.ask("cpu")["rss"]
    result, full = measured(operation, count, server, load, lambda number: start(number + offset), tick)
    full = full if operation == "registration" else empty_after
    return replace(result, bytes_per_user=max(0, int((full - empty) / registered)))


class Measured(Protocol):
    """One process, or several that work together, whose figures are added."""

    def ask(self, question: str) -> dict[str, Any]: ...


def measured(
    operation: str, count: int, server: Measured, load: Load, start: Callable[[int], bytes], tick: Tick
) -> tuple[Result, int]:
    """Saturated for CPU and rate, then at 100 a second for latency; what it is, and resident memory between."""
    server.ask("start")
    before = server.ask("cpu")
    seconds = load.run(start, count, tick=lambda done: tick("saturated", done, count))
    after = server.ask("cpu")
    layers = server.ask("profile").get("layers", {})
    few = min(LATENCY_COUNT, count)
    load.run(lambda number: start(number + count), few, LATENCY_RATE, lambda done: tick("latency", done, few))
    ordered = sorted(load.latencies)
    result = Result(
        operation=operation,
        count=count,
        cpu_us=round((after["cpu_s"] - before["cpu_s"]) / count * 1e6, 1),
        rate_per_s=round(count / seconds, 1),
        p50_ms=round(ordered[len(ordered) // 2] * 1e3, 3),
        p99_ms=round(ordered[int(len(ordered) * 0.99)] * 1e3, 3),
        layers={layer: round(spent / count * 1e6, 1) for layer, spent in layers.items()},
    )
    return result, after["rss"]


def two_cores() -> tuple[int, int]:
    """A core for the network and another for the load; -1 where there is only one, or none to choose."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, -1
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (-1, -1)
