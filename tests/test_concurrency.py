"""Ending tasks: until they have ended."""

import asyncio

import pytest

from app.concurrency import KeyedLocks, cancel_and_wait


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
        await cancel_and_wait(*tasks)
    assert lost.is_set()
    assert all(task.cancelled() for task in tasks)


async def test_what_has_ended_keeps_its_error() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await cancel_and_wait(task)
    assert isinstance(task.exception(), ValueError)


async def test_a_key_is_held_by_one_at_a_time_and_forgotten_afterwards() -> None:
    locks, events = KeyedLocks(), []

    async def work(key: str, name: str) -> None:
        async with locks.acquire(key, timeout_s=5):
            events.append(name)
            await asyncio.sleep(0)
            events.append(name)

    await asyncio.gather(work("a", "1"), work("a", "2"), work("b", "3"))
    assert [event for event in events if event != "3"] == ["1", "1", "2", "2"]
    assert events.index("3") < events.index("2")
    assert not locks._locks


async def test_a_key_that_stays_held_is_not_waited_for_any_longer() -> None:
    locks = KeyedLocks()
    async with locks.acquire(1, timeout_s=5):
        with pytest.raises(TimeoutError):
            async with locks.acquire(1, timeout_s=0.01):
                pass
    async with locks.acquire(1, timeout_s=5):
        pass
