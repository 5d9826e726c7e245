"""The identity of this installation, so that ``doctor`` sees another one in the same Redis."""

import contextlib
from hashlib import sha256

from app.database.database import Database
from app.errors import ServiceError
from app.ports import ExportQueue

IDENTITY = """
    SELECT system_identifier || '/' || pg_database.oid AS identity
    FROM pg_control_system(), pg_database
    WHERE datname = current_database()
"""
"""The cluster's identifier, made by initdb, and the database in it. Replicas have the same, a
database restored from a dump has another."""


def installation_name(identity: str) -> str:
    """Return a short name of a database's identity that does not disclose it."""
    return sha256(identity.encode()).hexdigest()[:16]


async def register_installation(database: Database, queue: ExportQueue) -> None:
    """Note in Redis that this installation's workers use it; what fails is done the next time."""
    with contextlib.suppress(ServiceError):
        [row] = await database.fetch(IDENTITY)
        await queue.register(installation_name(row["identity"]))
