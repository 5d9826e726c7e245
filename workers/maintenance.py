"""Maintenance: periodic tasks, some done by every worker, some by one of the fleet at a time."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from prometheus_client import Gauge

from app.database.queue_starts import advance_queue_starts
from app.errors import ServiceError
from app.exports.audit import delete_old_entries, redact_client_details
from app.exports.cleanup.attempt_cleanup import AttemptCleanup
from app.exports.cleanup.expiry import ExpirationTask
from app.exports.cleanup.orphans import OrphanCollector
from app.exports.delivery.notices import NoticeOutbox
from app.exports.delivery.outbox import Outbox
from app.exports.queue.installation import register_installation
from app.exports.queue.recovery import QueueRecovery
from app.feeds.events import prune_tombstones
from app.observability.limited_warnings import LimitedWarnings
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import backoff_s, is_cancelled, report_unexpected
from app.resources import Resources
from app.webhooks.deliveries import WebhookDispatcher
from workers.due_work import DUE_MAILS, DUE_WEBHOOKS, WAITING_EXPORTS, DueWork
from workers.executor import ExportExecutor
from workers.fleet_tasks import FleetTasks

Outcome = Literal["succeeded", "deferred", "failed", "skipped"]
"""How a run ended; ``skipped``: another worker does the task, or it is not due in the fleet."""

SKIPPED = object()
"""What a step returns that had nothing to do with this worker."""

POLL_S = 2.0
"""How often a worker polls PostgreSQL for due work, with Redis or without.

