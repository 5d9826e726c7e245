"""The notices of large lists: one for each, without a link, whatever happens meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncpg import Record

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import MailDeferred, MailRefused, MailUnanswered
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.deletion import delete_export
from app.exports.delivery.links import LinkSigner
from app.exports.delivery.notices import BATCH, NoticeOutbox
from app.exports.delivery.outbox import Outbox
from app.exports.queue.leases import ExportedFile, LeaseStore
from app.models import Export
from tests.exports.delivery.mails import html_text, plain_text, shown_text
from tests.fakes import MemoryMailer, MemoryStorage, fails

Ask = Callable[..., Awaitable[Export]]

DEFERRED = MailDeferred("The mail server does not take the message now (451).")


@pytest.fixture
def mailer() -> MemoryMailer:
    """A mail server in memory."""
    return MemoryMailer()


@pytest.fixture
def watched(settings: Settings) -> Settings:
    """Settings with which lists of more than two rows are told of."""
    changes = {"notify_email": "Data Protection <dpo@x.co>", "notify_above_rows": 2}
    return settings.model_copy(update=changes | {"record_timeout_s": 3, "mail_retry_base_s": 0.001})


@pytest.fixture
def notices(database: Database, mailer: MemoryMailer, watched: Settings) -> NoticeOutbox:
    """A process's notices."""
    return NoticeOutbox(database, mailer, watched)


@pytest.fixture
def make(create_export: Ask, database: Database, watched: Settings) -> Callable[..., Any]:
    """Make a list of some rows."""

    async def make(rows: int = 3, **request: Any) -> Export:
        attempts = LeaseStore(database, watched, worker="tests")
        export = await create_export(**request)
        claimed = await attempts.claim(export.key)
        assert claimed is not None
        file = ExportedFile(
            "exports/1/x/1.csv", "audience.csv", rows, 99, datetime.now(UTC), "crc32c:yZRlqg==", 0
        )
        return await attempts.succeed(claimed, file, claims_mail=False)

    return make


async def notice(connection: Connection) -> Record:
    """Return the only notice's row."""
    (row,) = await connection.fetch("SELECT * FROM list_notices")
    return row


async def due_again(connection: Connection) -> None:
    """Make every notice due now."""
    await connection.execute("UPDATE list_notices SET due_at = clock_timestamp()")


