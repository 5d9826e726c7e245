"""The triggers on a source table, and why they are right with other writers about.

Every trigger writes the member of each address it is about, in key order,
before it looks at anything: that write is the lock, and whoever else changes
rows of the same address waits for it. What others committed before is then
seen by the next statement (READ COMMITTED), or the write itself has failed
with 40001 (REPEATABLE READ, SERIALIZABLE), because whoever changed rows of
the address has written its member too. So no write is ever skipped for
changing nothing.

One case escapes that rule and is checked by hand: a member that the
transaction's snapshot still sees, but which is gone meanwhile. The write then
creates it anew without an error, and the snapshot would show rows of the
address that were deleted with it.

Key order keeps single statements from deadlock, with one exception: an upsert
or MERGE that inserts some addresses and updates others fires two triggers,
each in an order of its own. It may meet 40P01 as transactions of several
statements may, and must be retried.
"""

from app.audience.sources import Source

_SNAPSHOT_MAY_BE_OLD = """
current_setting('transaction_isolation') IN ('repeatable read', 'serializable')
"""

_REVIVED = """
(
    SELECT true
    FROM public.audience_members AS seen
    WHERE seen.seller_id = touched.seller_id AND seen.email = touched.email
    LIMIT 1
)
"""
"""Whether the snapshot from before the statement shows the member just created.
LIMIT keeps the look-up an index scan: it must not become a hash of the whole
table."""

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


def _inserted(source: Source) -> str:
    return _moved_earlier(
        source,
        """
        SELECT seller_id, member_email, date_trunc('second', min(created_at))
        FROM new_rows
        WHERE member_email IS NOT NULL
        GROUP BY seller_id, member_email
        ORDER BY seller_id, member_email
        """,
    )


def _moved_earlier(source: Source, inserted: str) -> str:
    """Write the members of ``inserted`` rows, which can only move a date earlier."""
    upsert = f"""
    INSERT INTO public.audience_members AS member (seller_id, email, {source.since})
    {inserted}
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {source.since} = LEAST(member.{source.since}, excluded.{source.since})
    """  # noqa: S608 - names come from the registry
    return f"""
    IF {_SNAPSHOT_MAY_BE_OLD} THEN
        WITH touched AS ({upsert} {_RETURNING})
        SELECT bool_or({_REVIVED}) INTO revived
        FROM touched
        WHERE is_new;
        {_RAISE_REVIVED}
    ELSE
        {upsert};
    END IF;
    """  # noqa: S608 - names come from the registry


def _recomputed(source: Source, changed: str) -> str:
    """Lock the members of ``changed``, look up their date anew, delete those left empty.

    They are found again by place and table: a place is one of many where the
    table is partitioned.
    """
    return f"""
    WITH touched AS (
        INSERT INTO public.audience_members AS member (seller_id, email)
        SELECT DISTINCT seller_id, member_email
        FROM ({changed}) AS changed
        ORDER BY seller_id, member_email
        ON CONFLICT (seller_id, email) DO UPDATE
        SET {source.since} = member.{source.since}
        {_RETURNING}
    )
    SELECT
        array_agg(home),
        array_agg(place),
        bool_or(CASE WHEN is_new AND {_SNAPSHOT_MAY_BE_OLD} THEN {_REVIVED} END)
    INTO homes, places, revived
    FROM touched;
    IF places IS NULL THEN
        RETURN NULL;
    END IF;
    {_RAISE_REVIVED}
    WITH dated AS (
        UPDATE public.audience_members AS member
        SET {source.since} = (
            SELECT date_trunc('second', source.created_at)
            FROM public.{source.table} AS source
            WHERE source.seller_id = member.seller_id AND source.member_email = member.email
            ORDER BY source.created_at
            LIMIT 1
        )
        FROM unnest(homes, places) AS touched (home, place)
        WHERE member.ctid = touched.place AND member.tableoid = touched.home
        RETURNING WITH (NEW AS after)
            after.tableoid AS home, after.ctid AS place,
            public.audience_member_is_empty(after) AS is_empty
    )
    SELECT array_agg(home), array_agg(place) INTO homes, places
    FROM dated
    WHERE is_empty;
    IF places IS NOT NULL THEN
        DELETE FROM public.audience_members AS member
        USING unnest(homes, places) AS emptied (home, place)
        WHERE member.ctid = emptied.place AND member.tableoid = emptied.home;
    END IF;
    """  # noqa: S608 - names come from the registry


def _updated(source: Source) -> str:
    """Most updates change neither an address nor a date: nothing is left of them here."""
    return _recomputed(
        source,
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


def _deleted(source: Source) -> str:
    return _recomputed(
        source,
        "SELECT seller_id, member_email FROM old_rows WHERE member_email IS NOT NULL",
    )


def _replicated(source: Source) -> str:
    """Do for one row what the others do for a statement.

    An initial copy is nothing but inserts, so no source is read for one.
    """
    inserted = """
    SELECT NEW.seller_id, NEW.member_email, date_trunc('second', NEW.created_at)
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
        {_moved_earlier(source, inserted)}
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE'
        AND (OLD.seller_id, OLD.member_email, OLD.created_at)
            IS NOT DISTINCT FROM (NEW.seller_id, NEW.member_email, NEW.created_at)
    THEN
        RETURN NULL;
    END IF;
    {_recomputed(source, changed)}
    """


def _truncated(source: Source) -> str:
    """Every member with this date loses it.

    TRUNCATE waits for writers whose members an older snapshot would not see,
    so in REPEATABLE READ the right answer cannot be known.
    """
    return f"""
    IF {_SNAPSHOT_MAY_BE_OLD} THEN
        RAISE EXCEPTION 'TRUNCATE of {source.table} needs READ COMMITTED'
            USING ERRCODE = 'feature_not_supported',
                HINT = 'Use DELETE, or truncate in a READ COMMITTED transaction.';
    END IF;
    PERFORM FROM public.audience_members
    WHERE {source.since} IS NOT NULL
    ORDER BY seller_id, email
    FOR UPDATE;
    UPDATE public.audience_members SET {source.since} = NULL WHERE {source.since} IS NOT NULL;
    DELETE FROM public.audience_members
    WHERE public.audience_member_is_empty(audience_members);
    """  # noqa: S608 - names come from the registry


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
"""Name, event, granularity and body of each trigger.

The last stands in for the first three where rows arrive by logical
replication, whose apply worker fires row-level triggers only.
"""

_ENABLED = {"truncated": "ALWAYS", "replicated": "REPLICA"}


def functions(source: Source) -> list[str]:
    """Return the statements that create or replace the trigger functions of ``source``.

    Their plans are made from statistics that may be of a nearly empty table,
    and used on a full one, once for each address of a statement. So everything
    but the index that answers a look-up in one step is ruled out: sequential
    scans, and scans of another index followed by a sort. One plan serves all
    calls: a row-level trigger would spend most of its time on making new ones.
    """
    return [
        f"""
CREATE OR REPLACE FUNCTION public.audience_{source.key}_{name}() RETURNS trigger
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_sort = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    homes oid[];
    places tid[];
    revived boolean;
BEGIN
    {body(source)}
    RETURN NULL;
END
$$
"""
        for name, (_, _, body) in _EVENTS.items()
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
    """Return the statements that drop the triggers of ``source`` and their functions."""
    dropped = [f"DROP TRIGGER audience_{name} ON public.{source.table}" for name in _EVENTS]
    return dropped + [f"DROP FUNCTION public.audience_{source.key}_{name}()" for name in _EVENTS]
