"""What errors of PostgreSQL mean: which pass by themselves, and which end a session."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.errors import DatabaseUnavailable, ReadConflict, TemporaryError

UNREACHABLE = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    InvalidRequestError,  # SQLAlchemy's pool: what it opened again was closed at once
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg lost count, as when a server dies while it connects
)

AWAY = "The database cannot be reached."

TEMPORARY_STATES = {
    "08": AWAY,  # connection lost
    "25006": "The database is read-only.",  # a primary that was demoted
    "25P03": AWAY,  # idle in transaction: this process froze
    "25P04": "The database cancelled a transaction that took too long.",
    "28": "The database refuses the login.",  # a password that is being rotated
    "3D000": "The database does not exist on its server.",  # it is being restored
    "40": "The database gave way to other work.",  # serialization failure, deadlock
    "53": "The database is out of connections, memory or disk.",
    "55P03": "The database is busy: waiting for a lock ended (lock timeout).",
    "57014": "The database cancelled the statement.",  # by hand, or by a statement_timeout
    "57": AWAY,  # shutting down, starting up, session ended
    "58": "The database failed; its own log says why.",  # input or output
    "XX000": "The database failed; its own log says why.",  # internal error
}
"""SQLSTATE prefixes that pass by themselves, or with an operator's help and
without ours, and what is said of them (PostgreSQL, "Error Codes")."""

DEAD_END_STATES = ("25006", "57P01", "57P02", "57P03", "57P04", "57P05")
"""After these a session answers nothing better: read-only, or ended by the server."""

SERIALIZATION_FAILURES = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Conflicts with concurrent writes: the same transaction may succeed when it is retried."""

OUTDATED_PLAN = asyncpg.InvalidCachedStatementError
"""What asyncpg makes of 0A000, "cached plan must not change result type", after a migration."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise what :func:`classify_error` makes of the database's errors, and others as they are.

    Raises:
        DatabaseUnavailable, ReadConflict: trying again may help.
    """
    try:
        yield
    except (SQLAlchemyError, asyncpg.PostgresError, *UNREACHABLE) as error:
        translated = classify_error(error)
        if translated is None:
            raise
        raise translated from error


def classify_error(error: BaseException) -> TemporaryError | None:
    """Return what ``error`` means if it is the database's and will pass, else ``None``.

    Takes errors of asyncpg and SQLAlchemy's wrappers of them.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseUnavailable(AWAY)
    error = _driver_error(error)
    state = _state(error)
    # Before the prefixes, which include its class: after it Exporter._source reads the primary.
    if state == asyncpg.SerializationError.sqlstate:
        return ReadConflict(TEMPORARY_STATES["40"])
    if isinstance(error, OUTDATED_PLAN):
        return DatabaseUnavailable("The database's schema has just changed.")
    # The longest first: 57014 is a cancelled statement, the rest of class 57 a lost session.
    for length in (5, 2):
        if reason := TEMPORARY_STATES.get(state[:length]):
            return DatabaseUnavailable(reason)
    return DatabaseUnavailable(AWAY) if isinstance(error, UNREACHABLE) else None


def is_dead_end(error: BaseException) -> bool:
    """Return whether the session that answered so must not be used again."""
    error = _driver_error(error)
    return _state(error) in DEAD_END_STATES or isinstance(error, OUTDATED_PLAN)


def _driver_error(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError):
        return (error.orig and error.orig.__cause__) or error.orig or error
    return error


def _state(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""
