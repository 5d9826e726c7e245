"""The floor: places, mails, and work that goes on when arq's job is cancelled."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from app.errors import DatabaseUnavailable, MailDeferred
from app.exports import lanes
from app.exports.exporter import Exporter
from app.exports.links import Links
from app.exports.outbox import Outbox
from app.models import Export
from tests.audience.storefront import Storefront
from tests.exports.conftest import reread
from tests.fakes import MemoryMailer, MemoryNews, MemoryQueue, MemoryStorage, fails, nothing
from tests.waiting import until
from tests.workers.conftest import Ask
from workers import floor as floor_module
from workers.floor import Floor, Places

Start = Callable[[Export], "asyncio.Task[None]"]


@pytest.fixture
def storage() -> MemoryStorage:
    """A bucket in memory."""
    return MemoryStorage()


@pytest.fixture
def mailer() -> MemoryMailer:
    """A mail server in memory."""
    return MemoryMailer()


@pytest.fixture
def outbox(
    engine: AsyncEngine, mailer: MemoryMailer, storage: MemoryStorage, settings: Settings
) -> Outbox:
    """The worker's outbox."""
    links = Links(settings.link_secrets, settings.public_url)
    return Outbox(engine, mailer, storage, links, settings)


@pytest.fixture
async def floor(
    engine: AsyncEngine, storage: MemoryStorage, outbox: Outbox, settings: Settings
) -> AsyncIterator[Floor]:
    """A floor with two places for small exports and one for large ones."""
    exporter = Exporter(
        engine, engine, storage, MemoryQueue(), MemoryNews(), settings, worker="tests"
    )
    async with asyncio.TaskGroup() as group:
        places = Places(settings.model_copy(update={"worker_concurrency": 3}))
        floor = Floor(exporter, outbox, places, group)
        yield floor
        storage.before = nothing
        await floor.close(0)


@pytest.fixture
def start(floor: Floor) -> Start:
    """Begin to run an export, as arq's job does."""

    def start(export: Export) -> "asyncio.Task[None]":
        return asyncio.create_task(floor.run("small", export.seller_id, export.id))

    return start


class Gate:
    """A store that lets nothing pass before it opens."""

    def __init__(self) -> None:
        self.waiting = 0
        self.open = asyncio.Event()

    async def __call__(self, method: str) -> None:
        if method == "put":
            self.waiting += 1
            await self.open.wait()

    async def until_waiting(self, count: int) -> None:
        """Wait until so many wait."""

        async def is_so() -> bool:
            return self.waiting == count

        await until(is_so)


@pytest.fixture
def gate(storage: MemoryStorage) -> Gate:
    """A gate before the store."""
    gate = Gate()
    storage.before = gate
    return gate


async def test_an_export_ends_and_its_mail_goes_out(
    ask: Ask, floor: Floor, mailer: MemoryMailer, engine: AsyncEngine
) -> None:
    export = await ask()
    await floor.run("small", export.seller_id, export.id)
    await floor.close(5)
    assert len(mailer.messages) == 1
    assert (await reread(engine, export)).email_status == "sent"


async def test_no_more_exports_run_than_there_are_places(
    ask: Ask, start: Start, gate: Gate, connection: Connection
) -> None:
    jobs = [start(await ask(recipient_email=f"{number}@example.com")) for number in range(4)]
    await gate.until_waiting(2)
    query = "SELECT array_agg(DISTINCT status ORDER BY status) FROM exports"
    assert await connection.fetchval(query) == ["queued", "running"]
    gate.open.set()
    await asyncio.gather(*jobs)
    assert gate.waiting == 4
    assert await connection.fetchval(query) == ["succeeded"]


async def test_two_bells_for_one_export_run_it_once(ask: Ask, start: Start, gate: Gate) -> None:
    export = await ask()
    jobs = [start(export), start(export)]
    await gate.until_waiting(1)
    gate.open.set()
    await asyncio.gather(*jobs)
    assert gate.waiting == 1


async def test_an_export_goes_on_when_its_job_is_cancelled(
    ask: Ask, start: Start, gate: Gate, engine: AsyncEngine
) -> None:
    export = await ask()
    job = start(export)
    await gate.until_waiting(1)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    gate.open.set()

    async def has_succeeded() -> bool:
        return (await reread(engine, export)).status == "succeeded"

    await until(has_succeeded)
    assert (await reread(engine, export)).attempt == 1


async def test_a_mail_is_held_by_the_worker_that_made_the_file(
    ask: Ask, floor: Floor, mailer: MemoryMailer, outbox: Outbox, engine: AsyncEngine
) -> None:
    sending, opened = asyncio.Event(), asyncio.Event()

    async def wait(_method: str) -> None:
        sending.set()
        await opened.wait()

    mailer.before = wait
    export = await ask()
    await floor.run("small", export.seller_id, export.id)
    await sending.wait()
    assert await outbox.claim_due(1) == []
    assert (await reread(engine, export)).email_attempts == 1
    opened.set()


