"""A chaos run, from its seed to the result of its checks."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from app.database.connections import Connection, connect
from devstack.service_processes import ROOT
from tests.chaos.crowd import Crowd, follow_for_ever, gather, settle
from tests.chaos.environment import Environment, open_environment
from tests.chaos.faults import Monkey
from tests.chaos.invariants import InvariantChecker, Verdict, bucket_of
from tests.chaos.shop import Shop

POLL_S = 0.5
REQUESTS_SHARE = 0.8
"""Share of the fault phase over which the requests are spread."""

BUSY = """
    SELECT count(*)
    FROM exports
    WHERE status IN ('queued', 'running') OR email_status = 'pending' OR uncleaned_attempts <> '{}'
"""


@dataclass(frozen=True)
class Scale:
    """The size of a run: exports, seconds of faults, and changed settings."""

    exports: int
    seconds: float
    every_s: float
    frozen_max_s: float
    idle_max_s: float
    settings: dict[str, str] = field(default_factory=dict)


LONG = Scale(
    exports=200,
    seconds=120,
    every_s=0.5,
    frozen_max_s=60,
    idle_max_s=240,
    settings={
        "RETRY_MAX_S": "10",
        "MAIL_RETRY_BASE_S": "2",
        "MAIL_RETRY_MAX_S": "10",
        "MAIL_ANSWER_TIMEOUT_S": "30",
        "MAIL_UNANSWERED_RETRY_S": "5",
        "ORPHAN_MIN_AGE_S": "90",
        "CLEANUP_INTERVAL_S": "10",
    },
)
"""Leases and recovery as in production; only waiting times are shorter."""

SHORT = Scale(
    exports=30,
    seconds=20,
    every_s=0.3,
    frozen_max_s=10,
    idle_max_s=60,
    settings={
        "LEASE_S": "3",
        "RECOVERY_INTERVAL_S": "0.5",
        "RETRY_MAX_S": "2",
        "MAIL_LEASE_S": "5",
        "MAIL_RETRY_BASE_S": "0.5",
        "MAIL_RETRY_MAX_S": "2",
        "MAIL_ANSWER_TIMEOUT_S": "10",
        "MAIL_UNANSWERED_RETRY_S": "1",
        "ORPHAN_MIN_AGE_S": "8",
        "CLEANUP_INTERVAL_S": "2",
        "SHUTDOWN_TIMEOUT_S": "2",
    },
)


class Course(Protocol):
    """What happens beside the faults. ``root`` is the checkout that everything starts with."""

    root: Path

    async def trade(
        self, environment: Environment, crowd: Crowd, shop: Shop, seconds: float
    ) -> None:
        """Make every request of the crowd, within some seconds where no fault delays it."""
        ...

    async def check(self, environment: Environment, crowd: Crowd, shop: Shop) -> Verdict:
        """Return what else must hold and is worth telling, once the service is idle."""
        ...


class OneVersion:
    """The course of a run that changes nothing but by faults."""

    root = ROOT

    async def trade(
        self, environment: Environment, crowd: Crowd, shop: Shop, seconds: float
    ) -> None:
        """Spread the requests."""
        await shop.trade(crowd.requests, seconds)

    async def check(self, environment: Environment, crowd: Crowd, shop: Shop) -> Verdict:
        """Nothing else."""
        return Verdict([], {})


@dataclass(frozen=True)
class RunResult:
    """The verdict, the number of faults by kind, and the seconds until the service was idle."""

    verdict: Verdict
    faults: dict[str, int]
    idle_s: float


async def run(scale: Scale, seed: int, course: Course | None = None) -> RunResult:
    """Run the requests and faults, wait, and check; a seed repeats the random choices."""
    course = course or OneVersion()
    dice = random.Random(seed)
    crowd = gather(dice, scale.exports)
    async with open_environment(scale.settings, course.root) as environment:
        url = environment.settings["DATABASE_URL"]
        await settle(crowd, url, dice)
        monkey = Monkey(
            environment, environment.workers, random.Random(seed + 1), scale.frozen_max_s
        )
        shop = Shop(environment, random.Random(seed + 2))
        following = asyncio.create_task(follow_for_ever(crowd, url))
        async with asyncio.TaskGroup() as group:
            trade = course.trade(environment, crowd, shop, scale.seconds * REQUESTS_SHARE)
            trading = group.create_task(trade)
            group.create_task(monkey.rage(scale.seconds, scale.every_s, trading))
        repaired_at = time.monotonic()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await wait_until_idle(environment, scale.idle_max_s)
        idle_s = time.monotonic() - repaired_at
        verdict = await InvariantChecker(environment, crowd, shop.withdrawn).check()
        verdict += await course.check(environment, crowd, shop)
        return RunResult(verdict, dict(monkey.count), idle_s)


async def wait_until_idle(environment: Environment, within_s: float) -> None:
    """Wait until the service is idle, or the time is over."""
    deadline = time.monotonic() + within_s
    connection = await connect(environment.settings["DATABASE_URL"])
    try:
        while time.monotonic() < deadline:
            if await _is_idle(environment, connection):
                return
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()


async def _is_idle(environment: Environment, connection: Connection) -> bool:
    if await connection.fetchval(BUSY) > 0:
        return False
    rows = await connection.fetch("SELECT object_key FROM exports WHERE object_key IS NOT NULL")
    stored, uploads = await asyncio.to_thread(bucket_of, environment)
    return not uploads and stored == {row["object_key"] for row in rows}
