"""Statements and transactions: parameters, row counts, commits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from app.database.database import Database, DatabaseConnection, Queryable, open_database
from app.errors import ReadConflict

INSERT = "INSERT INTO visits (page, count) VALUES (:page, :count)"
SELECT = "SELECT page, count FROM visits WHERE count >= :least ORDER BY page"


class Interrupted(Exception):
    """What a use case may raise within a transaction."""


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """A database with an empty table."""
    async with open_database(empty_database_url, pool_size=2) as database:
        await database.execute("CREATE TABLE visits (page text UNIQUE, count bigint NOT NULL)")
        yield database


@pytest.fixture(params=["database", "transaction"])
async def either(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Queryable]:
    """What executes statements: the database, or a transaction of it."""
    if request.param == "database":
        yield database
        return
    async with database.transaction() as tx:
        yield tx


async def pages(database: Queryable) -> list[str]:
    """Return the pages in the table."""
    return [row["page"] for row in await database.fetch(SELECT, least=0)]


async def test_a_statement_returns_its_rows(either: Queryable) -> None:
    await either.execute(INSERT, page="a", count=1)
    await either.execute(INSERT, page="b", count=2)
    assert [tuple(row) for row in await either.fetch(SELECT, least=1)] == [("a", 1), ("b", 2)]
    assert await either.fetch(SELECT, least=3) == []


async def test_a_row_is_the_first_or_none(either: Queryable) -> None:
    assert await either.fetchrow(SELECT, least=0) is None
    await either.execute(INSERT, page="b", count=2)
    await either.execute(INSERT, page="a", count=1)
    row = await either.fetchrow(SELECT, least=0)
    assert row is not None
    assert dict(row) == {"page": "a", "count": 1}


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("INSERT INTO visits SELECT n::text, n FROM generate_series(1, :n) AS n", 3),
        ("INSERT INTO visits SELECT n::text, n FROM generate_series(1, :n) AS n RETURNING page", 3),
        ("UPDATE visits SET count = 0 WHERE page <= CAST(:n AS int)::text", 2),
        ("DELETE FROM visits WHERE count < :n", 2),
        ("DELETE FROM visits WHERE count > 100 + :n", 0),
        ("SELECT FROM visits WHERE count <> :n", 2),
        ("SET LOCAL lock_timeout = 0", 0),
    ],
)
async def test_executing_counts_the_rows_read_or_changed(
    database: Database, sql: str, count: int
) -> None:
    async with database.transaction() as tx:
        if not sql.startswith("INSERT"):
            await tx.execute(INSERT, page="1", count=1)
            await tx.execute(INSERT, page="2", count=2)
        assert await tx.execute(sql, **({"n": 3} if ":n" in sql else {})) == count


async def test_a_parameter_may_recur_beside_casts_and_slices(either: Queryable) -> None:
    row = await either.fetchrow(
        "SELECT :a::text AS first, (ARRAY[1, 2, 3])[1:2] AS slice, CAST(:a AS text) AS a",
        a="x",
    )
    assert row is not None
    assert tuple(row) == ("x", [1, 2], "x")


async def test_a_colon_in_a_literal_or_a_quoted_name_is_no_parameter(either: Queryable) -> None:
    sql = """SELECT ':number '' :number' || 'x:y' AS ":name", :number::int AS value"""
    row = await either.fetchrow(sql, number=7)
    assert row is not None
    assert dict(row) == {":name": ":number ' :numberx:y", "value": 7}


async def test_a_value_that_is_missing_is_a_mistake(either: Queryable) -> None:
    with pytest.raises(KeyError):
        await either.fetch(SELECT)


async def test_a_transaction_commits_at_its_end(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(INSERT, page="a", count=1)
        assert await pages(tx) == ["a"]
        assert await pages(database) == []
    assert await pages(database) == ["a"]


async def test_a_transaction_left_by_an_error_changes_nothing(database: Database) -> None:
    with pytest.raises(Interrupted):
        await interrupted(database)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction() as tx:
            await tx.execute(INSERT, page="a", count=1)
            await tx.execute(INSERT, page="a", count=2)
    assert await pages(database) == []


async def interrupted(database: Database) -> None:
    """Write a row and leave the transaction by an error."""
    async with database.transaction() as tx:
        await tx.execute(INSERT, page="a", count=1)
        raise Interrupted


async def test_a_transaction_has_the_isolation_that_it_asks_for(database: Database) -> None:
    with pytest.raises(ReadConflict):
        await overtaken(database)
    async with database.transaction(isolation="repeatable_read", readonly=True) as tx:
        assert await pages(tx) == ["a"]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await tx.execute(INSERT, page="b", count=1)


async def overtaken(database: Database) -> None:
    """Change a row that another transaction has changed since this one's snapshot."""
    change = "UPDATE visits SET count = count + 1 WHERE page = :page"
    await database.execute(INSERT, page="a", count=1)
    async with database.transaction(isolation="repeatable_read") as tx:
        await pages(tx)
        await database.execute(change, page="a")
        await tx.execute(change, page="a")


async def test_copy_goes_through_asyncpg_s_own_connection(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.copy_records_to_table("visits", records=[("a", 1), ("b", 2)])
    assert await pages(database) == ["a", "b"]


async def test_any_connection_of_asyncpg_executes_statements(database: Database) -> None:
    async with database.connection() as pooled:
        alone = DatabaseConnection(pooled.connection)
        assert await alone.execute(INSERT, page="a", count=1) == 1
    assert await pages(database) == ["a"]


async def test_a_cancelled_statement_costs_its_connection_and_nothing_else(
    database: Database,
) -> None:
    async def process_id() -> Any:
        row = await database.fetchrow("SELECT pg_backend_pid()")
        return row and row[0]

    before = await process_id()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await database.fetch("SELECT pg_sleep(60)")
    assert await process_id() != before
