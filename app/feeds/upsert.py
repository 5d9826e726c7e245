"""Write staged rows: insert them, or upsert them by the storefront's own keys.

``source_keys`` is written first, in the order of the keys: that is the lock on
each key. Each statement that follows has a new snapshot (READ COMMITTED) and so sees
what others committed while this one waited.
"""

from dataclasses import dataclass

from app.database.database import DatabaseConnection
from app.feeds.columns import EMAIL, ID, SELLER, quoted
from app.feeds.staging import DELETED, KEY, LINE, VERSION, StagingTable, own

_MEMBER_ORDER = f"staged.{SELLER}::bigint, staged.{EMAIL}"
"""The order in which rows are inserted. It is close to that of the members' indexes, so the
triggers find an index page in the processor's cache instead of reading one for each row."""


@dataclass(frozen=True)
class WriteCounts:
    """How many rows of a source table were added, changed and deleted."""

    added: int = 0
    changed: int = 0
    deleted: int = 0

    def __add__(self, other: "WriteCounts") -> "WriteCounts":
        """Return the sums of the counts."""
        return WriteCounts(
            self.added + other.added, self.changed + other.changed, self.deleted + other.deleted
        )

    @property
    def rows(self) -> int:
        """The number of rows that were added, changed or deleted."""
        return self.added + self.changed + self.deleted


async def insert_rows(tx: DatabaseConnection, staging: StagingTable) -> WriteCounts:
    """Insert every staged row, in the order of the members' indexes; none has a key."""
    return WriteCounts(
        added=await tx.execute(
            f"""
            INSERT INTO public.{staging.target.source.table} ({_names(staging)})
            SELECT {", ".join(staging.cast_expressions("staged"))}
            FROM {staging.table} AS staged
            ORDER BY {_MEMBER_ORDER}
            """,
        )
    )


async def upsert_rows(tx: DatabaseConnection, staging: StagingTable) -> WriteCounts:
    """Upsert or delete the row of each staged key.

    With versions, the line with the highest one is effective, if it is above
    the stored version; without, the last line, if no version is stored:
    otherwise an event has brought a newer state. An existing key keeps its row
    and the values of columns that are not staged. Where the table generates no
    ids, a key is the id of its row, which may exist without an earlier import.

    Raises:
        asyncpg.DeadlockDetectedError: concurrent writes of the same rows in another
            order (SQLSTATE 40P01); retry the transaction.
    """
    await tx.execute(_write_keys(staging))
    if not staging.target.makes_ids:
        return await _upsert_by_id(tx, staging)
    # Keys that had no row: any other has the id of its row, not one that a staged line was given.
    added = await tx.execute(_insert(staging, f"staged.{own(ID)} = written.row_id"))
    # IS NOT FALSE: where no key was written, bool_and() is null.
    ((are_new,),) = await tx.fetch(
        f"SELECT bool_and(is_new) IS NOT FALSE FROM {written_table(staging)}"
    )
    if are_new:
        return WriteCounts(added)
    changed = await tx.execute(_update(staging))
    added += await tx.execute(_insert(staging, _lost(staging), _present(staging)))
    deleted = await tx.execute(_delete(staging)) if staging.has_deletions else 0
    return WriteCounts(added, changed, deleted)


async def _upsert_by_id(tx: DatabaseConnection, staging: StagingTable) -> WriteCounts:
    changed = await tx.execute(_update(staging))
    added = await tx.execute(_insert(staging, _absent(staging), _present(staging)))
    deleted = await tx.execute(_delete(staging)) if staging.has_deletions else 0
    return WriteCounts(added, changed, deleted)


def written_table(staging: StagingTable) -> str:
    """Return the name of the temporary table with the keys that were written.

    ``row_id`` is the id of the key's row, null where it is deleted. ``old_row_id`` and
    ``old_version`` are what an existing key had before, null for a new one (``is_new``).
    """
    return f"written_{staging.target.source.table}"


def _write_keys(staging: StagingTable) -> str:
    version = f"{own(VERSION)}::bigint" if staging.is_versioned else "NULL::bigint"
    deleted = f"coalesce({own(DELETED)}::boolean, false)" if staging.has_deletions else "false"
    old_id = "before.row_id" if staging.target.makes_ids else "after.key"
    # The version fences: late and repeated lines change nothing. Without versions the comparison is
    # null, so that the state which an event brought stays.
    return f"""
    CREATE TEMPORARY TABLE {written_table(staging)} ON COMMIT DROP AS
    WITH upserted AS (
        INSERT INTO public.source_keys AS stored
            (seller_id, source, key, version, row_id, deleted_at)
        SELECT
            {SELLER}::bigint,
            '{staging.target.source.key}',
            {own(KEY)},
            {version},
            CASE WHEN NOT {deleted} THEN ({staging.id})::text END,
            CASE WHEN {deleted} THEN clock_timestamp() END
        FROM ({_effective(staging)}) AS staged
        ON CONFLICT (seller_id, source, key) DO UPDATE
        SET version = excluded.version,
            row_id = CASE
                WHEN excluded.row_id IS NOT NULL THEN coalesce(stored.row_id, excluded.row_id)
            END,
            deleted_at = excluded.deleted_at
        WHERE stored.version IS NULL OR stored.version < excluded.version
        RETURNING WITH (OLD AS before, NEW AS after)
            after.seller_id,
            after.key,
            after.row_id::{staging.id_type} AS row_id,
            {old_id}::{staging.id_type} AS old_row_id,
            before.version AS old_version,
            before.key IS NULL AS is_new
    )
    SELECT * FROM upserted
    """


