"""Parallel COPY: connections in one snapshot take ranges of keys in turn."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from app.audience.key_ranges import KeyRange
from app.audience.merge import Merge
from app.audience.refused_addresses import RefusedAddresses
from app.audience.replica import ReplayTarget
from app.concurrency import unwrap_exception_group
from app.config import MIB
from app.database.database import Database, DatabaseConnection
from app.errors import TemporaryError
from app.exports.execution.file_formats import FILE_FORMATS, FileFormat
from app.exports.execution.multipart_upload import Progress
from app.exports.execution.reorder_buffer import ByteSink, ReorderBuffer
from app.exports.execution.snapshot import (
    SharedSnapshot,
    SnapshotNotShared,
    export_snapshot,
    open_snapshot,
)
from app.exports.execution.stream_growth import StreamGrowth, StreamLimits
from app.exports.execution.yield_gate import StreamPauses, YieldGate

log = structlog.get_logger()

BUFFERED_BYTES = MIB // 2
"""How much each connection may read ahead of its turn: about one range."""


@dataclass(frozen=True)
class CopyJob:
    """What the COPY of one list needs.

    Attributes:
        database: where to read.
        session_name: the ``application_name`` of its sessions, by which others end them.
        merge: what to read.
        sink: takes the file's bytes, in order.
        progress: where rows and the snapshot's instant are noted.
        streams: how many connections read side by side.
        timeout_s: how long the COPY of one range may take, and that of all together.
        replay_target: what a standby must have replayed first; ``None`` does not wait.
        gate: where the streams give way to small exports; ``None`` for those that do not.
    """

    database: Database
    session_name: str
    merge: Merge
    sink: ByteSink
    progress: Progress
    streams: StreamLimits
    timeout_s: float
    replay_target: ReplayTarget | None = None
    gate: YieldGate | None = None

    @property
    def file_format(self) -> FileFormat:
        """How the list is written."""
        return FILE_FORMATS[self.merge.options.format]


class ParallelCopy:
    """The COPYs of one job, a range of keys each, over as many connections as ``job.streams`` says.

    ``sink`` takes the rows, in order.

    The connection that owns the snapshot begins at once; the others join when they are connected,
    and the copy does without one that cannot. Further ones join while each makes it faster.
    """

    def __init__(
        self,
        job: CopyJob,
        ranges: Sequence[KeyRange],
        sink: ByteSink,
        growth: StreamGrowth | None = None,
    ) -> None:
        self._job = job
        self._ranges = deque(enumerate(ranges))
        self._growth = growth or StreamGrowth(job.streams)
        self._order = ReorderBuffer(sink, BUFFERED_BYTES)
        self._group = asyncio.TaskGroup()
        self._shared: SharedSnapshot | None = None
        self._helpers: list[asyncio.Task[None]] = []
        self._joined: set[asyncio.Task[None] | None] = set()

    async def run(self, first: DatabaseConnection) -> None:
        """Copy all ranges, in order; when one fails, all end.

        ``first`` owns the snapshot: it stays in its transaction until every other one has joined.
        """
        if self._job.streams.most > 1 and len(self._ranges) > 1:
            # Before the first COPY: this connection can execute nothing beside it, and streams
            # that are added later join this snapshot too.
            self._shared = await export_snapshot(first)
        async with unwrap_exception_group(), self._group:
            self._follow_growth()
            await self._work(first)
            # No range is left to take: those that are still connecting would only be waited for.
            for helper in set(self._helpers) - self._joined:
                helper.cancel()

    def _follow_growth(self) -> None:
        """Begin as many streams as there should be, as long as a range is left for each."""
        streams = self._growth.streams
        self._order.held_bytes_max = streams * BUFFERED_BYTES
        if self._shared is not None:
            # Those that have ended are counted: what found no connection is not tried again.
            missing = min(streams - 1 - len(self._helpers), len(self._ranges) - 1)
            for number in range(len(self._helpers) + 1, len(self._helpers) + 1 + missing):
                self._helpers.append(self._group.create_task(self._help(self._shared, number)))

    async def _help(self, shared: SharedSnapshot, number: int) -> None:
        """Join the snapshot and work; once joined, until all ranges are taken or it is retired."""
        async with AsyncExitStack() as stack:
            snapshot = open_snapshot(self._job.database, self._job.session_name, shared=shared)
            # Only opening is in the `try`: after an error of its COPY a range is missing, and
            # the attempt must end.
            try:
                tx, _ = await stack.enter_async_context(snapshot)
            except (TemporaryError, SnapshotNotShared) as error:
                log.info(
                    "copy stream unavailable", session=self._job.session_name, reason=str(error)
                )
                self._growth.settle()
                return
            self._joined.add(asyncio.current_task())
            self._growth.drop_window()
            await self._work(tx, number)

    async def _work(self, tx: DatabaseConnection, stream: int = 0) -> None:
        pauses = StreamPauses(self._job.gate, self._job.progress)
        while self._ranges and stream < self._growth.streams:
            # No await since the check: another stream could take the last range in between.
            number, keys = self._ranges.popleft()
            await self._copy(tx, number, keys, pauses)
            if len(self._joined) + 1 >= self._growth.streams:  # none is still connecting
                # Behind the buffer: before it, reading ahead of a slow store looks like speed.
                self._growth.note_range(self._order.written_bytes)
                self._follow_growth()

    async def _copy(
        self, tx: DatabaseConnection, number: int, keys: KeyRange, pauses: StreamPauses
    ) -> None:
        file_format = self._job.file_format
        refused = RefusedAddresses(file_format.after_address)

        async def write(data: bytes) -> None:
            refused.add(data)
            # Before the buffer, where no other stream waits for this one. The server stops too,
            # as soon as the connection's buffers are full.
            if paused_s := await pauses.give_way():
                self._growth.note_pause(paused_s)
            await self._order.write(number, data)

        status: str = await tx.connection.copy_from_query(
            file_format.rows_sql(self._job.merge, keys),
            output=write,
            # Replaces the connection's command_timeout, which would end a COPY after 30 s.
            timeout=self._job.timeout_s,
            **file_format.copy_options(self._job.merge.options),
        )
        self._job.progress.rows += int(status.removeprefix("COPY "))
        self._job.progress.refused_addresses += refused.count
        self._job.progress.touch()  # a rare source may have no row in many ranges
        await self._order.close_range(number)
