"""Write ``docs/openapi.json``: the OpenAPI document of a newly migrated database."""

import asyncio
import json
from pathlib import Path
from typing import Any

from app.api.served_openapi import DatabaseAwareAPI
from app.config import Settings
from app.database.connections import connect
from app.database.database import DatabaseConnection
from app.feeds.columns import SourceTables, read_tables
from app.main import create_app
from devstack import settings as stack_settings
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox
from devstack.service_processes import ROOT

FILE = ROOT / "docs" / "openapi.json"

UNUSED_SERVERS = {
    "REDIS_URL": "redis://127.0.0.1:9",
    "SMTP_URL": "smtp://127.0.0.1:9",
    "S3_BUCKET": "none",
    "PUBLIC_URL": "http://127.0.0.1:9",
}
"""Settings without a default, of servers that the document does not need."""


def as_text(document: dict[str, Any]) -> str:
    """Return the document as the file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(path: Path = FILE) -> None:
    """Start a PostgreSQL, migrate it, and write the document with its source tables."""
    with Sandbox() as sandbox:
        postgres = PostgresServer(sandbox)
        postgres.start()
        settings = stack_settings.service_settings() | {"DATABASE_URL": postgres.url()}
        migrate(settings)
        values: dict[str, Any] = {
            name.lower(): value for name, value in (settings | UNUSED_SERVERS).items()
        }
        app = create_app(Settings(**values))
        assert isinstance(app, DatabaseAwareAPI)  # noqa: S101 - for the type checker
        path.write_text(as_text(app.describe(asyncio.run(_tables(postgres.url())))))


async def _tables(url: str) -> SourceTables:
    connection = await connect(url)
    try:
        return await read_tables(DatabaseConnection(connection))
    finally:
        await connection.close()


if __name__ == "__main__":
    write()
