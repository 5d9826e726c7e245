"""Run migrations on ``DATABASE_URL``, the only setting they need.

``alembic upgrade head --sql`` prints them instead, and connects to nothing.
"""

import asyncio
from logging.config import fileConfig

from alembic import context
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.audience import tables
from app.config import Settings
from app.database import Connection as DriverConnection
from app.database import connect

LOCK_TIMEOUT_S = 3
"""A migration that waits for a lock makes everyone behind it wait: give up instead."""


class MigrationSettings(BaseSettings):
    """The part of the service's settings that a migration needs."""

    model_config = SettingsConfigDict(
        env_file=Settings.model_config.get("env_file"), env_ignore_empty=True, extra="ignore"
    )

    database_url: str


def create_engine(url: str) -> AsyncEngine:
    """Return an engine whose statements may take as long as they need."""

    async def creator(**_: object) -> DriverConnection:
        return await connect(url, command_timeout=None)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        connect_args={
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        },
        poolclass=NullPool,
    )


def migrate(connection: Connection) -> None:
    """Run the migrations, all in one transaction."""
    context.configure(connection=connection, target_metadata=tables.audience_members.metadata)
    with context.begin_transaction():
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        context.run_migrations()


async def migrate_online() -> None:
    """Connect and migrate."""
    engine = create_engine(MigrationSettings().database_url)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


def migrate_offline() -> None:
    """Print the SQL."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=tables.audience_members.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    migrate_offline()
else:
    asyncio.run(migrate_online())
