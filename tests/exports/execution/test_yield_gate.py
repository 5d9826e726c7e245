"""A large export's streams pause for small ones, for a tenth of the time that they read."""

import asyncio

import pytest

from app.exports.execution.multipart_upload import Progress
from app.exports.execution.yield_gate import PAUSE_MAX_S, PAUSED_SHARE, StreamPauses, YieldGate


class Clock:
    """Seconds that pass when a test says so, or when something waits at the gate."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class TimedGate(YieldGate):
    """A gate whose waits take no time, as if the small export ran for ``small_s`` more."""

    def __init__(self, clock: Clock, small_s: float) -> None:
        super().__init__()
        self.clock = clock
        self.small_s = small_s

    async def wait(self, timeout_s: float) -> None:
        self.clock.seconds += min(self.small_s, timeout_s)


@pytest.fixture
def clock() -> Clock:
    """The test's clock."""
    return Clock()


@pytest.mark.parametrize("small_s", [0.01, 0.2, 10.0])
async def test_beside_small_exports_without_end_it_pauses_a_tenth_of_the_time(
    clock: Clock, small_s: float
) -> None:
    gate = TimedGate(clock, small_s)
    pauses = StreamPauses(gate, Progress(), clock)
    read_s = 0.0
    with gate.small_export():
        for _ in range(10_000):
            clock.seconds += 0.002
            read_s += 0.002
            await pauses.give_way()
    paused_s = clock.seconds - read_s
    assert 0.9 * PAUSED_SHARE * read_s < paused_s <= PAUSED_SHARE * read_s * 1.0001


async def test_no_pause_is_so_long_that_it_looks_like_a_stall(clock: Clock) -> None:
    gate = TimedGate(clock, small_s=3600)
    progress = Progress()
    pauses = StreamPauses(gate, progress, clock)
    clock.seconds = 3600
    progress.moved_at = 0
    with gate.small_export():
        assert await pauses.give_way()
    assert clock.seconds - 3600 <= PAUSE_MAX_S
    assert progress.moved_at > 0


async def test_without_a_small_export_or_a_gate_nothing_waits(clock: Clock) -> None:
    gate = TimedGate(clock, small_s=1)
    for pauses in (StreamPauses(gate, Progress(), clock), StreamPauses(None, Progress(), clock)):
        clock.seconds += 100
        assert not await pauses.give_way()
    assert clock.seconds == 200


async def test_the_stream_goes_on_when_the_last_small_export_has_ended(clock: Clock) -> None:
    gate = YieldGate()
    pauses = StreamPauses(gate, Progress(), clock)
    clock.seconds = 100
    events = []

    async def stream() -> None:
        await pauses.give_way()
        events.append("stream")

    with gate.small_export():
        with gate.small_export():
            task = asyncio.create_task(stream())
            await asyncio.sleep(0)  # the stream runs until it waits at the gate
            assert gate.paused == 1
            events.append("first")
        await asyncio.sleep(0)
        events.append("second")
    await task
    assert events == ["first", "second", "stream"]
    assert gate.paused == 0
