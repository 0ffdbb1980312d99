"""The network under measurement: a process of its own on one core, asked for its CPU time and memory over its pipes.

Run as `python -m redoubt.lab.bench_server USERS CORE PROFILE WHAT`, WHAT being "network", which takes SIP, "hss", which
takes Diameter, or a JSON file: a network with that configuration, whose users are numbered from its `first` on. Ends
when its standard input does.
"""

import asyncio
import cProfile
import json
import os
import pstats
import resource
import sys
from pathlib import Path
from typing import Any

import uvloop

from redoubt.hss.provisioning import subscriber_of
from redoubt.network.run import FUNCTIONS, Network, tune_memory

REALM = "ims.test"
K, OPC = "6b" * 16, "6f" * 16  # one card for all: the load generator computes with it, the network does not know


async def serve(users: int, profiled: bool, what: str, given: dict[str, Any]) -> None:
    """Starts a temporary network with `users` subscribers and answers what standard input asks."""
    only = ("hss",) if what == "hss" else FUNCTIONS
    config: dict[str, Any] = {
        "network": {"realm": REALM},
        "hss": {"diameter": ["tcp:127.0.0.1:0"]},
        "access": {"policy": "aka-without-ipsec"},  # the load generator speaks no IPsec
        **given["config"],
    }
    network = await Network.temporary(config, only=only)
    profile = cProfile.Profile()
    try:
        assert network.hss is not None
        await network.hss.administration.add(_subscribers(given["first"], users, config["network"]["realm"]))
        tune_memory()
        host, port = _first_address(network) if what == "hss" else network.p_cscf_address
        _say({"host": host, "port": port, "tunnel": network.tunnel_address[1] if network.gm else 0})
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            match line.strip():
                case "cpu":
                    _say(_usage(network))
                case "start" if profiled:
                    profile = cProfile.Profile()
                    profile.enable()
                    _say({})
                case "profile" if profiled:
                    profile.disable()
                    _say({"layers": _layers(profile)})
                case _:
                    _say({})
    finally:
        await network.close()


def _subscribers(first: int, users: int, realm: str) -> Any:
    for number in range(first, first + users):
        yield subscriber_of({"impi": f"u{number}@{realm}", "k": K, "opc": OPC})


def _first_address(network: Network) -> tuple[str, int]:
    host, _, port = next(iter(network.names)).rpartition(":")
    return host, int(port)


def _usage(network: Network) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    tables = {name: size for name, size in network.table_sizes().items() if size}
    return {"cpu_s": used.ru_utime + used.ru_stime, "rss": pages * resource.getpagesize(), "tables": tables}


def _layers(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds spent in each folder of the package itself, and in what it calls outside."""
    layers: dict[str, float] = {}
    rows: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _line, name), (_calls, _primitive, own, _total, _callers) in rows.items():
        if "/redoubt/" in file:
            layer = file.split("/redoubt/")[1].rsplit("/", 1)[0]
        else:
            layer = f"outside: {name}" if own > 0.02 * sum(row[2] for row in rows.values()) else "outside: rest"
        layers[layer] = layers.get(layer, 0.0) + own
    return dict(sorted(layers.items(), key=lambda item: -item[1]))


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    users, core, profiled, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4]
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    given = json.loads(Path(what).read_text()) if what.endswith(".json") else {"first": 0, "config": {}}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(users, profiled, what, given))


if __name__ == "__main__":
    main()
