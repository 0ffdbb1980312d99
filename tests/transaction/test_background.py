"""Work of a node's own that nobody awaits: it is owned by its context and ended with it."""

import asyncio
import gc
import warnings

from .nodes import context


async def test_work_that_had_not_begun_ends_with_its_context_without_a_warning() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("begun")

    gc.collect()  # what other tests left
    surroundings = context("a")
    surroundings.named("b").start(work())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await surroundings.close()
        await asyncio.sleep(0)  # the loop lets go of the task
        gc.collect()
    assert done == [] and warned == [] and surroundings.tasks == set()


async def test_work_under_way_has_ended_when_its_context_is_closed() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    surroundings = context("a")
    surroundings.start(work())
    await asyncio.sleep(0)
    await surroundings.close()
    assert ended.is_set() and surroundings.tasks == set()
