"""The triggers that keep ``audience_members`` in step with the source tables.

Stops writers of `followers`, `purchases` and `affiliates` for an instant: locks them to create
triggers. ``app/audience/triggers.py`` explains the design.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SOURCES = {"follower": "followers", "customer": "purchases", "affiliate": "affiliates"}

FUNCTION = """
CREATE FUNCTION public.audience_{key}_{name}() RETURNS trigger
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
    {body}
    RETURN NULL;
END
$$
"""

SNAPSHOT_MAY_BE_OLD = (
    "current_setting('transaction_isolation') IN ('repeatable read', 'serializable')"
)

REVIVED = """
(
    SELECT true
    FROM public.audience_members AS seen
    WHERE seen.seller_id = touched.seller_id AND seen.email = touched.email
    LIMIT 1
)
"""

RAISE_REVIVED = """
IF revived THEN
    RAISE EXCEPTION 'could not serialize access due to concurrent delete'
        USING ERRCODE = 'serialization_failure',
            HINT = 'The transaction might succeed if retried.';
END IF;
"""

RETURNING = """
RETURNING WITH (OLD AS before, NEW AS after)
    after.tableoid AS home, after.ctid AS place, after.seller_id, after.email,
    before.email IS NULL AS is_new
"""

DATED = """
CASE
    WHEN %(date)s >= '0001-01-01 00:00:00+00' AND %(date)s < '10000-01-01 00:00:00+00'
        THEN %(date)s
    ELSE 'infinity'::timestamptz
END
"""

ROWS_OF_MEMBER = """
FROM public.{table} AS source
WHERE source.seller_id = member.seller_id AND source.member_email = member.email
"""

EARLIEST = f"""
coalesce(
    (
        SELECT date_trunc('second', {DATED % {"date": "source.created_at"}})
        {ROWS_OF_MEMBER} AND source.created_at >= '0001-01-01 00:00:00+00'
        ORDER BY source.created_at
        LIMIT 1
    ),
    (
        SELECT 'infinity'::timestamptz
        {ROWS_OF_MEMBER}
        ORDER BY source.created_at
        LIMIT 1
    )
)
"""

UPSERT = """
INSERT INTO public.audience_members AS member (seller_id, email, {key}_since)
%s
ON CONFLICT (seller_id, email) DO UPDATE
SET {key}_since = LEAST(member.{key}_since, excluded.{key}_since)
"""

MOVED_EARLIER = f"""
IF {SNAPSHOT_MAY_BE_OLD} THEN
    WITH touched AS ({UPSERT} {RETURNING})
    SELECT bool_or({REVIVED}) INTO revived
    FROM touched
    WHERE is_new;
    {RAISE_REVIVED}
ELSE
    {UPSERT};
END IF;
"""

RECOMPUTED = f"""
WITH touched AS (
    INSERT INTO public.audience_members AS member (seller_id, email)
    SELECT DISTINCT seller_id, member_email
    FROM (%s) AS changed
    ORDER BY seller_id, member_email
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {{key}}_since = member.{{key}}_since
    {RETURNING}
)
SELECT
    array_agg(home),
    array_agg(place),
    bool_or(CASE WHEN is_new AND {SNAPSHOT_MAY_BE_OLD} THEN {REVIVED} END)
INTO homes, places, revived
FROM touched;
IF places IS NULL THEN
    RETURN NULL;
