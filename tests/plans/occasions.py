"""Everything that the service asks of its database: periodic tasks, requests, attempts, mail."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any
from uuid import UUID

from httpx import ASGITransport, AsyncClient

from app.config import Settings
from app.doctor import database, replica, subscription
from app.errors import (
    DatabaseUnavailable,
    MailDeferred,
    MailRefused,
    ServiceError,
    StorageRefused,
    StorageUnavailable,
    WebhookFailed,
)
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.delivery.mail_lease import RENEW
from app.exports.delivery.notices import NoticeOutbox
from app.exports.execution.exporter import Exporter
from app.exports.metrics import read_export_gauges
from app.exports.object_keys import object_key
from app.exports.queue.leases import ExportedFile, LeaseStore
from app.feeds.totals import read_import_counters
from app.main import create_app
from app.models import STATUSES, ExportKey
from app.resources import Resources
from app.webhooks.deliveries import WebhookDispatcher
from tests.fakes import (
    MemoryExportEvents,
    MemoryMailer,
    MemoryQueue,
    MemoryStorage,
    fails,
    nothing,
)
from tests.plans.recorder import doing
from tests.tokens import bearer, mint, mint_for_service
from workers.executor import ExecutionSlots, ExportExecutor
from workers.fleet_tasks import FleetTasks
from workers.maintenance import build_outbox, maintenance_tasks

BODY = {"follower": True}
PERIOD = {"joined_after": "2024-01-01", "timezone": "Europe/Berlin"}
SELLER = bearer(mint())
SERVICE = bearer(mint_for_service(sub="service-1"))


class Endpoints:
    """Services that hear three calls; then one is gone, and the others are unavailable."""

    def __init__(self) -> None:
        self._answers = chain([200, 200, 200, 410], repeat(0))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        status = next(self._answers)
        if not status:
            raise WebhookFailed("The endpoint cannot be reached.")
        return status


@dataclass(frozen=True)
class Service:
    """The API and a worker in this process; only the database is real."""

    resources: Resources
    client: AsyncClient

    @property
    def exporter(self) -> Exporter:
        """A worker's exporter."""
        resources = self.resources
        return Exporter(
            resources.database,
            resources.audience_database,
            resources.storage,
            resources.queue,
            resources.export_events,
            resources.settings,
            "tests",
        )


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Open the service with everything but the database in memory."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        real: Resources = app.state.resources
        storage, database = MemoryStorage(), real.database
        app.state.resources = replace(
            real,
            storage=storage,
            mailer=MemoryMailer(),
            queue=MemoryQueue(),
            export_events=MemoryExportEvents(),
            attempt_cleaner=AttemptCleaner(database, real.audience_database, storage, settings),
            webhooks=Endpoints(),
        )
        transport = ASGITransport(app)
        async with AsyncClient(transport=transport, base_url="http://exports.test") as client:
            yield Service(app.state.resources, client)


async def everything(service: Service) -> None:
    """Do all there is to do, the large amounts of due work once or in part."""
    await requests(service)
    await attempts(service)
    await periodic_tasks(service)
    await mails(service)
    doing.set("doctor")
    for module in (database, replica, subscription):
        await module.check(service.resources.settings)


async def periodic_tasks(service: Service) -> None:
    """Do each periodic task once. The store refuses most of what is to be erased."""
    resources = service.resources
    store = resources.storage
    assert isinstance(store, MemoryStorage)
    await leave_orphans(resources, store)
    async with asyncio.TaskGroup() as group:
        executor = ExportExecutor(
            service.exporter, build_outbox(resources), ExecutionSlots(resources.settings), group
        )
        webhooks = WebhookDispatcher(
            resources.database, resources.webhooks, resources.settings, group
        )
        fleet = FleetTasks(resources.database, "worker", lease_s=30)
        for task in maintenance_tasks(resources, executor, webhooks, fleet):
            doing.set(task.name)
            refuse_after(store, 3)
            try:
                await task.step()
            except ServiceError:
                continue  # as a worker does
        await executor.close(5)
        await webhooks.close(5)


def refuse_after(store: MemoryStorage, count: int) -> None:
    """Let the store do this many things and then be away."""
    left = iter(range(count * 4))

    async def refuse(method: str) -> None:
        if method in ("delete", "list_uploads") and next(left, None) is None:
            raise StorageUnavailable("The store is unavailable.")

    store.before = refuse


async def leave_orphans(resources: Resources, store: MemoryStorage) -> None:
    """Put files into the store that nobody owns, each of another seller."""
    for number in range(500):
        key = object_key(
            resources.settings.s3_prefix, ExportKey(number + 1, UUID(int=number)).attempt(1), "csv"
        )
        await store.put(key, b"Email\n")


