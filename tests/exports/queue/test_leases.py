"""Claims, leases and ends: each one guarded UPDATE."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import (
    LeaseLost,
    StorageRefused,
    StorageUnavailable,
)
from app.exports.queue.leases import ExportedFile, LeaseStore
from app.models import Export
from tests.exports.conftest import reload
from tests.exports.queue.conftest import Ask

FILE = ExportedFile(
    "exports/1/x/1.csv", "audience.csv", 3, 99, datetime.now(UTC), "crc32c:yZRlqg==", 2
)

ENDS: dict[str, Callable[[LeaseStore, Export], Awaitable[object]]] = {
    "renew": lambda leases, export: leases.renew(export, 1, None),
    "succeed": lambda leases, export: leases.succeed(export, FILE, claims_mail=False),
    "retry": lambda leases, export: leases.fail(export, StorageUnavailable("away")),
    "fail": lambda leases, export: leases.fail(export, StorageRefused("denied")),
    "release": lambda leases, export: leases.release(export),
}

TAKEN = {
    "the next attempt": "UPDATE exports SET attempt = attempt + 1",
    "the queue": "UPDATE exports SET status = 'queued'",
    "a cancel": "UPDATE exports SET status = 'cancelled'",
    "an end": "UPDATE exports SET status = 'succeeded'",
}


async def test_a_claim_starts_the_next_attempt_with_a_lease(
    running: Export, connection: Connection
) -> None:
    assert (running.status, running.attempt) == ("running", 1)
    row = await connection.fetchrow("SELECT *, lease_expires_at - started_at AS lease FROM exports")
    assert row is not None
    assert row["worker"] == "tests"
    assert 0.49 < row["lease"].total_seconds() < 0.6
    assert row["snapshot_at"] >= row["started_at"]


async def test_the_next_attempt_starts_afresh(leases: LeaseStore, running: Export) -> None:
    await leases.renew(running, 7, None)
    await leases.release(running)
    again = await leases.claim(running.key)
    assert again is not None
    assert again.rows_exported == 0
    assert again.started_at is not None
    assert again.snapshot_at is not None
    assert again.snapshot_at >= again.started_at


async def test_a_claim_leaves_the_sellers_other_exports(
    create_export: Ask, running: Export, leases: LeaseStore, database: Database
) -> None:
    other, claimed = [await create_export(recipient_email=f"{n}@x.co") for n in range(2)]
    assert await leases.claim(claimed.key) is not None
    assert (await reload(database, other)).status == "queued"
    assert (await reload(database, running)).attempt == 1


async def test_a_renewal_records_the_progress_and_the_snapshot(
    leases: LeaseStore, running: Export, database: Database
) -> None:
    await leases.renew(running, 7, None)
    assert (await reload(database, running)).snapshot_at == running.snapshot_at
    await leases.renew(running, 9, FILE.snapshot_at)
    renewed = await reload(database, running)
    assert (renewed.rows_exported, renewed.snapshot_at) == (9, FILE.snapshot_at)


async def test_of_many_simultaneous_claims_one_wins(create_export: Ask, leases: LeaseStore) -> None:
    export = await create_export()
    claims = [leases.claim(export.key) for _ in range(10)]
    won = [each for each in await asyncio.gather(*claims) if each is not None]
    assert [each.attempt for each in won] == [1]


@pytest.mark.parametrize(
    "status", ["running", "succeeded", "failed", "cancelled", "expired", "deleted"]
)
async def test_only_what_is_queued_can_be_claimed(
    create_export: Ask, leases: LeaseStore, connection: Connection, status: str
) -> None:
    export = await create_export()
    await connection.execute("UPDATE exports SET status = $1", status)
    assert await leases.claim(export.key) is None


async def test_a_wake_up_before_a_retry_is_due_claims_nothing(
    create_export: Ask, leases: LeaseStore, connection: Connection
) -> None:
    export = await create_export()
    await connection.execute("UPDATE exports SET due_at = clock_timestamp() + interval '1 minute'")
    assert await leases.claim(export.key) is None


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_attempt_that_lost_its_export_changes_nothing(
    leases: LeaseStore,
    running: Export,
    connection: Connection,
    end: Callable[[LeaseStore, Export], Awaitable[object]],
    taken: str,
) -> None:
    await connection.execute(taken)
    before = await connection.fetchrow("SELECT * FROM exports")
    with pytest.raises(LeaseLost):
        await end(leases, running)
    assert await connection.fetchrow("SELECT * FROM exports") == before


async def test_success_makes_the_mail_due_and_starts_the_links_life(
    leases: LeaseStore, running: Export, connection: Connection, settings: Settings
) -> None:
    ended = await leases.succeed(running, FILE, claims_mail=False)
    assert (ended.status, ended.object_key, ended.file_rows) == ("succeeded", FILE.object_key, 3)
    assert (ended.rows_exported, ended.file_refused_addresses) == (3, 2)
    assert (ended.snapshot_at, ended.file_checksum) == (FILE.snapshot_at, FILE.checksum)
    assert (ended.email_status, ended.email_attempts) == ("pending", 0)
    row = await connection.fetchrow("""
        SELECT expires_at - finished_at AS lifetime,
            email_due_at BETWEEN finished_at AND clock_timestamp() AS is_due,
            lease_expires_at, uncleaned_attempts
        FROM exports
    """)
    assert row is not None
    assert row["lifetime"].total_seconds() == pytest.approx(settings.link_lifetime_s, abs=1)
    assert (row["is_due"], row["lease_expires_at"], row["uncleaned_attempts"]) == (True, None, [])


async def test_success_claims_the_mail_for_the_worker_that_sends_it_next(
    leases: LeaseStore, running: Export, connection: Connection
) -> None:
    ended = await leases.succeed(running, FILE, claims_mail=True)
    assert (ended.email_status, ended.email_attempts) == ("pending", 1)
    assert await connection.fetchval("SELECT email_due_at > clock_timestamp() FROM exports")


async def test_a_retry_says_why_and_takes_its_turn_when_it_is_due(
    leases: LeaseStore, running: Export, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.exports.queue.leases.full_jitter", lambda *_: 60.0)
    ended = await leases.fail(running, StorageUnavailable("The store is away."))
    assert (ended.error_code, ended.error_detail) == ("storage_unavailable", "The store is away.")
    row = await connection.fetchrow("""
        SELECT due_at - clock_timestamp() AS due_in, queue_order_at - clock_timestamp() AS turn_in
        FROM exports
    """)
    assert row is not None
    assert 30 < row["due_in"].total_seconds() <= 60
    assert 30 < row["turn_in"].total_seconds() <= 60


@pytest.mark.parametrize("end", ["retry", "fail", "release"])
async def test_any_other_end_notes_what_may_have_been_left(
    leases: LeaseStore, running: Export, connection: Connection, end: str
) -> None:
    await ENDS[end](leases, running)
    row = await connection.fetchrow("SELECT uncleaned_attempts, lease_expires_at FROM exports")
    assert row is not None
    assert (row["uncleaned_attempts"], row["lease_expires_at"]) == ([1], None)


async def test_an_export_given_back_is_due_at_once_and_no_failure(
    leases: LeaseStore, running: Export
) -> None:
    ended = await leases.release(running)
    assert (ended.status, ended.failures) == ("queued", 0)
    assert running.started_at is not None
    assert ended.due_at > running.started_at  # the wait for the next attempt begins here
    again = await leases.claim(ended.key)
    assert again is not None
    assert again.attempt == 2


async def test_an_export_given_back_too_late_fails_without_a_failure_of_its_own(
    leases: LeaseStore, running: Export
) -> None:
    assert running.first_started_at is not None
    long_ago = running.first_started_at - timedelta(days=1)
    ended = await leases.release(replace(running, first_started_at=long_ago))
    assert (ended.status, ended.failures) == ("failed", 0)


async def test_a_lost_attempt_notes_again_what_it_may_have_left(
    leases: LeaseStore, running: Export, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET attempt = 2, uncleaned_attempts = '{}'")
    for _ in range(2):
        current = await leases.mark_for_cleanup(running, "exports/1/x/1.csv")
        assert current is not None
        assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == [1]


async def test_an_attempt_that_succeeded_notes_nothing(
    leases: LeaseStore, running: Export, connection: Connection
) -> None:
    await leases.succeed(running, FILE, claims_mail=False)
    current = await leases.mark_for_cleanup(running, FILE.object_key)
    assert current is not None
    assert current.object_key == FILE.object_key
    assert await connection.fetchval("SELECT uncleaned_attempts FROM exports") == []


async def test_of_a_forgotten_row_nothing_is_left_to_note(
    leases: LeaseStore, running: Export, connection: Connection
) -> None:
    await connection.execute("DELETE FROM exports")
    assert await leases.mark_for_cleanup(running, "exports/1/x/1.csv") is None
