"""Who makes a 2xx to INVITE or a reliable 1xx repeats it until acknowledged (RFC 3261 13.3.1.4, RFC 3262 3)."""

import asyncio
from collections.abc import Callable

from redoubt.phone.line import T1_S, T2_S


async def repeat_until(acknowledged: asyncio.Future[None], resend: Callable[[], None], most_s: float = T2_S) -> bool:
    """Resends after T1, twice that, and so on up to `most_s` apart, for 64*T1; whether it was acknowledged."""
    loop = asyncio.get_running_loop()
    gives_up, interval = loop.time() + 64 * T1_S, T1_S
    while not acknowledged.done() and loop.time() < gives_up:
        await asyncio.wait([acknowledged], timeout=min(interval, gives_up - loop.time()))
        if not acknowledged.done() and loop.time() < gives_up:
            resend()
            interval = min(2 * interval, most_s)
    return acknowledged.done() and not acknowledged.cancelled()


def acknowledge(waiting: asyncio.Future[None] | None) -> bool:
    """Notes that the ACK or PRACK came; False if nobody waits for it."""
    if waiting is None or waiting.done():
        return False
    waiting.set_result(None)
    return True
