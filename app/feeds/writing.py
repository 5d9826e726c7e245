"""Writing what was staged: rows are added, or put under the storefront's own keys.

The table of keys is written first, in the order of the keys: that is the lock
on each. What others committed before is then seen by the statements that
follow (READ COMMITTED), each with a snapshot of its own.
"""

from dataclasses import dataclass

from app.database import Connection
from app.feeds.columns import EMAIL, SELLER
from app.feeds.staging import DELETED, KEY, VERSION, Staging

_NEIGHBOURS = f"staged.{SELLER}::bigint, staged.{EMAIL}"
"""The order in which rows are added: about that of the members' indexes, whose
pages are then found in the processor's cache instead of one by one."""


@dataclass(frozen=True)
class Written:
    """How many rows of a source table were added, changed and deleted."""

    added: int = 0
    changed: int = 0
    deleted: int = 0

    def __add__(self, other: "Written") -> "Written":
        """Return the sum of both."""
        return Written(
            self.added + other.added, self.changed + other.changed, self.deleted + other.deleted
        )

    @property
    def rows(self) -> int:
        """How many rows are not as they were."""
        return self.added + self.changed + self.deleted


async def add_rows(connection: Connection, staging: Staging) -> Written:
    """Add every staged row, whatever is there already."""
    return Written(
        added=await _execute(
            connection,
            f"""
            INSERT INTO public.{staging.source.table} ({", ".join(staging.columns)})
            SELECT {", ".join(staging.typed("staged"))}
            FROM {staging.table} AS staged
            ORDER BY {_NEIGHBOURS}
            """,
        )
    )


async def put_rows(connection: Connection, staging: Staging) -> Written:
    """Make the row of each staged key what was staged for it.

    With versions, the highest counts, and only above the one that is known;
    without, the last line, and only where no version is known: there a newer
    state has come as an event. A key that is known keeps its row, and in it
    what the staged columns do not say.

    Raises:
        asyncpg.DeadlockDetectedError: others write the same rows in another
            order (SQLSTATE 40P01); try the transaction again.
    """
    await connection.execute(_write_keys(staging))
    added = await _execute(connection, _insert(staging, "staged.id = written.row_id"))
    if await connection.fetchval(f"SELECT bool_and(is_new) IS NOT FALSE FROM {written(staging)}"):
        return Written(added)
    changed = await _execute(connection, _update(staging))
    added += await _execute(connection, _insert(staging, _lost(staging)))
    deleted = await _execute(connection, _delete(staging)) if staging.has_deletions else 0
    return Written(added, changed, deleted)


def written(staging: Staging) -> str:
    """Return the name of the temporary table with the keys that were written.

    ``row_id`` is the key's row, null where it is deleted; ``old_row_id`` and
    ``old_version`` are what a known key had before, ``is_new`` is of the others.
    """
    return f"written_{staging.source.table}"


def _write_keys(staging: Staging) -> str:
    version = f"{VERSION}::bigint" if staging.is_versioned else "NULL::bigint"
    deleted = f"coalesce({DELETED}::boolean, false)" if staging.has_deletions else "false"
    return f"""
    CREATE TEMPORARY TABLE {written(staging)} ON COMMIT DROP AS
    WITH put AS (
        INSERT INTO public.source_keys AS known
            (seller_id, source, key, version, row_id, deleted_at)
        SELECT
            {SELLER}::bigint,
            '{staging.source.key}',
            {KEY},
            {version},
            CASE WHEN NOT {deleted} THEN id END,
            CASE WHEN {deleted} THEN clock_timestamp() END
        FROM ({_chosen(staging)}) AS staged
        ON CONFLICT (seller_id, source, key) DO UPDATE
        SET version = excluded.version,
            row_id = CASE
                WHEN excluded.row_id IS NOT NULL THEN coalesce(known.row_id, excluded.row_id)
            END,
            deleted_at = excluded.deleted_at
        WHERE known.version IS NULL OR known.version < excluded.version
        RETURNING WITH (OLD AS before, NEW AS after)
            after.seller_id,
            after.key,
            after.row_id,
            before.row_id AS old_row_id,
            before.version AS old_version,
            before.key IS NULL AS is_new
    )
    SELECT * FROM put
    """


def _chosen(staging: Staging) -> str:
    """Return the one staged line of each key, in the order of the keys."""
    best = f"{VERSION}::bigint DESC, line" if staging.is_versioned else "line DESC"
    return f"""
        SELECT DISTINCT ON ({SELLER}::bigint, {KEY}) *
        FROM {staging.table}
        ORDER BY {SELLER}::bigint, {KEY}, {best}
    """


def _insert(staging: Staging, condition: str) -> str:
    """Return the statement that adds the rows of written keys where ``condition`` holds."""
    return f"""
    INSERT INTO public.{staging.source.table} (id, {", ".join(staging.columns)})
    SELECT written.row_id, {", ".join(staging.typed("staged"))}
    FROM {written(staging)} AS written, {staging.table} AS staged
    WHERE {condition}
    ORDER BY {_NEIGHBOURS}
    """


def _lost(staging: Staging) -> str:
    """Hold for keys whose row somebody has deleted without a word here."""
    return f"""
        NOT written.is_new
        AND written.old_row_id = written.row_id
        AND staged.id IN (SELECT id FROM ({_chosen(staging)}) AS chosen)
        AND staged.{SELLER}::bigint = written.seller_id
        AND staged.{KEY} = written.key
        AND NOT EXISTS (
            SELECT FROM public.{staging.source.table} AS source
            WHERE source.seller_id = written.seller_id AND source.id = written.row_id
        )
    """


def _update(staging: Staging) -> str:
    """Return the statement that changes known rows that are not yet as was staged."""
    names = [name for name in staging.columns if name != SELLER]
    values = dict(zip(staging.columns, staging.typed("staged"), strict=True))
    new = ", ".join(values[name] for name in names)
    return f"""
    UPDATE public.{staging.source.table} AS source
    SET ({", ".join(names)}) = ROW ({new})
    FROM {written(staging)} AS written, ({_chosen(staging)}) AS staged
    WHERE source.seller_id = written.seller_id
        AND source.id = written.row_id
        AND staged.{SELLER}::bigint = written.seller_id
        AND staged.{KEY} = written.key
        AND ({", ".join(f"source.{name}" for name in names)}) IS DISTINCT FROM ({new})
    """


def _delete(staging: Staging) -> str:
    return f"""
    DELETE FROM public.{staging.source.table} AS source
    USING {written(staging)} AS written
    WHERE source.seller_id = written.seller_id
        AND source.id = written.old_row_id
        AND written.row_id IS NULL
    """


async def _execute(connection: Connection, sql: str) -> int:
    """Run a statement and return how many rows it wrote."""
    status: str = await connection.execute(sql)
    return int(status.rpartition(" ")[2])