async def attempts(service: Service) -> None:
    """Claim exports and end each attempt in another way."""
    its = LeaseStore(service.resources.database, service.resources.settings, "tests")
    doing.set("attempts")
    file = ExportedFile("key", "name.csv", 1, 6, datetime.now(UTC), "crc32c:yZRlqg==", 0)
    claimed = [await its.claim_next(lane) for lane in ("small", "large") for _ in range(4)]
    first, second, third, fourth, fifth, sixth, *_ = [export for export in claimed if export]
    await its.renew(first, 1, datetime.now(UTC))
    await its.succeed(first, file, claims_mail=True)
    await its.succeed(sixth, replace(file, rows=0), claims_mail=True)
    await its.fail(second, DatabaseUnavailable("away"))
    await its.fail(third, StorageRefused("refused"))
    await its.release(fourth)
    await its.mark_for_cleanup(fifth, "key")
    await its.claim(fourth.key)
    await service.exporter.run(fifth)


async def mails(service: Service) -> None:
    """Send mails that arrive, that are refused and that are deferred."""
    resources = service.resources
    mailer = resources.mailer
    assert isinstance(mailer, MemoryMailer)
    doing.set("mails")
    box = build_outbox(resources)
    for error in (None, MailRefused("refused"), MailDeferred("later")):
        if error is not None:
            mailer.before = fails("send", error, times=2)
        for export in await box.claim_due(2):
            names = {"sequence": export.email_sequence, "attempts": export.email_attempts}
            await resources.database.fetchrow(
                RENEW, seller_id=export.seller_id, id=export.id, lease_s=60, **names
            )
            await box.send(export)
    notices = NoticeOutbox(resources.database, mailer, resources.settings)
    for error in (MailRefused("refused"), MailDeferred("later")):
        mailer.before = fails("send", error, times=9)
        await notices.send_due()
    mailer.before = nothing  # the last call sends all that are left
    await notices.send_due()


async def requests(service: Service) -> None:
    """Make each kind of request, as a seller and as a service that may act for all."""
    made = await post_exports(service)
    await lists(service)
    for headers in (SELLER, SERVICE):
        await get(service, f"/exports/{made}", headers)
        await get(service, f"/exports/{made}?wait=0.1", headers)
        await call(service, "DELETE", f"/exports/{made}", headers, 200)
    await files(service)
    await get(service, "/audience", SELLER)
    await get(service, "/audience?joined_after=2024-01-01", SELLER)
    for path in ("/stats?days=1", f"/exports/{made}/audit"):
        await get(service, path, SERVICE)
    doing.set("metrics")
    await read_export_gauges(service.resources.database)
    await read_import_counters(service.resources.database)


async def post_exports(service: Service) -> str:
    """Ask for an export: again, again under its key, and once more the same; return its id."""
    key = {"Idempotency-Key": "of-the-plans"}
    made = await call(service, "POST", "/exports", SELLER | key, 202, json=BODY)
    await call(service, "POST", "/exports", SELLER | key, 200, json=BODY)
    await call(service, "POST", "/exports", SELLER, 200, json=BODY)
    await call(service, "POST", "/exports?period", SELLER, 202, json=BODY | PERIOD)
    for seller_id in (7, 987_654):
        other = BODY | {"seller_id": seller_id, "recipient_email": "s@example.com"}
        await call(service, "POST", "/exports", SERVICE, 202, json=other)
    return str(made["id"])


async def lists(service: Service) -> None:
    """List exports of one seller and of all, of each state, the first page and the next."""
    for headers in (SELLER, SERVICE):
        page = await get(service, "/exports", headers)
        await get(service, f"/exports?cursor={page['next_cursor']}", headers)
        for status in STATUSES:
            await get(service, f"/exports?status={status}&limit=100", headers)
    await get(service, "/exports?seller_id=7&status=failed", SERVICE)


async def files(service: Service) -> None:
    """Open a file, have its mail sent again, and erase it."""
    page = await get(service, "/exports?status=succeeded", SELLER)
    export = page["items"][0]["id"]
    token = service.resources.links.token(ExportKey(1, UUID(export)))
    await call(service, "GET", f"/exports/{export}/download", SELLER, 307)
    await call(service, "GET", f"/d/{token}", {}, 302)
    for status in (202, 202, 202, 429):
        await call(service, "POST", f"/exports/{export}/email", SELLER, status)
    await call(service, "DELETE", f"/exports/{export}", SELLER, 200)
    await get(service, f"/exports/{export}/events", SELLER)


async def get(service: Service, path: str, headers: dict[str, str]) -> Any:
    """Get what is there."""
    return await call(service, "GET", path, headers, 200)


async def call(
    service: Service, method: str, path: str, headers: dict[str, str], status: int, **content: Any
) -> Any:
    """Make a request and return what its answer holds."""
    doing.set(f"{method} {path}")
    answer = await service.client.request(method, path, headers=headers, **content)
    assert answer.status_code == status, (method, path, answer.text)
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return answer.json() if is_json else None
