"""The pipeline of one file: a snapshot, its ranges, and their COPYs in order."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from app.audience.key_ranges import ALL_KEYS, BOUNDARIES, RANGE_SAMPLES, KeyRange, ranges_between
from app.audience.merge import FORMULAS_END, WIDE_FORMULAS_BEGIN, Merge
from app.database.errors import UNREACHABLE
from app.errors import DatabaseUnavailable, ReadConflict, StreamStalled
from app.exports.execution.multipart_upload import Progress, open_multipart_upload
from app.exports.execution.parallel_copy import CopyJob, ParallelCopy
from app.exports.execution.reorder_buffer import ByteSink
from app.exports.execution.snapshot import Snapshot, open_snapshot

__all__ = [
    "ByteSink",
    "CopyJob",
    "Progress",
    "open_multipart_upload",
    "stream_export",
]

LARGE_RANGES = 8
"""Fewer ranges are read by one stream: some 100,000 members, about one part."""

RANGES_OF_ONE_STREAM = 16
"""With one stream small ranges gain nothing: they are this many times larger."""

# The beginning of the transaction: a statement that is prepared in a separate round trip has its
# snapshot from then, and its statement_timestamp() is later.
BEGIN = f"SELECT transaction_timestamp() AS taken_at, {BOUNDARIES} AS boundaries"


class SnapshotPlan(NamedTuple):
    """When a snapshot was taken, and the ranges of keys to read in it."""

    taken_at: datetime
    ranges: list[KeyRange]


async def stream_export(job: CopyJob) -> datetime:
    """Stream one list into ``job.sink`` and return the snapshot's instant.

    Everything committed before the instant is in the file.

    Raises:
        DatabaseUnavailable, ReadConflict, ReplicaLagging, StreamStalled: trying
            again may help.
    """
    try:
        async with (
            asyncio.timeout(job.timeout_s),
            open_snapshot(
                job.database, job.session_name, replay_target=job.replay_target
            ) as snapshot,
        ):
            with _as_read_conflict(is_standby=snapshot.replayed_at is not None):
                taken_at, ranges = await _begin(snapshot, job.merge, job.streams.most)
                # Before any byte is written: the sink names the object by this date.
                job.progress.snapshot_at = snapshot_at = snapshot.replayed_at or taken_at
                writer = job.file_format.writer(job.sink, job.merge.options)
                await writer.begin()
                await ParallelCopy(job, ranges, writer).run(snapshot.tx)
                await writer.finish()
    except TimeoutError as error:
        raise StreamStalled(f"The export took longer than {job.timeout_s:.0f} seconds.") from error
    return snapshot_at


@contextmanager
def _as_read_conflict(*, is_standby: bool) -> Iterator[None]:
    """Report a session that a standby ended as a conflict with replay.

    A standby also cancels sessions that are idle between two ranges, and what it sends them then
    (40001) is not read: all that is seen is a connection that was lost.

    Raises:
        ReadConflict: a session of a standby has ended.
    """
    try:
        yield
    except (DatabaseUnavailable, *UNREACHABLE) as error:
        if not is_standby:
            raise
        raise ReadConflict("The replica cancelled the read.") from error


async def _begin(snapshot: Snapshot, merge: Merge, streams: int) -> SnapshotPlan:
    """Take the snapshot, and in the same statement find the ranges of a list that is large.

    Two boundaries are where addresses that begin like formulas end and begin again: those between
    need no guard.
    """
    samples = RANGE_SAMPLES if streams > 1 else RANGE_SAMPLES * RANGES_OF_ONE_STREAM
    [row] = await snapshot.tx.fetch(BEGIN, seller_id=merge.seller_id, samples=samples)
    taken_at, found = row
    if len(found) * samples < LARGE_RANGES * RANGE_SAMPLES:
        return SnapshotPlan(taken_at, [ALL_KEYS])
    # Python sorts by code points, which is the byte order of UTF-8, and so collation C.
    return SnapshotPlan(
        taken_at, ranges_between(sorted({FORMULAS_END, WIDE_FORMULAS_BEGIN, *found}))
    )
