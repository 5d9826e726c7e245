"""Requesting an export: once, joined, limited, whatever comes at the same time."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from app.errors import KeyReused, QueueFull, QuotaExceeded
from app.exports.requests import ExportRequest, Requested, request_export
from tests.audience.storefront import Storefront
from tests.exports.conftest import wish


@pytest.fixture
def ask(engine: AsyncEngine, settings: Settings) -> Any:
    """Make a request, with an idempotency key or without."""

    async def ask(request: ExportRequest, key: str | None = None) -> Requested:
        return await request_export(engine, engine, settings, request, key)

    return ask


async def test_a_request_becomes_a_queued_row(ask: Any, storefront: Storefront) -> None:
    await storefront.follow("ann@x.co")
    asked = await ask(wish())
    assert asked.is_new
    assert asked.export.status == "queued"
    assert asked.export.rows_estimated == 1
    assert asked.export.sources == ["follower"]
    assert asked.export.started_at is None


async def test_an_identical_request_joins_the_one_that_waits(ask: Any) -> None:
    first, second = await ask(wish()), await ask(wish())
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
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_different_request_does_not_join(ask: Any, change: dict[str, Any]) -> None:
    first, second = await ask(wish()), await ask(wish(**change))
    assert second.is_new
    assert second.export.id != first.export.id


async def test_a_request_does_not_join_an_export_that_has_its_snapshot(
    ask: Any, connection: Connection
) -> None:
    first = await ask(wish())
    await connection.execute("UPDATE exports SET snapshot_at = now(), status = 'running'")
    second = await ask(wish())
    assert second.is_new
    assert second.export.id != first.export.id


async def test_a_key_returns_its_export_as_it_is_now(ask: Any, connection: Connection) -> None:
    first = await ask(wish(), "k")
    await connection.execute(
        "UPDATE exports SET status = 'running', snapshot_at = clock_timestamp()"
    )
    again = await ask(wish(), "k")
    assert not again.is_new
    assert (again.export.id, again.export.status) == (first.export.id, "running")


async def test_a_key_with_another_request_is_refused(ask: Any, connection: Connection) -> None:
    await ask(wish(), "k")
    with pytest.raises(KeyReused):
        await ask(wish(bom=True), "k")
    assert await connection.fetchval("SELECT count(*) FROM exports") == 1


async def test_keys_of_two_sellers_are_apart(ask: Any) -> None:
    first, second = await ask(wish(), "k"), await ask(wish(seller_id=2), "k")
    assert second.is_new
    assert second.export.id != first.export.id


async def test_a_key_is_forgotten_after_a_day(ask: Any, connection: Connection) -> None:
    await ask(wish(), "k")
    await connection.execute(
        "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'"
    )
    assert (await ask(wish(bom=True), "k")).is_new


async def test_fifty_simultaneous_requests_with_one_key_make_one_export(
    ask: Any, connection: Connection
) -> None:
    asked = await asyncio.gather(*(ask(wish(), "k") for _ in range(50)))
    assert len({each.export.id for each in asked}) == 1
    assert sum(each.is_new for each in asked) == 1
    assert await connection.fetchval("SELECT count(*) FROM exports") == 1


async def test_the_limit_of_active_exports_is_exact_under_concurrency(
    ask: Any, connection: Connection, settings: Settings
) -> None:
    wishes = [wish(recipient_email=f"{number}@example.com") for number in range(12)]
    asked = await asyncio.gather(*map(ask, wishes), return_exceptions=True)
    refused = [each for each in asked if isinstance(each, QuotaExceeded)]
    assert len(refused) == 12 - settings.max_active_exports_per_seller
    assert all(each.retry_after_s > 0 for each in refused)
    stored = await connection.fetchval("SELECT count(*) FROM exports")
    assert stored == settings.max_active_exports_per_seller


async def test_the_limit_an_hour_counts_ended_exports_too(
    ask: Any, connection: Connection, settings: Settings
) -> None:
    for number in range(settings.max_exports_per_seller_per_hour):
        await ask(wish(recipient_email=f"{number}@example.com"))
        await connection.execute("UPDATE exports SET status = 'cancelled'")
    with pytest.raises(QuotaExceeded) as refused:
        await ask(wish())
    assert 3500 < refused.value.retry_after_s <= 3600
    await connection.execute("UPDATE exports SET created_at = created_at - interval '1 hour'")
    assert (await ask(wish())).is_new


async def test_too_many_waiting_exports_of_all_sellers_are_refused(
    engine: AsyncEngine, settings: Settings
) -> None:
    limits = settings.model_copy(update={"max_queued_exports": 3})
    for seller_id in range(1, 4):
        await request_export(engine, engine, limits, wish(seller_id=seller_id), None)
    with pytest.raises(QueueFull) as refused:
        await request_export(engine, engine, limits, wish(seller_id=4), None)
    assert refused.value.retry_after_s > 0
    joined = await request_export(engine, engine, limits, wish(seller_id=1), None)
    assert not joined.is_new


async def test_a_refused_request_keeps_no_key(
    ask: Any, connection: Connection, settings: Settings
) -> None:
    for number in range(settings.max_active_exports_per_seller):
        await ask(wish(recipient_email=f"{number}@example.com"))
    with pytest.raises(QuotaExceeded):
        await ask(wish(), "k")
    assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0


async def test_a_large_audience_is_estimated_by_the_planner(
    ask: Any, connection: Connection
) -> None:
    await connection.execute("""
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        SELECT 1, number || '@x.co', now(), now() FROM generate_series(1, 30000) AS number
    """)
    await connection.execute("ANALYZE audience_members")
    asked = await ask(wish())
    assert 20_000 < asked.export.rows_estimated < 40_000


@pytest.mark.parametrize("key", [None, "k"])
async def test_asking_again_moves_what_a_replica_must_have_replayed(
    ask: Any, storefront: Storefront, key: str | None
) -> None:
    first = await ask(wish(), key)
    await storefront.follow("ann@x.co")
    second = await ask(wish(), key)
    assert second.export.id == first.export.id
    assert first.export.asked_lsn < second.export.asked_lsn


async def test_asking_again_moves_nothing_once_there_is_a_snapshot(
    ask: Any, connection: Connection
) -> None:
    first = await ask(wish(), "k")
    await connection.execute("UPDATE exports SET snapshot_at = now(), status = 'running'")
    second = await ask(wish(), "k")
    assert second.export.asked_lsn == first.export.asked_lsn
