"""The reorder buffer: ranges are read in parallel and written in order."""

import asyncio
from collections import defaultdict, deque
from typing import Protocol


class ByteSink(Protocol):
    """Takes the file's bytes in order."""

    async def write(self, data: bytes) -> None:
        """Take bytes cut anywhere; waits where they come too fast."""


class ReorderBuffer:
    """Writes the bytes of numbered ranges to ``sink`` in the order of the numbers.

    The bytes of the first unfinished range pass through. Those of later ones are buffered, up to
    ``held_bytes_max`` in all; then their readers wait for their turn. Ranges must be taken in
    order, and every one of them closed, or the others wait forever.

    Attributes:
        held_bytes_max: may be changed at any time.
        written_bytes: how much ``sink`` has taken.
    """

    def __init__(self, sink: ByteSink, held_bytes_max: int) -> None:
        self._sink = sink
        self.held_bytes_max = held_bytes_max
        self.written_bytes = 0
        self._held: defaultdict[int, deque[bytes]] = defaultdict(deque)
        self._held_bytes = 0
        self._finished: set[int] = set()
        self._turn = 0
        self._turned = asyncio.Condition()

    async def write(self, number: int, data: bytes) -> None:
        """Take bytes of a range, cut anywhere, from its reader."""
        # Also in its turn: bytes of this range that were buffered before must be written first.
        self._held[number].append(data)
        self._held_bytes += len(data)
        if number != self._turn and self._held_bytes > self.held_bytes_max:
            async with self._turned:
                await self._turned.wait_for(lambda: self._may_go_on(number))
        if number == self._turn:
            await self._flush(number)

    async def close_range(self, number: int) -> None:
        """Mark a range as complete, and write the buffered ranges that follow.

        Only one reader writes at a time: that of the current range or, where that is complete
        already, the one that closes the range before it.
        """
        self._finished.add(number)
        if number != self._turn:
            return
        while self._turn in self._finished:
            # Before the turn moves on: then the reader of the next range writes to the sink.
            await self._flush(self._turn)
            self._finished.remove(self._turn)
            self._turn += 1
        async with self._turned:
            self._turned.notify_all()

    def _may_go_on(self, number: int) -> bool:
        return number == self._turn or self._held_bytes <= self.held_bytes_max

    async def _flush(self, number: int) -> None:
        held = self._held[number]
        while held:
            data = held.popleft()
            self._held_bytes -= len(data)
            await self._sink.write(data)
            self.written_bytes += len(data)
        del self._held[number]
