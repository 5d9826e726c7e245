"""From a COPY to an object: one snapshot, read by several streams, as one ordered file."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.merge import FORMULAS_END, Merge, header
from app.audience.ranges import ALL_KEYS, BOUNDARIES, RANGE_SAMPLES, KeyRange, ranges_between
from app.audience.standby import Asked
from app.config import Settings
from app.database import UNREACHABLE
from app.errors import DatabaseUnavailable, SourceBusy, StreamStalled
from app.exports.key_order import RowSink
from app.exports.parts import Progress, first_error, open_sink
from app.exports.snapshot import Snapshot, open_snapshot
from app.exports.streams import Streams
from app.statements import Statement

__all__ = ["Progress", "RowSink", "first_error", "open_sink", "stream_export"]

LARGE_RANGES = 4
"""So many at least are worth several streams: some 100,000 members, about one part."""

RANGES_OF_ONE_STREAM = 8
"""Where nothing is gained by small ranges they are so many times larger."""

BEGIN = Statement(f"SELECT statement_timestamp() AS taken_at, {BOUNDARIES} AS boundaries")


class Beginning(NamedTuple):
    """When a snapshot was taken, and the ranges of keys to read in it."""

    taken_at: datetime
    ranges: list[KeyRange]


async def stream_export(
    engine: AsyncEngine,
    merge: Merge,
    sink: RowSink,
    progress: Progress,
    settings: Settings,
    session_name: str,
    asked: Asked | None = None,
) -> datetime:
    """Stream one merge as CSV into ``sink`` and return the snapshot's instant.

    Everything committed before the instant is in the file. It takes up to
    ``EXPORT_STREAMS`` connections, which all carry ``session_name``. With
    ``asked``, a standby is waited for first.

    Raises:
        DatabaseUnavailable, SourceBusy, ReplicaBehind, StreamStalled: trying
            again may help.
    """
    timeout_s = settings.export_timeout_s
    count = settings.export_streams
    try:
        async with (
            asyncio.timeout(timeout_s),
            open_snapshot(engine, session_name, asked=asked) as snapshot,
        ):
            with _broken_off(is_standby=snapshot.replayed_at is not None):
                taken_at, ranges = await _begin(snapshot, merge, count)
                progress.snapshot_at = snapshot_at = snapshot.replayed_at or taken_at
                await sink.write(header(merge))
                streams = Streams(
                    engine, session_name, merge, ranges, count, sink, progress, timeout_s
                )
                await streams.copy(snapshot.connection)
    except TimeoutError as error:
        raise StreamStalled(f"The export took longer than {timeout_s:.0f} seconds.") from error
    return snapshot_at


@contextmanager
def _broken_off(*, is_standby: bool) -> Iterator[None]:
    """Take sessions that a standby ended for busy: it does so to those that wait between ranges.

    Told to a session that is not asking, the reason (40001) goes unheard.

    Raises:
        SourceBusy: a session of a standby has ended.
    """
    try:
        yield
    except (DatabaseUnavailable, *UNREACHABLE) as error:
        if not is_standby:
            raise
        raise SourceBusy("The replica broke the read off.") from error


async def _begin(snapshot: Snapshot, merge: Merge, streams: int) -> Beginning:
    """Take the snapshot, and in the same statement cut the list into ranges if it is large.

    The range that holds the formulas, all below a letter, is one of its own:
    beyond it no address needs a guard.
    """
    samples = RANGE_SAMPLES if streams > 1 else RANGE_SAMPLES * RANGES_OF_ONE_STREAM
    [row] = await BEGIN.rows_on(
        snapshot.connection, snapshot.kept, seller_id=merge.seller_id, samples=samples
    )
    taken_at, found = row
    if len(found) * samples < LARGE_RANGES * RANGE_SAMPLES:
        return Beginning(taken_at, [ALL_KEYS])
    return Beginning(taken_at, ranges_between(sorted({FORMULAS_END, *found})))
