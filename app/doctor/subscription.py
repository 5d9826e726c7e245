"""Logical replication from the storefront: whether subscriptions work, and their lag."""

import asyncpg

from app.config import Settings
from app.doctor.database import diagnostic_connection
from app.doctor.findings import Check, CheckResult, failure, ok, warning
from app.errors import DatabaseUnavailable

CHECK_NAME = "feed"

SILENCE_MAX_S = 90
"""PostgreSQL asks a silent publisher for a reply after 30 seconds."""

RESTARTED_WITHIN_S = 30
"""PostgreSQL restarts an apply worker that failed every five seconds."""

LOG = "see the log of this PostgreSQL for the reason"

ONE_AFTER_THE_OTHER = (
    "copies fail and start again: copy tables that share people one after the other "
    "(docs/integration.md); if no copies run at once"
)

# pg_subscription lists those of all databases, and pg_stat_subscription also has a row for each
# table that is being copied: hence the conditions on subdbid and worker_type.
STATE = """
SELECT
    subscription.subname AS name,
    subscription.subenabled AS is_enabled,
    worker.pid IS NOT NULL AS is_running,
    coalesce(counted.apply_error_count, 0) AS apply_errors,
    coalesce(counted.sync_error_count, 0) AS sync_errors,
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


async def check(settings: Settings) -> list[CheckResult]:
    """Return a finding for each subscription; none where there is none."""
    try:
        async with diagnostic_connection(settings.database_url) as connection:
            return [evaluate(state) for state in await connection.fetch(STATE)]
    except DatabaseUnavailable:
        return []  # the check of the database reports it


def evaluate(state: asyncpg.Record) -> CheckResult:
    """Return the finding for one subscription: its worst problem."""
    name, errors = state["name"], _errors(state)
    if not state["is_enabled"]:
        advice = f"fix the cause ({LOG}), then: ALTER SUBSCRIPTION {name} ENABLE"
        return failure(CHECK_NAME, f"The subscription {name} is disabled.", advice)
    if not state["is_running"]:
        detail = f"The subscription {name} is not running; {errors}."
        advice = "start the storefront's PostgreSQL, or fix the network or the login to it"
        return failure(CHECK_NAME, detail, f"{advice}: {LOG}")
    if state["apply_errors"] and (state["running_s"] or RESTARTED_WITHIN_S) < RESTARTED_WITHIN_S:
        detail = f"The subscription {name} was just restarted; {errors}."
        advice = "a row that cannot be applied stops replication: fix or remove the conflicting row"
        return failure(CHECK_NAME, detail, f"{advice}; {LOG}")
    if state["copying"]:
        detail = f"The subscription {name} is still copying {state['copying']} tables; {errors}."
        advice = ONE_AFTER_THE_OTHER if state["sync_errors"] else "wait; if this persists"
        return warning(CHECK_NAME, detail, f"{advice}, {LOG}")
    silent_s = state["silent_s"] or 0
    if silent_s > SILENCE_MAX_S:
        detail = f"The subscription {name} is {silent_s:,.0f} s behind the storefront."
        advice = "wait; if this persists, look for a lock it waits for (pg_stat_activity)"
        return warning(CHECK_NAME, detail, advice)
    detail = f"The subscription {name} works; last message {silent_s:.0f} s ago; {errors}."
    return ok(CHECK_NAME, detail)


def _errors(state: asyncpg.Record) -> str:
    """Return how many errors there were since the subscription was made: PostgreSQL's counts."""
    return f"apply_error_count {state['apply_errors']}, sync_error_count {state['sync_errors']}"


CHECK = Check(CHECK_NAME, check, "start PostgreSQL, or fix DATABASE_URL")
