"""The audit: written with the deed, never changed, and less personal after 90 days."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import ExportNotFound
from app.exports.audit import (
    AuditContext,
    AuditEntry,
    delete_old_entries,
    list_entries,
    record,
    record_download,
    redact_client_details,
)
from app.exports.submission.submit import submit_export
from app.models import Export
from tests.exports.conftest import make_request

SHOP = AuditContext("storefront", "192.0.2.7", "shop/1.0")

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
async def export(database: Database, settings: Settings) -> Export:
    """An export that was result for from the shop."""
    result = await submit_export(database, database, settings, make_request(), None, SHOP)
    return result.export


async def entries(database: Database, export: Export) -> list[AuditEntry]:
    return await list_entries(database, export.id, limit=100, before=None)


async def age(connection: Connection, by: timedelta) -> None:
    """Let the audit be older: an owner can, by DDL."""
    await connection.execute("ALTER TABLE export_audit DISABLE TRIGGER export_audit_keep_rows")
    await connection.execute("UPDATE export_audit SET at = $1", datetime.now(UTC) - by)
    await connection.execute(
        "ALTER TABLE export_audit ENABLE ALWAYS TRIGGER export_audit_keep_rows"
    )


async def test_a_request_is_audited_with_its_sources_and_its_recipient(
    database: Database, export: Export
) -> None:
    [entry] = await entries(database, export)
    assert (entry.action, entry.recipient_email) == ("requested", "seller1@example.com")
    assert (entry.actor, entry.client_address, entry.user_agent) == (
        "storefront",
        "192.0.2.7",
        "shop/1.0",
    )
    assert entry.details["sources"] == ["follower"]


async def test_a_request_that_joins_is_audited_too(
    database: Database, settings: Settings, export: Export
) -> None:
    await submit_export(database, database, settings, make_request(), None, AuditContext("other"))
    assert [(entry.action, entry.actor) for entry in await entries(database, export)] == [
        ("coalesced", "other"),
        ("requested", "storefront"),
    ]


async def test_a_deed_that_is_rolled_back_leaves_no_entry(
    database: Database, export: Export
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await record(tx, "erased", export, SHOP)
            raise ZeroDivisionError
    assert len(await entries(database, export)) == 1


@pytest.mark.parametrize("statement", REFUSED)
async def test_what_is_written_stays(
    database: Database, export: Export, connection: Connection, statement: str
) -> None:
    before = await entries(database, export)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute(statement)
    assert await entries(database, export) == before


async def test_origins_are_cut_after_90_days_and_nothing_else(
    database: Database, export: Export, connection: Connection
) -> None:
    await age(connection, LONG_AGO)
    await record_download(database, "link_followed", export, SHOP)

    await redact_client_details(database)

    young, old = await entries(database, export)
    assert (young.client_address, young.user_agent) == ("192.0.2.7", "shop/1.0")
    assert (old.client_address, old.user_agent) == (None, None)
    assert (old.actor, old.recipient_email) == ("storefront", "seller1@example.com")


async def test_even_after_90_days_only_the_origin_may_go(
    database: Database, export: Export, connection: Connection
) -> None:
    await age(connection, LONG_AGO)
    for change in ("client_address = '203.0.113.1'", "actor = NULL, client_address = NULL"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute(f"UPDATE export_audit SET {change}")


async def test_the_audit_outlives_the_exports_row(
    database: Database, export: Export, connection: Connection
) -> None:
    await connection.execute("DELETE FROM exports")
    assert len(await entries(database, export)) == 1


async def test_what_never_was_is_not_found(database: Database) -> None:
    with pytest.raises(ExportNotFound):
        await list_entries(database, uuid4(), limit=1, before=None)


async def test_hostile_agents_are_stored_short_and_visible(
    database: Database, export: Export
) -> None:
    await record_download(
        database, "link_followed", export, AuditContext(None, "x" * 99, "a\0\r\n\u202e" + "b" * 999)
    )
    entry = (await entries(database, export))[0]
    assert len(entry.client_address or "") == 64
    assert (entry.user_agent or "").startswith("a����bbb")
    assert len(entry.user_agent or "") == 512


async def test_entries_are_kept_for_good_unless_a_retention_is_set(
    database: Database, export: Export, connection: Connection
) -> None:
    await age(connection, timedelta(days=40))
    await record_download(database, "link_followed", export, SHOP)
    assert await delete_old_entries(database, 41) == 0
    assert await delete_old_entries(database, 30) == 1
    assert [entry.action for entry in await entries(database, export)] == ["link_followed"]


@pytest.mark.parametrize("days", ["", "0", "-1", "50"])
async def test_a_retention_of_no_day_deletes_nothing_and_a_longer_one_keeps(
    export: Export, connection: Connection, days: str
) -> None:
    await age(connection, timedelta(days=40))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('audience_export.audit_retention_days', $1, true)", days
            )
            await connection.execute("DELETE FROM export_audit")
