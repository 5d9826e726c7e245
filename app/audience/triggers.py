"""The triggers on a source table, and why they are correct under concurrency.

Each trigger begins by writing the member of every affected address, in key
order, before it reads anything. That write is the lock: concurrent changes of
the same address wait for it. In READ COMMITTED the next statement then sees
what they committed. In REPEATABLE READ and SERIALIZABLE the write fails with
40001, because they have written the member too. Therefore the write is never
skipped, even where it changes nothing.

One case needs an explicit check: a member that has been deleted since the
transaction's snapshot was taken. The write creates it again without an error,
and the snapshot still shows source rows that were deleted with it.

Key order keeps single statements from deadlocking, with one exception: an
upsert or MERGE that inserts some addresses and updates others fires two
triggers, each in key order. Like a transaction of several statements it may
fail with 40P01 and must then be retried.
"""

from app.audience.dates import calendar_date, earliest
from app.audience.sources import Source
from app.audience.trigger_tables import SHARD_TABLES, TriggerTables, plain_tables

_SNAPSHOT_MAY_BE_OLD = """
current_setting('transaction_isolation') IN ('repeatable read', 'serializable')
"""

_RAISE_REVIVED = """
IF revived THEN
    RAISE EXCEPTION 'could not serialize access due to concurrent delete'
        USING ERRCODE = 'serialization_failure',
            HINT = 'The transaction might succeed if retried.';
END IF;
"""

_RETURNING = """
RETURNING WITH (OLD AS before, NEW AS after)
    after.tableoid AS home, after.ctid AS place, after.seller_id, after.email,
    before.email IS NULL AS is_new
"""


def _revived(tables: TriggerTables) -> str:
    """Return SQL: whether the snapshot from before the statement shows the member just created.

    LIMIT keeps this look-up an index scan: without it the planner may hash the whole table.
    """
    return f"""
    (
        SELECT true
        FROM {tables.members} AS seen
        WHERE seen.seller_id = touched.seller_id AND seen.email = touched.email
        LIMIT 1
    )
    """  # noqa: S608 - a name of ours


def _inserted(source: Source, tables: TriggerTables) -> str:
    # GROUP BY: one statement cannot upsert a member twice. ORDER BY: the order of locks.
    return _moved_earlier(
        source,
        tables,
        f"""
        SELECT seller_id, member_email, date_trunc('second', min({calendar_date("created_at")}))
        FROM new_rows
        WHERE member_email IS NOT NULL
        GROUP BY seller_id, member_email
        ORDER BY seller_id, member_email
        """,  # noqa: S608 - a constant
    )


def _moved_earlier(source: Source, tables: TriggerTables, inserted: str) -> str:
    """Return the body for inserted rows, which can only move a member's date earlier.

    ``inserted`` is a query for seller, address and earliest date, in key order.
    """
    upsert = f"""
    INSERT INTO {tables.members} AS member (seller_id, email, {source.since})
    {inserted}
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {source.since} = LEAST(member.{source.since}, excluded.{source.since})
    """  # noqa: S608 - names come from the registry
    touched = f"WITH touched AS ({upsert} {_RETURNING})"
    any_revived = f"bool_or({_revived(tables)})"
    # Without RETURNING where no snapshot can be old: a bulk load is faster so.
    return f"""
    IF {_SNAPSHOT_MAY_BE_OLD} THEN
        {tables.select_into(touched, any_revived, "revived", "FROM touched WHERE is_new")}
        {_RAISE_REVIVED}
    ELSE
        {tables.run(upsert)}
    END IF;
    """


