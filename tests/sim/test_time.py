"""Virtual time: asyncio's own tools over a clock that jumps."""

import asyncio
from itertools import count

import pytest

from redoubt.sim import SimDeadlock, SimLeak, SimLivelock, SimTimeLimit, SimUnhandled, run
from redoubt.sim import loop as sim_loop


def test_an_hour_passes_in_no_time():
    async def main(network):
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - before

    assert run(main, 1) == 3600


def test_timers_run_at_their_exact_time_and_in_order():
    async def main(network):
        loop = asyncio.get_running_loop()
        seen = []
        for delay in (0.3, 0.1, 0.2, 1e5 + 0.7):
            loop.call_later(delay, lambda due=delay: seen.append((due, loop.time())))
        cancelled = loop.call_later(0.15, seen.append, "never")
        cancelled.cancel()
        await asyncio.sleep(1e5 + 1)
        return seen

    assert run(main, 1, limit_s=1e6) == [(due, due) for due in (0.1, 0.2, 0.3, 1e5 + 0.7)]


def test_timeout_event_gather_wait_for_queue_and_task_group_work():
    async def main(network):
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        assert loop.time() == 5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 1)
        event, queue = asyncio.Event(), asyncio.Queue()
        loop.call_later(2, event.set)
        assert await asyncio.gather(event.wait(), asyncio.sleep(1, "slept")) == [True, "slept"]
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.put("put"))
            taken = group.create_task(queue.get())
        assert taken.result() == "put"
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1000))
                group.create_task(fails())
        return loop.time()

    async def fails():
        raise ValueError("on purpose")

    assert run(main, 1) == 8


def test_the_members_of_a_task_group_are_cancelled_in_one_order_in_every_run():
    async def main(network):
        order = []

        async def member(number):
            try:
                await asyncio.sleep(100)
            finally:
                order.append(number)

        async def fails():
            await asyncio.sleep(1)
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(member(number))
                group.create_task(fails())
        return order

    ballast = []
    first = run(main, 1)
    for size in range(20):
        ballast.append(bytearray(size * 997))
        assert run(main, 1) == first


def test_work_for_an_executor_runs_inline_after_a_delay():
    async def main(network):
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, divmod, 7, 2) == (3, 1)
        assert await asyncio.to_thread(len, "four") == 4
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, divmod, 1, 0)
        return loop.time()

    assert 0 < run(main, 1) < 0.01
    assert run(main, 1) != run(main, 2)


def test_work_for_an_executor_is_done_though_its_caller_was_cancelled():
    async def main(network):
        done = []
        caller = asyncio.create_task(asyncio.to_thread(done.append, "committed"))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(1)
        return done

    assert run(main, 1) == ["committed"]


def test_call_soon_threadsafe_works_on_the_same_thread():
    async def main(network):
        called = asyncio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(called.set)
        return await called.wait()

    assert run(main, 1)


def test_waiting_for_nothing_is_a_deadlock_that_says_who_waits_where():
    async def main(network):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="forgotten")
            await asyncio.Event().wait()

    with pytest.raises(SimDeadlock, match=r"forgotten: Event\.wait") as caught:
        run(main, 7)
    assert "seed 7" in caught.value.__notes__[0]


def test_the_limit_of_virtual_time_ends_a_run_that_does_not_end_itself():
    async def main(network):
        for _ in count():
            await asyncio.sleep(10)

    with pytest.raises(SimTimeLimit, match="100 s of virtual time"):
        run(main, 1, limit_s=100)


def test_callbacks_that_never_let_time_pass_are_found_out(monkeypatch):
    monkeypatch.setattr(sim_loop, "TURNS_WITHOUT_TIME", 1000)

    async def main(network):
        for _ in count():
            await asyncio.sleep(0)

    with pytest.raises(SimLivelock, match="time stands still"):
        run(main, 1)


def test_an_exception_of_main_comes_out_as_it_is_with_the_seed_as_a_note():
    async def main(network):
        await asyncio.sleep(1.5)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        run(main, 42)
    assert caught.value.__notes__ == ["simulator seed 42, virtual time 1.500000 s"]


def test_an_exception_in_a_callback_fails_the_run():
    async def main(network):
        asyncio.get_running_loop().call_later(1, lambda: 1 // 0)
        await asyncio.sleep(2)

    with pytest.raises(SimUnhandled, match="ZeroDivisionError"):
        run(main, 1)


@pytest.mark.parametrize("kept", [True, False])
def test_an_exception_of_a_task_that_nobody_asks_for_fails_the_run(kept):
    async def main(network):
        task = asyncio.create_task(fails())
        shelf.append(task if kept else None)
        del task
        await asyncio.sleep(1)

    async def fails():
        raise ValueError("unheard")

    shelf = []
    with pytest.raises(SimUnhandled, match="unheard"):
        run(main, 1)


def test_a_task_left_running_fails_the_run_unless_it_is_allowed():
    ended = []

    async def main(network):
        asyncio.get_running_loop().keep = asyncio.create_task(forever(), name="keep-alive 1")
        return "done"

    async def forever():
        try:
            for _ in count():
                await asyncio.sleep(30)
        finally:
            ended.append("cleaned up")

    with pytest.raises(SimLeak, match="keep-alive 1"):
        run(main, 1)
    assert run(main, 1, allow_pending=("keep-alive",)) == "done"
    assert run(main, 1, allow_pending=True) == "done"
    assert ended == ["cleaned up"] * 3


def test_a_deadlock_also_tells_of_the_task_whose_failure_made_it():
    async def main(network):
        server = asyncio.create_task(fails(), name="server")
        await asyncio.Event().wait()
        await server

    async def fails():
        raise ValueError("the cause")

    with pytest.raises(SimDeadlock) as caught:
        run(main, 1)
    assert "nobody asked how server ended: ValueError('the cause')" in caught.value.__notes__[0]
