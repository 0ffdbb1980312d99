"""Deadlines: each is told once and in time, whatever was put off, brought forward or dropped."""

import asyncio

from redoubt.gm.deadlines import SPARE, Deadlines
from redoubt.sim.loop import SimLoop


def test_each_comes_in_its_time_and_once() -> None:
    assert _told([(1, 5.0), (2, 3.0), (3, 4.0)]) == [(3.0, 2), (4.0, 3), (5.0, 1)]


def test_one_brought_forward_comes_then_and_not_again() -> None:
    assert _told([(1, 5.0), (1, 2.0)]) == [(2.0, 1)]


def test_one_put_off_comes_when_it_was_to_come_first() -> None:
    assert _told([(1, 2.0), (1, 5.0)]) == [(2.0, 1)]


def test_one_dropped_never_comes_and_holds_up_no_other() -> None:
    assert _told([(1, 2.0), (2, 3.0)], dropped=[1]) == [(3.0, 2)]


def test_what_is_void_takes_no_more_memory_than_what_is_not() -> None:
    async def run() -> None:
        deadlines = Deadlines(lambda number: None)
        for number in range(10_000):
            deadlines.put(number, 1_000_000.0)
            deadlines.drop(number)
        assert len(deadlines) == 0 and len(deadlines._heap) <= SPARE + 1
        deadlines.clear()

    asyncio.run(run())


def _told(wanted: list[tuple[int, float]], dropped: list[int] = []) -> list[tuple[float, int]]:  # noqa: B006
    told: list[tuple[float, int]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadlines = Deadlines(lambda number: told.append((round(loop.time() - began, 3), number)))
        for number, at in wanted:
            deadlines.put(number, began + at)
        for number in dropped:
            deadlines.drop(number)
        await asyncio.sleep(10)

    with asyncio.Runner(loop_factory=lambda: SimLoop()) as runner:
        runner.run(run())
    return told
