"""A deterministic world to run everything in: `run(main, seed)` gives a coroutine virtual time and a
virtual network.

The seed decides delays, losses, duplicates and orders, so a failure is a number that replays it. See
`Network` for faults, partitions, taps and attackers; `SimLoop` for what of asyncio works (all of it but
real sockets).
"""

from redoubt.sim.addresses import Address, at_host, host
from redoubt.sim.errors import SimDeadlock, SimError, SimLeak, SimLivelock, SimTimeLimit, SimUnhandled
from redoubt.sim.faults import ANY, Link
from redoubt.sim.loop import SimLoop
from redoubt.sim.network import Network
from redoubt.sim.packet import Fate, Packet, Trace
from redoubt.sim.run import run
from redoubt.sim.tls import DeclaredTls

__all__ = [
    "ANY",
    "Address",
    "DeclaredTls",
    "Fate",
    "Link",
    "Network",
    "Packet",
    "SimDeadlock",
    "SimError",
    "SimLeak",
    "SimLivelock",
    "SimLoop",
    "SimTimeLimit",
    "SimUnhandled",
    "Trace",
    "at_host",
    "host",
    "run",
]
