"""Why PostgreSQL does not let the service in, and what to do about it."""

import socket

import asyncpg

from app.errors import DatabaseUnavailable
from app.tls_errors import connection_failure, tls_failure

Diagnosis = tuple[str, str]
"""The detail and the advice of a failure."""

PRIVILEGE = "GRANT it, or use the schema's owner"

BY_STATE = {
    "28P01": (
        "PostgreSQL refuses the login: the password or the user is wrong.",
        "fix the user and the password in the address",
    ),
    "28": (
        "PostgreSQL refuses the login: pg_hba.conf has no line for this user and machine.",
        "add the line, or fix the user and sslmode in the address",
    ),
    "3D": (
        "The database does not exist on this server.",
        "create it, or fix its name in the address",
    ),
    "42704": (
        "PostgreSQL does not know a setting of the service: it is older than 18.",
        "upgrade it to PostgreSQL 18 or later",
    ),
    "42501": ("This role lacks a right that the check needs.", PRIVILEGE),
    "42": (
        "The schema has not what this version needs.",
        "alembic upgrade head; the version of the code must be that of the schema, or older",
    ),
    "53300": (
        "PostgreSQL has no connection left.",
        "raise max_connections or the role's limit, or put PgBouncer before it",
    ),
    "57014": (
        "A time limit of the role or the database cancelled the statement.",
        "ALTER ROLE … RESET statement_timeout, or the pooler's query_timeout",
    ),
    "57P03": ("PostgreSQL is starting up or shutting down.", "wait, and look at its log"),
    "08P01": (
        "The pooler before PostgreSQL refuses the login or a parameter.",
        "look at its log, and at the parameters of the address",
    ),
}
"""By SQLSTATE, or its class."""

TLS_ADVICE = "name the authority with sslrootcert and the certificate's host in the address"
NO_TLS = "The server does not speak TLS, which sslmode demands."


class DatabaseDiagnosed(DatabaseUnavailable):
    """A refusal with its own advice."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.advice = advice


def diagnose(error: BaseException) -> Diagnosis | None:
    """Return what an error of asyncpg's means, ``None`` where the server is just unreachable."""
    if failed := tls_failure(error):
        return f"PostgreSQL cannot be reached: {failed}.", TLS_ADVICE
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        otherwise = f"PostgreSQL answered with error {state}.", "look at PostgreSQL's log"
        return BY_STATE.get(state) or BY_STATE.get(state[:2], otherwise)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        detail = "No server of the address is what target_session_attrs demands."
        return detail, "fix target_session_attrs, or the hosts"
    if isinstance(error, (asyncpg.ClientConfigurationError, FileNotFoundError, PermissionError)):
        detail = "A certificate file or socket that the address names is missing or unreadable."
        return detail, "fix sslrootcert, sslcert, sslkey or host in the address"
    if isinstance(error, ConnectionError) and "rejected SSL" in str(error):
        return NO_TLS, "turn TLS on in PostgreSQL, or use another sslmode"
    if isinstance(error, socket.gaierror):
        return "The server's host name has no address.", "fix the host in the address"
    if isinstance(error, TimeoutError):
        detail = "PostgreSQL does not answer in time."
        return detail, "look for a firewall on the way, and at the server's load"
    if failed := connection_failure(error):
        return f"PostgreSQL cannot be reached: {failed}.", "start it, or fix host and port"
    return None
