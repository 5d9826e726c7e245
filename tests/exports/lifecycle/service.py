"""The service as the state machine drives it: wired as in production, one operation at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import ARRAY, DateTime, Table

from app.audience.options import OptionsResolver
from app.audience.shared_counts import SharedCounts
from app.concurrency import KeyedLocks, unwrap_exception_group
from app.config import Settings
from app.database.connections import create_engine
from app.exports.cleanup.attempt_cleanup import AttemptCleaner
from app.exports.delivery.links import LinkSigner
from app.exports.execution.exporter import Exporter
from app.models import exports, idempotency_keys, list_notices
from app.observability.metrics import Metrics
from app.observability.shared_metrics import SharedMetricsCollector
from app.observability.tracing import NOOP_TRACER
from app.ports import WebhookSender
from app.resources import Resources
from app.webhooks.deliveries import WebhookDispatcher
from tests.exports.lifecycle.steps import (
    CountedDatabase,
    SteppedDatabase,
    SteppedMailer,
    SteppedStorage,
    Steps,
)
from tests.fakes import MemoryExportEvents, MemoryQueue
from workers.executor import ExecutionSlots, ExportExecutor
from workers.fleet_tasks import FleetTasks
from workers.maintenance import build_outbox, maintenance_tasks

NO_WEBHOOKS = cast(WebhookSender, None)
"""No endpoint is registered, so none is called."""

TABLES = (exports, idempotency_keys, list_notices)

STORED = """
    SELECT
        exports.*,
        list_notices.status AS notice_status,
        list_notices.unanswered AS notice_unanswered
    FROM exports
    LEFT JOIN list_notices ON list_notices.seller_id = exports.seller_id AND export_id = id
"""
"""Every export, with the notice of a large list."""


@dataclass(frozen=True)
class State:
    """Everything that is stored, between two operations.

    ``rows`` are those of ``STORED`` by the export's id; ``messages`` those that left, in order.
    """

    now: datetime
    rows: dict[UUID, asyncpg.Record]
    objects: frozenset[str]
    messages: tuple[EmailMessage, ...]


class EveryWorker(FleetTasks):
    """Gives every worker every fleet task at once: they must be safe to run twice."""

    async def claim(self, name: str) -> bool:
        return True

    @asynccontextmanager
    async def renewed(self, name: str) -> AsyncIterator[None]:
        yield

    async def finish(self, name: str, every_s: float) -> None:
        return

    async def fail(self, name: str, retry_s: float) -> None:
        return


class Service:
    """The API's use cases and any number of workers, on one database, bucket and mail server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.steps = Steps()
        self._stepped = SteppedDatabase(create_engine(settings.database_url, pool_size=20))
        self.database = CountedDatabase(create_engine(settings.database_url, pool_size=20))
        self._stepped.steps = self.database.steps = self.steps
        self.begin_anew()

    def begin_anew(self) -> None:
        """Start with an empty bucket, queue and mailbox."""
        self.storage = SteppedStorage(self.steps)
        self.mailer = SteppedMailer(self.steps)
        self.metrics = Metrics()
        cleaner = AttemptCleaner(self._stepped, self.database, self.storage, self.settings)
        self.resources = Resources(
            settings=self.settings,
            database=self._stepped,
            audience_database=self.database,
            storage=self.storage,
            mailer=self.mailer,
            queue=MemoryQueue(),
            export_events=MemoryExportEvents(),
            links=LinkSigner(self.settings.link_secrets, self.settings.public_url),
            attempt_cleaner=cleaner,
            options_resolver=OptionsResolver(self._stepped),
            audience_counts=SharedCounts(self.database, self._stepped),
            seller_locks=KeyedLocks(),
            webhooks=NO_WEBHOOKS,
            metrics=self.metrics,
            shared_metrics=SharedMetricsCollector({}),
            tracer=NOOP_TRACER,
        )

    async def close(self) -> None:
        """Close the pools."""
        await self._stepped.close()
        await self.database.close()

    async def empty(self) -> None:
        """Delete every export; the audit is append-only and stays."""
        for table in TABLES:
            await self.database.execute(f"DELETE FROM {table.name}")

    async def work(self, task: str) -> None:
        """Run one periodic task as a worker of its own, until all that it began has ended."""
        resources = self.resources
        async with unwrap_exception_group(), asyncio.TaskGroup() as group:
            exporter = Exporter(
                resources.database,
                resources.audience_database,
                resources.storage,
                resources.queue,
                resources.export_events,
                resources.settings,
                worker="tests",
                metrics=resources.metrics,
            )
            executor = ExportExecutor(
                exporter,
                build_outbox(resources),
                ExecutionSlots(resources.settings),
                group,
                resources.metrics,
            )
            webhooks = WebhookDispatcher(
                resources.database, NO_WEBHOOKS, resources.settings, group, resources.metrics
            )
            fleet = EveryWorker(resources.database, "tests", resources.settings.lease_s)
            tasks = maintenance_tasks(resources, executor, webhooks, fleet)
            await next(each for each in tasks if each.name == task).step()

    async def state(self) -> State:
        """Return what is stored now."""
        rows = await self.database.fetch(STORED)
        return State(
            datetime.now(UTC),
            {row["id"]: row for row in rows},
            frozenset(self.storage.objects),
            tuple(self.mailer.messages),
        )

    async def audit(self, export_id: UUID) -> list[str]:
        """Return the actions in an export's audit, in order."""
        rows = await self.database.fetch(
            "SELECT action FROM export_audit WHERE export_id = :id ORDER BY id", id=export_id
        )
        return [row["action"] for row in rows]

    async def move_clocks(self, seconds: float) -> None:
        """Set the clocks of the database and the store forward, or back.

        Nobody can set them, so everything stored becomes older instead, or younger.
        """
        for table in TABLES:
            await self.database.execute(_made_older(table), by=-seconds)
        self.storage.make_older(timedelta(seconds=seconds))

    def unexpected_errors(self) -> float:
        """Return how many errors were counted that nobody foresaw."""
        samples = [
            sample.value
            for metric in self.metrics.unexpected_errors.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        ]
        return sum(samples)


def _made_older(table: Table) -> str:
    """Return the statement that moves every instant of a table by ``:by`` seconds."""
    interval = "make_interval(secs => CAST(:by AS double precision))"
    moved = [_moved(column.name, column.type, interval) for column in table.columns]
    return f"UPDATE {table.name} SET {', '.join(filter(None, moved))}"


def _moved(name: str, kind: Any, interval: str) -> str:
    if isinstance(kind, DateTime):
        return f"{name} = {name} + {interval}"
    if isinstance(kind, ARRAY) and isinstance(kind.item_type, DateTime):
        return f"{name} = ARRAY(SELECT each + {interval} FROM unnest({name}) AS each)"
    return ""
