"""Feeding by logical replication: does each subscription work, and how far behind is it."""

import asyncpg

from app.config import Settings
from app.doctor.database import examined
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.errors import DatabaseUnavailable

CHECK_NAME = "feed"

SILENCE_NOTICED_S = 90
"""PostgreSQL asks a silent publisher for a sign of life after 30 seconds."""

YOUNG_S = 30
"""A worker that met an error is started again every five seconds."""

LOG = "PostgreSQL's log here has the reason"

STATE = """
SELECT
    subscription.subname AS name,
    subscription.subenabled AS is_enabled,
    worker.pid IS NOT NULL AS is_running,
    coalesce(counted.apply_error_count + counted.sync_error_count, 0) AS errors,
    (
        SELECT count(*)
        FROM pg_subscription_rel
        WHERE srsubid = subscription.oid AND srsubstate <> 'r'
    ) AS copying,
    extract(epoch FROM clock_timestamp() - worker.last_msg_send_time)::float8 AS silent_s,
    extract(epoch FROM clock_timestamp() - activity.backend_start)::float8 AS running_s
FROM pg_subscription AS subscription
LEFT JOIN pg_stat_subscription AS worker
    ON worker.subid = subscription.oid AND worker.worker_type = 'apply'
LEFT JOIN pg_stat_activity AS activity ON activity.pid = worker.pid
LEFT JOIN pg_stat_subscription_stats AS counted ON counted.subid = subscription.oid
WHERE subscription.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY subscription.subname
"""


async def examine(settings: Settings) -> list[Finding]:
    """Return what is to be said of each subscription; nothing where there is none."""
    try:
        async with examined(settings.database_url) as connection:
            return [judge(state) for state in await connection.fetch(STATE)]
    except DatabaseUnavailable:
        return []  # the check of the database tells


def judge(state: asyncpg.Record) -> Finding:
    """Return what is to be said of one subscription, the worst of it."""
    name, errors = state["name"], state["errors"]
    if not state["is_enabled"]:
        advice = f"mend what stopped it ({LOG}), then: ALTER SUBSCRIPTION {name} ENABLE"
        return failure(CHECK_NAME, f"The subscription {name} is disabled.", advice)
    if not state["is_running"]:
        detail = f"The subscription {name} is not running; it has met {errors} errors in all."
        advice = "start the storefront's PostgreSQL, or mend the way or the login to it"
        return failure(CHECK_NAME, detail, f"{advice}: {LOG}")
    if errors and (state["running_s"] or YOUNG_S) < YOUNG_S:
        detail = f"The subscription {name} was just begun again; it has met {errors} errors in all."
        advice = "a row that cannot be applied stops the feed: mend or remove what is in its way"
        return failure(CHECK_NAME, detail, f"{advice}; {LOG}")
    if state["copying"]:
        detail = (
            f"The subscription {name} still copies {state['copying']} tables; "
            f"it has met {errors} errors in all."
        )
        return warning(CHECK_NAME, detail, f"give it time; if it stays so, {LOG}")
    silent_s = state["silent_s"] or 0
    if silent_s > SILENCE_NOTICED_S:
        detail = f"The subscription {name} is {silent_s:,.0f} s behind the storefront."
        advice = "give it time; if it stays so, look for a lock it waits for (pg_stat_activity)"
        return warning(CHECK_NAME, detail, advice)
    return ok(CHECK_NAME, f"The subscription {name} works; last heard {silent_s:.0f} s ago.")


CHECK = Check(CHECK_NAME, examine, "start PostgreSQL, or mend DATABASE_URL")
