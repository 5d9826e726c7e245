"""Importing a file: batch after batch, each stream's part whole or not at all."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg

from app.database import UNREACHABLE, Connection, connect, temporary_error
from app.feeds.batches import Batch, Batches
from app.feeds.staging import Rejected
from app.feeds.writing import Written, add_rows, put_rows

BATCH_LINES = 50_000

TRIES = 5
"""How often a part is tried that met a deadlock: others write the same people."""

COMMAND_TIMEOUT_S = 3600.0

MIXED_UP = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


@dataclass
class Imported:
    """What has become of the records so far."""

    records: int = 0
    rejected: int = 0
    written: Written = field(default_factory=Written)


async def import_batches(
    url: str,
    batches: Batches,
    told: Callable[[Imported, list[Rejected]], None],
    *,
    streams: int,
    is_dry: bool = False,
    imported: Imported | None = None,
) -> Imported:
    """Write all batches to the database at ``url``, and read the next one meanwhile.

    Each part of a batch is one transaction. ``told`` is called after each
    batch, with what was rejected in it, in order. A dry run only checks.
    ``imported`` is counted on, and tells how far an import came that failed.

    Raises:
        DatabaseUnavailable, SourceBusy: what was told of is written; of the
            rest, some parts of one batch may be.
    """
    imported = imported or Imported()
    try:
        async with AsyncExitStack() as stack:
            connections = [await _connected(stack, url) for _ in range(streams)]
            batch = await asyncio.to_thread(batches.next)
            while batch is not None:
                reading = asyncio.create_task(asyncio.to_thread(batches.next))
                try:
                    await _write(connections, batches, batch, imported, is_dry=is_dry)
                finally:
                    following = await reading
                told(imported, sorted(batch.rejected))
                batch = following
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        raise (temporary_error(error) or error) from error
    return imported


async def _connected(stack: AsyncExitStack, url: str) -> Connection:
    connection = await connect(url, command_timeout=COMMAND_TIMEOUT_S)
    stack.push_async_callback(connection.close)
    return connection


async def _write(
    connections: list[Connection],
    batches: Batches,
    batch: Batch,
    imported: Imported,
    *,
    is_dry: bool,
) -> None:
    """Write the parts of a batch side by side, and add them to what is imported."""
    outcomes = await asyncio.gather(
        *(
            _insist(connection, batches, part, is_dry=is_dry)
            for connection, part in zip(connections, batch.parts, strict=True)
            if part
        )
    )
    imported.records += batch.records
    for written, rejected in outcomes:
        imported.written += written
        batch.rejected += rejected
    imported.rejected += len(batch.rejected)


async def _insist(
    connection: Connection, batches: Batches, part: bytes, *, is_dry: bool
) -> tuple[Written, list[Rejected]]:
    for _ in range(TRIES - 1):
        try:
            return await _write_part(connection, batches, part, is_dry=is_dry)
        except MIXED_UP:
            continue
    return await _write_part(connection, batches, part, is_dry=is_dry)


async def _write_part(
    connection: Connection, batches: Batches, part: bytes, *, is_dry: bool
) -> tuple[Written, list[Rejected]]:
    staging = batches.staging
    async with connection.transaction():
        await staging.create(connection)
        await staging.fill(connection, batches.fields, part)
        rejected = await staging.reject(connection)
        if is_dry:
            return Written(), rejected
        put = put_rows if staging.is_keyed else add_rows
        return await put(connection, staging), rejected
