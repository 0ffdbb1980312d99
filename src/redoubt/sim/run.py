"""Run a coroutine in a simulated world and judge how it ended: a seed in, a result or a failure that
names the seed out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redoubt.sim.errors import SimLeak, SimUnhandled
from redoubt.sim.loop import SimLoop
from redoubt.sim.network import Network
from redoubt.sim.tasks import SimTask

T = TypeVar("T")
WINDING_UP_S = 60.0  # virtual time that cancelled tasks get to finish


class Complaints:
    """The loop's exception handler: keeps what nobody caught."""

    def __init__(self) -> None:
        self.contexts: list[dict[str, Any]] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.contexts.append(context)

    def __str__(self) -> str:
        return "\n".join(f"  {each.get('message')}: {each.get('exception')!r}" for each in self.contexts)

    @property
    def first_exception(self) -> BaseException | None:
        return next((each["exception"] for each in self.contexts if each.get("exception")), None)


def run(
    main: Callable[[Network], Awaitable[T]],
    seed: int,
    *,
    network: Network | None = None,
    limit_s: float = 86_400.0,
    settle_s: float = 1.0,
    allow_pending: bool | Sequence[str] = False,
) -> T:
    """The result of `main(network)` in virtual time.

    After it returned, the world has `settle_s` to come to rest; then a task that still runs is a failure,
    unless its name starts with one of `allow_pending` (or that is True). So is every exception that
    nobody caught. Whatever is raised carries the seed as a note, and the same seed replays it.
    """
    network = Network(seed) if network is None else network
    loop = SimLoop(network, limit_s=limit_s)
    complaints = Complaints()
    loop.set_exception_handler(complaints)
    try:
        result = loop.run_until_complete(_settled(main, network, settle_s))
        _judge_leftovers(loop, allow_pending)
        _wind_up(loop)
        _judge_complaints(loop, complaints)
        return result
    except BaseException as failure:
        _hear(loop, complaints)
        failure.add_note(_note(seed, network, loop, complaints))
        _wind_up(loop)
        raise
    finally:
        loop.close()


async def _settled(main: Callable[[Network], Awaitable[T]], network: Network, settle_s: float) -> T:
    result = await main(network)
    await asyncio.sleep(settle_s)
    return result


def _judge_leftovers(loop: SimLoop, allow_pending: bool | Sequence[str]) -> None:
    if allow_pending is True:
        return
    allowed = tuple(allow_pending or ())
    left = [task for task in loop.unfinished() if not task.get_name().startswith(allowed)]
    if left:
        raise SimLeak("tasks still run:\n" + "\n".join(f"  {task.where()}" for task in left))


def _judge_complaints(loop: SimLoop, complaints: Complaints) -> None:
    _hear(loop, complaints)
    if complaints.contexts:
        raise SimUnhandled(f"nobody caught:\n{complaints}") from complaints.first_exception


def _hear(loop: SimLoop, complaints: Complaints) -> None:
    """Take in the failures of tasks that somebody holds and has not looked at."""
    for task in loop.unheard():
        complaints(loop, {"message": f"nobody asked how {task.get_name()} ended", "exception": task.exception()})


def _wind_up(loop: SimLoop) -> None:
    """Cancel what is left, oldest first, and let it clean up."""
    left: list[SimTask[Any]] = loop.unfinished()
    for task in left:
        task.cancel()
    loop.allow(WINDING_UP_S)
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=WINDING_UP_S / 2))
    loop.run_until_complete(loop.shutdown_asyncgens())


def _note(seed: int, network: Network, loop: SimLoop, complaints: Complaints) -> str:
    wire = "" if network.seed == seed else f" (network seed {network.seed})"
    also = f"; nobody caught before:\n{complaints}" if complaints.contexts else ""
    return f"simulator seed {seed}{wire}, virtual time {loop.time():.6f} s{also}"
