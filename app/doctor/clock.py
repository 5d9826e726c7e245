"""Whether this machine's clock agrees with the database's and the store's."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from app.adapters.s3.inspection import endpoint_url
from app.config import Settings
from app.database.database import Queryable
from app.doctor.findings import Check, CheckResult, failure, ok, warning

WARNING_S = 2.0
"""Not less: the store reports its time in whole seconds."""

FAILURE_S = 60.0
"""Tokens are accepted with a leeway of 30 s, presigned URLs are valid for five minutes."""

TIMEOUT_S = 10.0
ADVICE = "synchronise the clocks of both machines with chrony or systemd-timesyncd"


async def database_clock(database: Queryable) -> CheckResult:
    """Compare this clock with the database's."""
    queried_at = time.time()
    # Not now(), which is when the transaction began.
    ((theirs,),) = await database.fetch("SELECT extract(epoch FROM clock_timestamp())::float8")
    return evaluate("clock.database", "the database's", theirs, queried_at, time.time())


async def check(settings: Settings) -> list[CheckResult]:
    """Compare this clock with the ``Date`` header of the store (RFC 9110, section 6.6.1).

    The request is not signed: a store refuses a signature made by a wrong clock, and
    answers with its time all the same.
    """
    try:
        url = await endpoint_url(settings)
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            queried_at = time.time()
            answer = await client.head(url)
            answered_at = time.time()
    except httpx.HTTPError:
        return []  # the bucket's check reports it
    theirs = _date(answer.headers.get("Date", ""))
    if theirs is None:
        detail = "The store does not report its time."
        return [warning("clock.store", detail, "compare its clock with this machine's by hand")]
    return [evaluate("clock.store", "the store's", theirs, queried_at, answered_at)]


CHECK = Check("clock.store", check, ADVICE)


def evaluate(
    name: str, whose: str, theirs: float, queried_at: float, answered_at: float
) -> CheckResult:
    """Return the finding for a remote clock that showed ``theirs``.

    It was read between ``queried_at`` and ``answered_at`` of this clock, all in Unix
    seconds, so network latency is not reported as a difference.
    """
    behind = max(queried_at - theirs, 0)
    ahead = max(theirs - answered_at, 0)
    skew_s = max(behind, ahead)
    if skew_s <= WARNING_S:
        return ok(name, f"This clock agrees with {whose}.")
    direction = "ahead of" if behind else "behind"
    detail = f"This clock is {skew_s:,.0f} s {direction} {whose}."
    return (failure if skew_s > FAILURE_S else warning)(name, detail, ADVICE)


def _date(field: str) -> float | None:
    try:
        return parsedate_to_datetime(field).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
