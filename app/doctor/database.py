"""PostgreSQL: does it let us in, is it new enough, can it be written to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from app.config import Settings
from app.database import Connection, connect
from app.doctor import schema, vacuum
from app.doctor.clock import database_clock
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.errors import DatabaseUnavailable

VERSION_MIN = 180_000
"""``pg_unicode_fast`` and ``uuidv7()`` came with PostgreSQL 18."""

CONNECTIONS_FULL = 0.9

ADVICE = "start PostgreSQL, or mend DATABASE_URL"

REFUSALS = {
    "28": "PostgreSQL refuses the login: the user, the password or pg_hba.conf.",
    "3D": "The database does not exist on this server.",
    "42": "This role lacks a right that the check needs.",
}
"""Errors that are no outage, by the class of their SQLSTATE."""

STATE = """
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS number,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
    current_setting('max_connections')::int AS places,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS taken
"""


@asynccontextmanager
async def examined(url: str) -> AsyncIterator[Connection]:
    """Open a connection for questions, and turn refusals into sentences.

    Raises:
        DatabaseUnavailable: the server is away, or does not let us in.
    """
    try:
        connection = await connect(url)
        try:
            yield connection
            await connection.close()
        finally:
            connection.terminate()  # nothing is left to do where it is closed
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        text = REFUSALS.get(state[:2], f"PostgreSQL answered with error {state}.")
        raise DatabaseUnavailable(text) from error


async def examine(settings: Settings) -> list[Finding]:
    """Return what is to be said of the database that the service writes to."""
    async with examined(settings.database_url) as connection:
        (state,) = await connection.fetch(STATE)
        if state["number"] < VERSION_MIN:
            detail = f"PostgreSQL {state['version']} is too old."
            return [failure("database", detail, "upgrade it to PostgreSQL 18 or later")]
        return [
            _writable(state),
            _connections(state),
            await database_clock(connection),
            *await schema.examine(connection),
            *await vacuum.examine(connection),
        ]


CHECK = Check("database", examine, ADVICE)


def _writable(state: asyncpg.Record) -> Finding:
    if state["read_only"]:
        detail = "DATABASE_URL leads to a server or a role that is read-only."
        advice = "name the primary there; a standby belongs into AUDIENCE_DATABASE_URL"
        return failure("database", detail, advice)
    return ok("database", f"PostgreSQL {state['version']} answers.")


def _connections(state: asyncpg.Record) -> Finding:
    used = f"{state['taken']} of {state['places']} connections are taken."
    if state["taken"] < CONNECTIONS_FULL * state["places"]:
        return ok("database.connections", used)
    advice = "raise max_connections, or put PgBouncer before it; docs/operations.md counts them"
    return warning("database.connections", used, advice)
