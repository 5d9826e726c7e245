"""Sessions: under our own limits not the role's, and closed where they are dead
ends.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import event

from app.database.connections import IDLE_TIMEOUT_S, connect, create_engine, session_limits
from app.database.database import Database
from app.errors import DatabaseUnavailable
from app.exports.execution.snapshot import open_snapshot
from devstack.pgbouncer import PgBouncer
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox

Run = Callable[[Database, str], Awaitable[Any]]

POOL_SIZE = 2
SESSIONS = 2 * POOL_SIZE

HOSTILE = {
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "transaction_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
}

HOSTILE_TO_A_POOLER = {
    "statement_timeout": "500ms",
    "lock_timeout": "500ms",
    "transaction_timeout": "500ms",
    "idle_in_transaction_session_timeout": "500ms",
    "default_transaction_isolation": "serializable",
    "search_path": "nowhere",
}
"""Its own sessions are idle too, and a transaction needs a moment to set its limits."""

LIMITS = session_limits(30, IDLE_TIMEOUT_S)
SLEEP = "SELECT pg_sleep(0.7)"
PID = "SELECT pg_backend_pid()"
NO_WRITE = "DELETE FROM exports WHERE false"


async def by_statement(database: Database, sql: str) -> Any:
    """Execute SQL on its own."""
    return await database.fetchrow(sql)


async def by_transaction(database: Database, sql: str) -> Any:
    """Execute SQL in a transaction."""
    async with database.transaction() as tx:
        return await tx.fetchrow(sql)


async def by_connection(database: Database, sql: str) -> Any:
    """Execute SQL in a transaction, through asyncpg's own connection."""
    async with database.transaction() as tx:
        return await tx.connection.fetchrow(sql)


async def by_snapshot(database: Database, sql: str) -> Any:
    """Run SQL in the snapshot of an export."""
    async with open_snapshot(database, "a test") as snapshot:
        return await snapshot.tx.fetchrow(sql)


ways = pytest.mark.parametrize("run", [by_statement, by_transaction, by_connection])


@pytest.fixture(scope="module")
def bouncer(sandbox: Sandbox, postgres: PostgresServer) -> PgBouncer:
    """PgBouncer before the PostgreSQL of all tests, with two sessions for each database."""
    server = PgBouncer(sandbox, postgres, name="pgbouncer-strict", pool_size=2)
    server.start()
    return server


@pytest.fixture(scope="module")
def lax_bouncer(sandbox: Sandbox, postgres: PostgresServer) -> PgBouncer:
    """A PgBouncer that takes our limits at start-up and forgets them."""
    server = PgBouncer(sandbox, postgres, name="pgbouncer-lax", pool_size=2, ignored=LIMITS)
    server.start()
    return server


@pytest.fixture(
    params=[
        "direct",
        pytest.param("bouncer", marks=pytest.mark.pgbouncer),
        pytest.param("lax_bouncer", marks=pytest.mark.pgbouncer),
    ]
)
def hostile_url(
    request: pytest.FixtureRequest, postgres: PostgresServer, database_url: str
) -> Iterator[str]:
    """The address of a database whose settings would cut everything off that we do."""
    name = database_url.rpartition("/")[2]
    is_direct = request.param == "direct"
    alter(postgres, name, HOSTILE if is_direct else HOSTILE_TO_A_POOLER)
    yield database_url if is_direct else request.getfixturevalue(request.param).url(name)
    postgres.execute(f"ALTER DATABASE {name} RESET ALL")


@pytest.fixture
async def hostile(hostile_url: str) -> AsyncIterator[Database]:
    """A database on that database."""
    database = Database(create_engine(hostile_url, POOL_SIZE))
    yield database
    await database.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database on the test's own database."""
    database = Database(create_engine(database_url, POOL_SIZE))
    yield database
    await database.close()


def alter(postgres: PostgresServer, database: str, settings: dict[str, str]) -> None:
    """Change a database's settings for sessions to come."""
    for name, value in settings.items():
        postgres.execute(f"ALTER DATABASE {database} SET {name} = '{value}'")


