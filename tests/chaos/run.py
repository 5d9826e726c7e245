"""A run of chaos from its seed to its verdict."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from app.database import Connection, connect
from tests.chaos.arena import Arena, open_arena
from tests.chaos.crowd import follow_for_ever, gather, settle
from tests.chaos.faults import Monkey
from tests.chaos.shop import Shop
from tests.chaos.verdict import Judge, Verdict, bucket_of

LOOK_S = 0.5
ASKED_PART = 0.8
"""How much of the time of the faults the requests are spread over."""

RESTLESS = """
    SELECT count(*)
    FROM exports
    WHERE status IN ('queued', 'running') OR email_status = 'pending' OR residue <> '{}'
"""


@dataclass(frozen=True)
class Scale:
    """How large a run is: exports, seconds of faults, and settings that differ from the usual."""

    exports: int
    seconds: float
    every_s: float
    frozen_max_s: float
    rest_s: float
    settings: dict[str, str] = field(default_factory=dict)


LONG = Scale(
    exports=200,
    seconds=120,
    every_s=0.5,
    frozen_max_s=60,
    rest_s=240,
    settings={
        "RETRY_MAX_S": "10",
        "MAIL_RETRY_BASE_S": "2",
        "MAIL_RETRY_MAX_S": "10",
        "ORPHAN_AGE_S": "90",
        "TIDY_S": "10",
    },
)
"""Leases and sweeps as installations have them; only waiting is cut short."""

SHORT = Scale(
    exports=30,
    seconds=20,
    every_s=0.3,
    frozen_max_s=10,
    rest_s=60,
    settings={
        "LEASE_S": "3",
        "SWEEP_S": "0.5",
        "RETRY_MAX_S": "2",
        "MAIL_LEASE_S": "5",
        "MAIL_RETRY_BASE_S": "0.5",
        "MAIL_RETRY_MAX_S": "2",
        "ORPHAN_AGE_S": "8",
        "TIDY_S": "2",
        "SHUTDOWN_S": "2",
    },
)


@dataclass(frozen=True)
class Outcome:
    """A run's verdict, what was broken how often, and how long it took to come to rest."""

    verdict: Verdict
    faults: dict[str, int]
    rest_s: float


async def run(scale: Scale, seed: int) -> Outcome:
    """Ask, break, mend, wait and judge; the same seed throws the same dice."""
    dice = random.Random(seed)
    crowd = gather(dice, scale.exports)
    async with open_arena(scale.settings) as arena:
        url = arena.settings["DATABASE_URL"]
        await settle(crowd, url, dice)
        monkey = Monkey(arena, random.Random(seed + 1), scale.frozen_max_s)
        shop = Shop(arena, crowd, random.Random(seed + 2))
        following = asyncio.create_task(follow_for_ever(crowd, url))
        async with asyncio.TaskGroup() as group:
            group.create_task(monkey.rage(scale.seconds, scale.every_s))
            group.create_task(shop.trade(scale.seconds * ASKED_PART))
        mended_at = time.monotonic()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await rest(arena, scale.rest_s)
        rest_s = time.monotonic() - mended_at
        verdict = await Judge(arena, crowd, shop.withdrawn).judge()
        return Outcome(verdict, dict(monkey.count), rest_s)


async def rest(arena: Arena, within_s: float) -> None:
    """Wait until nothing is under way any more, or the time is over."""
    deadline = time.monotonic() + within_s
    connection = await connect(arena.settings["DATABASE_URL"])
    try:
        while time.monotonic() < deadline:
            if await _is_at_rest(arena, connection):
                return
            await asyncio.sleep(LOOK_S)
    finally:
        await connection.close()


async def _is_at_rest(arena: Arena, connection: Connection) -> bool:
    if await connection.fetchval(RESTLESS) > 0:
        return False
    rows = await connection.fetch("SELECT object_key FROM exports WHERE object_key IS NOT NULL")
    stored, uploads = await asyncio.to_thread(bucket_of, arena)
    return not uploads and stored == {row["object_key"] for row in rows}
