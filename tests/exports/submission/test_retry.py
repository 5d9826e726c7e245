"""Retrying failed exports: each once a call, with a new end and one mail about it."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import ExportNotFound, ExportNotReady, ServiceError, StorageUnavailable
from app.exports.audit import AuditContext, list_entries
from app.exports.queue.leases import LeaseStore
from app.exports.submission.retry import retry_export, retry_exports
from app.models import Export
from tests.exports.conftest import reload
from tests.fakes import MemoryExportEvents, MemoryQueue

Ask = Callable[..., Awaitable[Export]]
Retry = Callable[[Export], Awaitable[Export]]

OPERATOR = AuditContext("operator")

FAILED = """
    UPDATE exports
    SET status = 'failed', attempt = 8, failures = 8, started_at = created_at,
        snapshot_at = created_at, finished_at = clock_timestamp(),
        error_code = 'storage_unavailable', error_detail = 'The store is unavailable.',
        email_status = 'pending', email_due_at = clock_timestamp(), email_attempts = 2
"""


@pytest.fixture
async def failed(create_export: Ask, connection: Connection, database: Database) -> Export:
    """An export that has failed, and whose mail has not been sent yet."""
    export = await create_export()
    await connection.execute(FAILED)
    return await reload(database, export)


@pytest.fixture
def retry(database: Database, queue: MemoryQueue, export_events: MemoryExportEvents) -> Retry:
    """Retry an export as an operator."""

    async def retry(export: Export) -> Export:
        return await retry_export(database, queue, export_events, export.id, OPERATOR)

    return retry


async def test_a_failed_export_is_queued_again_under_its_id(
    failed: Export, retry: Retry, database: Database, queue: MemoryQueue
) -> None:
    queued = await retry(failed)
    assert (queued.id, queued.status, queued.failures) == (failed.id, "queued", 0)
    assert (queued.error_code, queued.finished_at, queued.email_status) == (None, None, None)
    assert [job.export_id for job in queue.jobs][-1:] == [failed.id]
    [entry, *_] = await list_entries(database, failed.id, limit=9, before=None)
    assert (entry.action, entry.actor) == ("retried", "operator")


async def test_calls_at_once_retry_it_once(failed: Export, retry: Retry) -> None:
    results = await asyncio.gather(*(retry(failed) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, Export) for each in results) == 1
    assert sum(isinstance(each, ExportNotReady) for each in results) == 4


async def test_only_failed_exports_run_again(create_export: Ask, retry: Retry) -> None:
    with pytest.raises(ExportNotReady, match="is queued"):
        await retry(await create_export())


async def test_an_unknown_export_is_not_found(
    database: Database, queue: MemoryQueue, export_events: MemoryExportEvents
) -> None:
    with pytest.raises(ExportNotFound):
        await retry_export(database, queue, export_events, uuid4(), OPERATOR)


async def test_it_has_the_time_of_a_new_export(
    failed: Export, retry: Retry, database: Database, connection: Connection, settings: Settings
) -> None:
    await connection.execute("UPDATE exports SET created_at = created_at - interval '2 days'")
    await retry(failed)
    leases = LeaseStore(database, settings, "tests")
    claimed = await leases.claim(failed.key)
    assert claimed is not None
    error: ServiceError = StorageUnavailable("The store is unavailable.")
    assert (await leases.fail(claimed, error)).status == "queued"


async def test_the_mail_of_the_failure_is_withdrawn_and_the_next_is_another(
    failed: Export, retry: Retry
) -> None:
    queued = await retry(failed)
    assert queued.email_sequence == failed.email_sequence + 1
    assert queued.email_attempts == 0


async def test_an_identical_request_made_since_does_not_stop_it(
    failed: Export,
    retry: Retry,
    create_export: Ask,
) -> None:
    other = await create_export()
    assert other.id != failed.id
    assert (await retry(failed)).status == "queued"


async def test_many_are_retried_once_each(
    failed: Export,
    create_export: Ask,
    connection: Connection,
    database: Database,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
) -> None:
    active = await create_export(seller_id=2)
    ids = [failed.id, active.id, failed.id]
    assert await retry_exports(database, queue, export_events, ids, OPERATOR) == 1
    assert (await reload(database, failed)).status == "queued"
