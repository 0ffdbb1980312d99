"""What media costs: the relay in a process of its own on one core, packets of many calls through it from another."""

import asyncio
import multiprocessing
import os
import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from redoubt.config.interconnect import MediaConfig
from redoubt.events import EventStream
from redoubt.lab.bench import Tick, two_cores
from redoubt.lab.load import LoadFailed
from redoubt.media.legs import End, Side
from redoubt.media.relay import Relay
from redoubt.media.rtp import rtp_packet
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Address

CALLS = 50
VOICE = bytes(160)  # 20 ms of G.711: 172 octets of RTP
PACKETS_PER_CALL_AND_S = 100  # both ways
WARM_UP = 2_000
BURST = 200  # on their way at a time: sockets hold more
PATIENCE_S = 10.0
CONFIG = MediaConfig(inside=("127.0.0.1",), outside=("127.0.0.2",), ports=(30_000, 39_999), idle=600)


@dataclass(frozen=True, slots=True)
class MediaCost:
    """Microseconds of one core for a packet, what passed a second, and how many calls of G.711 that core carries."""

    packets: int
    cpu_us: float
    rate_per_s: int
    calls_per_core: int


def bench_media(count: int, tick: Tick = lambda what, done, of: None) -> MediaCost:
    """Relays that many packets. Raises LoadFailed."""
    relay_core, load_core = two_cores()
    before = os.sched_getaffinity(0)
    mine, its = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(its, relay_core), daemon=True)
    process.start()
    if load_core >= 0:
        os.sched_setaffinity(0, {load_core})
    try:
        return _measured(mine, count, tick)
    finally:
        os.sched_setaffinity(0, before)
        mine.close()
        process.join(PATIENCE_S)


def _measured(relay: Connection, count: int, tick: Tick) -> MediaCost:
    with _Sockets("127.0.0.3") as callers, _Sockets("127.0.0.4") as callees:
        relay.send([callers.places, callees.places])
        targets: list[Address] = relay.recv()
        _send(callers.sockets, targets, callees.sockets, WARM_UP)
        relay.send("cpu")
        cpu_before, began = relay.recv(), time.perf_counter()
        done = 0
        while done < count:
            step = min(5_000, count - done)
            _send(callers.sockets, targets, callees.sockets, step)
            done += step
            tick("packets", done, count)
        elapsed = time.perf_counter() - began
        relay.send("cpu")
        cpu_us = (relay.recv() - cpu_before) / count * 1e6
    return MediaCost(count, round(cpu_us, 2), round(count / elapsed), int(1e6 / cpu_us / PACKETS_PER_CALL_AND_S))


class _Sockets:
    """One socket a call."""

    def __init__(self, host: str) -> None:
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CALLS)]
        for each in self.sockets:
            each.bind((host, 0))
            each.settimeout(PATIENCE_S)

    @property
    def places(self) -> list[Address]:
        return [each.getsockname() for each in self.sockets]

    def __enter__(self) -> "_Sockets":
        return self

    def __exit__(self, *_what: object) -> None:
        for each in self.sockets:
            each.close()


def _send(senders: list[socket.socket], targets: list[Address], receivers: list[socket.socket], count: int) -> None:
    """In bursts, the next on its way while one is taken in. Raises LoadFailed when a packet is lost."""
    packet = rtp_packet(8, 1, 160, 7, VOICE)
    under_way = range(0)
    for first in range(0, count + BURST, BURST):
        burst = range(first, min(first + BURST, count))
        for number in burst:
            senders[number % CALLS].sendto(packet, targets[number % CALLS])
        for number in under_way:
            try:
                receivers[number % CALLS].recv(2048)
            except TimeoutError as error:
                raise LoadFailed("the relay lost packets") from error
        under_way = burst


def _serve(pipe: Connection, core: int) -> None:
    """The process under measurement."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_relay(pipe))


async def _relay(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    context = Context("media", EventStream(), Clock(loop), SystemRandomness())
    relay = Relay(context, CONFIG)
    callers, callees = await loop.run_in_executor(None, pipe.recv)
    targets = []
    for caller, callee in zip(callers, callees, strict=True):
        session = relay.session("bench")
        await session.provide([("127.0.0.1", "127.0.0.2")])
        (stream,) = session.streams
        assert stream is not None
        stream.settle(Side.OUTSIDE, End(caller, None, frozenset((8,))))
        stream.settle(Side.INSIDE, End(callee, None, frozenset((8,))))
        stream.gate(Side.OUTSIDE, True)
        targets.append(stream.local(Side.OUTSIDE))
    pipe.send(targets)
    asked = asyncio.Event()
    loop.add_reader(pipe.fileno(), asked.set)
    while True:
        await asked.wait()
        asked.clear()
        try:
            pipe.recv()
        except EOFError:
            break
        pipe.send(time.process_time())
    loop.remove_reader(pipe.fileno())
    relay.close()
