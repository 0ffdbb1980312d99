"""One seed, one trace: in this process, in another, and under another hash seed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from redoubt.sim import Network, Trace, run

from .endpoints import Line, mailbox

HOSTS = [f"10.0.1.{number}" for number in range(1, 9)]


async def chatter(network):
    """Eight hosts talk over UDP and TCP while links fail and heal; the digest of all that was on the wire."""
    trace = Trace()
    network.tap(trace)
    boxes = {host: await mailbox(host) for host in HOSTS}
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Line(echo=True), HOSTS[0], 5060)

    async def talk(host):
        transport, _ = await loop.create_connection(Line, HOSTS[0], 5060, local_addr=(host, 0))
        for _ in range(20):
            for other in HOSTS:
                boxes[host].transport.sendto(network.randomness.octets(20), (other, 5060))
            transport.write(network.randomness.octets(50))
            await loop.run_in_executor(None, len, host)
            await asyncio.wait({loop.create_future() for _ in range(3)}, timeout=0.05)
        transport.close()

    network.partition(HOSTS[1], HOSTS[2:4])
    loop.call_later(0.5, network.heal)
    async with asyncio.TaskGroup() as group:
        for host in HOSTS:
            group.create_task(talk(host))
    return trace.digest()


def digest(seed):
    return run(chatter, seed, network=Network(seed, loss=0.1, duplicate=0.05, reorder=0.1))


def test_the_same_seed_makes_the_same_trace():
    assert digest(5) == digest(5)


def test_another_seed_makes_another_trace():
    assert len({digest(seed) for seed in range(5)}) == 5


def test_a_trace_is_the_same_in_another_process_with_other_hashes():
    program = "from sim.test_replay import digest; print(digest(5))"
    here = Path(__file__).parents[1]
    printed = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(here)}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=here)
        printed.add(done.stdout.strip())
    assert printed == {digest(5)}