def _effective(staging: StagingTable) -> str:
    """Return a query for the one effective staged line of each key, in the order of the keys."""
    line = own(LINE)
    # Of equal versions the first line: applied one by one, the later ones would be ignored.
    best = f"{own(VERSION)}::bigint DESC, {line}" if staging.is_versioned else f"{line} DESC"
    return f"""
        SELECT DISTINCT ON ({SELLER}::bigint, {own(KEY)}) *
        FROM {staging.table}
        ORDER BY {SELLER}::bigint, {own(KEY)}, {best}
    """


def _names(staging: StagingTable) -> str:
    return ", ".join(map(quoted, staging.columns))


def _insert(staging: StagingTable, condition: str, before: str = "") -> str:
    """Return the statement that adds the rows of written keys where ``condition`` holds.

    ``before`` is the WITH clause that the condition needs.
    """
    # OVERRIDING: the ids were taken from the table's sequence before, also if GENERATED ALWAYS.
    return f"""
    INSERT INTO public.{staging.target.source.table} (id, {_names(staging)})
    OVERRIDING SYSTEM VALUE
    {before}
    SELECT written.row_id, {", ".join(staging.cast_expressions("staged"))}
    FROM {written_table(staging)} AS written, {staging.table} AS staged
    WHERE {condition}
    ORDER BY {_MEMBER_ORDER}
    """


def _lost(staging: StagingTable) -> str:
    """Return a condition: true for keys whose row was deleted without an event."""
    return f"""
        NOT written.is_new
        AND written.old_row_id = written.row_id
        AND {_absent(staging)}
    """


def _absent(staging: StagingTable) -> str:
    """Return a condition: true for selected lines of keys that need a row and have none."""
    return f"""
        staged.{own(LINE)} IN (SELECT {own(LINE)} FROM ({_effective(staging)}) AS effective)
        AND staged.{SELLER}::bigint = written.seller_id
        AND staged.{own(KEY)} = written.key
        AND written.row_id IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM present
            WHERE present.seller_id = written.seller_id AND present.id = written.row_id
        )
    """


def _present(staging: StagingTable) -> str:
    """Return the WITH clause of the rows that written keys have.

    Materialized: Citus does not compare the rows of local and distributed tables otherwise.
    """
    return f"""
        WITH present AS MATERIALIZED (
            SELECT source.seller_id, source.id
            FROM {written_table(staging)} AS written
            JOIN public.{staging.target.source.table} AS source
                ON source.seller_id = written.seller_id AND source.id = written.row_id
        )
    """


def _update(staging: StagingTable) -> str:
    """Return the statement that updates existing rows that differ from the staged ones."""
    # A key belongs to its seller, and on Citus no update may set the column of distribution.
    columns = [name for name in staging.columns if name != SELLER]
    values = dict(zip(staging.columns, staging.cast_expressions("staged"), strict=True))
    typed = ", ".join(f"{values[name]} AS {quoted(name)}" for name in columns)
    new = ", ".join(f"new.{quoted(name)}" for name in columns)
    old = ", ".join(f"source.{quoted(name)}{staging.compared(name)}" for name in columns)
    compared = ", ".join(f"new.{quoted(name)}{staging.compared(name)}" for name in columns)
    # Apart from the update, and materialized: on Citus an update may call immutable functions only,
    # as casts of times are not, and joins no local tables.
    return f"""
    WITH new AS MATERIALIZED (
        SELECT written.seller_id AS {own(SELLER)}, written.row_id AS {own(ID)}, {typed}
        FROM {written_table(staging)} AS written, ({_effective(staging)}) AS staged
        WHERE staged.{SELLER}::bigint = written.seller_id
            AND staged.{own(KEY)} = written.key
    )
    UPDATE public.{staging.target.source.table} AS source
    SET ({", ".join(map(quoted, columns))}) = ROW ({new})
    FROM new
    WHERE source.seller_id = new.{own(SELLER)}
        AND source.id = new.{own(ID)}
        AND ({old}) IS DISTINCT FROM ({compared})
    """


def _delete(staging: StagingTable) -> str:
    return f"""
    DELETE FROM public.{staging.target.source.table} AS source
    USING {written_table(staging)} AS written
    WHERE source.seller_id = written.seller_id
        AND source.id = written.old_row_id
        AND written.row_id IS NULL
    """
