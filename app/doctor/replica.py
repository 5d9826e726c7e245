"""``AUDIENCE_DATABASE_URL``: where exports read, if not from the primary."""

from app.config import Settings
from app.doctor.database import VERSION_MIN, examined
from app.doctor.findings import Check, Finding, failure, ok, warning

CHECK_NAME = "replica"
MEANWHILE = "exports wait for it, and then read from the primary"

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


async def examine(settings: Settings) -> list[Finding]:
    """Return whether exports can read there, and how far it is behind."""
    if settings.audience_database_url is None:
        return []
    async with examined(settings.audience_database_url) as connection:
        (state,) = await connection.fetch(STATE)
    if state["number"] < VERSION_MIN:
        detail = f"PostgreSQL {state['version']} is too old."
        return [failure(CHECK_NAME, detail, "upgrade it to PostgreSQL 18 or later")]
    if not state["readable"]:
        detail = "audience_members is not there, or this role may not read it."
        return [failure(CHECK_NAME, detail, "mend AUDIENCE_DATABASE_URL, or GRANT SELECT there")]
    lag_s = state["lag_s"] or 0
    known = state["version"], state["in_recovery"], state["cut_off"], lag_s
    return [judge(*known, settings.replica_wait_s)]


def judge(version: str, in_recovery: bool, cut_off: bool, lag_s: float, wait_s: float) -> Finding:
    """Return what is to be said of a database that exports can read from.

    ``wait_s`` is how long an attempt waits for a standby that is behind.
    """
    if cut_off:
        detail = f"The standby receives nothing from its primary: {MEANWHILE}."
        return warning(CHECK_NAME, detail, "mend its connection to the primary")
    if lag_s > wait_s:
        detail = f"The standby is {lag_s:,.0f} s behind: {MEANWHILE}."
        return warning(CHECK_NAME, detail, "give it time, or look at what it waits for")
    kind = "a streaming standby" if in_recovery else "no standby, and writable"
    return ok(CHECK_NAME, f"PostgreSQL {version} answers; it is {kind}.")


CHECK = Check(CHECK_NAME, examine, "start it, or mend AUDIENCE_DATABASE_URL")
