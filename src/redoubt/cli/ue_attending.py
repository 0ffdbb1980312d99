"""A test phone that waits: says each call and message as it comes, and leaves in good order."""

import asyncio
from collections.abc import Callable
from typing import Any

from redoubt.cli.ue_told import Done, described, told_audio
from redoubt.phone.call import Call
from redoubt.phone.phone import Phone, TextMessage

Say = Callable[[str], None]
GOODBYE_S = 10.0  # for hanging up and de-registering; then the network's own timers must do


async def attend(phone: Phone, seconds: float, once: bool, say: Say) -> Done:
    """Takes calls and messages until the time, the first call or a signal is over; then hangs up and deregisters."""
    calls: list[dict[str, Any]] = []
    phone.on_message = lambda message: say(_message(message))
    try:
        async with asyncio.timeout(seconds):
            await _calls(phone, once, say, calls)
    except TimeoutError:
        pass
    except asyncio.CancelledError:  # a signal: the phone says good-bye first
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    try:
        async with asyncio.timeout(GOODBYE_S):
            ended = await phone.deregister()
    except TimeoutError:
        ended = None
    messages = [{"sender": message.sender, "text": message.text} for message in phone.messages]
    facts = {"calls": calls, "messages": messages}
    if ended is None or ended.status >= 300:
        why = "the P-CSCF no longer answers" if ended is None else f"the network answers {ended.status} {ended.reason}"
        return Done(False, facts, f"{phone.identity.impu} could not be deregistered: {why}")
    return Done(True, facts, f"calls: {len(calls)}, messages: {len(messages)}; deregistered")


async def _calls(phone: Phone, once: bool, say: Say, calls: list[dict[str, Any]]) -> None:
    """Several at a time; who leaves hangs up."""
    async with asyncio.TaskGroup() as group:
        while True:
            incoming = await phone.incoming.get()
            following = group.create_task(_follow(incoming, say, calls))
            if once:
                await following
                return


async def _follow(call: Call, say: Say, calls: list[dict[str, Any]]) -> None:
    say(f"{call.other} calls")
    try:
        if await call.answered():
            say(f"the call of {call.other} is answered")
        await call.ended()
    except asyncio.CancelledError:
        async with asyncio.timeout(GOODBYE_S):
            await call.hang_up()
        raise
    finally:
        calls.append(described(call))
    ended = (
        f"is over; {told_audio(call)}" if 200 <= call.status < 300 else f"was not taken: {call.status} {call.reason}"
    )
    say(f"the call of {call.other} {ended}")


def _message(message: TextMessage) -> str:
    return f"{message.sender} writes: {message.text}"
