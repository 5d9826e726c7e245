"""Run migrations on ``DATABASE_URL``, the only setting they need.

``alembic upgrade head --sql`` prints their SQL instead, without a connection.
"""

import asyncio
from logging.config import fileConfig

import asyncpg
from alembic import context
from alembic.util import CommandError
from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.audience import tables
from app.config import Settings, database_address
from app.database.connections import SEARCH_PATH, connect
from app.database.connections import Connection as DriverConnection
from app.database.database import open_connection
from app.database.errors import classify_error
from app.database.rights import missing_schema_rights
from app.errors import ServiceError

LOCK_TIMEOUT_S = 1
"""A migration that waits for a lock blocks every later query on the table: fail instead."""


class MigrationSettings(BaseSettings):
    """The settings that a migration needs."""

    model_config = SettingsConfigDict(
        env_file=Settings.model_config.get("env_file"), env_ignore_empty=True, extra="ignore"
    )

    database_url: str

    @field_validator("database_url")
    @classmethod
    def _database_address(cls, value: str) -> str | None:
        return database_address(value)


def create_engine(url: str) -> AsyncEngine:
    """Return an engine without a statement timeout."""

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
    context.configure(
        connection=connection,
        target_metadata=tables.audience_members.metadata,
        include_name=tables.is_ours,
    )
    with context.begin_transaction():
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL transaction_timeout = 0")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        # For Citus: one transaction changes distributed tables and their functions.
        connection.exec_driver_sql("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
        context.run_migrations()


async def migrate_online() -> None:
    """Connect and migrate.

    Raises:
        CommandError: the address, the server or the role's rights are the cause.
    """
    try:
        url = MigrationSettings().database_url
    except ValidationError as error:
        faults = "; ".join(fault["msg"] for fault in error.errors(include_input=False))
        raise CommandError(f"DATABASE_URL: {faults}") from None
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    except (ServiceError, DBAPIError) as error:
        sentence = await explanation(url, error)
        if sentence is None:
            raise
        raise CommandError(sentence) from error
    finally:
        await engine.dispose()


async def explanation(url: str, error: Exception) -> str | None:
    """Return the cause of a failed migration in one sentence; ``None`` where it is a bug."""
    original = getattr(getattr(error, "orig", None), "__cause__", None)
    if isinstance(original, (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError)):
        async with open_connection(url) as connection:
            missing = await missing_schema_rights(connection)
        return missing or f"{original}: run the migrations as the owner of the schema's tables."
    return str(error) if isinstance(error, ServiceError) else _text(classify_error(error))


def _text(error: Exception | None) -> str | None:
    return None if error is None else str(error)


def migrate_offline() -> None:
    """Print the SQL."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=tables.audience_members.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.execute(f"SET LOCAL search_path = {SEARCH_PATH}")
        context.execute("SET LOCAL standard_conforming_strings = on")
        context.run_migrations()


if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    migrate_offline()
else:
    asyncio.run(migrate_online())
