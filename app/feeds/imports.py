"""Import a file: batches, each written by several streams in one transaction a stream."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import asyncpg

from app.database.database import DatabaseConnection, open_connection
from app.database.errors import UNREACHABLE, classify_error
from app.feeds.batches import Batch, BatchReader
from app.feeds.conflicts import retry_conflicts
from app.feeds.staging import RejectedLine
from app.feeds.upsert import WriteCounts, insert_rows, upsert_rows

BATCH_LINES = 50_000

UNUSABLE_LINES_MAX = 100
"""How many lines without a usable address the result lists by number."""

COMMAND_TIMEOUT_S = 3600.0


@dataclass
class ImportProgress:
    """The results of an import so far; updated after each batch.

    Attributes:
        records: Records read, without empty lines.
        rejected: Records that were not written because they are invalid.
        unusable: Rows whose address can never be a member's; they are written all the same.
        unusable_lines: The line numbers of the first of those rows.
        written: Rows added and changed.
    """

    records: int = 0
    rejected: int = 0
    unusable: int = 0
    unusable_lines: list[int] = field(default_factory=list)
    written: WriteCounts = field(default_factory=WriteCounts)


class PartOutcome(NamedTuple):
    """What became of one part of a batch; ``unusable`` are lines without a usable address."""

    written: WriteCounts
    rejected: list[RejectedLine]
    unusable: list[int]


async def import_batches(
    url: str,
    batches: BatchReader,
    on_progress: Callable[[ImportProgress, list[RejectedLine]], None],
    *,
    streams: int,
    is_dry: bool = False,
    imported: ImportProgress | None = None,
) -> ImportProgress:
    """Write all batches to the database at ``url``; the next one is read concurrently.

    Parameters:
        on_progress: Called after each batch with the results so far and the batch's rejected
            lines, in order.
        streams: The number of connections; the batches have a part for each.
        is_dry: Check every record and write nothing.
        imported: Updated in place, so that the caller has the results of a failed import too.

    Raises:
        DatabaseUnavailable, ReadConflict: the batches reported to ``on_progress`` are written;
            of the next one, some parts may be.
    """
    imported = imported or ImportProgress()
    try:
        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(
                    open_connection(url, command_timeout_s=COMMAND_TIMEOUT_S)
                )
                for _ in range(streams)
            ]
            batch = await asyncio.to_thread(batches.next)
            while batch is not None:
                reading = asyncio.create_task(asyncio.to_thread(batches.next))
                try:
                    await _write(connections, batches, batch, imported, is_dry=is_dry)
                finally:
                    # Awaited after an error too: the thread reads from the caller's file.
                    following = await reading
                # After the commit of every part: the caller reports these lines as written.
                on_progress(imported, sorted(batch.rejected))
                batch = following
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        raise (classify_error(error) or error) from error
    return imported


async def _write(
    connections: list[DatabaseConnection],
    batches: BatchReader,
    batch: Batch,
    imported: ImportProgress,
    *,
    is_dry: bool,
) -> None:
    """Write the parts of a batch concurrently, and add their results to the total."""
    outcomes = await asyncio.gather(
        *(
            retry_conflicts(partial(_write_part, connection, batches, part, is_dry=is_dry))
            for connection, part in zip(connections, batch.parts, strict=True)
            if part
        )
    )
    # Added up only here, so that a part which is tried again counts once.
    imported.records += batch.records
    unusable = sorted(line for outcome in outcomes for line in outcome.unusable)
    imported.unusable += len(unusable)
    imported.unusable_lines += unusable[: UNUSABLE_LINES_MAX - len(imported.unusable_lines)]
    for outcome in outcomes:
        imported.written += outcome.written
        batch.rejected += outcome.rejected
    imported.rejected += len(batch.rejected)


async def _write_part(
    connection: DatabaseConnection, batches: BatchReader, part: bytes, *, is_dry: bool
) -> PartOutcome:
    staging = batches.staging
    async with connection.transaction() as tx:
        await staging.create(tx)
        await staging.fill(tx, batches.fields, part)
        rejected = await staging.delete_invalid(tx)
        unusable = await staging.unusable_lines(tx)
        if is_dry:
            return PartOutcome(WriteCounts(), rejected, unusable)
        write = upsert_rows if staging.is_keyed else insert_rows
        return PartOutcome(await write(tx, staging), rejected, unusable)
