"""Whether this machine's clock agrees with the database's and the store's."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from app.adapters.s3_inspection import endpoint_url
from app.config import Settings
from app.database import Connection
from app.doctor.findings import Check, Finding, failure, ok, warning

NOTICED_S = 2.0
"""The store tells its time in whole seconds."""

HARMFUL_S = 60.0
"""Callers' tokens have a leeway of 30 s, presigned links live five minutes."""

TIMEOUT_S = 10.0
ADVICE = "let chrony or systemd-timesyncd keep the clocks of both machines"


async def database_clock(connection: Connection) -> Finding:
    """Return how far this clock is from the database's."""
    asked_at = time.time()
    theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    return judge("clock.database", "the database's", theirs, asked_at, time.time())


async def examine(settings: Settings) -> list[Finding]:
    """Return how far this clock is from the store's, as its ``Date`` tells (RFC 9110).

    Nothing is signed: a store refuses a signature by a clock that is wrong,
    and still says what time it is.
    """
    try:
        url = await endpoint_url(settings)
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            asked_at = time.time()
            answer = await client.head(url)
            answered_at = time.time()
    except httpx.HTTPError:
        return []  # the bucket's check tells
    theirs = _date(answer.headers.get("Date", ""))
    if theirs is None:
        detail = "The store does not tell its time."
        return [warning("clock.store", detail, "compare its clock with this machine's by hand")]
    return [judge("clock.store", "the store's", theirs, asked_at, answered_at)]


CHECK = Check("clock.store", examine, ADVICE)


def judge(check: str, whose: str, theirs: float, asked_at: float, answered_at: float) -> Finding:
    """Return what a clock that showed ``theirs`` between two of our instants means.

    All are seconds of the epoch. Time on the way is no difference.
    """
    behind = max(asked_at - theirs, 0)
    ahead = max(theirs - answered_at, 0)
    skew_s = max(behind, ahead)
    if skew_s <= NOTICED_S:
        return ok(check, f"This clock agrees with {whose}.")
    direction = "ahead of" if behind else "behind"
    detail = f"This clock is {skew_s:,.0f} s {direction} {whose}."
    return (failure if skew_s > HARMFUL_S else warning)(check, detail, ADVICE)


def _date(field: str) -> float | None:
    try:
        return parsedate_to_datetime(field).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
