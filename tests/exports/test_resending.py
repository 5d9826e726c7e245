"""Sending a mail again: a new one each time, three an hour."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Connection
from app.errors import ExportNotFound, ExportNotReady, QuotaExceeded
from app.exports.resending import RESENDS_PER_HOUR, resend_email
from app.models import Export
from tests.exports.test_outbox import SUCCEEDED

Ask = Callable[..., Awaitable[Export]]


@pytest.fixture
async def sent(ask: Ask, connection: Connection) -> Export:
    """An export that succeeded and whose mail was sent."""
    export = await ask()
    await connection.execute(SUCCEEDED)
    await connection.execute("""
        UPDATE exports
        SET email_status = 'sent', email_sent_at = clock_timestamp(), email_attempts = 3,
            email_due_at = NULL
    """)
    return export


async def test_the_mail_is_due_again_as_another_one(
    sent: Export, engine: AsyncEngine, connection: Connection
) -> None:
    again = await resend_email(engine, sent.id, 1)
    assert (again.email_status, again.email_sent_at) == ("pending", None)
    assert (again.email_sequence, again.email_attempts) == (sent.email_sequence + 1, 0)
    assert await connection.fetchval("SELECT email_due_at <= clock_timestamp() FROM exports")


async def test_three_times_an_hour_and_no_more_whatever_comes_at_once(
    sent: Export, engine: AsyncEngine
) -> None:
    asked = await asyncio.gather(
        *(resend_email(engine, sent.id, None) for _ in range(8)), return_exceptions=True
    )
    refused = [each for each in asked if isinstance(each, QuotaExceeded)]
    assert len(asked) - len(refused) == RESENDS_PER_HOUR
    assert all(3500 < each.retry_after_s <= 3600 for each in refused)


async def test_an_hour_later_it_may_be_sent_again(
    sent: Export, engine: AsyncEngine, connection: Connection
) -> None:
    for _ in range(RESENDS_PER_HOUR):
        await resend_email(engine, sent.id, 1)
    await connection.execute("""
        UPDATE exports
        SET email_resent_at = ARRAY(
            SELECT at - interval '50 minutes' FROM unnest(email_resent_at) AS at
        )
    """)
    with pytest.raises(QuotaExceeded) as refused:
        await resend_email(engine, sent.id, 1)
    assert 500 < refused.value.retry_after_s <= 600
    await connection.execute("""
        UPDATE exports
        SET email_resent_at[1] = email_resent_at[1] - interval '11 minutes'
    """)
    await resend_email(engine, sent.id, 1)


@pytest.mark.parametrize(
    "status", ["queued", "running", "failed", "cancelled", "expired", "deleted"]
)
async def test_without_a_file_there_is_nothing_to_mail(
    sent: Export, engine: AsyncEngine, connection: Connection, status: str
) -> None:
    await connection.execute("UPDATE exports SET status = $1", status)
    with pytest.raises(ExportNotReady, match=f"The export is {status}"):
        await resend_email(engine, sent.id, 1)


async def test_a_file_whose_time_is_over_is_not_mailed_although_it_is_not_swept_yet(
    sent: Export, engine: AsyncEngine, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    with pytest.raises(ExportNotReady, match="expired"):
        await resend_email(engine, sent.id, 1)


async def test_anothers_export_is_unknown(sent: Export, engine: AsyncEngine) -> None:
    for export_id, seller_id in ((sent.id, 2), (uuid4(), 1), (uuid4(), None)):
        with pytest.raises(ExportNotFound):
            await resend_email(engine, export_id, seller_id)
