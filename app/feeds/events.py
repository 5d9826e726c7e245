"""Applying events: a batch as one transaction, all of it or nothing."""

import asyncio
import random
from dataclasses import dataclass

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.audience.sources import SOURCES
from app.database import Connection, bare_transaction, transaction
from app.errors import LinesInvalid, TemporaryError
from app.feeds.lines import EventLines, staging_of
from app.feeds.staging import Staging
from app.feeds.writing import put_rows, written

log = structlog.get_logger()

TRIES = 5
PAUSE_MAX_S = 0.2

MIXED_UP = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Others wrote the same people in another order: the same again may succeed."""

BATCH = 1000

FORGET = """
    DELETE FROM source_keys
    WHERE (seller_id, source, key) IN (
        SELECT seller_id, source, key
        FROM source_keys
        WHERE deleted_at < clock_timestamp() - interval '90 days'
        LIMIT :batch
        FOR UPDATE SKIP LOCKED
    )
"""


@dataclass(frozen=True)
class Applied:
    """How many lines counted, and how many came late or again."""

    applied: int
    ignored: int


async def apply_events(engine: AsyncEngine, lines: EventLines) -> Applied:
    """Apply the lines in their order, in one transaction.

    A line whose version is not above the one known of its key is ignored.

    Raises:
        LinesInvalid: some lines are no events; none is applied.
        DatabaseUnavailable, SourceBusy: none is applied; try again.
    """
    for _ in range(TRIES - 1):
        try:
            return await _apply(engine, lines)
        except TemporaryError as error:
            if not isinstance(error.__cause__, MIXED_UP):
                raise
        await asyncio.sleep(random.uniform(0, PAUSE_MAX_S))  # noqa: S311 - guards nothing
    return await _apply(engine, lines)


async def forget_tombstones(engine: AsyncEngine) -> None:
    """Drop the keys of what was deleted 90 days ago: an event that is later still counts as new."""
    while True:
        async with transaction(engine) as connection:
            rows = (await connection.execute(text(FORGET), {"batch": BATCH})).rowcount
        if rows < BATCH:
            return
        log.info("tombstones forgotten", rows=rows)


async def _apply(engine: AsyncEngine, lines: EventLines) -> Applied:
    stagings = [staging_of(source) for source in SOURCES if source in lines.staged]
    async with bare_transaction(engine) as connection:
        rejected = list(lines.rejected)
        for staging in stagings:
            await staging.create(connection)
            csv = "".join(lines.staged[staging.source]).encode()
            await staging.fill(connection, staging.fields, csv)
            rejected += await staging.reject(connection)
        if rejected:
            raise LinesInvalid([(each.line, each.reason) for each in sorted(rejected)])
        applied = sum([await _put(connection, staging) for staging in stagings])
    return Applied(applied, lines.count - applied)


async def _put(connection: Connection, staging: Staging) -> int:
    """Write what is staged; return how many lines were above every version before."""
    await put_rows(connection, staging)
    count: int = await connection.fetchval(f"""
        SELECT count(*)
        FROM (
            SELECT
                staged.version::bigint AS version,
                greatest(
                    written.old_version,
                    max(staged.version::bigint) OVER (
                        PARTITION BY written.seller_id, written.key
                        ORDER BY staged.line
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    )
                ) AS known
            FROM {staging.table} AS staged
            JOIN {written(staging)} AS written
                ON staged.seller_id::bigint = written.seller_id AND staged.key = written.key
        ) AS compared
        WHERE known IS NULL OR version > known
    """)
    return count
