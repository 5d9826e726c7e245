"""``AUDIENCE_DATABASE_URL``: the replica that exports read from."""

from app.config import Settings
from app.doctor.database import VERSION_MIN, diagnostic_connection
from app.doctor.findings import Check, CheckResult, failure, ok, warning

CHECK_NAME = "replica"
CONSEQUENCE = "exports wait for it, and then read from the primary"

# A standby that has replayed all it received is not behind, however old its last commit is.
STATE = """
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS number,
    pg_is_in_recovery() AS in_recovery,
    has_table_privilege(to_regclass('audience_members'), 'SELECT') AS readable,
    CASE
        WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
    END::float8 AS lag_s,
    pg_is_in_recovery() AND NOT EXISTS (
        SELECT FROM pg_stat_wal_receiver
    ) AS cut_off
"""


async def check(settings: Settings) -> list[CheckResult]:
    """Return whether exports can read from it, and how far it is behind."""
    if settings.audience_database_url is None:
        return []
    async with diagnostic_connection(settings.audience_database_url) as connection:
        (state,) = await connection.fetch(STATE)
    if state["number"] < VERSION_MIN:
        detail = f"PostgreSQL {state['version']} is too old."
        return [failure(CHECK_NAME, detail, "upgrade it to PostgreSQL 18 or later")]
    if not state["readable"]:
        detail = "audience_members does not exist, or this role may not read it."
        return [failure(CHECK_NAME, detail, "fix AUDIENCE_DATABASE_URL, or GRANT SELECT there")]
    lag_s = state["lag_s"] or 0
    measured = state["version"], state["in_recovery"], state["cut_off"], lag_s
    return [evaluate(*measured, settings.replica_wait_s)]


def evaluate(
    version: str, in_recovery: bool, cut_off: bool, lag_s: float, wait_s: float
) -> CheckResult:
    """Return the finding for a replica that exports can read from.

    ``cut_off`` is true where it is not connected to its primary, ``wait_s`` is how
    long an attempt waits for a replica that is behind.
    """
    if cut_off:
        detail = f"The standby receives nothing from its primary: {CONSEQUENCE}."
        return warning(CHECK_NAME, detail, "fix its connection to the primary")
    if lag_s > wait_s:
        detail = f"The standby is {lag_s:,.0f} s behind: {CONSEQUENCE}."
        return warning(
            CHECK_NAME,
            detail,
            "wait, or find out what blocks replay: pg_stat_activity on the standby",
        )
    kind = "a streaming standby" if in_recovery else "not a standby"
    return ok(CHECK_NAME, f"PostgreSQL {version} answers; it is {kind}.")


CHECK = Check(CHECK_NAME, check, "start it, or fix AUDIENCE_DATABASE_URL")
