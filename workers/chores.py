"""What every worker does now and then, whatever the queue says."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from prometheus_client import Gauge

from app.errors import ServiceError
from app.exports.audit import cut_origins
from app.exports.expiry import Expiry
from app.exports.orphans import Orphans
from app.exports.outbox import Outbox
from app.exports.sweep import Sweep
from app.exports.webhooks import Webhooks
from app.feeds.events import forget_tombstones
from app.metrics import Metrics
from app.resources import Resources
from workers.floor import Floor

log = structlog.get_logger()

MAIL_S = 1.0
WEBHOOKS_S = 1.0

AGAIN_S = 60.0
"""A chore that an outage prevented is not put off for longer, however rare it is."""


@dataclass(frozen=True)
class Chore:
    """A step that is repeated; several workers may do it at once."""

    name: str
    step: Callable[[], Awaitable[Any]]
    every_s: float


async def repeat(chore: Chore, count: Callable[[Chore, str], None]) -> None:
    """Do a chore for ever; what an outage prevents is done the next time.

    ``count`` is told each time whether it was ``done`` or ``put_off``.
    """
    while True:
        pause_s = chore.every_s
        try:
            await chore.step()
            count(chore, "done")
        except ServiceError as error:
            log.warning("chore put off", chore=chore.name, error=error.code, reason=str(error))
            pause_s = min(pause_s, AGAIN_S)
            count(chore, "put_off")
        await asyncio.sleep(pause_s * random.uniform(0.9, 1))  # noqa: S311 - out of step


def count_chore(metrics: Metrics, heartbeat: Gauge, chore: Chore, outcome: str) -> None:
    """Count one round of a chore; one that was done proves that this worker works."""
    metrics.sweeps.labels(chore.name, outcome).inc()
    if outcome == "done":
        heartbeat.set_to_current_time()


def chores(resources: Resources, floor: Floor, webhooks: Webhooks) -> list[Chore]:
    """Return all chores; each is a loop of its own, so that none holds up another."""
    settings = resources.settings
    sweep = Sweep(
        resources.engine,
        resources.queue,
        resources.news,
        resources.residue,
        settings,
        resources.metrics,
    )
    expiry = Expiry(resources.engine, resources.storage, resources.news, resources.metrics)
    orphans = Orphans(resources.engine, resources.storage, settings)
    return [
        Chore("take back lost leases", sweep.take_back, settings.sweep_s),
        Chore("ring for waiting exports", sweep.ring_for_waiting, settings.sweep_s),
        Chore("clear residue", sweep.clear_residue, settings.sweep_s),
        Chore("send due mails", floor.send_due_mails, MAIL_S),
        Chore("expire files", expiry.expire_files, settings.sweep_s),
        Chore("forget old rows", expiry.forget, settings.tidy_s),
        Chore("erase orphans", orphans.erase, settings.tidy_s),
        Chore("deliver webhooks", webhooks.begin_due, WEBHOOKS_S),
        Chore("abandon webhooks", webhooks.abandon, settings.sweep_s),
        Chore("forget webhooks", webhooks.forget, settings.tidy_s),
        Chore("forget tombstones", partial(forget_tombstones, resources.engine), settings.tidy_s),
        Chore("cut origins", partial(cut_origins, resources.engine), settings.tidy_s),
    ]


def outbox(resources: Resources) -> Outbox:
    """Return the outbox of the resources' mail server."""
    return Outbox(
        resources.engine,
        resources.mailer,
        resources.storage,
        resources.links,
        resources.settings,
        resources.metrics,
        resources.tracer,
    )