def _recomputed(source: Source, tables: TriggerTables, changed: str) -> str:
    """Return the body that locks members, recomputes their date and deletes those left empty.

    ``changed`` is a query for the seller and address of each. After the lock they are
    found by ``ctid`` and ``tableoid``: in a partitioned table each partition has that ``ctid``.
    """
    # DISTINCT: one statement cannot upsert a member twice. ORDER BY: the order of locks.
    # SET to itself: the write is the lock, and DO NOTHING would not lock a member that exists.
    touched = f"""
    WITH touched AS (
        INSERT INTO {tables.members} AS member (seller_id, email)
        SELECT DISTINCT seller_id, member_email
        FROM ({changed}) AS changed
        ORDER BY seller_id, member_email
        ON CONFLICT (seller_id, email) DO UPDATE
        SET {source.since} = member.{source.since}
        {_RETURNING}
    )
    """  # noqa: S608 - names come from the registry
    # A separate statement: its snapshot shows what others committed while `touched` waited.
    # It returns NEW's place, since an update moves the member.
    dated = f"""
    WITH dated AS (
        UPDATE {tables.members} AS member
        SET {source.since} = {earliest(source, tables.rows)}
        FROM unnest({tables.homes}, {tables.places}) AS touched (home, place)
        WHERE member.ctid = touched.place AND member.tableoid = touched.home
        RETURNING WITH (NEW AS after)
            after.tableoid AS home, after.ctid AS place,
            {tables.is_empty("after")} AS is_empty
    )
    """  # noqa: S608 - names come from the registry
    delete = f"""
    DELETE FROM {tables.members} AS member
    USING unnest({tables.homes}, {tables.places}) AS emptied (home, place)
    WHERE member.ctid = emptied.place AND member.tableoid = emptied.home
    """  # noqa: S608 - names come from the registry
    revived = f"bool_or(CASE WHEN is_new AND {_SNAPSHOT_MAY_BE_OLD} THEN {_revived(tables)} END)"
    found = "array_agg(home), array_agg(place)"
    return f"""
    {tables.select_into(touched, f"{found}, {revived}", "homes, places, revived", "FROM touched")}
    IF places IS NULL THEN
        RETURN NULL;
    END IF;
    {_RAISE_REVIVED}
    {tables.select_into(dated, found, "homes, places", "FROM dated WHERE is_empty")}
    IF places IS NOT NULL THEN
        {tables.run(delete.rstrip())}
    END IF;
    """


def _updated(source: Source, tables: TriggerTables) -> str:
    """Return the body for updated rows; those that keep address and date cancel out."""
    return _recomputed(
        source,
        tables,
        """
        SELECT seller_id, member_email
        FROM (
            SELECT seller_id, member_email, created_at, 1 AS number FROM new_rows
            UNION ALL
            SELECT seller_id, member_email, created_at, -1 FROM old_rows
        ) AS moved
        WHERE member_email IS NOT NULL
        GROUP BY seller_id, member_email, created_at
        HAVING sum(number) <> 0
        """,
    )


def _deleted(source: Source, tables: TriggerTables) -> str:
    return _recomputed(
        source,
        tables,
        "SELECT seller_id, member_email FROM old_rows WHERE member_email IS NOT NULL",
    )


def _replicated(source: Source, tables: TriggerTables) -> str:
    """Return the body for one replicated row.

    An insert reads no source table: the initial copy consists of inserts.
    """
    if tables is SHARD_TABLES:
        return "-- A shard that moves to another node is copied, and so are its members."
    inserted = f"""
    SELECT NEW.seller_id, NEW.member_email, date_trunc('second', {calendar_date("NEW.created_at")})
    WHERE NEW.member_email IS NOT NULL
    """
    changed = """
    SELECT seller_id, member_email
    FROM (
        VALUES (OLD.seller_id, OLD.member_email), (NEW.seller_id, NEW.member_email)
    ) AS keys (seller_id, member_email)
    WHERE member_email IS NOT NULL
    """
    return f"""
    IF TG_OP = 'INSERT' THEN
        {_moved_earlier(source, tables, inserted)}
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE'
        AND (OLD.seller_id, OLD.member_email, OLD.created_at)
            IS NOT DISTINCT FROM (NEW.seller_id, NEW.member_email, NEW.created_at)
    THEN
        RETURN NULL;
    END IF;
    {_recomputed(source, tables, changed)}
    """


