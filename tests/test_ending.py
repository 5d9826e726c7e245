"""Ending tasks: until they have ended."""

import asyncio

from app.ending import end


async def test_a_task_that_loses_a_cancel_ends_all_the_same() -> None:
    lost = asyncio.Event()

    async def lose_the_first_cancel() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost.set()
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(lose_the_first_cancel()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(*tasks)
    assert lost.is_set()
    assert all(task.cancelled() for task in tasks)


async def test_what_has_ended_keeps_its_error() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await end(task)
    assert isinstance(task.exception(), ValueError)