END IF;
{RAISE_REVIVED}
WITH dated AS (
    UPDATE public.audience_members AS member
    SET {{key}}_since = {EARLIEST}
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
"""

NEW_ROWS = f"""
SELECT seller_id, member_email, date_trunc('second', min({DATED % {"date": "created_at"}}))
FROM new_rows
WHERE member_email IS NOT NULL
GROUP BY seller_id, member_email
ORDER BY seller_id, member_email
"""

MOVED_ROWS = """
SELECT seller_id, member_email
FROM (
    SELECT seller_id, member_email, created_at, 1 AS number FROM new_rows
    UNION ALL
    SELECT seller_id, member_email, created_at, -1 FROM old_rows
) AS moved
WHERE member_email IS NOT NULL
GROUP BY seller_id, member_email, created_at
HAVING sum(number) <> 0
"""

OLD_ROWS = "SELECT seller_id, member_email FROM old_rows WHERE member_email IS NOT NULL"

NEW_ROW = f"""
SELECT NEW.seller_id, NEW.member_email, date_trunc('second', {DATED % {"date": "NEW.created_at"}})
WHERE NEW.member_email IS NOT NULL
"""

BOTH_ROWS = """
SELECT seller_id, member_email
FROM (
    VALUES (OLD.seller_id, OLD.member_email), (NEW.seller_id, NEW.member_email)
) AS keys (seller_id, member_email)
WHERE member_email IS NOT NULL
"""

TRUNCATED = f"""
IF {SNAPSHOT_MAY_BE_OLD} THEN
    RAISE EXCEPTION 'TRUNCATE of {{table}} needs READ COMMITTED'
        USING ERRCODE = 'feature_not_supported',
            HINT = 'Use DELETE, or truncate in a READ COMMITTED transaction.';
END IF;
PERFORM FROM public.audience_members
WHERE {{key}}_since IS NOT NULL
ORDER BY seller_id, email
FOR UPDATE;
UPDATE public.audience_members SET {{key}}_since = NULL WHERE {{key}}_since IS NOT NULL;
DELETE FROM public.audience_members
WHERE public.audience_member_is_empty(audience_members);
"""

REPLICATED = f"""
IF TG_OP = 'INSERT' THEN
    {MOVED_EARLIER.replace("%s", NEW_ROW)}
    RETURN NULL;
END IF;
IF TG_OP = 'UPDATE'
    AND (OLD.seller_id, OLD.member_email, OLD.created_at)
        IS NOT DISTINCT FROM (NEW.seller_id, NEW.member_email, NEW.created_at)
THEN
    RETURN NULL;
END IF;
{RECOMPUTED.replace("%s", BOTH_ROWS)}
"""

BODIES = {
    "inserted": MOVED_EARLIER.replace("%s", NEW_ROWS),
    "updated": RECOMPUTED.replace("%s", MOVED_ROWS),
    "deleted": RECOMPUTED.replace("%s", OLD_ROWS),
    "truncated": TRUNCATED,
    "replicated": REPLICATED,
}

STATEMENT = "FOR EACH STATEMENT"

TRIGGERS = {
    "inserted": f"AFTER INSERT ON {{table}} REFERENCING NEW TABLE AS new_rows {STATEMENT}",
    "updated": "AFTER UPDATE ON {table}"
    f" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows {STATEMENT}",
    "deleted": f"AFTER DELETE ON {{table}} REFERENCING OLD TABLE AS old_rows {STATEMENT}",
    "truncated": f"AFTER TRUNCATE ON {{table}} {STATEMENT}",
    "replicated": "AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW",
}

ENABLED = {"truncated": "ALWAYS", "replicated": "REPLICA"}


def upgrade() -> None:
    """Create the functions and the triggers."""
    for key, table in SOURCES.items():
        for name, body in BODIES.items():
            made = body.format(key=key, table=table)
            op.execute(FUNCTION.format(key=key, name=name, body=made))
            fires = TRIGGERS[name].format(table=f"public.{table}")
            op.execute(
                f"CREATE TRIGGER audience_{name} {fires}"
                f" EXECUTE FUNCTION public.audience_{key}_{name}()"
            )
        for name, when in ENABLED.items():
            op.execute(f"ALTER TABLE public.{table} ENABLE {when} TRIGGER audience_{name}")


def downgrade() -> None:
    """Drop them; ``audience_members`` is no longer updated."""
    for key, table in SOURCES.items():
        for name in BODIES:
            op.execute(f"DROP TRIGGER audience_{name} ON public.{table}")
            op.execute(f"DROP FUNCTION public.audience_{key}_{name}()")
