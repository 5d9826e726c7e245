"""Which failures end an export, and which are retried."""

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import (
    DatabaseUnavailable,
    ObjectNotFound,
    ReadConflict,
    ServiceError,
    StorageRefused,
    StorageUnavailable,
    StreamStalled,
    Unexpected,
)
from app.exports.audit import AuditContext
from app.exports.queue.failure_policy import WORKER_LOST_DETAIL
from app.exports.queue.leases import LeaseStore
from app.exports.submission.retry import retry_export
from app.models import Export
from tests.exports.conftest import reload
from tests.exports.queue.conftest import Ask
from tests.fakes import MemoryExportEvents, MemoryQueue


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("away"),
        DatabaseUnavailable("away"),
        ReadConflict("replay"),
        StreamStalled("no data"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_outage_ends_an_export_before_its_time(
    leases: LeaseStore,
    fast_settings: Settings,
    running: Export,
    connection: Connection,
    database: Database,
    error: ServiceError,
) -> None:
    installation = LeaseStore(
        database, fast_settings.model_copy(update={"retry_max_age_s": 3600}), worker="tests"
    )
    await connection.execute("UPDATE exports SET attempt = 100")
    ended = await installation.fail(await reload(database, running), error)
    assert (ended.status, ended.failures, ended.error_code) == ("queued", 0, error.code)


async def test_an_outage_that_outlasts_the_limit_ends_the_export(
    database: Database, fast_settings: Settings, running: Export, connection: Connection
) -> None:
    installation = LeaseStore(
        database, fast_settings.model_copy(update={"retry_max_age_s": 3600}), worker="tests"
    )
    await connection.execute(
        "UPDATE exports SET attempt = 100, created_at = created_at - interval '1 hour'"
    )
    ended = await installation.fail(
        await reload(database, running), StorageUnavailable("It is unavailable.")
    )
    assert (ended.status, ended.email_status) == ("failed", "pending")
    assert ended.error_detail == (
        "It is unavailable. It was tried many times; please ask for the export again later."
    )


async def test_an_export_that_waited_long_gets_its_tries_too(
    leases: LeaseStore, running: Export, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET created_at = created_at - interval '1 day'")
    ended = await leases.fail(running, StorageUnavailable("away"))
    assert ended.status == "queued"


@pytest.mark.parametrize("error", [Unexpected("broke"), ObjectNotFound("gone")])
async def test_what_no_outage_explains_is_tried_a_few_times_only(
    database: Database,
    fast_settings: Settings,
    running: Export,
    connection: Connection,
    error: ServiceError,
) -> None:
    installation = LeaseStore(
        database, fast_settings.model_copy(update={"retry_max_age_s": 3600}), worker="tests"
    )
    ended = await installation.fail(running, error)
    assert (ended.status, ended.failures) == ("queued", 1)
    await connection.execute("UPDATE exports SET status = 'running', failures = 2")
    ended = await installation.fail(await reload(database, running), error)
    assert (ended.status, ended.failures) == ("failed", 3)


async def test_a_refusal_ends_the_export_at_once(leases: LeaseStore, running: Export) -> None:
    ended = await leases.fail(running, StorageRefused("Access is denied."))
    assert (ended.status, ended.error_code) == ("failed", "storage_refused")
    assert ended.error_detail is not None
    assert ended.error_detail.startswith("Access is denied. Only the operator")


async def test_an_export_handed_back_again_and_again_ends(
    database: Database, fast_settings: Settings, create_export: Ask
) -> None:
    settings = fast_settings.model_copy(update={"export_timeout_s": 0.1, "retry_max_age_s": 0.1})
    leases = LeaseStore(database, settings, worker="tests")
    export = await create_export()
    for _ in range(10_000):
        running = await leases.claim(export.key)
        assert running is not None
        export = await leases.release(running)
        if not export.is_active:
            break
    assert (export.status, export.error_code) == ("failed", "worker_lost")
    assert (export.error_detail, export.email_status) == (WORKER_LOST_DETAIL, "pending")


@pytest.mark.parametrize("error", [StreamStalled("no data"), Unexpected("broke")])
async def test_an_error_is_final_once_the_first_attempt_began_too_long_ago(
    leases: LeaseStore,
    fast_settings: Settings,
    running: Export,
    connection: Connection,
    database: Database,
    error: ServiceError,
) -> None:
    await _begin_earlier(connection, fast_settings.last_attempt_after_s - 60)
    ended = await leases.fail(await reload(database, running), error)
    assert (ended.status, ended.error_code) == ("queued", error.code)
    await connection.execute("UPDATE exports SET status = 'running'")
    await _begin_earlier(connection, 60)
    ended = await leases.fail(await reload(database, running), error)
    assert (ended.status, ended.error_code) == ("failed", error.code)


async def test_what_an_operator_runs_again_has_all_its_time_again(
    leases: LeaseStore,
    fast_settings: Settings,
    running: Export,
    connection: Connection,
    database: Database,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
) -> None:
    await _begin_earlier(connection, fast_settings.last_attempt_after_s)
    assert (await leases.release(await reload(database, running))).status == "failed"
    await retry_export(database, queue, export_events, running.id, AuditContext("operator"))
    again = await leases.claim(running.key)
    assert again is not None
    assert (await leases.release(again)).status == "queued"


async def _begin_earlier(connection: Connection, by_s: float) -> None:
    await connection.execute(
        "UPDATE exports SET first_started_at = first_started_at - make_interval(secs => $1)", by_s
    )
