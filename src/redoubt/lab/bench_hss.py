"""What the HSS costs as a process of its own: Diameter over TCP, codec, durable SQLite and answer included.

Each user is asked about for the first time, so that every MAR and every SAR changes the store and is answered after its
commit. A user who was challenged before costs less.
"""

import os
from functools import partial

from redoubt.lab.bench import LATENCY_COUNT, LATENCY_RATE, WARM_UP, Result, Server, Tick, two_cores
from redoubt.lab.bench_server import REALM
from redoubt.lab.diameter_load import QUESTIONS, DiameterLoad, Question


def bench_hss(
    count: int,
    *,
    profiled: bool = False,
    samples: int = LATENCY_COUNT,
    tick: Tick = lambda what, done, of: None,
) -> list[Result]:
    """UAR, MAR, SAR and LIR for the same `count` users, one kind after the other. Raises LoadFailed.

    `samples` more users are asked about at 100 a second, for the latency.
    """
    hss_core, load_core = two_cores()
    server = Server(WARM_UP + count + samples, hss_core, profiled, "hss")
    address = (server.started["host"], server.started["port"])
    cscfs = [DiameterLoad(address, f"{name}.{REALM}", REALM, f"sip:scscf.{REALM}") for name in ("icscf", "scscf")]
    if load_core >= 0:
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {load_core})
    try:
        asks = dict(zip(QUESTIONS, [*cscfs, *reversed(cscfs)], strict=True))
        return _measured(count, samples, server, asks, tick)
    finally:
        for cscf in cscfs:
            cscf.close()
        server.close()
        if load_core >= 0:
            os.sched_setaffinity(0, everywhere)


def _measured(
    count: int, samples: int, server: Server, asks: dict[Question, DiameterLoad], tick: Tick
) -> list[Result]:
    for question, load in asks.items():
        load.run(question, range(WARM_UP), tick=partial(tick, f"warming up: {question}", of=WARM_UP))
    before = server.ask("cpu")["rss"]
    results = [_saturated(question, count, server, load, tick) for question, load in asks.items()]
    bytes_per_user = max(0, int((server.ask("cpu")["rss"] - before) / count))
    late = range(WARM_UP + count, WARM_UP + count + samples)
    for (question, load), result in zip(asks.items(), results, strict=True):
        load.run(question, late, LATENCY_RATE, partial(tick, f"latency: {question}", of=samples))
        ordered = sorted(load.latencies)
        result.p50_ms = round(ordered[len(ordered) // 2] * 1e3, 3)
        result.p99_ms = round(ordered[int(len(ordered) * 0.99)] * 1e3, 3)
        result.bytes_per_user = bytes_per_user
    return results


def _saturated(question: Question, count: int, server: Server, load: DiameterLoad, tick: Tick) -> Result:
    server.ask("start")
    before = server.ask("cpu")
    users = range(WARM_UP, WARM_UP + count)
    seconds = load.run(question, users, tick=partial(tick, f"saturated: {question}", of=count))
    after = server.ask("cpu")
    layers = server.ask("profile").get("layers", {})
    return Result(
        operation=question,
        count=count,
        cpu_us=round((after["cpu_s"] - before["cpu_s"]) / count * 1e6, 1),
        rate_per_s=round(count / seconds, 1),
        p50_ms=0.0,
        p99_ms=0.0,
        bytes_per_user=0,
        layers={layer: round(spent / count * 1e6, 1) for layer, spent in layers.items()},
    )
