"""Submitting an export: idempotent, coalesced and limited, under concurrent requests."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from app.audience.boundaries import EARLIEST, LATEST
from app.concurrency import KeyedLocks
from app.config import Settings
from app.database.connections import Connection, create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable, IdempotencyKeyReused, QueueFull, QuotaExceeded
from app.exports.submission import submit
from app.exports.submission.admission import read_admission_state
from app.exports.submission.export_request import ExportRequest
from app.exports.submission.submit import SubmissionResult, submit_export
from tests.audience.storefront import Storefront
from tests.exports.conftest import make_request


@pytest.fixture
def create_export(database: Database, settings: Settings) -> Any:
    """Make a request, with an idempotency key or without."""

    async def create_export(request: ExportRequest, key: str | None = None) -> SubmissionResult:
        return await submit_export(database, database, settings, request, key)

    return create_export


async def test_a_request_becomes_a_queued_row(create_export: Any, storefront: Storefront) -> None:
    await storefront.follow("ann@x.co")
    submitted = await create_export(make_request())
    assert submitted.is_new
    assert submitted.export.status == "queued"
    assert submitted.export.rows_estimated == 1
    assert submitted.export.sources == ["follower"]
    assert submitted.export.started_at is None


async def test_an_identical_request_joins_the_one_that_waits(create_export: Any) -> None:
    first, second = await create_export(make_request()), await create_export(make_request())
    assert second.export.id == first.export.id
    assert not second.is_new


@pytest.mark.parametrize(
    "change",
    [
        {"recipient_email": "other@example.com"},
        {"sources": ("customer",)},
        {"columns": ("subscribed_at", "email")},
        {"spreadsheet_safe": False},
        {"bom": True},
        {"seller_id": 2},
        {"format": "xlsx"},
        {"delimiter": ";"},
        {"locale": "de"},
        {"timezone": "Europe/Berlin"},
        {"joined_after": datetime(2024, 1, 1, tzinfo=UTC)},
        {"joined_before": datetime(2024, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_different_request_does_not_join(
    create_export: Any, change: dict[str, Any]
) -> None:
    first, second = await create_export(make_request()), await create_export(make_request(**change))
    assert second.is_new
    assert second.export.id != first.export.id


@pytest.mark.parametrize("end", [EARLIEST, LATEST])
async def test_a_boundary_at_an_end_of_the_calendar_is_stored_as_it_is(
    create_export: Any, end: datetime
) -> None:
    """asyncpg would write it as infinity, and read that without a time zone."""
    submitted = await create_export(make_request(joined_after=end, joined_before=end))
    assert (submitted.export.joined_after, submitted.export.joined_before) == (end, end)


@pytest.mark.parametrize(
    "change",
    ["snapshot_at = now(), status = 'running'", "status = 'cancelled'"],
    ids=["has its snapshot", "ended without one"],
)
async def test_a_request_joins_no_export_that_will_not_read_what_it_saw(
    create_export: Any, connection: Connection, change: str
) -> None:
    first = await create_export(make_request())
    await connection.execute(f"UPDATE exports SET {change}")
    second = await create_export(make_request())
    assert second.is_new
    assert second.export.id != first.export.id


async def test_no_worker_claims_an_export_that_a_request_is_joining(
    create_export: Any, database: Database, connection: Connection, settings: Settings
) -> None:
    """The claim skips it: it would read a replica that need not have the request's changes."""
    joined = (await create_export(make_request())).export
    async with database.transaction() as tx:
        state = await read_admission_state(tx, settings, make_request(), None)
        assert state.identical_id == joined.id
        skipping = "SELECT count(*) FROM (SELECT FROM exports FOR UPDATE SKIP LOCKED) AS free"
        assert await connection.fetchval(skipping) == 0


async def test_keys_of_one_seller_are_apart(create_export: Any) -> None:
    one, other = make_request(), make_request(bom=True)
    made = {
        key: (await create_export(request, key)).export.id
        for key, request in (("k", one), ("l", other))
    }
    again = {
        key: (await create_export(request, key)).export.id
        for key, request in (("k", one), ("l", other))
    }
    assert made == again
    assert made["k"] != made["l"]


async def test_a_key_returns_its_export_as_it_is_now(
    create_export: Any, connection: Connection
) -> None:
    first = await create_export(make_request(), "k")
    await connection.execute(
        "UPDATE exports SET status = 'running', snapshot_at = clock_timestamp()"
    )
    again = await create_export(make_request(), "k")
    assert not again.is_new
    assert (again.export.id, again.export.status) == (first.export.id, "running")


async def test_a_key_with_another_request_is_refused(
    create_export: Any, connection: Connection
) -> None:
    await create_export(make_request(), "k")
    with pytest.raises(IdempotencyKeyReused):
        await create_export(make_request(bom=True), "k")
    assert await connection.fetchval("SELECT count(*) FROM exports") == 1


async def test_keys_of_two_sellers_are_apart(create_export: Any) -> None:
    first, second = (
        await create_export(make_request(), "k"),
        await create_export(make_request(seller_id=2), "k"),
    )
    assert second.is_new
    assert second.export.id != first.export.id


async def test_a_key_is_forgotten_after_a_day(create_export: Any, connection: Connection) -> None:
    await create_export(make_request(), "k")
    await connection.execute(
        "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'"
    )
    assert (await create_export(make_request(bom=True), "k")).is_new


