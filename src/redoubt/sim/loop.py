"""The virtual event loop: asyncio's own scheduling over a clock that jumps to the next event.

Nothing ever blocks. Where a real loop would sleep, this one sets its time to the next timer; where a real
one would wait for ever, it raises `SimDeadlock`. Sockets are those of a `Network`.
"""

import asyncio
import contextvars
import random
import socket
import weakref
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar

from redoubt.sim.addresses import Address, concrete, source_host
from redoubt.sim.datagram import DatagramEndpoint
from redoubt.sim.errors import SimDeadlock, SimLivelock, SimTimeLimit
from redoubt.sim.listener import ProtocolFactory, SimServer, dial
from redoubt.sim.network import Network
from redoubt.sim.stream import StreamTransport
from redoubt.sim.tasks import SimFuture, SimTask
from redoubt.sim.tls import declared

T = TypeVar("T")
CLOCK_RESOLUTION_S = 1e-9
TURNS_WITHOUT_TIME = 1_000_000  # far more than any honest burst at one instant
EXECUTOR_DELAY_S = (0.0001, 0.002)  # of work handed to an executor: a commit, a look-up

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]


class SimLoop(BaseEventLoop):
    """An asyncio loop in virtual time, on a virtual network."""

    _scheduled: list[asyncio.TimerHandle]  # BaseEventLoop's heap of timers

    def __init__(self, network: Network | None = None, *, limit_s: float = float("inf")) -> None:
        super().__init__()
        self.network = network if network is not None else Network(0)
        self.limit_s = limit_s
        self.network.attach(self)
        self._now = 0.0
        self._turns = 0
        self._serial = 0
        self._named = 0
        self._random = random.Random(f"executor {self.network.seed}")
        self._tasks: weakref.WeakValueDictionary[int, SimTask[Any]] = weakref.WeakValueDictionary()
        self._selector = self  # BaseEventLoop asks its selector to wait: see `select`
        self._clock_resolution = CLOCK_RESOLUTION_S

    # -- time -----------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """Where BaseEventLoop waits for input: move the clock instead."""
        if timeout == 0.0:
            self._turns += 1
            if self._turns > TURNS_WITHOUT_TIME:
                raise SimLivelock(f"time stands still at {self._now:.6f} s\n{self.waiting()}")
            return ()
        if timeout is None:
            raise SimDeadlock(f"nothing is scheduled after {self._now:.6f} s\n{self.waiting()}")
        when = self._scheduled[0].when()
        if when > self.limit_s:
            raise SimTimeLimit(f"not finished after {self.limit_s} s of virtual time\n{self.waiting()}")
        self._now = when
        self._turns = 0
        return ()

    def allow(self, more_s: float) -> None:
        """Move the limit to that long from now."""
        self.limit_s = self._now + more_s
        self._turns = 0

    def waiting(self) -> str:
        """Every task that is not done, and where it waits."""
        return "\n".join(f"  {task.where()}" for task in self.unfinished()) or "  no task is left"

    def _process_events(self, events: Sequence[object]) -> None:
        """There are none: what comes from the network is a timer."""

    def _write_to_self(self) -> None:
        """Waking a loop that never sleeps."""

    # -- tasks and futures -----------------------------------------------------------------------

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        self._named += 1
        task: SimTask[T] = SimTask(coro, loop=self, name=name or f"task-{self._named}", context=context)
        self._tasks[self._named] = task
        return task

    def unfinished(self) -> list[SimTask[Any]]:
        """Tasks that are not done, oldest first."""
        return [task for _, task in sorted(self._tasks.items()) if not task.done()]

    def unheard(self) -> list[SimTask[Any]]:
        """Tasks that failed, and whose exception nobody has asked for yet."""
        return [task for _, task in sorted(self._tasks.items()) if task.done() and task._log_traceback]

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run it in this thread, after a delay; like a thread's work, it runs though its caller was
        cancelled.
        """

        async def work() -> T:
            await asyncio.sleep(self._random.uniform(*EXECUTOR_DELAY_S))
            return contextvars.Context().run(func, *args)

        return asyncio.shield(self.create_task(work(), name=f"executor {getattr(func, '__qualname__', func)}"))

    # -- names -----------------------------------------------------------------------

    async def getaddrinfo(  # type: ignore[override]
        self,
        host: str | None,
        port: str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Numeric addresses, and the names that `Network.name` registered."""
        kinds = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}
        wanted = {kind: own for kind, own in kinds.items() if type in (0, kind)}
        addresses = [Address(found, int(port or 0)) for found in self._hosts(host)]
        infos: list[AddressInfo] = [
            (address.family, kind, own, "", address.sockaddr)
            for address in addresses
            if family in (0, address.family)
            for kind, own in wanted.items()
        ]
        if not infos:
            raise socket.gaierror(socket.EAI_NONAME, f"no address of that family is known for {host}")
        return infos

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        return str(sockaddr[0]), str(sockaddr[1])

    def _hosts(self, name: str | None) -> tuple[str, ...]:
        found = self.network.resolve(name) if name else (concrete(name),)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"unknown host {name}: register it with Network.name")
        return found

    # -- the network -----------------------------------------------------------------------

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **options: object,
    ) -> tuple[DatagramEndpoint, asyncio.DatagramProtocol]:
        """A UDP port; with `remote_addr` connected, hearing and reaching only that peer."""
        _refuse_real_sockets(options)
        peer = Address(self._hosts(remote_addr[0])[0], remote_addr[1]) if remote_addr else None
        own = (source_host(peer.host) if peer else "", 0) if local_addr is None else local_addr
        local = self.network.claim("udp", concrete(own[0]), own[1])
        protocol = protocol_factory()
        endpoint = DatagramEndpoint(self.network, protocol, local, peer)
        endpoint.connected()
        await _after_connection_made(endpoint)
        return endpoint, protocol

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        start_serving: bool = True,
        **options: object,
    ) -> SimServer:
        """Listen for streams on one host or several."""
        _refuse_real_sockets(options)
        hosts = [host] if host is None or isinstance(host, str) else list(host)
        addresses = [self.network.claim("tcp", concrete(one), port or 0) for one in hosts]
        server = SimServer(self.network, addresses, protocol_factory, declared(ssl))
        if start_serving:
            server.listen()
            await asyncio.sleep(0)
        return server

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        **options: object,
    ) -> tuple[StreamTransport, asyncio.BaseProtocol]:
        """Connect a stream to the first address of the host that answers."""
        _refuse_real_sockets(options)
        if host is None or port is None:
            raise ValueError("the simulator connects to a host and a port")
        failures: list[OSError] = []
        for found in self._hosts(host):
            target = Address(found, port)
            try:
                return await dial(
                    self.network, protocol_factory, target, local_addr, declared(ssl), server_hostname or host
                )
            except OSError as failure:
                failures.append(failure)
        raise (failures[0] if len(failures) == 1 else OSError(f"Multiple exceptions: {', '.join(map(str, failures))}"))


async def _after_connection_made(endpoint: DatagramEndpoint) -> None:
    """asyncio returns when the protocol knows its transport; who is cancelled meanwhile leaves no port
    behind.
    """
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        endpoint.close()
        raise


def _refuse_real_sockets(options: dict[str, object]) -> None:
    if options.get("sock") is not None:
        raise ValueError("the simulator has no sock=: give it addresses")
