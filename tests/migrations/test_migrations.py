"""The migrations make the schema that the models and the registry describe, up and down."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from app.audience import projection, tables
from app.audience.sources import SOURCES
from app.database import connect, create_engine
from devstack.sandbox import base_environment

ROOT = Path(__file__).parents[2]

INSTALLED_BY_0001 = "081ac151a058ba47c5830d051b419126449c7ea925a23ae03bb05371e83a6d9f"

DESCRIPTION = """
    SELECT 'column', attrelid::regclass::text, attname::text,
        concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attgenerated, attidentity,
            attcollation::regcollation, pg_get_expr(adbin, adrelid))
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'table', oid::regclass::text, relkind::text, reloptions::text
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', indexrelid::regclass::text, '', pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid IN (
        SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
    )
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, tgname::text,
        concat_ws(' ', tgenabled, pg_get_triggerdef(oid))
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', proname::text, '', pg_get_functiondef(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3, 4
"""


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic as an operator does: no setting but the database's address."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        capture_output=True,
        check=True,
        text=True,
        cwd=ROOT,
        env=base_environment() | {"DATABASE_URL": url},
    )


async def described(url: str) -> list[tuple[str, ...]]:
    """Return everything of the schema that can be told apart, but Alembic's own table."""
    connection = await connect(url)
    rows = await connection.fetch(DESCRIPTION)
    await connection.close()
    return [tuple(row) for row in rows if "alembic_version" not in row[1]]


async def inspected(url: str, inspect: Callable[[Connection], list[object]]) -> list[object]:
    """Return what ``inspect`` finds."""
    engine = create_engine(url, pool_size=1)
    async with engine.connect() as connection:
        found = await connection.run_sync(inspect)
    await engine.dispose()
    return found


def differences(connection: Connection) -> list[object]:
    """Return what an automatic migration to the models would do."""
    context = MigrationContext.configure(
        connection, opts={"compare_server_default": True, "compare_type": True}
    )
    found: list[object] = compare_metadata(context, tables.audience_members.metadata)
    return found


@pytest.mark.filterwarnings(
    # Alembic compares generated columns by their text, which PostgreSQL has rewritten;
    # the next test compares them for good.
    "ignore:Computed default on .* cannot be modified"
)
async def test_the_migrations_make_what_the_models_say(database_url: str) -> None:
    assert await inspected(database_url, differences) == []


async def test_the_migrations_make_what_the_registry_says(database_url: str) -> None:
    migrated = await described(database_url)
    connection = await connect(database_url)
    for source in SOURCES:
        for statement in projection.remove(source):
            await connection.execute(statement)
    for statement in projection.drop_members() + projection.create_members():
        await connection.execute(statement)
    for source in SOURCES:
        for statement in projection.install(source):
            await connection.execute(statement)
    await connection.execute(projection.create_sample())
    await connection.execute(projection.tend_members())
    await connection.close()
    assert await described(database_url) == migrated


def test_what_a_migration_installs_has_not_changed_since_it_was_written() -> None:
    statements = projection.create_members()
    for source in SOURCES:
        statements += projection.install(source)
    digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()
    assert digest == INSTALLED_BY_0001, (
        "Databases that have run migration 0001 do not follow this change: read the docstring of"
        " app/audience/projection.py, add a migration, and then note the new digest here."
    )


async def test_the_migrations_go_up_down_and_up_again(empty_database_url: str) -> None:
    alembic(empty_database_url, "upgrade", "head")
    first = await described(empty_database_url)
    alembic(empty_database_url, "downgrade", "base")
    assert await described(empty_database_url) == []
    alembic(empty_database_url, "upgrade", "head")
    assert await described(empty_database_url) == first


async def test_the_printed_sql_makes_the_same(empty_database_url: str, database_url: str) -> None:
    printed = alembic("postgresql://nowhere", "upgrade", "head", "--sql").stdout
    connection = await connect(empty_database_url)
    await connection.execute(printed)
    await connection.close()
    assert await described(empty_database_url) == await described(database_url)


async def test_there_is_one_newest_migration(database_url: str) -> None:
    heads = alembic(database_url, "heads").stdout.split("\n")[:-1]
    assert len(heads) == 1
    assert [f"{row} (head)" for row in await inspected(database_url, versions)] == heads


def versions(connection: Connection) -> list[object]:
    """Return the migrations that a database says it has."""
    return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


async def test_a_migration_gives_up_when_it_waits_for_a_lock(
    empty_database_url: str,
) -> None:
    alembic(empty_database_url, "upgrade", "0001")
    connection = await connect(empty_database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE followers IN ACCESS SHARE MODE")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        alembic(empty_database_url, "downgrade", "base")
    assert "lock timeout" in failed.value.stderr
    await transaction.rollback()
    await connection.close()
