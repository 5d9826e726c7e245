"""Ranges that are read side by side, written one after the other."""

import asyncio
from collections import defaultdict, deque
from typing import Protocol


class RowSink(Protocol):
    """Takes the file's bytes in order."""

    async def write(self, data: bytes) -> None:
        """Take bytes cut anywhere; waits where they come too fast."""


class KeyOrder:
    """Writes the bytes of numbered ranges to ``sink`` in the order of the numbers.

    The first unfinished range goes straight through. What is read of later
    ones meanwhile is held, ``held_bytes_max`` in all; then their readers wait
    for their turn. Every range must be begun in order and finished.
    """

    def __init__(self, sink: RowSink, held_bytes_max: int) -> None:
        self._sink = sink
        self._held_bytes_max = held_bytes_max
        self._held: defaultdict[int, deque[bytes]] = defaultdict(deque)
        self._held_bytes = 0
        self._finished: set[int] = set()
        self._turn = 0
        self._turned = asyncio.Condition()

    async def write(self, number: int, data: bytes) -> None:
        """Take bytes of a range, cut anywhere, from the one who reads it."""
        self._held[number].append(data)
        self._held_bytes += len(data)
        if number != self._turn and self._held_bytes > self._held_bytes_max:
            async with self._turned:
                await self._turned.wait_for(lambda: self._may_go_on(number))
        if number == self._turn:
            await self._flush(number)

    async def finish(self, number: int) -> None:
        """Take note that a range is complete, and write what has become next.

        Whose turn it is writes: the reader of that range or, when that is
        complete, whoever finishes the one before.
        """
        self._finished.add(number)
        if number != self._turn:
            return
        while self._turn in self._finished:
            await self._flush(self._turn)
            self._finished.remove(self._turn)
            self._turn += 1
        async with self._turned:
            self._turned.notify_all()

    def _may_go_on(self, number: int) -> bool:
        return number == self._turn or self._held_bytes <= self._held_bytes_max

    async def _flush(self, number: int) -> None:
        held = self._held[number]
        while held:
            data = held.popleft()
            self._held_bytes -= len(data)
            await self._sink.write(data)
        del self._held[number]
