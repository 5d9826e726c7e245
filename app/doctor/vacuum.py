"""Index-only scans: how fresh the visibility map is, and what keeps vacuum back."""

from dataclasses import dataclass

import asyncpg

from app.audience.distribution import MEMBERS, distributed_tables
from app.database.database import Queryable
from app.doctor.findings import CheckResult, ok, warning

PAGES_MIN = 1000
"""A smaller table is read quickly even without the map."""

VISIBLE_MIN = 0.9


@dataclass(frozen=True)
class VacuumThresholds:
    """Limits for others' transactions and replication slots, above which a warning is given."""

    snapshot_s: float = 3600
    idle_s: float = 60
    slot_bytes: int = 1024**3


# The present size, not relpages: pages that were added since the last vacuum are not all-visible.
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

# On Citus the rows are in the shards, wherever these are.
MAP_OF_SHARDS = """
SELECT
    sum((result::json ->> 'pages')::int8)::int8 AS pages,
    sum((result::json ->> 'visible')::int8)::int8 AS visible
FROM run_command_on_shards('public.audience_members', $$
    SELECT json_build_object('pages', pages, 'visible', least(relallvisible, pages))
    FROM (
        SELECT relallvisible, pg_relation_size(oid) / current_setting('block_size')::int AS pages
        FROM pg_class
        WHERE oid = '%s'::regclass
    ) AS shard
$$)
WHERE success
"""

HOLDERS = """
SELECT
    count(*) FILTER (
        WHERE backend_xmin IS NOT NULL AND xact_start < now() - make_interval(secs => :snapshot_s)
    ) AS snapshots,
    count(*) FILTER (
        WHERE state LIKE 'idle in transaction%'
            AND state_change < now() - make_interval(secs => :idle_s)
    ) AS idle,
    (
        SELECT count(*) FROM pg_prepared_xacts
        WHERE database = current_database()
            AND prepared < now() - make_interval(secs => :snapshot_s)
    ) AS prepared
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

# pg_current_wal_lsn() is an error on a standby.
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
        ) > :slot_bytes
    )
ORDER BY name
"""


THRESHOLDS = VacuumThresholds()


async def check(
    database: Queryable, thresholds: VacuumThresholds = THRESHOLDS
) -> list[CheckResult]:
    """Return the findings about the visibility map, snapshots, idle sessions and slots."""
    is_distributed = MEMBERS in await distributed_tables(database)
    (state,) = await database.fetch(MAP_OF_SHARDS if is_distributed else MAP)
    (holders,) = await database.fetch(
        HOLDERS, snapshot_s=thresholds.snapshot_s, idle_s=thresholds.idle_s
    )
    slots = await database.fetch(SLOTS, slot_bytes=thresholds.slot_bytes)
    findings = [_snapshots(holders), _idle_sessions(holders), _slots(slots)]
    if state["pages"] is None:
        return findings  # there is no schema yet
    return [evaluate_visibility(state["pages"], state["visible"]), *findings]


def evaluate_visibility(pages: int, visible: int) -> CheckResult:
    """Return the finding for ``visible`` all-visible pages of ``pages``."""
    name = "database.visibility"
    if not pages:
        return ok(name, "audience_members is empty.")
    fraction = visible / pages
    detail = f"{fraction:.0%} of audience_members' {pages:,} pages are all-visible."
    if pages < PAGES_MIN or fraction >= VISIBLE_MIN:
        return ok(name, detail)
    advice = (
        "exports read the table for the rest: VACUUM audience_members; if this persists, look for "
        "long snapshots, idle slots and hot_standby_feedback"
    )
    return warning(name, detail, advice)


def _snapshots(holders: asyncpg.Record) -> CheckResult:
    name = "database.snapshots"
    number = holders["snapshots"] + holders["prepared"]
    if not number:
        return ok(name, "No transaction has held a snapshot for long.")
    detail = f"{number} transactions have held a snapshot for long."
    return warning(name, detail, "end them: vacuum cannot remove rows that they may see")


def _idle_sessions(holders: asyncpg.Record) -> CheckResult:
    name = "database.idle"
    if not holders["idle"]:
        return ok(name, "No session is idle in a transaction.")
    detail = f"{holders['idle']} sessions have been idle in a transaction for long."
    advice = "end them, and set idle_in_transaction_session_timeout for their role"
    return warning(name, detail, advice)


def _slots(slots: list[asyncpg.Record]) -> CheckResult:
    name = "database.slots"
    if not slots:
        return ok(name, "No replication slot holds anything back.")
    names = ", ".join(f"{slot['name']} ({slot['wal_status']})" for slot in slots)
    detail = f"Replication slots hold back write-ahead log or vacuum: {names}."
    return warning(name, detail, "let their consumers catch up, or drop them")
