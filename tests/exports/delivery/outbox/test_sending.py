"""The outbox: one mail for each end, with a link that works."""

import asyncio
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.config import SIGV4_LIFETIME_MAX_S, Settings
from app.database.connections import Connection
from app.database.database import Database, DatabaseConnection
from app.exports.audit import list_entries
from app.exports.delivery.links import LinkSigner
from app.exports.delivery.outbox import CLAIM_DUE, Outbox
from app.models import Export
from app.observability.tracing import Tracer
from tests.exports.conftest import reload
from tests.exports.delivery.outbox.conftest import DEFERRED, FAILED, SUCCEEDED, Ask, send_due
from tests.fakes import MemoryMailer, MemoryStorage, fails


async def test_success_is_reported_once(
    outbox: Outbox,
    succeeded: Export,
    mailer: MemoryMailer,
    database: Database,
    settings: Settings,
) -> None:
    assert [await send_due(outbox) for _ in range(2)] == [1, 0]
    (message,) = mailer.messages
    assert message["To"] == succeeded.recipient_email
    link = LinkSigner(settings.link_secrets, settings.public_url).url(succeeded)
    body = message.get_body(("plain",))
    assert body is not None
    assert link in body.get_content()
    now = await reload(database, succeeded)
    assert now.email_status == "sent"
    assert now.email_sent_at is not None


async def test_failure_is_reported_once(
    create_export: Ask, outbox: Outbox, mailer: MemoryMailer, connection: Connection
) -> None:
    await create_export()
    await connection.execute(FAILED)
    assert [await send_due(outbox) for _ in range(2)] == [1, 0]
    (message,) = mailer.messages
    assert message["Subject"] == "Your audience export failed: Followers"


@pytest.mark.parametrize("status", ["queued", "running", "cancelled", "deleted"])
async def test_nothing_is_told_of_other_states(
    create_export: Ask, outbox: Outbox, connection: Connection, status: str
) -> None:
    await create_export()
    await connection.execute("UPDATE exports SET status = $1", status)
    assert await outbox.claim_due(10) == []


async def test_of_many_processes_one_sends(
    succeeded: Export, make_outbox: Callable[..., Outbox], mailer: MemoryMailer
) -> None:
    await asyncio.gather(*(send_due(make_outbox()) for _ in range(8)))
    assert len(mailer.messages) == 1


async def test_no_more_is_claimed_than_there_is_room_for(
    create_export: Ask, outbox: Outbox, connection: Connection
) -> None:
    for number in range(5):
        await create_export(recipient_email=f"{number}@example.com")
    await connection.execute(SUCCEEDED)
    assert len(await outbox.claim_due(2)) == 2
    assert len(await outbox.claim_due(9)) == 3


async def test_what_is_due_first_is_claimed_first_whatever_the_plan(
    create_export: Ask, connection: Connection
) -> None:
    first, second = [await create_export(seller_id=seller_id) for seller_id in (1, 2)]
    await connection.execute(SUCCEEDED)
    await connection.execute("""
        UPDATE exports SET email_due_at = now() - interval '1 minute' WHERE seller_id = 2
    """)
    async with connection.transaction():
        await connection.execute("SET LOCAL enable_indexscan = off")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        for expected in (second, first):
            rows = await DatabaseConnection(connection).fetch(CLAIM_DUE, limit=1, lease_s=60)
            assert [row["id"] for row in rows] == [expected.id]


async def test_without_a_public_address_the_link_lives_as_long_as_the_file(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    storage: MemoryStorage,
) -> None:
    lifetimes = []
    signing = storage.presigned_url

    async def note(key: str, file_name: str, lifetime_s: int) -> str:
        lifetimes.append(lifetime_s)
        return await signing(key, file_name, lifetime_s)

    storage.presigned_url = note  # type: ignore[method-assign]  # the port's fake, to look in
    await send_due(make_outbox(public_url=None))
    assert len(mailer.messages) == 1
    assert SIGV4_LIFETIME_MAX_S - 60 < lifetimes[0] <= SIGV4_LIFETIME_MAX_S


async def audited(database: Database, export: Export) -> list[str]:
    """Return the actions in an export's audit, the newest first."""
    entries = await list_entries(database, export.id, limit=10, before=None)
    return [entry.action for entry in entries]


async def test_without_a_public_address_the_mailed_one_has_its_audit_entry(
    succeeded: Export, make_outbox: Callable[..., Outbox], database: Database
) -> None:
    await send_due(make_outbox(public_url=None))
    assert await audited(database, succeeded) == ["url_issued", "requested"]


async def test_with_one_a_mailed_link_has_none_before_it_is_opened(
    succeeded: Export, outbox: Outbox, database: Database
) -> None:
    assert await send_due(outbox) == 1
    assert await audited(database, succeeded) == ["requested"]


async def test_the_mail_of_a_failed_export_has_none(
    create_export: Ask,
    make_outbox: Callable[..., Outbox],
    connection: Connection,
    database: Database,
) -> None:
    export = await create_export()
    await connection.execute(FAILED)
    assert await send_due(make_outbox(public_url=None)) == 1
    assert await audited(database, export) == ["requested"]


async def test_a_clock_that_is_behind_the_databases_makes_no_link_too_long(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    await connection.execute("UPDATE exports SET expires_at = expires_at + interval '1 minute'")
    await send_due(make_outbox(public_url=None))
    assert len(mailer.messages) == 1


async def test_a_link_that_would_be_dead_is_not_mailed(
    succeeded: Export, outbox: Outbox, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    assert await send_due(outbox) == 0


async def test_the_span_of_a_mail_has_the_error(
    succeeded: Export,
    make_outbox: Callable[..., Outbox],
    mailer: MemoryMailer,
    connection: Connection,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    outbox = make_outbox(tracer=Tracer(provider.get_tracer("tests")))
    mailer.before = fails("send", DEFERRED, times=1)
    await send_due(outbox)
    await connection.execute("UPDATE exports SET email_due_at = clock_timestamp()")
    await send_due(outbox)
    errors = [(span.attributes or {}).get("error.type") for span in exporter.get_finished_spans()]
    assert errors == ["mail_deferred", None]
