"""The writable columns of each source table: those that a storefront fills itself.

They are read from the database: a source table is declared in one place, the
migration that makes it, and may have further columns that the storefront added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from app.audience.sources import SOURCES, Source
from app.database.database import Queryable

BIGINT_MAX = 2**63 - 1

ID = "id"
SELLER = "seller_id"
EMAIL = "email"
TEXT = "text"
BOOLEAN = "boolean"
INSTANT = "timestamp with time zone"
INTEGERS = ("bigint", "integer", "smallint")
NUMBERS = ("numeric", "double precision", "real")
JSON = ("json", "jsonb")

# attgenerated leaves out member_email, which no statement may set.
SELECT_COLUMNS = """
    SELECT
        relname::text AS table_name,
        attname::text AS name,
        format_type(atttypid, atttypmod) AS type,
        NOT attnotnull AS is_nullable,
        CASE
            WHEN attidentity = '' THEN pg_get_expr(adbin, adrelid)
            ELSE format('nextval(%L)', pg_get_serial_sequence(attrelid::regclass::text, attname))
        END AS default
    FROM pg_class
    JOIN pg_attribute ON attrelid = pg_class.oid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace
        AND relname = ANY (:tables::name[])
        AND attnum > 0
        AND NOT attisdropped
        AND attgenerated = ''
    ORDER BY relname, attnum
"""


@dataclass(frozen=True)
class SourceColumn:
    """One column of a source table.

    ``type`` is PostgreSQL's name of the type. ``default`` is the SQL of the column's
    default; ``None`` where it has none.
    """

    name: str
    type: str
    is_nullable: bool
    default: str | None

    @property
    def is_required(self) -> bool:
        """Whether every row must have a value for it."""
        return not self.is_nullable and self.default is None

    @property
    def quoted(self) -> str:
        """The name as an SQL identifier."""
        return quoted(self.name)


@dataclass(frozen=True)
class SourceTable:
    """A source table as it is in the database.

    ``columns`` are the writable ones, by name. ``id`` is kept apart: the database
    generates it, or, where the column has no default, a row's key is its id. It is
    ``None`` for a table without a column of that name.
    """

    source: Source
    columns: Mapping[str, SourceColumn]
    id: SourceColumn | None

    @property
    def makes_ids(self) -> bool:
        """Whether the database gives a new row its id."""
        return self.id is not None and self.id.default is not None


SourceTables: TypeAlias = Mapping[Source, SourceTable]


async def read_tables(database: Queryable) -> SourceTables:
    """Return the table of each source whose table exists.

    Raises:
        DatabaseUnavailable, ReadConflict: try again.
    """
    return await _read(database, SOURCES)


async def read_table(database: Queryable, source: Source) -> SourceTable | None:
    """Return the table of one source, ``None`` where there is none; see :func:`read_tables`."""
    return (await _read(database, [source])).get(source)


async def _read(database: Queryable, sources: Sequence[Source]) -> SourceTables:
    names = [source.table for source in sources]
    return _tables(await database.fetch(SELECT_COLUMNS, tables=names))


def _tables(rows: Sequence[asyncpg.Record]) -> SourceTables:
    found: dict[str, dict[str, SourceColumn]] = {}
    for row in rows:
        column = SourceColumn(row["name"], row["type"], row["is_nullable"], row["default"])
        found.setdefault(row["table_name"], {})[column.name] = column
    ids = {table: columns.pop(ID, None) for table, columns in found.items()}
    return {
        source: SourceTable(source, found[source.table], ids[source.table])
        for source in SOURCES
        if source.table in found
    }


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
