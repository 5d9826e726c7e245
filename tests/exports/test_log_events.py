"""One line for each change of state, in the words that docs/monitor.md promises."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.errors import MailDeferred, MailRefused, StorageRefused, StorageUnavailable
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.cleanup.deletion import delete_export
from app.exports.cleanup.expiry import ExpirationTask
from app.exports.delivery.links import LinkSigner
from app.exports.delivery.outbox import Outbox
from app.exports.delivery.resend import resend_email
from app.exports.execution.exporter import Exporter
from app.exports.queue.recovery import QueueRecovery
from app.models import STATUSES, Export
from tests.fakes import MemoryExportEvents, MemoryMailer, MemoryStorage, fails

Ask = Callable[..., Awaitable[Export]]

MONITOR = Path(__file__).parents[2] / "docs" / "monitor.md"
PATIENT_S = 0.01


class Journal:
    """Does what changes states, and keeps the lines."""

    def __init__(
        self,
        create_export: Ask,
        exporter: Exporter,
        recovery: QueueRecovery,
        expiry: ExpirationTask,
        outbox: Outbox,
        connection: Connection,
        lines: list[EventDict],
    ) -> None:
        self.ask = create_export
        self.recovery = recovery
        self.expiry = expiry
        self.connection = connection
        self._exporter = exporter
        self._outbox = outbox
        self._lines = lines

    async def running(self) -> Export:
        """Return a new export that this worker has claimed."""
        export = await self.ask()
        return await self.claim(export)

    async def claim(self, export: Export) -> Export:
        """Claim an export that waits."""
        await asyncio.sleep(PATIENT_S)  # the longest wait before another try
        running = await self._exporter.claim(export.key)
        assert running is not None
        return running

    async def ended(self) -> Export:
        """Return a new export after its first attempt."""
        ended = (await self._exporter.run(await self.running())).export
        assert ended is not None
        return ended

    async def mail(self) -> None:
        """Try to send the mail that is due."""
        (export,) = await self._outbox.claim_due(1)
        await self._outbox.send(export)

    async def lapse(self, column: str) -> None:
        """Let an instant of every export be past."""
        await self.connection.execute(f"UPDATE exports SET {column} = clock_timestamp()")

    def states(self) -> list[tuple[str, str]]:
        """Return event and status of each line that has a state."""
        return [(line["event"], line["status"]) for line in self._lines if "status" in line]

    def last(self, event: str) -> EventDict:
        """Return the one line of an event."""
        (line,) = [line for line in self._lines if line["event"] == event]
        return line


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """What is logged, with what each line would be given by its context."""
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def mailer() -> MemoryMailer:
    """A mail server in memory."""
    return MemoryMailer()


@pytest.fixture
def journal(
    create_export: Ask,
    exporter: Exporter,
    recovery: QueueRecovery,
    database: Database,
    storage: MemoryStorage,
    export_events: MemoryExportEvents,
    mailer: MemoryMailer,
    settings: Settings,
    connection: Connection,
    lines: list[EventDict],
) -> Journal:
    """What can happen to exports."""
    expiry = ExpirationTask(database, storage, export_events)
    outbox = Outbox(database, mailer, storage, LinkSigner([], None), settings)
    return Journal(create_export, exporter, recovery, expiry, outbox, connection, lines)


REQUESTED = [("export requested", "queued")]
RAN = [*REQUESTED, ("export claimed", "running")]
SUCCEEDED = [*RAN, ("export succeeded", "succeeded")]


async def test_an_export_that_goes_well_has_a_line_for_each_state(journal: Journal) -> None:
    export = await journal.ended()
    await journal.mail()
    await journal.lapse("expires_at")
    await journal.expiry.expire_files()
    await journal.expiry.expire_files()
    assert journal.states() == [*SUCCEEDED, ("export expired", "expired")]
    said = journal.last("export succeeded")
    assert said.items() >= {"seller_id": 1, "attempt": 1, "rows": 0, "bytes": 26}.items()
    assert said["export_id"] == str(export.id)
    assert said["duration_s"] >= 0
    assert said["queue_s"] >= 0
    assert journal.last("mail sent").items() >= {"kind": "ready", "email_status": "sent"}.items()


async def test_a_failure_has_its_code(journal: Journal, storage: MemoryStorage) -> None:
    storage.before = fails("put", StorageRefused("The bucket is missing."))
    await journal.ended()
    await journal.mail()
    assert journal.states() == [*RAN, ("export failed", "failed")]
    assert journal.last("export failed")["error"] == "storage_refused"
    assert journal.last("export failed")["log_level"] == "warning"
    assert journal.last("mail sent")["kind"] == "failed"


async def test_another_try_has_the_code_of_what_came_before(
    journal: Journal, storage: MemoryStorage
) -> None:
    storage.before = fails("put", StorageUnavailable("The file storage is unavailable."))
    await journal.claim(await journal.ended())
    again = [("export requeued", "queued"), ("export claimed", "running")]
    assert journal.states() == [*RAN, *again]
    assert journal.last("export requeued")["error"] == "storage_unavailable"


async def test_a_lease_that_is_reclaimed_is_said_once(journal: Journal) -> None:
    await journal.running()
    await journal.lapse("lease_expires_at")
    await journal.recovery.reclaim_expired_leases()
    await journal.recovery.reclaim_expired_leases()
    assert journal.states() == [*RAN, ("lease reclaimed", "queued")]
    assert journal.last("lease reclaimed")["error"] == "worker_lost"


async def test_the_last_lease_that_is_reclaimed_is_a_failure(
    journal: Journal, fast_settings: Settings
) -> None:
    await journal.running()
    await journal.connection.execute(
        "UPDATE exports SET failures = $1", fast_settings.max_failures - 1
    )
    await journal.lapse("lease_expires_at")
    await journal.recovery.reclaim_expired_leases()
    assert journal.states() == [*RAN, ("export failed", "failed")]
    assert journal.last("export failed")["error"] == "worker_lost"


async def test_who_comes_too_late_says_so_and_changes_nothing(
    journal: Journal, exporter: Exporter, database: Database, attempt_cleaner: AttemptCleaner
) -> None:
    export = await journal.running()
    await delete_export(database, attempt_cleaner, export.id, None)
    assert (await exporter.run(export)).export is None
    assert journal.states() == [*RAN, ("export cancelled", "cancelled")]
    assert journal.last("lease lost")["found"] == "cancelled"


async def test_a_worker_that_stops_gives_its_export_back(
    journal: Journal, exporter: Exporter, storage: MemoryStorage
) -> None:
    has_begun = asyncio.Event()

    async def hang(_: str) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    storage.before = hang
    running = asyncio.create_task(exporter.run(await journal.running()))
    await has_begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert journal.states() == [*RAN, ("export requeued", "queued")]
    assert journal.last("export requeued")["log_level"] == "info"


async def test_what_is_deleted_is_said_once(
    journal: Journal, database: Database, attempt_cleaner: AttemptCleaner
) -> None:
    export = await journal.ended()
    for _ in range(2):
        await delete_export(database, attempt_cleaner, export.id, None)
    assert journal.states() == [*SUCCEEDED, ("export deleted", "deleted")]


@pytest.mark.parametrize(
    ("error", "event", "status"),
    [
        (MailRefused("No such mailbox."), "mail failed", "failed"),
        (MailDeferred("Later."), "mail deferred", "pending"),
    ],
)
async def test_a_mail_that_is_not_sent_has_a_line(
    journal: Journal, mailer: MemoryMailer, error: MailRefused, event: str, status: str
) -> None:
    mailer.before = fails("send", error)
    await journal.ended()
    await journal.mail()
    said = journal.last(event)
    assert (said["email_status"], said["email_attempt"]) == (status, 1)
    assert said["error"] == error.code


async def test_a_mail_that_its_file_outlived_has_failed(journal: Journal) -> None:
    await journal.ended()
    await journal.lapse("expires_at")
    await journal.expiry.expire_files()
    assert journal.last("mail failed")["error"] == "export_expired"


async def test_a_mail_that_is_requested_again_has_a_line(
    journal: Journal, database: Database
) -> None:
    export = await journal.ended()
    await journal.mail()
    await resend_email(database, export.id, None)
    assert journal.last("mail requested")["email_status"] == "pending"


async def test_the_mail_of_a_failure_can_be_withdrawn(
    journal: Journal, storage: MemoryStorage, database: Database, attempt_cleaner: AttemptCleaner
) -> None:
    storage.before = fails("put", StorageRefused("The bucket is missing."))
    export = await journal.ended()
    await delete_export(database, attempt_cleaner, export.id, None)
    assert journal.last("mail cancelled")["export_id"] == str(export.id)


async def test_a_workers_lines_name_the_request(journal: Journal, exporter: Exporter) -> None:
    export = await journal.running()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await exporter.run(replace(export, request_id="r-1", traceparent=traceparent))
    said = journal.last("export succeeded")
    assert (said["request_id"], said["trace_id"]) == ("r-1", "0af7651916cd43dd8448eb211c80319c")


def documented() -> dict[str, str]:
    """Return the states that the page gives for each event."""
    table = re.findall(r"^\| (`(?:export|lease) .*?`) \| (`\w+`.*?) \|", MONITOR.read_text(), re.M)
    pairs: list[tuple[Any, Any]] = []
    for events, states in table:
        pairs += zip(re.findall("`(.*?)`", events), re.findall("`(.*?)`", states), strict=True)
    return dict(pairs)


def test_every_state_has_its_line_on_the_page() -> None:
    assert set(documented().values()) == set(STATUSES)
    assert len(documented()) == 10
