"""A soak, from its seed to its slopes."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app.concurrency import cancel_and_wait
from app.database.connections import connect
from app.database.database import DatabaseConnection
from app.webhooks.endpoints import register_endpoint
from tests.chaos.crowd import Crowd, settle
from tests.chaos.environment import Environment, open_environment
from tests.chaos.faults import Monkey
from tests.polling import until
from tests.soak.ageing import UNLOCK_AUDIT
from tests.soak.load import LARGE, NOTIFY_ABOVE_ROWS, SIZES, Load
from tests.soak.samples import Sampler, tolerance_of
from tests.soak.slopes import Series, Slope, slope_of
from tests.webhook_server import WebhookServer, running_webhook_server

WARM_UP = 1 / 3
"""The part of a run whose samples say nothing: caches, pools and allocators fill."""

FROZEN_MAX_S = 40.0
WEBHOOK_REFUSED_S = 60.0

REST_S = 120.0
"""How long a short run may need beyond its time until everything was done once."""

SETTINGS = {
    "LINK_LIFETIME_S": "120",
    "AUDIT_RETENTION_DAYS": "90",
    "CLEANUP_INTERVAL_S": "20",
    "ORPHAN_MIN_AGE_S": "60",
    "RETRY_MAX_S": "10",
    "MAIL_RETRY_BASE_S": "2",
    "MAIL_RETRY_MAX_S": "10",
    "MAIL_ANSWER_TIMEOUT_S": "30",
    "MAIL_UNANSWERED_RETRY_S": "5",
    "NOTIFY_EMAIL": "officer@example.com",
    "NOTIFY_ABOVE_ROWS": str(NOTIFY_ABOVE_ROWS),
}
"""Files live for two minutes; leases and recovery are as in production."""


@dataclass(frozen=True)
class Scale:
    """The length of a run in seconds, and its pauses.

    Attributes:
        large_rows: members of the largest list; by default it is read by several streams, in the
            lane of large exports.
        fault_every_s: the mean pause between two faults.
        sample_every_s: the pause between two samples.
        pace: what the pauses of the load are multiplied by.
    """

    seconds: float
    fault_every_s: float = 20
    sample_every_s: float = 10
    pace: float = 1
    large_rows: int = 120_000


SHORT = Scale(seconds=9, fault_every_s=2, sample_every_s=1, pace=0.02, large_rows=5_000)
"""Too short for a verdict: everything is done, and each series has samples."""


@dataclass(frozen=True)
class SoakResult:
    """What was measured.

    Attributes:
        done: how often each thing was done, and how many mails and webhooks arrived.
        faults: how often each fault was injected.
        wrong: what was not as it should be.
    """

    scale: Scale
    done: dict[str, int]
    faults: dict[str, int]
    wrong: list[str]
    series: list[Series]

    @property
    def warm_up_s(self) -> float:
        """Until when samples say nothing."""
        return self.scale.seconds * WARM_UP

    @property
    def slopes(self) -> list[Slope]:
        """The slope of each series."""
        return [
            slope_of(each, partial(tolerance_of, each.measure), self.warm_up_s)
            for each in self.series
        ]


async def run(scale: Scale, seed: int) -> SoakResult:
    """Run load and faults for the time of ``scale``; a seed repeats the random choices."""
    sizes = SIZES | {LARGE: scale.large_rows}
    async with open_environment(SETTINGS) as environment, webhooks(environment) as endpoint:
        url = environment.settings["DATABASE_URL"]
        await settle(Crowd(sizes, []), url, random.Random(seed))
        return await _soak(environment, endpoint, scale, seed)


async def _soak(
    environment: Environment, endpoint: WebhookServer, scale: Scale, seed: int
) -> SoakResult:
    """Sample the API and the workers; kill, stop and freeze one worker more.

    A process that begins again has no slope.
    """
    pids = {"API": environment.api.pid}
    pids |= {worker.name: worker.pid for worker in environment.workers}
    victim = environment.add_worker()
    monkey = Monkey(environment, [victim], random.Random(seed + 1), FROZEN_MAX_S)
    load = Load(environment, random.Random(seed + 2))
    sampler = Sampler(environment, pids, scale.sample_every_s)
    background = [
        asyncio.create_task(load.run_for_ever(scale.pace)),
        asyncio.create_task(sampler.sample_for_ever()),
        asyncio.create_task(refuse_for_ever(endpoint)),
    ]

    async def has_done_everything() -> bool:
        return all(load.done.values()) and bool(sampler.mails and endpoint.calls)

    await monkey.rage(scale.seconds, scale.fault_every_s)
    with contextlib.suppress(TimeoutError):
        await until(has_done_everything, REST_S)
    wrong = [*load.faults, *_ended(background), *_workers_that_ended(environment)]
    await cancel_and_wait(*background)
    await sampler.sample()
    done = {**load.done, "mails": sampler.mails, "webhooks": len(endpoint.calls)}
    return SoakResult(scale, done, dict(monkey.count), wrong, sampler.series)


@asynccontextmanager
async def webhooks(environment: Environment) -> AsyncIterator[WebhookServer]:
    """Run an endpoint that is called about every export; the audit's rows may age from now on."""
    connection = await connect(environment.settings["DATABASE_URL"])
    try:
        with running_webhook_server() as server:
            database = DatabaseConnection(connection)
            await register_endpoint(database, "service", server.url, all_exports=True)
            await connection.execute(UNLOCK_AUDIT)
            await connection.close()
            yield server
    finally:
        connection.terminate()


async def refuse_for_ever(endpoint: WebhookServer) -> None:
    """Let a webhook fail now and then."""
    while True:
        await asyncio.sleep(WEBHOOK_REFUSED_S)
        endpoint.statuses.append(503)


def _ended(tasks: list[asyncio.Task[None]]) -> Iterator[str]:
    """Yield the errors of tasks that should still run."""
    yield from (f"ended: {task.exception()!r}" for task in tasks if task.done())


def _workers_that_ended(environment: Environment) -> Iterator[str]:
    for worker in environment.workers:
        worker.note_end()
        yield from (f"{worker.name} ended by itself: {log}" for log in worker.ended_by_itself)
