"""Claims, leases and ends: each one guarded UPDATE."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from app.errors import (
    DatabaseUnavailable,
    LeaseLost,
    ObjectMissing,
    ServiceError,
    SourceBusy,
    StorageRefused,
    StorageUnavailable,
    StreamStalled,
    Unexpected,
)
from app.exports.attempts import Attempts, ExportedFile
from app.models import Export
from tests.exports.conftest import reread

Ask = Callable[..., Awaitable[Export]]

FILE = ExportedFile("exports/1/x/1.csv", "audience.csv", 3, 99, datetime.now(UTC))

ENDS: dict[str, Callable[[Attempts, Export], Awaitable[object]]] = {
    "renew": lambda attempts, export: attempts.renew(export, 1, None),
    "succeed": lambda attempts, export: attempts.succeed(export, FILE, holds_mail=False),
    "retry": lambda attempts, export: attempts.fail(export, StorageUnavailable("away")),
    "fail": lambda attempts, export: attempts.fail(export, StorageRefused("denied")),
    "hand back": lambda attempts, export: attempts.hand_back(export),
}

TAKEN = {
    "the next attempt": "UPDATE exports SET attempt = attempt + 1",
    "the queue": "UPDATE exports SET status = 'queued'",
    "a cancel": "UPDATE exports SET status = 'cancelled'",
    "an end": "UPDATE exports SET status = 'succeeded'",
}


@pytest.fixture
def attempts(engine: AsyncEngine, quick: Settings) -> Attempts:
    """A worker's hold on its exports."""
    return Attempts(engine, quick, worker="tests")


@pytest.fixture
async def running(ask: Ask, attempts: Attempts) -> Export:
    """An export that the worker has claimed."""
    export = await ask()
    claimed = await attempts.claim(export.seller_id, export.id)
    assert claimed is not None
    return claimed


async def test_a_claim_starts_the_next_attempt_with_a_lease(
    running: Export, connection: Connection
) -> None:
    assert (running.status, running.attempt) == ("running", 1)
    row = await connection.fetchrow("SELECT *, lease_expires_at - started_at AS lease FROM exports")
    assert row is not None
    assert row["worker"] == "tests"
    assert 0.49 < row["lease"].total_seconds() < 0.6


async def test_of_many_simultaneous_claims_one_wins(ask: Ask, attempts: Attempts) -> None:
    export = await ask()
    claims = [attempts.claim(export.seller_id, export.id) for _ in range(10)]
    won = [each for each in await asyncio.gather(*claims) if each is not None]
    assert [each.attempt for each in won] == [1]


@pytest.mark.parametrize(
    "status", ["running", "succeeded", "failed", "cancelled", "expired", "deleted"]
)
async def test_only_what_is_queued_can_be_claimed(
    ask: Ask, attempts: Attempts, connection: Connection, status: str
) -> None:
    export = await ask()
    await connection.execute("UPDATE exports SET status = $1", status)
    assert await attempts.claim(export.seller_id, export.id) is None


async def test_a_bell_before_a_retry_is_due_claims_nothing(
    ask: Ask, attempts: Attempts, connection: Connection
) -> None:
    export = await ask()
    await connection.execute("UPDATE exports SET due_at = clock_timestamp() + interval '1 minute'")
    assert await attempts.claim(export.seller_id, export.id) is None


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_attempt_that_lost_its_export_changes_nothing(
    attempts: Attempts,
    running: Export,
    connection: Connection,
    end: Callable[[Attempts, Export], Awaitable[object]],
    taken: str,
) -> None:
    await connection.execute(taken)
    before = await connection.fetchrow("SELECT * FROM exports")
    with pytest.raises(LeaseLost):
        await end(attempts, running)
    assert await connection.fetchrow("SELECT * FROM exports") == before


async def test_success_makes_the_mail_due_and_starts_the_links_life(
    attempts: Attempts, running: Export, connection: Connection, settings: Settings
) -> None:
    ended = await attempts.succeed(running, FILE, holds_mail=False)
    assert (ended.status, ended.object_key, ended.file_rows) == ("succeeded", FILE.object_key, 3)
    assert ended.email_status == "pending"
    row = await connection.fetchrow("""
        SELECT expires_at - finished_at AS lifetime, email_due_at <= clock_timestamp() AS is_due,
            lease_expires_at, residue
        FROM exports
    """)
    assert row is not None
    assert row["lifetime"].total_seconds() == pytest.approx(settings.link_lifetime_s, abs=1)
    assert (row["is_due"], row["lease_expires_at"], row["residue"]) == (True, None, [])


