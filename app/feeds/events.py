"""Apply the events of one request in one transaction, and prune old tombstones."""

from dataclasses import dataclass

import structlog

from app.database.batches import delete_oldest
from app.database.database import Database, DatabaseConnection
from app.errors import InvalidLines
from app.feeds.conflicts import retry_conflicts
from app.feeds.ndjson import ParsedEvents, staging_table_for
from app.feeds.staging import KEY, LINE, VERSION, StagingTable, own
from app.feeds.upsert import upsert_rows, written_table

log = structlog.get_logger()

BATCH = 1000

DELETE_OLD_TOMBSTONES = delete_oldest(
    "source_keys", "deleted_at < statement_timestamp() - interval '90 days'", "deleted_at"
)


@dataclass(frozen=True)
class EventsApplied:
    """The results of one request, in lines.

    Attributes:
        applied: Lines with a version above the stored one.
        ignored: The other lines: late or repeated.
        unusable_addresses: Rows of both kinds whose address can never be a member's.
    """

    applied: int
    ignored: int
    unusable_addresses: int = 0


async def apply_events(database: Database, lines: ParsedEvents) -> EventsApplied:
    """Apply the lines in order, in one transaction.

    A line is ignored if its version is not above the stored version of its key.

    Raises:
        InvalidLines: some lines are invalid; none is applied.
        DatabaseUnavailable, ReadConflict: none is applied; try again.
    """
    return await retry_conflicts(lambda: _apply(database, lines))


async def prune_tombstones(database: Database) -> None:
    """Delete the keys of rows that were deleted 90 days ago.

    An event that arrives later still, about such a row, counts as new.

    Raises:
        DatabaseUnavailable: try again.
    """
    while await database.execute(DELETE_OLD_TOMBSTONES, batch=BATCH) == BATCH:
        log.info("tombstones deleted", rows=BATCH)


async def _apply(database: Database, lines: ParsedEvents) -> EventsApplied:
    # In the order of the registry, not of the request: every request then locks keys in one order.
    stagings = [
        staging_table_for(target)
        for source, target in lines.tables.items()
        if source in lines.staged
    ]
    async with database.transaction() as tx:
        # A copy: each try finds the other invalid lines again, and would add them once more.
        rejected = list(lines.rejected)
        for staging in stagings:
            await staging.create(tx)
            csv = "".join(lines.staged[staging.target.source]).encode()
            await staging.fill(tx, staging.fields, csv)
            rejected += await staging.delete_invalid(tx)
        if rejected:
            raise InvalidLines([(each.line, each.reason) for each in sorted(rejected)])
        unusable = sum([len(await staging.unusable_lines(tx)) for staging in stagings])
        applied = sum([await _upsert(tx, staging) for staging in stagings])
    return EventsApplied(applied, lines.count - applied, unusable)


async def _upsert(tx: DatabaseConnection, staging: StagingTable) -> int:
    """Write the staged rows; return the number of lines with a version above the stored one."""
    await upsert_rows(tx, staging)
    # A key that was not written is not in the join: its lines count as ignored.
    ((count,),) = await tx.fetch(f"""
        SELECT count(*)
        FROM (
            SELECT
                staged.{own(VERSION)}::bigint AS version,
                greatest(
                    written.old_version,
                    max(staged.{own(VERSION)}::bigint) OVER (
                        PARTITION BY written.seller_id, written.key
                        ORDER BY staged.{own(LINE)}
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    )
                ) AS previous
            FROM {staging.table} AS staged
            JOIN {written_table(staging)} AS written
                ON staged.seller_id::bigint = written.seller_id
                AND staged.{own(KEY)} = written.key
        ) AS compared
        WHERE previous IS NULL OR version > previous
    """)
    return int(count)
