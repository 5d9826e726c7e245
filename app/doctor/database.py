"""PostgreSQL: login, version, write access, connections, schema, vacuum."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from app.config import Settings
from app.database.address import parse_address
from app.database.connections import connect
from app.database.database import DatabaseConnection
from app.database.errors import AWAY
from app.doctor import schema, vacuum
from app.doctor.clock import database_clock
from app.doctor.database_errors import DatabaseDiagnosed, diagnose
from app.doctor.findings import Check, CheckResult, failure, ok, warning
from app.errors import DatabaseUnavailable

VERSION_MIN = 180_000
"""``pg_unicode_fast`` and ``uuidv7()`` came with PostgreSQL 18."""

CONNECTIONS_FULL = 0.9

ADVICE = "start PostgreSQL, or fix DATABASE_URL"

STATE = """
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS number,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
    current_setting('max_connections')::int AS max_connections,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS used
"""


@asynccontextmanager
async def diagnostic_connection(url: str) -> AsyncIterator[DatabaseConnection]:
    """Open a connection for a check, and explain errors in a sentence.

    Raises:
        DatabaseUnavailable: the server is unavailable, or refuses the login or a query.
    """
    try:
        connection = await connect(url)
        try:
            yield DatabaseConnection(connection)
            await connection.close()
        finally:
            connection.terminate()  # no-op where it is closed already
    except DatabaseUnavailable as error:
        if error.__cause__ and (found := diagnose(error.__cause__)):
            raise DatabaseDiagnosed(*found) from error
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if found := diagnose(error):
            raise DatabaseDiagnosed(*found) from error
        raise DatabaseUnavailable(AWAY) from error


async def check(settings: Settings) -> list[CheckResult]:
    """Return the findings about the database that the service writes to."""
    async with diagnostic_connection(settings.database_url) as connection:
        (state,) = await connection.fetch(STATE)
        if state["number"] < VERSION_MIN:
            detail = f"PostgreSQL {state['version']} is too old."
            return [failure("database", detail, "upgrade it to PostgreSQL 18 or later")]
        return [
            _writable(state),
            _connections(state),
            *_unverified(settings.database_url),
            await database_clock(connection),
            *await schema.check(connection),
            *await vacuum.check(connection),
        ]


CHECK = Check("database", check, ADVICE)


def _writable(state: asyncpg.Record) -> CheckResult:
    if state["read_only"]:
        detail = "DATABASE_URL leads to a read-only server or role."
        advice = "set DATABASE_URL to the primary; a standby belongs in AUDIENCE_DATABASE_URL"
        return failure("database", detail, advice)
    return ok("database", f"PostgreSQL {state['version']} answers.")


def _unverified(url: str) -> list[CheckResult]:
    """Return a warning for parameters of the URL that ask for checks nobody makes."""
    names = ", ".join(parse_address(url).unverified)
    if not names:
        return []
    advice = "use sslmode=verify-full, which proves who the server is, and remove them"
    return [warning("database.address", f"{names} in DATABASE_URL is not verified.", advice)]


def _connections(state: asyncpg.Record) -> CheckResult:
    detail = f"{state['used']} of {state['max_connections']} connections are in use."
    if state["used"] < CONNECTIONS_FULL * state["max_connections"]:
        return ok("database.connections", detail)
    advice = (
        "raise max_connections, or put PgBouncer in front; docs/deploy.md says how many are used"
    )
    return warning("database.connections", detail, advice)
