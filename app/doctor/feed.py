"""Feeding by logical replication: does each subscription work, and how far behind is it."""

import asyncpg

from app.config import Settings
from app.doctor.database import examined
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.errors import DatabaseUnavailable

CHECK_NAME = "feed"

SILENCE_NOTICED_S = 90
"""PostgreSQL asks a silent publisher for a sign of life after 30 seconds."""

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
    extract(epoch FROM clock_timestamp() - worker.last_msg_send_time)::float8 AS silent_s
FROM pg_subscription AS subscription
LEFT JOIN pg_stat_subscription AS worker
    ON worker.subid = subscription.oid AND worker.worker_type = 'apply'
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
        advice = "ALTER SUBSCRIPTION … ENABLE, once what stopped it is mended"
        return failure(CHECK_NAME, f"The subscription {name} is disabled.", advice)
    if not state["is_running"]:
        detail = f"The subscription {name} is not running; it has met {errors} errors in all."
        return failure(CHECK_NAME, detail, "read PostgreSQL's log; the storefront may be away")
    if state["copying"]:
        detail = f"The subscription {name} still copies {state['copying']} tables."
        return warning(CHECK_NAME, detail, "give it time; if it stays so, read PostgreSQL's log")
    silent_s = state["silent_s"] or 0
    if silent_s > SILENCE_NOTICED_S:
        detail = f"The subscription {name} is {silent_s:,.0f} s behind the storefront."
        return warning(CHECK_NAME, detail, "give it time, or look at what it waits for")
    return ok(CHECK_NAME, f"The subscription {name} works; last heard {silent_s:.0f} s ago.")


CHECK = Check(CHECK_NAME, examine, "start PostgreSQL, or mend DATABASE_URL")