async def test_a_large_list_is_told_of_once_without_a_link(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    export = await make(rows=4246, recipient_email="ann@x.co", sources=("follower", "customer"))
    assert [await notices.send_due() for _ in range(2)] == [1, 0]
    (message,) = mailer.messages
    assert message["To"] == "Data Protection <dpo@x.co>"
    assert message["Subject"] == "Large audience export: 4,246 people, seller 1"
    assert message["Message-ID"].startswith(f"<{export.id}.0.notice@")
    assert message["Auto-Submitted"] == "auto-generated"
    for text in (plain_text(message), shown_text(html_text(message))):
        for told in ("ann@x.co", "4,246", "Followers and customers", "(UTC)", str(export.id)):
            assert told in text
        assert "/d/" not in text
    assert "<a " not in html_text(message)
    row = await notice(connection)
    assert (row["status"], row["error"]) == ("sent", None)
    assert row["sent_at"] is not None


async def test_lists_up_to_the_limit_are_not_told_of(
    make: Any, notices: NoticeOutbox, connection: Connection
) -> None:
    await make(rows=2)
    assert await connection.fetchval("SELECT count(*) FROM list_notices") == 0
    assert await notices.send_due() == 0


async def test_without_the_setting_nothing_is_told(
    create_export: Ask, database: Database, settings: Settings, mailer: MemoryMailer
) -> None:
    attempts = LeaseStore(database, settings, worker="tests")
    claimed = await attempts.claim((await create_export()).key)
    assert claimed is not None
    file = ExportedFile(
        "exports/1/x/1.csv", "audience.csv", 10**7, 99, datetime.now(UTC), "crc32c:yZRlqg==", 0
    )
    await attempts.succeed(claimed, file, claims_mail=False)
    assert await NoticeOutbox(database, mailer, settings).send_due() == 0
    assert mailer.messages == []


async def test_of_many_processes_one_sends(
    make: Any, database: Database, mailer: MemoryMailer, watched: Settings
) -> None:
    await make()
    boxes = [NoticeOutbox(database, mailer, watched) for _ in range(8)]
    assert sum(await asyncio.gather(*(box.send_due() for box in boxes))) == 1
    assert len(mailer.messages) == 1


async def test_the_sellers_mail_and_the_notice_do_not_depend_on_each_other(
    make: Any,
    notices: NoticeOutbox,
    mailer: MemoryMailer,
    database: Database,
    storage: MemoryStorage,
    watched: Settings,
) -> None:
    await make(recipient_email="ann@x.co")
    mailer.before = fails("send", MailRefused("No such mailbox (550)."))
    await notices.send_due()
    outbox = Outbox(
        database, mailer, storage, LinkSigner(watched.link_secrets, watched.public_url), watched
    )
    for due in await outbox.claim_due(10):
        await outbox.send(due)
    assert [message["To"] for message in mailer.messages] == ["ann@x.co"]


async def test_a_deferred_notice_goes_out_in_the_end_under_one_message_id(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await make()
    mailer.before = fails("send", DEFERRED, times=2)
    for _ in range(3):
        await due_again(connection)
        await notices.send_due()
    assert len(mailer.messages) == 1
    row = await notice(connection)
    assert (row["status"], row["attempts"], row["unanswered"]) == ("sent", 3, 1)


async def test_a_notice_deferred_for_a_day_is_given_up(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await make()
    mailer.before = fails("send", DEFERRED)
    await connection.execute("UPDATE list_notices SET created_at = created_at - interval '25 h'")
    await notices.send_due()
    row = await notice(connection)
    assert (row["status"], row["error"]) == ("failed", DEFERRED.detail)
    await due_again(connection)
    assert await notices.send_due() == 0


async def test_a_refused_notice_is_not_tried_again(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await make()
    mailer.before = fails("send", MailRefused("No such mailbox (550)."))
    await notices.send_due()
    await due_again(connection)
    assert await notices.send_due() == 0
    assert (await notice(connection))["error"] == "No such mailbox (550)."


async def test_without_an_answer_it_is_sent_twice_at_most(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await make()
    mailer.before = fails("answer", MailUnanswered("No answer."), times=9)
    for _ in range(5):
        await due_again(connection)
        await notices.send_due()
    row = await notice(connection)
    assert (row["status"], row["attempts"], row["unanswered"]) == ("failed", 2, 2)


async def test_a_frozen_sender_whose_lease_another_took_sends_nothing(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await make()

    async def lose_the_lease(method: str) -> None:
        if method == "send":
            await connection.execute("UPDATE list_notices SET attempts = attempts + 1")

    mailer.before = lose_the_lease
    await notices.send_due()
    assert mailer.messages == []
    assert (await notice(connection))["status"] == "pending"


async def test_a_defect_defers_one_notice_and_not_the_others(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    for seller in ("ann@x.co", "bob@x.co"):
        await make(recipient_email=seller)
    mailer.before = fails("send", ZeroDivisionError())
    assert await notices.send_due() == 2
    rows = await connection.fetch("SELECT status FROM list_notices ORDER BY status")
    assert [row["status"] for row in rows] == ["pending", "sent"]


async def test_all_that_is_due_is_sent_unless_the_server_defers_one(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer, connection: Connection
) -> None:
    for number in range(BATCH + 2):
        await make(recipient_email=f"{number}@x.co", seller_id=number + 1)
    mailer.before = fails("send", DEFERRED)
    assert await notices.send_due() == BATCH
    assert len(mailer.messages) == BATCH - 1
    await due_again(connection)
    assert await notices.send_due() >= 3
    assert len(mailer.messages) >= BATCH + 2


async def test_more_than_a_batch_is_sent_in_one_call(
    make: Any, notices: NoticeOutbox, mailer: MemoryMailer
) -> None:
    for number in range(2 * BATCH + 1):
        await make(recipient_email=f"{number}@x.co", seller_id=number + 1)
    assert await notices.send_due() == 2 * BATCH + 1
    assert len(mailer.messages) == 2 * BATCH + 1


async def test_deleting_a_list_does_not_withdraw_its_notice(
    make: Any,
    notices: NoticeOutbox,
    mailer: MemoryMailer,
    database: Database,
    attempt_cleaner: AttemptCleaner,
) -> None:
    export = await make()
    await delete_export(database, attempt_cleaner, export.id, None)
    await notices.send_due()
    assert len(mailer.messages) == 1