@pytest.fixture
def large_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sellers with any member at all are large; those without are small."""
    monkeypatch.setattr(lanes, "SMALL_ROWS", 0)


@pytest.mark.usefixtures("large_rows")
async def test_small_exports_go_on_while_the_large_place_is_taken(
    ask: Ask,
    floor: Floor,
    gate: Gate,
    storage: MemoryStorage,
    storefront: Storefront,
    engine: AsyncEngine,
) -> None:
    await storefront.follow("ann@x.co", seller_id=1)
    large = [await ask(recipient_email=f"{number}@x.co") for number in range(3)]
    jobs = [asyncio.create_task(floor.run("large", each.seller_id, each.id)) for each in large]
    await gate.until_waiting(1)
    storage.before = nothing
    for seller_id in (2, 3):
        small = await ask(seller_id=seller_id)
        await floor.run("small", small.seller_id, small.id)
        assert (await reread(engine, small)).status == "succeeded"
    assert [(await reread(engine, each)).status for each in large[1:]] == ["queued", "queued"]
    gate.open.set()
    await asyncio.gather(*jobs)
    assert {(await reread(engine, each)).status for each in large} == {"succeeded"}


async def test_sellers_take_turns(ask: Ask, floor: Floor, connection: Connection) -> None:
    many = [await ask(recipient_email=f"{number}@x.co") for number in range(3)]
    later = [await ask(seller_id=seller_id) for seller_id in (2, 3)]
    for export in (*many, *later):
        await floor.run("small", export.seller_id, export.id)
    order = await connection.fetch("SELECT seller_id FROM exports ORDER BY started_at")
    assert [row["seller_id"] for row in order] == [1, 2, 3, 1, 1]


async def test_a_bell_for_an_export_that_is_locked_waits_for_it(
    ask: Ask, start: Start, connection: Connection, engine: AsyncEngine
) -> None:
    export = await ask()
    async with connection.transaction():
        await connection.execute("SELECT FROM exports FOR NO KEY UPDATE")
        job = start(export)

        async def is_blocked() -> bool:
            async with engine.connect() as other:
                query = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                return bool(await other.scalar(query))

        await until(is_blocked)
    await job
    assert (await reread(engine, export)).status == "succeeded"


async def test_a_worker_with_one_place_has_it_for_both_lanes(settings: Settings) -> None:
    places = Places(settings.model_copy(update={"worker_concurrency": 1, "large_exports": 5}))
    assert places.of("small") is places.of("large")


async def test_a_bell_for_what_is_done_does_nothing(ask: Ask, floor: Floor) -> None:
    export = await ask()
    for _ in range(2):
        await floor.run("small", export.seller_id, export.id)


async def test_an_export_that_could_not_be_claimed_is_left_to_the_sweep(
    ask: Ask, floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(floor, "_exporter", type("Away", (), {"claim_next": away})())
    export = await ask()
    await floor.run("small", export.seller_id, export.id)


async def test_no_mail_is_claimed_that_would_have_to_wait(
    ask: Ask,
    floor: Floor,
    mailer: MemoryMailer,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(floor_module, "MAILS_AT_ONCE", 2)
    opened = asyncio.Event()

    async def wait(_method: str) -> None:
        await opened.wait()

    mailer.before = wait
    for number in range(3):
        export = await ask(recipient_email=f"{number}@example.com")
        await floor.run("small", export.seller_id, export.id)
    claimed = "SELECT count(*) FROM exports WHERE email_attempts > 0"
    for _ in range(2):
        await floor.send_due_mails()
        assert await connection.fetchval(claimed) == 2
    opened.set()

    async def are_sent() -> bool:
        await floor.send_due_mails()
        return len(mailer.messages) == 3

    await until(are_sent)


async def test_a_mail_whose_end_cannot_be_recorded_stops_nobody(
    ask: Ask, floor: Floor, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_export: Export, _claimed_at: float) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(outbox, "send", away)
    export = await ask()
    await floor.run("small", export.seller_id, export.id)
    await floor.close(5)


async def test_closing_waits_for_mails_under_way(
    ask: Ask, floor: Floor, mailer: MemoryMailer
) -> None:
    begun = asyncio.Event()

    async def take_a_moment(_method: str) -> None:
        begun.set()
        await asyncio.sleep(0.1)

    mailer.before = take_a_moment
    export = await ask()
    await floor.run("small", export.seller_id, export.id)
    await begun.wait()
    await floor.close(5)
    assert len(mailer.messages) == 1


async def test_closing_gives_back_what_runs_for_too_long(
    ask: Ask, floor: Floor, start: Start, gate: Gate, engine: AsyncEngine
) -> None:
    export = await ask()
    job = start(export)
    await gate.until_waiting(1)
    await floor.close(0.1)
    with pytest.raises(asyncio.CancelledError):
        await job
    given_back = await reread(engine, export)
    assert (given_back.status, given_back.failures) == ("queued", 0)


async def test_closing_starts_nothing_that_waits_for_a_place(
    ask: Ask, floor: Floor, start: Start, gate: Gate, connection: Connection
) -> None:
    exports = [await ask(recipient_email=f"{number}@example.com") for number in range(3)]
    jobs = [start(export) for export in exports]
    await gate.until_waiting(2)
    closing = asyncio.create_task(floor.close(5))
    with pytest.raises(asyncio.CancelledError):
        await jobs[2]
    gate.open.set()
    await closing
    query = "SELECT array_agg(status ORDER BY id) FROM exports"
    assert await connection.fetchval(query) == ["succeeded", "succeeded", "queued"]


async def test_a_deferred_mail_does_not_hold_up_the_end(
    ask: Ask, floor: Floor, mailer: MemoryMailer, engine: AsyncEngine
) -> None:
    mailer.before = fails("send", MailDeferred("later"))
    export = await ask()
    await floor.run("small", export.seller_id, export.id)
    await floor.close(5)
    assert (await reread(engine, export)).email_status == "pending"