@pytest.mark.parametrize("end", ["retry", "fail", "hand back"])
async def test_any_other_end_notes_what_may_have_been_left(
    attempts: Attempts, running: Export, connection: Connection, end: str
) -> None:
    await ENDS[end](attempts, running)
    assert await connection.fetchval("SELECT residue FROM exports") == [1]


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("away"),
        DatabaseUnavailable("away"),
        SourceBusy("replay"),
        StreamStalled("no data"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_outage_ends_an_export_before_its_time(
    attempts: Attempts,
    quick: Settings,
    running: Export,
    connection: Connection,
    engine: AsyncEngine,
    error: ServiceError,
) -> None:
    patient = Attempts(engine, quick.model_copy(update={"retry_for_s": 3600}), worker="tests")
    await connection.execute("UPDATE exports SET attempt = 100")
    ended = await patient.fail(await reread(engine, running), error)
    assert (ended.status, ended.failures, ended.error_code) == ("queued", 0, error.code)


async def test_an_outage_that_outlasts_the_limit_ends_the_export(
    engine: AsyncEngine, quick: Settings, running: Export, connection: Connection
) -> None:
    patient = Attempts(engine, quick.model_copy(update={"retry_for_s": 3600}), worker="tests")
    await connection.execute(
        "UPDATE exports SET attempt = 100, created_at = created_at - interval '1 hour'"
    )
    ended = await patient.fail(await reread(engine, running), StorageUnavailable("It is away."))
    assert (ended.status, ended.email_status) == ("failed", "pending")
    assert ended.error_detail == (
        "It is away. It was tried many times; please ask for the export again later."
    )


async def test_an_export_that_waited_long_gets_its_tries_too(
    attempts: Attempts, running: Export, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET created_at = created_at - interval '1 day'")
    ended = await attempts.fail(running, StorageUnavailable("away"))
    assert ended.status == "queued"


@pytest.mark.parametrize("error", [Unexpected("broke"), ObjectMissing("gone")])
async def test_what_no_outage_explains_is_tried_a_few_times_only(
    engine: AsyncEngine,
    quick: Settings,
    running: Export,
    connection: Connection,
    error: ServiceError,
) -> None:
    patient = Attempts(engine, quick.model_copy(update={"retry_for_s": 3600}), worker="tests")
    ended = await patient.fail(running, error)
    assert (ended.status, ended.failures) == ("queued", 1)
    await connection.execute("UPDATE exports SET status = 'running', failures = 2")
    ended = await patient.fail(await reread(engine, running), error)
    assert (ended.status, ended.failures) == ("failed", 3)


async def test_a_refusal_ends_the_export_at_once(attempts: Attempts, running: Export) -> None:
    ended = await attempts.fail(running, StorageRefused("Access is denied."))
    assert (ended.status, ended.error_code) == ("failed", "storage_refused")
    assert ended.error_detail is not None
    assert ended.error_detail.startswith("Access is denied. Only the operator")


async def test_an_export_given_back_is_due_at_once_and_no_failure(
    attempts: Attempts, running: Export
) -> None:
    ended = await attempts.hand_back(running)
    assert (ended.status, ended.failures) == ("queued", 0)
    again = await attempts.claim(ended.seller_id, ended.id)
    assert again is not None
    assert again.attempt == 2


async def test_a_lost_attempt_notes_again_what_it_may_have_left(
    attempts: Attempts, running: Export, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET attempt = 2, residue = '{}'")
    for _ in range(2):
        current = await attempts.disown(running, "exports/1/x/1.csv")
        assert current is not None
        assert await connection.fetchval("SELECT residue FROM exports") == [1]


async def test_an_attempt_that_succeeded_notes_nothing(
    attempts: Attempts, running: Export, connection: Connection
) -> None:
    await attempts.succeed(running, FILE, holds_mail=False)
    current = await attempts.disown(running, FILE.object_key)
    assert current is not None
    assert current.object_key == FILE.object_key
    assert await connection.fetchval("SELECT residue FROM exports") == []


async def test_of_a_forgotten_row_nothing_is_left_to_note(
    attempts: Attempts, running: Export, connection: Connection
) -> None:
    await connection.execute("DELETE FROM exports")
    assert await attempts.disown(running, "exports/1/x/1.csv") is None
