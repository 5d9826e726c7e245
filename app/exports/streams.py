"""COPYs side by side: ranges of keys are taken in turn by whichever connection is free."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.merge import Merge, merge_sql
from app.audience.ranges import KeyRange
from app.config import MIB
from app.database import Connection
from app.errors import TemporaryError
from app.exports.key_order import KeyOrder, RowSink
from app.exports.parts import Progress, first_error
from app.exports.snapshot import SharedSnapshot, SnapshotNotShared, open_snapshot, share_snapshot

log = structlog.get_logger()

HELD_BYTES = MIB
"""How far each stream may be ahead of its turn: about a range."""


class Streams:
    """The COPYs of one export into ``sink``, over ``count`` connections at most.

    The one that holds the snapshot begins at once; the others join when they
    are connected, and whichever cannot is done without. ``timeout_s`` is a
    limit for each range.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        session_name: str,
        merge: Merge,
        ranges: Sequence[KeyRange],
        count: int,
        sink: RowSink,
        progress: Progress,
        timeout_s: float,
    ) -> None:
        self._engine = engine
        self._session_name = session_name
        self._merge = merge
        self._ranges = iter(enumerate(ranges))
        self._count = min(count, len(ranges))
        self._order = KeyOrder(sink, self._count * HELD_BYTES)
        self._progress = progress
        self._timeout_s = timeout_s
        self._joined: set[asyncio.Task[None] | None] = set()

    async def copy(self, first: Connection) -> None:
        """Copy all ranges, in order; ``first`` is in the snapshot. When one fails all end."""
        shared = await share_snapshot(first) if self._count > 1 else None
        async with first_error(), asyncio.TaskGroup() as group:
            helpers = set[asyncio.Task[None]]()
            if shared is not None:
                helpers = {group.create_task(self._help(shared)) for _ in range(1, self._count)}
            await self._work(first)
            for helper in helpers - self._joined:
                helper.cancel()

    async def _help(self, shared: SharedSnapshot) -> None:
        """Join the snapshot and work; once joined, it works until all ranges are taken."""
        async with AsyncExitStack() as stack:
            snapshot = open_snapshot(self._engine, self._session_name, shared=shared)
            try:
                connection, *_ = await stack.enter_async_context(snapshot)
            except (TemporaryError, SnapshotNotShared) as error:
                log.info("stream done without", session=self._session_name, reason=str(error))
                return
            self._joined.add(asyncio.current_task())
            await self._work(connection)

    async def _work(self, connection: Connection) -> None:
        for number, keys in self._ranges:
            status: str = await connection.copy_from_query(
                merge_sql(self._merge, keys),
                output=partial(self._order.write, number),
                format="csv",
                timeout=self._timeout_s,
            )
            self._progress.rows += int(status.removeprefix("COPY "))
            await self._order.finish(number)
