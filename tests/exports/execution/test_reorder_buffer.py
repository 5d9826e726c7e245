"""Ranges written in order, however their reading interleaves."""

import asyncio
import random

import pytest

from app.exports.execution.reorder_buffer import ReorderBuffer


class RecordingSink:
    """A sink that records its bytes; while ``gate`` is closed, writes wait."""

    def __init__(self) -> None:
        self.data = b""
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, data: bytes) -> None:
        await self.gate.wait()
        self.data += data


async def read(order: ReorderBuffer, number: int, chunks: list[bytes], dice: random.Random) -> None:
    """Read one range, with pauses."""
    for chunk in chunks:
        await order.write(number, chunk)
        await asyncio.sleep(dice.random() / 1000)
    await order.close_range(number)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("held_bytes_max", [0, 10, 10_000])
async def test_the_order_is_the_ranges_own(seed: int, held_bytes_max: int) -> None:
    dice, sink = random.Random(seed), RecordingSink()
    order = ReorderBuffer(sink, held_bytes_max)
    ranges = [
        [b"%d.%d;" % (number, chunk) for chunk in range(dice.choice([0, 1, 2, 9]))]
        for number in range(12)
    ]
    waiting = iter(enumerate(ranges))

    async def stream() -> None:
        for number, chunks in waiting:
            await read(order, number, chunks, dice)

    await asyncio.gather(*(stream() for _ in range(dice.choice([1, 2, 5]))))
    assert sink.data == b"".join(b"".join(chunks) for chunks in ranges)


async def test_the_first_unfinished_range_goes_straight_through() -> None:
    sink = RecordingSink()
    order = ReorderBuffer(sink, held_bytes_max=100)
    await order.write(1, b"later")
    await order.write(0, b"now")
    assert sink.data == b"now"
    await order.close_range(0)
    await order.write(1, b" too")
    assert sink.data == b"nowlater too"


async def test_a_range_that_is_complete_before_its_turn_is_written_by_the_one_before() -> None:
    sink = RecordingSink()
    order = ReorderBuffer(sink, held_bytes_max=100)
    await order.write(1, b"one")
    await order.close_range(1)
    await order.close_range(2)
    assert sink.data == b""
    await order.close_range(0)
    assert sink.data == b"one"


async def test_who_is_too_far_ahead_waits_for_its_turn() -> None:
    sink = RecordingSink()
    order = ReorderBuffer(sink, held_bytes_max=4)
    await order.write(1, b"four")
    waiting = asyncio.create_task(order.write(1, b"more"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await order.close_range(0)
    await waiting
    assert sink.data == b"fourmore"


async def test_who_waits_goes_on_when_others_have_written_what_was_held() -> None:
    sink = RecordingSink()
    order = ReorderBuffer(sink, held_bytes_max=4)
    await order.write(1, b"four")
    await order.close_range(1)
    waiting = asyncio.create_task(order.write(3, b"last"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await order.close_range(0)
    await waiting
    assert sink.data == b"four"


async def test_a_slow_sink_holds_up_the_range_whose_turn_it_is() -> None:
    sink = RecordingSink()
    order = ReorderBuffer(sink, held_bytes_max=4)
    sink.gate.clear()
    writing = asyncio.create_task(order.write(0, b"first"))
    await asyncio.sleep(0.01)
    assert not writing.done()
    sink.gate.set()
    await writing
    assert sink.data == b"first"
