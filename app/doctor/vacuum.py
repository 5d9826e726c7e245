"""What keeps index-only scans fast: a fresh visibility map, and nobody who holds vacuum back."""

from dataclasses import dataclass

import asyncpg

from app.database import Connection
from app.doctor.findings import Finding, ok, warning

PAGES_MIN = 1000
"""A smaller table is read quickly whatever the map says."""

VISIBLE_MIN = 0.9


@dataclass(frozen=True)
class Patience:
    """How long, and how much, others may hold back before it is worth a warning."""

    snapshot_s: float = 3600
    idle_s: float = 60
    slot_bytes: int = 1024**3


MAP = """
WITH RECURSIVE parts AS (
    SELECT oid, relkind, relallvisible FROM pg_class WHERE oid = to_regclass('audience_members')
    UNION ALL
    SELECT child.oid, child.relkind, child.relallvisible
    FROM parts
    JOIN pg_inherits ON inhparent = parts.oid
    JOIN pg_class AS child ON child.oid = inhrelid
)
SELECT sum(pages)::int8 AS pages, sum(least(relallvisible, pages))::int8 AS visible
FROM (
    SELECT relallvisible, pg_relation_size(oid) / current_setting('block_size')::int AS pages
    FROM parts
    WHERE relkind = 'r'
)
"""

HOLDERS = """
SELECT
    count(*) FILTER (
        WHERE backend_xmin IS NOT NULL AND xact_start < now() - make_interval(secs => $1)
    ) AS snapshots,
    count(*) FILTER (
        WHERE state LIKE 'idle in transaction%'
            AND state_change < now() - make_interval(secs => $2)
    ) AS idle,
    (
        SELECT count(*) FROM pg_prepared_xacts
        WHERE database = current_database() AND prepared < now() - make_interval(secs => $1)
    ) AS prepared
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

SLOTS = """
SELECT slot_name::text AS name, wal_status, active
FROM pg_replication_slots
WHERE wal_status IN ('unreserved', 'lost')
    OR NOT active AND (
        xmin IS NOT NULL
        OR pg_wal_lsn_diff(
            CASE
                WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_lsn()
            END,
            restart_lsn
        ) > $1
    )
ORDER BY name
"""


PATIENCE = Patience()


async def examine(connection: Connection, patience: Patience = PATIENCE) -> list[Finding]:
    """Return how fresh the map is and who keeps it from getting fresher."""
    (state,) = await connection.fetch(MAP)
    (holders,) = await connection.fetch(HOLDERS, patience.snapshot_s, patience.idle_s)
    slots = await connection.fetch(SLOTS, patience.slot_bytes)
    findings = [_long(holders), _idle(holders), _slots(slots)]
    if state["pages"] is None:
        return findings  # there is no schema yet
    return [visibility(state["pages"], state["visible"]), *findings]


def visibility(pages: int, visible: int) -> Finding:
    """Return what ``visible`` pages of ``pages`` known to be all-visible mean."""
    check = "database.visibility"
    fraction = visible / pages if pages else 1.0
    detail = f"{fraction:.0%} of audience_members' {pages:,} pages are all-visible."
    if pages < PAGES_MIN or fraction >= VISIBLE_MIN:
        return ok(check, detail)
    advice = (
        "exports read the table for the rest: VACUUM audience_members; if it stays so, look for "
        "long snapshots, idle slots and hot_standby_feedback"
    )
    return warning(check, detail, advice)


def _long(holders: asyncpg.Record) -> Finding:
    check = "database.snapshots"
    number = holders["snapshots"] + holders["prepared"]
    if not number:
        return ok(check, "No snapshot is held for long.")
    detail = f"{number} transactions have held a snapshot for long."
    return warning(check, detail, "end them: vacuum cannot clean behind them")


def _idle(holders: asyncpg.Record) -> Finding:
    check = "database.idle"
    if not holders["idle"]:
        return ok(check, "No session idles in a transaction.")
    detail = f"{holders['idle']} sessions have been idle in a transaction for long."
    advice = "end them, and set idle_in_transaction_session_timeout for their role"
    return warning(check, detail, advice)


def _slots(slots: list[asyncpg.Record]) -> Finding:
    check = "database.slots"
    if not slots:
        return ok(check, "No replication slot holds anything back.")
    names = ", ".join(f"{slot['name']} ({slot['wal_status']})" for slot in slots)
    detail = f"Replication slots hold back write-ahead log or vacuum: {names}."
    return warning(check, detail, "let their readers catch up, or drop them")
