"""Two HSSs and two CSCFs that dial each other, under cuts, partitions, losses, restarts and power failures.

A seed decides it all. Whatever happens: each request ends in time, nobody crashes, no node works on one request
twice, and when it is over every pair of nodes has exactly one connection and nothing is left waiting.
"""

import asyncio
import random

import pytest

from redoubt.config import DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable
from redoubt.events import Bug
from redoubt.sim import Network, at_host, run

from .nodes import REALM, Station, closed, lir

NAMES = {
    "10.0.0.1": "hss1.ims.test",
    "10.0.0.2": "scscf.ims.test",
    "10.0.0.3": "hss2.ims.test",
    "10.0.0.4": "icscf.ims.test",
}
HSSS, CSCFS = ("10.0.0.1", "10.0.0.3"), ("10.0.0.2", "10.0.0.4")
PATIENCE_S = 5.0


class Worker:
    """Answers, now and then late; works on nothing twice in one life."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.done: set[tuple[str, int]] = set()

    async def __call__(self, message: DiameterMessage, peer: Peer) -> DiameterMessage:
        key = (message.need(d.ORIGIN_HOST), message.end_to_end)
        assert key not in self.done, "a repetition was worked on again"
        self.done.add(key)
        if self.chance.random() < 0.05:
            await asyncio.sleep(self.chance.uniform(0, 3))
        return message.answer()


class World:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.chance = network.random
        self.stations: dict[str, Station] = {}
        self.answered = self.failed = 0

    async def boot(self, host: str) -> None:
        with at_host(host):
            station = Station(NAMES[host], trusted_nodes=frozenset(NAMES))
            station.node.serve(CX, Worker(self.chance))
            for other in HSSS if host in CSCFS else CSCFS:
                peer = DiameterPeer(identity=NAMES[other], realm=REALM, connect=f"tcp:{other}:3868")
                station.node.connect_to(peer)
            await station.node.listen(f"tcp:{host}:3868")
        self.stations[host] = station

    async def asks(self, host: str, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            station, began = self.stations[host], loop.time()
            with at_host(host):
                try:
                    request = lir(station)
                    request.command = CX.commands["SAR"]
                    answer = await station.node.request(request, timeout_s=PATIENCE_S)
                    assert answer.need(d.RESULT_CODE) in (2001, 3004, 5012)
                    self.answered += 1
                except DiameterUnavailable:
                    self.failed += 1
            assert loop.time() - began < PATIENCE_S + 0.1
            await asyncio.sleep(self.chance.uniform(0, 8))

    async def trouble(self, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(self.chance.uniform(1, 60))
            host = self.chance.choice(list(NAMES))
            match self.chance.randrange(4):
                case 0:
                    self.network.cut(host)
                case 1:
                    self.network.partition(host)
                    await asyncio.sleep(self.chance.uniform(1, 120))
                    self.network.heal()
                case 2:
                    with at_host(host):
                        await self.stations[host].node.close()
                    await asyncio.sleep(self.chance.uniform(0, 20))
                    await self.boot(host)
                case _ if host in HSSS:
                    await self.loses_power(host)

    async def loses_power(self, host: str) -> None:
        self.network.crash(host)
        node = self.stations[host].node
        node._local.closing = True  # what is left of it in this process does nothing any more
        for peer in node.peers.values():
            peer.stop()
        await asyncio.sleep(self.chance.uniform(0, 50))
        await self.boot(host)

    def judge(self) -> None:
        for host, station in self.stations.items():
            assert not station.of(Bug), station.of(Bug)[0].traceback
            assert station.node.in_work == 0
            assert len(station.node._connections) == 2, host
            for peer in station.node.peers.values():
                assert peer.is_open, (host, peer.identity, peer.state, peer.health)
                assert peer.link is not None
                assert not [asked for asked in peer.link.pending.values() if asked.future is not None]


@pytest.mark.parametrize("seed", range(20))
def test_nodes_come_through_whatever_happens_to_them(seed: int) -> None:
    async def scene(network: Network) -> None:
        world = World(network)
        for host in NAMES:
            await world.boot(host)
        network.link(loss=network.random.choice([0, 0.02, 0.1]))
        await asyncio.gather(*(world.asks(host, 120) for host in CSCFS), world.trouble(25))
        network.heal()
        network.link(loss=0.0)
        await asyncio.sleep(200)
        world.judge()
        assert world.answered > 4 * world.failed
        await closed(*world.stations.values())

    run(scene, seed, allow_pending=True)