Of ten workers one polls every fifth of a second. Redis wakes them for a new export.
"""

POLLS_PER_INTERVAL = 2
"""How often, at least, a worker polls in the interval of any fleet task."""

REGISTER_S = 300.0

MAX_RETRY_DELAY_S = 30.0
"""A periodic task that failed is retried after this many seconds at most, however rare it is, or
however often it failed.
"""


@dataclass(frozen=True)
class PeriodicTask:
    """A step that is repeated; several workers may do it at once.

    Attributes:
        every_s: the pause between two runs in this process.
        due: where given, the step is run when this event is set, and not at intervals.
        is_spread: whether it begins after a random part of its interval, so that workers that
            start together do not ask together.
    """

    name: str
    step: Callable[[], Awaitable[Any]]
    every_s: float
    due: asyncio.Event | None = None
    is_spread: bool = False


async def run_periodically(
    task: PeriodicTask, count: Callable[[PeriodicTask, Outcome], None]
) -> None:
    """Run a periodic task forever; what an outage prevents is done at the next run.

    ``count`` is called after each run: ``succeeded``, ``skipped``, ``deferred`` by an outage, or
    ``failed`` unexpectedly, then within the ``except`` clause. Repeated failures are retried with
    exponential backoff; they end neither the loop nor the other tasks.
    """
    failures = 0
    warnings = LimitedWarnings("periodic task deferred", task=task.name)
    if task.is_spread:
        await asyncio.sleep(task.every_s * random.random())  # noqa: S311 - out of step
    while True:
        if task.due is not None:
            await task.due.wait()
            # Before the step: what becomes due while it runs sets the event for another run.
            task.due.clear()
        outcome = await _attempt(task, count, warnings)
        failures = failures + 1 if outcome == "failed" else 0
        pause_s = task.every_s if task.due is None else 0
        if outcome in ("deferred", "failed"):
            pause_s = backoff_s(task.every_s, MAX_RETRY_DELAY_S, failures)
        await asyncio.sleep(pause_s * random.uniform(0.9, 1))  # noqa: S311 - out of step


async def _attempt(
    task: PeriodicTask, count: Callable[[PeriodicTask, Outcome], None], warnings: LimitedWarnings
) -> Outcome:
    try:
        result = await task.step()
    except ServiceError as error:
        warnings.log(error)
        count(task, "deferred")
        return "deferred"
    except (Exception, asyncio.CancelledError):
        if is_cancelled():
            raise
        count(task, "failed")
        return "failed"
    outcome: Outcome = "skipped" if result is SKIPPED else "succeeded"
    count(task, outcome)
    return outcome


def one_in_the_fleet(
    task: PeriodicTask, fleet: FleetTasks, due: asyncio.Event | None = None
) -> PeriodicTask:
    """Return the task so that one worker of the fleet does it at a time, ``every_s`` in all.

    One that fails is due again after its interval or ``MAX_RETRY_DELAY_S``, for any worker.
    """

    async def step() -> object:
        if not await fleet.claim(task.name):
            return SKIPPED
        try:
            async with fleet.renewed(task.name):
                await task.step()
        # A cancellation, too: when a worker stops, the task need not wait for its lease.
        except BaseException:
            retry_s = min(task.every_s, MAX_RETRY_DELAY_S)
            with contextlib.suppress(ServiceError):
                await fleet.fail(task.name, retry_s)
            raise
        # After the renewals have ended: a later one would make the task due when the lease ends.
        await fleet.finish(task.name, task.every_s)
        return None

    return replace(task, step=step, due=due)


def record_run(metrics: Metrics, heartbeat: Gauge, task: PeriodicTask, outcome: Outcome) -> None:
    """Count one round of a periodic task; one that was done proves that this worker works."""
    if outcome == "failed":
        report_unexpected(metrics, "periodic task", task=task.name)
    if outcome != "skipped":
        metrics.periodic_task_runs.labels(task.name, outcome).inc()
    if outcome in ("succeeded", "skipped"):
        heartbeat.set_to_current_time()


def maintenance_tasks(
    resources: Resources, executor: ExportExecutor, webhooks: WebhookDispatcher, fleet: FleetTasks
) -> list[PeriodicTask]:
    """Return all periodic tasks; each has its own loop, so that none blocks another.

    All but two wait until the poll has found that they are due.
    """
    due = DueWork(resources.database, executor.free_lanes)
    in_fleet = [*_recovery_tasks(resources, webhooks), *_cleanup_tasks(resources, webhooks)]
    poll_s = min(POLL_S, *(task.every_s / POLLS_PER_INTERVAL for task in in_fleet))
    register = partial(register_installation, resources.database, resources.queue)
    return [
        PeriodicTask("poll for due work", due.poll, poll_s, is_spread=True),
        PeriodicTask("register installation", register, REGISTER_S),
        PeriodicTask(WAITING_EXPORTS, executor.run_waiting, poll_s, due=due.event(WAITING_EXPORTS)),
        PeriodicTask(DUE_MAILS, executor.send_due_mails, poll_s, due=due.event(DUE_MAILS)),
        PeriodicTask(DUE_WEBHOOKS, webhooks.dispatch_due, poll_s, due=due.event(DUE_WEBHOOKS)),
        *(one_in_the_fleet(task, fleet, due.fleet_event(task.name)) for task in in_fleet),
    ]


def _recovery_tasks(resources: Resources, webhooks: WebhookDispatcher) -> list[PeriodicTask]:
    """Return the fleet tasks that others wait for."""
    every_s = resources.settings.recovery_interval_s
    database, events, metrics = resources.database, resources.export_events, resources.metrics
    recovery = QueueRecovery(database, resources.queue, events, resources.settings, metrics)
    cleanup = AttemptCleanup(database, events, resources.attempt_cleaner, metrics)
    expiry = ExpirationTask(database, resources.storage, events, metrics)
    notices = NoticeOutbox(database, resources.mailer, resources.settings, metrics)
    return [
        PeriodicTask("send due notices", notices.send_due, every_s),
        PeriodicTask("reclaim expired leases", recovery.reclaim_expired_leases, every_s),
        PeriodicTask("advance queue starts", partial(advance_queue_starts, database), every_s),
        PeriodicTask("clean up failed attempts", cleanup.clean_up_failed_attempts, every_s),
        PeriodicTask("expire files", expiry.expire_files, every_s),
        PeriodicTask("fail undeliverable webhooks", webhooks.fail_undeliverable, every_s),
    ]


def _cleanup_tasks(resources: Resources, webhooks: WebhookDispatcher) -> list[PeriodicTask]:
    """Return the fleet tasks that delete what is no longer needed."""
    every_s = resources.settings.cleanup_interval_s
    database, storage = resources.database, resources.storage
    expiry = ExpirationTask(database, storage, resources.export_events, resources.metrics)
    orphans = OrphanCollector(database, storage, resources.settings)
    redact = partial(redact_client_details, database)
    tasks = [
        PeriodicTask("delete old rows", expiry.prune, every_s),
        PeriodicTask("delete orphans", orphans.delete_orphans, every_s),
        PeriodicTask("delete old webhooks", webhooks.prune, every_s),
        PeriodicTask("delete old tombstones", partial(prune_tombstones, database), every_s),
        PeriodicTask("redact audit client details", redact, every_s),
    ]
    if (days := resources.settings.audit_retention_days) is not None:
        delete_entries = partial(delete_old_entries, database, days)
        tasks.append(PeriodicTask("delete old audit entries", delete_entries, every_s))
    return tasks


def build_outbox(resources: Resources) -> Outbox:
    """Return the outbox of the resources' mail server."""
    return Outbox(
        resources.database,
        resources.mailer,
        resources.storage,
        resources.links,
        resources.settings,
        resources.metrics,
        resources.tracer,
    )
