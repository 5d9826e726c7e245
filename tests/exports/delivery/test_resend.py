"""Sending a mail again: a new one each time, three an hour."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.errors import ExportNotFound, ExportNotReady, QuotaExceeded
from app.exports.delivery.resend import (
    HOUR_S,
    RESENDS_PER_HOUR,
    resend_email,
    resend_failed_emails,
)
from app.models import Export
from tests.exports.delivery.outbox.conftest import SUCCEEDED

FAILED = """
    UPDATE exports
    SET status = 'failed', expires_at = NULL, object_key = NULL, file_name = NULL,
        file_rows = NULL, file_bytes = NULL, error_code = 'internal',
        error_detail = 'It broke.', email_status = 'failed', email_due_at = NULL
"""

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
async def sent(create_export: Ask, connection: Connection) -> Export:
    """An export that succeeded and whose mail was sent."""
    export = await create_export()
    await connection.execute(SUCCEEDED)
    await connection.execute("""
        UPDATE exports
        SET email_status = 'sent', email_sent_at = clock_timestamp(), email_attempts = 3,
            email_due_at = NULL
    """)
    return export


async def test_the_mail_is_due_again_as_another_one(
    sent: Export, database: Database, connection: Connection
) -> None:
    again = await resend_email(database, sent.id, 1)
    assert (again.email_status, again.email_sent_at) == ("pending", None)
    assert (again.email_sequence, again.email_attempts) == (sent.email_sequence + 1, 0)
    assert await connection.fetchval("SELECT email_due_at <= clock_timestamp() FROM exports")


async def test_three_times_an_hour_and_no_more_whatever_comes_at_once(
    sent: Export, database: Database
) -> None:
    results = await asyncio.gather(
        *(resend_email(database, sent.id, None) for _ in range(8)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, QuotaExceeded)]
    assert len(results) - len(refused) == RESENDS_PER_HOUR
    assert all(3500 < each.retry_after_s <= 3600 for each in refused)


async def test_an_hour_later_it_may_be_sent_again(
    sent: Export, database: Database, connection: Connection
) -> None:
    for _ in range(RESENDS_PER_HOUR):
        await resend_email(database, sent.id, 1)
    await connection.execute("""
        UPDATE exports
        SET email_resent_at = ARRAY(
            SELECT at - interval '50 minutes' FROM unnest(email_resent_at) AS at
        )
    """)
    with pytest.raises(QuotaExceeded) as refused:
        await resend_email(database, sent.id, 1)
    assert 500 < refused.value.retry_after_s <= 600
    await connection.execute("""
        UPDATE exports
        SET email_resent_at[1] = email_resent_at[1] - interval '11 minutes'
    """)
    await resend_email(database, sent.id, 1)


@pytest.mark.parametrize("status", ["queued", "running", "cancelled", "expired", "deleted"])
async def test_without_an_end_to_tell_of_there_is_nothing_to_mail(
    sent: Export, database: Database, connection: Connection, status: str
) -> None:
    await connection.execute("UPDATE exports SET status = $1", status)
    with pytest.raises(ExportNotReady, match=f"The export is {status}"):
        await resend_email(database, sent.id, 1)


async def test_a_file_whose_time_is_over_is_not_mailed_although_it_is_not_swept_yet(
    sent: Export, database: Database, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    with pytest.raises(ExportNotReady, match="expired"):
        await resend_email(database, sent.id, 1)


async def test_anothers_export_is_unknown(sent: Export, database: Database) -> None:
    for export_id, seller_id in ((sent.id, 2), (uuid4(), 1), (uuid4(), None)):
        with pytest.raises(ExportNotFound):
            await resend_email(database, export_id, seller_id)


async def test_a_failed_exports_mail_is_due_again(
    sent: Export, database: Database, connection: Connection
) -> None:
    await connection.execute(FAILED)
    again = await resend_email(database, sent.id, 1)
    assert (again.status, again.email_status) == ("failed", "pending")
    outbox_sees = "SELECT email_due_at <= clock_timestamp() AND expires_at IS NULL FROM exports"
    assert await connection.fetchval(outbox_sees)


async def test_all_that_were_given_up_are_due_again_at_once(
    create_export: Ask, database: Database, connection: Connection
) -> None:
    failed, ready, gone, sent, long_ago = [
        await create_export(recipient_email=f"seller{number}@example.com") for number in range(5)
    ]
    await connection.execute(SUCCEEDED)
    await connection.execute("UPDATE exports SET email_status = 'failed', email_due_at = NULL")
    await connection.execute(f"{FAILED} WHERE id = $1", failed.id)
    changes = {
        gone.id: "expires_at = clock_timestamp()",
        sent.id: "email_status = 'sent'",
        long_ago.id: "finished_at = clock_timestamp() - interval '3 hours'",
    }
    for export_id, change in changes.items():
        await connection.execute(f"UPDATE exports SET {change} WHERE id = $1", export_id)

    assert await resend_failed_emails(database, 2 * HOUR_S) == (2, 0)

    due = await connection.fetch("SELECT id FROM exports WHERE email_status = 'pending'")
    assert {row["id"] for row in due} == {failed.id, ready.id}
    assert await resend_failed_emails(database, 2 * HOUR_S) == (0, 0)
    assert (
        await connection.fetchval("SELECT count(*) FROM export_audit WHERE action = 'resent'") == 2
    )
