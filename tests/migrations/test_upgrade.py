"""Upgrades of a database in use: from the version before, and whose writers they stop."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from app.database.connections import Connection, connect
from tests import previous_version
from tests.migrations.schema import alembic, described
from tests.migrations.test_migrations import SCRIPTS

STOPS_WRITERS = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""The modes that conflict with ROW EXCLUSIVE, which INSERT, UPDATE and DELETE take."""

LOCKED = """
    SELECT DISTINCT relname
    FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relkind IN ('r', 'p') AND mode = ANY ($1)
"""

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"

FILL = {
    "followers": """
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        SELECT 1 + number % 100, 'person' || number || '@example.com', now(), now()
        FROM generate_series(1, {members}) AS number
    """,
    "audience_members": """
        INSERT INTO audience_members (seller_id, email, follower_since)
        SELECT 1 + number % 100, 'person' || number || '@example.com', now()
        FROM generate_series(1, {members}) AS number
    """,
    "exports": """
        INSERT INTO exports (
            seller_id, sources, columns, spreadsheet_safe, bom, recipient_email, service,
            fingerprint
        )
        SELECT
            1 + number % 100, '{{follower}}', '{{email}}', true, false, 'seller@example.com',
            'storefront', int8send(number)
        FROM generate_series(1, {exports}) AS number
    """,
}
"""By table: what fills it as soon as it is there."""

WRITES = {
    "followers": """
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        VALUES (1, uuidv4() || '@example.com', now(), now())
    """,
    "exports": """
        UPDATE exports
        SET rows_exported = rows_exported + 1
        WHERE (seller_id, id) = (SELECT seller_id, id FROM exports LIMIT 1)
    """,
}

UPGRADE = re.compile(r"^-- Running upgrade .*-> (\S+)$", re.MULTILINE)
NAMED = re.compile(r"Stops writers of ((?:`+\w+`+(?:, | and )?)+)")


class Size(NamedTuple):
    """How many members and exports there are."""

    members: int
    exports: int


def migrations() -> list[tuple[str, str]]:
    """Return each revision with its SQL, oldest first; the first creates Alembic's table too."""
    printed = alembic("postgresql://nowhere", "upgrade", "head", "--sql").stdout
    begin, *parts = UPGRADE.split(printed.replace("BEGIN;", "").replace("COMMIT;", ""))
    revisions, statements = parts[::2], [begin + parts[1], *parts[3::2]]
    return list(zip(revisions, statements, strict=True))


def said_to_stop(revision: str) -> set[str]:
    """Return the tables whose writers a migration's docstring says it stops."""
    script = SCRIPTS.get_revision(revision)
    found = NAMED.search(" ".join(script.longdoc.split()))
    return set(re.findall(r"\w+", found[1])) - {"and"} if found else set()


@asynccontextmanager
async def writing(url: str, tables: set[str]) -> AsyncIterator[list[float]]:
    """Write one row after the other meanwhile; what it yields is filled with seconds a write."""
    taken: list[float] = []

    async def write(table: str) -> None:
        connection = await connect(url)
        try:
            is_last = False
            while not is_last:
                is_last, began = done.is_set(), time.monotonic()
                await connection.execute(WRITES[table])
                taken.append(time.monotonic() - began)
        finally:
            await connection.close()

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for table in WRITES.keys() & tables:
            group.create_task(write(table))
        yield taken
        done.set()


async def migrated(connection: Connection, sql: str, present: set[str]) -> set[str]:
    """Run one migration; return the tables in use whose writers it stopped until its end."""
    async with connection.transaction():
        await connection.execute(sql)
        locked = await connection.fetch(LOCKED, STOPS_WRITERS)
    return {row["relname"] for row in locked} & present


@pytest.mark.parametrize(
    "size",
    [Size(1000, 100), pytest.param(Size(1_000_000, 100_000), marks=pytest.mark.slow)],
    ids=str,
)
async def test_a_migration_says_whose_writers_it_stops(size: Size, empty_database_url: str) -> None:
    """Writers go on when it has ended; how long a write takes is printed, and decides nothing."""
    connection = await connect(empty_database_url, command_timeout=None)
    unfilled = FILL.copy()
    try:
        for revision, sql in migrations():
            present = {row["relname"] for row in await connection.fetch(TABLES)}
            for table in unfilled.keys() & present:
                await connection.execute(unfilled.pop(table).format(**size._asdict()))
            async with writing(empty_database_url, present) as taken:
                stopped = await migrated(connection, sql, present)
            print(f"{revision}: longest write {max(taken, default=0):.3f} s, stops {stopped}")
            assert stopped == said_to_stop(revision), revision
    finally:
        await connection.close()


@pytest.mark.history
async def test_the_version_before_is_upgraded_to_the_schema_of_a_new_database(
    empty_database_url: str, database_url: str, tmp_path: Path
) -> None:
    """Fails where a migration was edited that databases have: add another one."""
    alembic(empty_database_url, "upgrade", "head", root=previous_version.unpack(tmp_path))
    alembic(empty_database_url, "upgrade", "head")
    assert await described(empty_database_url) == await described(database_url)
