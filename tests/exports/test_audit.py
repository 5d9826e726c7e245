"""The audit: written with the deed, never changed, and less personal after 90 days."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection, transaction
from app.errors import ExportNotFound
from app.exports.audit import Entry, Origin, cut_origins, list_entries, record, record_opening
from app.exports.requests import request_export
from app.models import Export
from tests.exports.conftest import wish

SHOP = Origin("storefront", "192.0.2.7", "shop/1.0")

LONG_AGO = timedelta(days=91)

REFUSED = [
    "UPDATE export_audit SET actor = 'somebody else'",
    "UPDATE export_audit SET client_address = NULL, user_agent = NULL",
    "UPDATE export_audit SET at = at - interval '1 year'",
    "DELETE FROM export_audit",
    "TRUNCATE export_audit",
    "SET session_replication_role = replica; DELETE FROM export_audit",
]


@pytest.fixture
async def export(engine: AsyncEngine, settings: Settings) -> Export:
    """An export that was asked for from the shop."""
    asked = await request_export(engine, engine, settings, wish(), None, SHOP)
    return asked.export


async def entries(engine: AsyncEngine, export: Export) -> list[Entry]:
    return await list_entries(engine, export.id, limit=100, before=None)


async def age(connection: Connection, by: timedelta) -> None:
    """Let the audit be older: an owner can, by DDL."""
    await connection.execute("ALTER TABLE export_audit DISABLE TRIGGER export_audit_keep_rows")
    await connection.execute("UPDATE export_audit SET at = $1", datetime.now(UTC) - by)
    await connection.execute(
        "ALTER TABLE export_audit ENABLE ALWAYS TRIGGER export_audit_keep_rows"
    )


async def test_a_request_is_audited_with_what_was_asked_for_and_to_whom(
    engine: AsyncEngine, export: Export
) -> None:
    [entry] = await entries(engine, export)
    assert (entry.action, entry.recipient_email) == ("requested", "seller1@example.com")
    assert (entry.actor, entry.client_address, entry.user_agent) == (
        "storefront",
        "192.0.2.7",
        "shop/1.0",
    )
    assert entry.details["sources"] == ["follower"]


async def test_a_request_that_joins_is_audited_too(
    engine: AsyncEngine, settings: Settings, export: Export
) -> None:
    await request_export(engine, engine, settings, wish(), None, Origin("other"))
    assert [(entry.action, entry.actor) for entry in await entries(engine, export)] == [
        ("joined", "other"),
        ("requested", "storefront"),
    ]


async def test_a_deed_that_is_rolled_back_leaves_no_entry(
    engine: AsyncEngine, export: Export
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction(engine) as connection:
            await record(connection, "erased", export, SHOP)
            raise ZeroDivisionError
    assert len(await entries(engine, export)) == 1


@pytest.mark.parametrize("statement", REFUSED)
async def test_what_is_written_stays(
    engine: AsyncEngine, export: Export, connection: Connection, statement: str
) -> None:
    before = await entries(engine, export)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute(statement)
    assert await entries(engine, export) == before


async def test_origins_are_cut_after_90_days_and_nothing_else(
    engine: AsyncEngine, export: Export, connection: Connection
) -> None:
    await age(connection, LONG_AGO)
    await record_opening(engine, "opened", export, SHOP)

    await cut_origins(engine)

    young, old = await entries(engine, export)
    assert (young.client_address, young.user_agent) == ("192.0.2.7", "shop/1.0")
    assert (old.client_address, old.user_agent) == (None, None)
    assert (old.actor, old.recipient_email) == ("storefront", "seller1@example.com")


async def test_even_after_90_days_only_the_origin_may_go(
    engine: AsyncEngine, export: Export, connection: Connection
) -> None:
    await age(connection, LONG_AGO)
    for change in ("client_address = '203.0.113.1'", "actor = NULL, client_address = NULL"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute(f"UPDATE export_audit SET {change}")


async def test_the_audit_outlives_the_exports_row(
    engine: AsyncEngine, export: Export, connection: Connection
) -> None:
    await connection.execute("DELETE FROM exports")
    assert len(await entries(engine, export)) == 1


async def test_what_never_was_is_not_found(engine: AsyncEngine) -> None:
    with pytest.raises(ExportNotFound):
        await list_entries(engine, uuid4(), limit=1, before=None)


async def test_hostile_agents_are_stored_short_and_visible(
    engine: AsyncEngine, export: Export
) -> None:
    await record_opening(
        engine, "opened", export, Origin(None, "x" * 99, "a\0\r\n\u202e" + "b" * 999)
    )
    entry = (await entries(engine, export))[0]
    assert len(entry.client_address or "") == 64
    assert (entry.user_agent or "").startswith("a����bbb")
    assert len(entry.user_agent or "") == 512