async def fill(database: Database) -> None:
    """Open as many sessions as the pool takes."""
    async with AsyncExitStack() as stack:
        for _ in range(SESSIONS):
            await stack.enter_async_context(database.engine.connect())


async def failures(run: Run, database: Database, sql: str, times: int = 5) -> int:
    """Run SQL in all sessions, so often, and return how many times they were unavailable."""
    failed = 0
    for _ in range(times):
        each = (run(database, sql) for _ in range(SESSIONS))
        results = await asyncio.gather(*each, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(error, DatabaseUnavailable) for error in errors), errors
        failed += len(errors)
    return failed


@pytest.mark.parametrize("run", [by_statement, by_transaction, by_connection, by_snapshot])
async def test_no_setting_of_a_role_cuts_off_what_we_do(hostile: Database, run: Run) -> None:
    for _ in range(3):
        assert await run(hostile, SLEEP) is not None


@ways
async def test_sessions_have_our_limits_whatever_the_role_says(hostile: Database, run: Run) -> None:
    shown = ", ".join(f"current_setting('{name}') AS {name}" for name in LIMITS)
    row = await run(hostile, f"SELECT {shown}, current_setting('transaction_isolation') AS now")
    assert dict(zip([*LIMITS, "isolation"], row, strict=True)) == {
        "statement_timeout": "35s",
        "lock_timeout": "0",
        "transaction_timeout": "0",
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": "5s",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "search_path": "public",
        "isolation": "read committed",
    }


async def test_an_idle_session_outlives_the_role_s_timeout(hostile: Database) -> None:
    for _ in range(2):
        assert await by_statement(hostile, "SELECT 1") is not None
        await asyncio.sleep(0.1)


async def test_a_command_without_a_limit_has_none_at_the_server(database_url: str) -> None:
    connection = await connect(database_url, command_timeout=None)
    assert await connection.fetchval("SHOW statement_timeout") == "0"
    await connection.close()


@ways
async def test_sessions_that_became_read_only_are_replaced(
    database: Database, run: Run, postgres: PostgresServer, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    alter(postgres, name, {"default_transaction_read_only": "on"})
    await fill(database)
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert 0 < await failures(run, database, NO_WRITE) <= SESSIONS
    assert await failures(run, database, NO_WRITE) == 0


@ways
async def test_sessions_that_the_server_has_ended_are_replaced(
    database: Database, run: Run, database_url: str
) -> None:
    await fill(database)
    other = await connect(database_url)
    await other.execute("""
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """)
    await other.close()
    assert await failures(run, database, NO_WRITE) <= SESSIONS
    assert await failures(run, database, NO_WRITE) == 0


@ways
async def test_a_session_that_is_closed_as_soon_as_it_is_open_is_an_outage(
    database: Database, run: Run
) -> None:
    event.listen(database.engine.sync_engine, "checkout", close, insert=True)
    with pytest.raises(DatabaseUnavailable):
        await run(database, PID)
    event.remove(database.engine.sync_engine, "checkout", close)
    assert await failures(run, database, NO_WRITE) == 0


def close(adapted: Any, *_: object) -> None:
    """Close a session that is taken from the pool."""
    adapted.driver_connection.terminate()


@ways
async def test_sessions_with_plans_older_than_the_schema_are_replaced(
    database: Database, run: Run, database_url: str
) -> None:
    other = await connect(database_url)
    await other.execute("CREATE TABLE altered (a int)")
    async with database.engine.connect() as pooled:
        await pooled.exec_driver_sql("PREPARE old AS SELECT * FROM altered")
        await pooled.exec_driver_sql("EXECUTE old")
        await pooled.commit()
    pid = await run(database, PID)
    await other.execute("ALTER TABLE altered ADD b int")
    await other.close()
    with pytest.raises(DatabaseUnavailable, match="schema"):
        await run(database, "EXECUTE old")
    assert await run(database, PID) != pid


@ways
async def test_a_cancelled_statement_is_an_outage_that_costs_no_session(
    database: Database, run: Run
) -> None:
    pid = await run(database, PID)
    with pytest.raises(DatabaseUnavailable, match="cancelled"):
        await run(database, "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)")
    assert await run(database, PID) == pid