def _truncated(source: Source, tables: TriggerTables) -> str:
    """Return the body for TRUNCATE: every member with this date loses it.

    TRUNCATE waits for concurrent writers, whose members an older snapshot does not
    show. So it is refused in REPEATABLE READ and SERIALIZABLE.
    """
    with_date = f"WHERE {source.since} IS NOT NULL"
    # Before the update, which would lock members in the order in which it finds them.
    lock = f"FROM {tables.members} {with_date} ORDER BY seller_id, email FOR UPDATE"
    update = f"UPDATE {tables.members} SET {source.since} = NULL {with_date}"  # noqa: S608 - names of ours
    is_empty = tables.is_empty("audience_members")
    delete = f"DELETE FROM {tables.aliased} WHERE {is_empty}"  # noqa: S608 - names of ours
    return f"""
    IF {_SNAPSHOT_MAY_BE_OLD} THEN
        RAISE EXCEPTION 'TRUNCATE of {source.table} needs READ COMMITTED'
            USING ERRCODE = 'feature_not_supported',
                HINT = 'Use DELETE, or truncate in a READ COMMITTED transaction.';
    END IF;
    {tables.perform(lock)}
    {tables.run(update)}
    {tables.run(delete)}
    """


_EVENTS = {
    "inserted": ("INSERT", "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT", _inserted),
    "updated": (
        "UPDATE",
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT",
        _updated,
    ),
    "deleted": ("DELETE", "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT", _deleted),
    "truncated": ("TRUNCATE", "FOR EACH STATEMENT", _truncated),
    "replicated": ("INSERT OR UPDATE OR DELETE", "FOR EACH ROW", _replicated),
}
"""The event, granularity and body of each trigger, by its name.

``replicated`` replaces the first three where rows arrive by logical replication, whose
apply worker fires row-level triggers only.
"""

# The apply worker runs with session_replication_role = replica, where no other trigger fires.
# ALWAYS for `replicated` would project each row of other sessions a second time.
_ENABLED = {"truncated": "ALWAYS", "replicated": "REPLICA"}


def bodies(source: Source, tables: TriggerTables | None = None) -> dict[str, str]:
    """Return the text of each trigger function of ``source``, by its name.

    ``tables`` is :data:`SHARD_TABLES` on Citus; ``None``: the tables' own names.
    """
    tables = tables or plain_tables(source)
    return {
        f"audience_{source.key}_{name}": f"""
DECLARE
    homes oid[];
    places tid[];
    revived boolean;
    {tables.declare}
BEGIN
    {tables.begin}
    {body(source, tables)}
    RETURN NULL;
END
"""
        for name, (_, _, body) in _EVENTS.items()
    }


def functions(source: Source, tables: TriggerTables | None = None) -> list[str]:
    """Return the statements that create or replace the trigger functions of ``source``.

    Their settings fix the plan. It may be made while the table is nearly empty and used
    when it is full, once for each address, so only the index that answers a look-up in
    one step is allowed: no sequential scan, and no other index with a sort. The plan is
    generic: a row-level trigger would spend most of its time on planning.
    """
    return [
        f"""
CREATE OR REPLACE FUNCTION public.{name}() RETURNS trigger
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_sort = off
SET plan_cache_mode = force_generic_plan
AS $${body}$$
"""
        for name, body in bodies(source, tables).items()
    ]


def triggers(source: Source) -> list[str]:
    """Return the statements that put the triggers on ``source.table``."""
    created = [
        f"""
        CREATE TRIGGER audience_{name} AFTER {event} ON public.{source.table}
        {each} EXECUTE FUNCTION public.audience_{source.key}_{name}()
        """
        for name, (event, each, _) in _EVENTS.items()
    ]
    enabled = [
        f"ALTER TABLE public.{source.table} ENABLE {when} TRIGGER audience_{name}"
        for name, when in _ENABLED.items()
    ]
    return created + enabled


def drop_triggers(source: Source) -> list[str]:
    """Return the statements that drop the triggers of ``source`` and their functions.

    CASCADE for the shards of Citus, where DROP TRIGGER leaves those that fire for TRUNCATE.
    """
    dropped = [f"DROP TRIGGER audience_{name} ON public.{source.table}" for name in _EVENTS]
    return dropped + [
        f"DROP FUNCTION public.audience_{source.key}_{name}() CASCADE" for name in _EVENTS
    ]
