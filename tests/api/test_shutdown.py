"""Shutdown: everything that waits is woken."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.api.shutdown import SIGNALS, ShutdownSignal


async def for_ever() -> str:
    await asyncio.Event().wait()
    return "never"


async def soon() -> str:
    return "done"


async def failing() -> str:
    raise LookupError


async def test_work_that_ends_first_gives_its_result() -> None:
    assert await ShutdownSignal().run_or_abort(soon(), otherwise="cut short") == "done"


async def test_work_that_waits_is_cut_short() -> None:
    shutdown = ShutdownSignal()
    working = asyncio.create_task(shutdown.run_or_abort(for_ever(), otherwise="cut short"))
    await asyncio.sleep(0)
    shutdown.set()
    assert await asyncio.wait_for(working, 5) == "cut short"
    assert shutdown.is_set


async def test_work_that_fails_fails() -> None:
    with pytest.raises(LookupError):
        await ShutdownSignal().run_or_abort(failing(), otherwise="cut short")


async def test_work_ends_with_who_waits_for_it() -> None:
    ended = asyncio.Event()

    async def work() -> str:
        try:
            return await for_ever()
        finally:
            ended.set()

    waiting = asyncio.create_task(ShutdownSignal().run_or_abort(work(), otherwise=""))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


@contextmanager
def handling(number: signal.Signals) -> Iterator[list[int]]:
    """Handle a signal as a server would; yield what has arrived."""
    arrived: list[int] = []
    previous = signal.signal(number, lambda signum, _: arrived.append(signum))
    try:
        yield arrived
    finally:
        signal.signal(number, previous)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_begins_the_shutdown_and_still_reaches_the_server(
    number: signal.Signals,
) -> None:
    shutdown = ShutdownSignal()
    with handling(number) as arrived:
        servers_own = signal.getsignal(number)
        with shutdown.on_signals():
            signal.raise_signal(number)
            waiting = shutdown.run_or_abort(for_ever(), otherwise="cut short")
            assert await asyncio.wait_for(waiting, 5) == "cut short"
        assert arrived == [number]
        assert signal.getsignal(number) == servers_own


async def test_a_signal_that_nobody_handles_is_left_alone() -> None:
    previous = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with ShutdownSignal().on_signals():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, previous)


async def test_outside_the_main_thread_there_are_no_signals() -> None:
    async def enter() -> None:
        with ShutdownSignal().on_signals():
            pass

    await asyncio.to_thread(asyncio.run, enter())