async def test_fifty_simultaneous_requests_with_one_key_make_one_export(
    create_export: Any, connection: Connection
) -> None:
    submitted = await asyncio.gather(*(create_export(make_request(), "k") for _ in range(50)))
    assert len({each.export.id for each in submitted}) == 1
    assert sum(each.is_new for each in submitted) == 1
    assert await connection.fetchval("SELECT count(*) FROM exports") == 1


async def test_the_limit_of_active_exports_is_exact_under_concurrency(
    create_export: Any, connection: Connection, settings: Settings
) -> None:
    requests = [make_request(recipient_email=f"{number}@example.com") for number in range(12)]
    submitted = await asyncio.gather(*map(create_export, requests), return_exceptions=True)
    refused = [each for each in submitted if isinstance(each, QuotaExceeded)]
    assert len(refused) == 12 - settings.max_active_exports_per_seller
    assert all(each.retry_after_s > 0 for each in refused)
    stored = await connection.fetchval("SELECT count(*) FROM exports")
    assert stored == settings.max_active_exports_per_seller


async def test_the_limit_an_hour_counts_ended_exports_too(
    create_export: Any, connection: Connection, settings: Settings
) -> None:
    for number in range(settings.max_exports_per_seller_per_hour):
        await create_export(make_request(recipient_email=f"{number}@example.com"))
        await connection.execute("UPDATE exports SET status = 'cancelled'")
    with pytest.raises(QuotaExceeded) as refused:
        await create_export(make_request())
    assert 3500 < refused.value.retry_after_s <= 3600
    await connection.execute("UPDATE exports SET created_at = created_at - interval '40 min'")
    with pytest.raises(QuotaExceeded) as refused:
        await create_export(make_request())
    assert 1100 < refused.value.retry_after_s <= 1200
    await connection.execute("UPDATE exports SET created_at = created_at - interval '20 min'")
    assert (await create_export(make_request())).is_new


async def test_too_many_waiting_exports_of_all_sellers_are_refused(
    database: Database, settings: Settings
) -> None:
    limits = settings.model_copy(update={"max_queued_exports": 3})
    for seller_id in range(1, 4):
        await submit_export(database, database, limits, make_request(seller_id=seller_id), None)
    with pytest.raises(QueueFull) as refused:
        await submit_export(database, database, limits, make_request(seller_id=4), None)
    assert refused.value.retry_after_s > 0
    joined = await submit_export(database, database, limits, make_request(seller_id=1), None)
    assert not joined.is_new


async def test_a_refused_request_keeps_no_key(
    create_export: Any, connection: Connection, settings: Settings
) -> None:
    for number in range(settings.max_active_exports_per_seller):
        await create_export(make_request(recipient_email=f"{number}@example.com"))
    with pytest.raises(QuotaExceeded):
        await create_export(make_request(), "k")
    assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0


async def test_a_large_audience_is_estimated_by_the_planner(
    create_export: Any, connection: Connection
) -> None:
    await connection.execute("""
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        SELECT 1, number || '@x.co', now(), now() FROM generate_series(1, 30000) AS number
    """)
    await connection.execute("ANALYZE audience_members")
    submitted = await create_export(make_request())
    assert 20_000 < submitted.export.rows_estimated < 40_000


@pytest.mark.parametrize("key", [None, "k"])
async def test_asking_again_moves_what_a_replica_must_have_replayed(
    create_export: Any, storefront: Storefront, key: str | None
) -> None:
    first = await create_export(make_request(), key)
    await storefront.follow("ann@x.co")
    second = await create_export(make_request(), key)
    assert second.export.id == first.export.id
    assert first.export.required_lsn < second.export.required_lsn


async def test_asking_again_moves_nothing_once_there_is_a_snapshot(
    create_export: Any, connection: Connection
) -> None:
    first = await create_export(make_request(), "k")
    await connection.execute("UPDATE exports SET snapshot_at = now(), status = 'running'")
    second = await create_export(make_request(), "k")
    assert second.export.required_lsn == first.export.required_lsn


async def test_simultaneous_requests_of_a_seller_hold_one_connection(
    database: Database, settings: Settings
) -> None:
    """Others of the pool stay free for other sellers, and for the leases of running exports."""
    held = Counter[str]()
    pool = database.engine.sync_engine.pool
    reads = Database(create_engine(settings.database_url, pool_size=5))

    @event.listens_for(pool, "checkout")
    def take(*_: object) -> None:
        held["now"] += 1
        held["most"] = max(held["most"], held["now"])

    @event.listens_for(pool, "checkin")
    def give(*_: object) -> None:
        held["now"] -= 1

    locks = KeyedLocks()
    submitted = await asyncio.gather(
        *(
            submit_export(database, reads, settings, make_request(), None, locks=locks)
            for _ in range(40)
        )
    )
    await reads.close()
    assert sum(each.is_new for each in submitted) == 1
    assert held["most"] == 1


async def test_a_request_does_not_wait_for_ever_for_the_sellers_others(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "TURN_TIMEOUT_S", 0.05)
    locks = KeyedLocks()
    async with locks.acquire(1, timeout_s=5):
        with pytest.raises(DatabaseUnavailable):
            await submit_export(database, database, settings, make_request(), None, locks=locks)
    await submit_export(database, database, settings, make_request(), None, locks=locks)
