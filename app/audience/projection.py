"""The projection: the SQL that keeps ``audience_members`` equal to the source tables.

Each released migration holds a frozen copy of this SQL, so history does not change with
the code. Only the migration of a new source calls :func:`install`. ``tests/migrations``
compares the schema that the migrations make with the one that this module makes, and
prints the SQL of the missing migration:

- a changed function: replace it in a new migration;
- a changed rule of a source: :func:`remove` and :func:`install` in a new migration, which
  locks the source table while its rows are rewritten.

Every name is qualified with its schema: the apply worker of logical replication runs
with an empty ``search_path``.
"""

from app.audience import triggers
from app.audience.address_rules import ADDRESS_FUNCTION, UNUSUAL_FUNCTION
from app.audience.dates import calendar_date
from app.audience.key_ranges import SAMPLE
from app.audience.sources import Source

# Collation C is the order of the file, of key ranges and of locks, the same on every server.
_CREATE_TABLE = """
CREATE TABLE public.audience_members (
    seller_id bigint NOT NULL,
    email text COLLATE "C" NOT NULL,
    CONSTRAINT audience_members_pkey PRIMARY KEY (seller_id, email)
) WITH (autovacuum_analyze_scale_factor = 0.02)
"""

_TUNE_AUTOVACUUM = """
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        WITH RECURSIVE parts AS (
            SELECT 'public.audience_members'::regclass::oid AS oid
            UNION ALL
            SELECT inhrelid FROM parts JOIN pg_catalog.pg_inherits ON inhparent = parts.oid
        )
        SELECT oid FROM parts JOIN pg_catalog.pg_class USING (oid) WHERE relkind = 'r'
    LOOP
        EXECUTE 'ALTER TABLE ' || part || ' SET (
            fillfactor = 90,
            autovacuum_vacuum_threshold = 1000,
            autovacuum_vacuum_scale_factor = 0.002,
            autovacuum_vacuum_insert_threshold = 1000,
            autovacuum_vacuum_insert_scale_factor = 0.002
        )';
    END LOOP;
END
$$
"""
"""Tune autovacuum, so that exports stay index-only scans while members are written.

An index-only scan must look a row up in the table unless the visibility map says that
its page is all-visible. A page holds a hundred members, of as many sellers: if 2 % of
all members are written before a vacuum, two rows in three are looked up. So vacuum runs
after 0.2 %, a hundredth of PostgreSQL's default. The fill factor leaves room for new
versions of a page's members: most writes change no indexed column, and then the update
is heap-only (HOT).

In a partitioned table this sets the existing partitions; run it again for a new one.
"""

# IF EXISTS: dropping a date's column has also dropped the key and the index that include it.
_FOLLOW_COLUMNS = f"""
DO $$
DECLARE
    dates text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO dates
    FROM pg_catalog.pg_attribute
    WHERE attrelid = 'public.audience_members'::regclass
        AND attname LIKE '%\\_since'
        AND NOT attisdropped;
    DROP INDEX IF EXISTS public.audience_members_sample_idx;
    EXECUTE
        'CREATE INDEX audience_members_sample_idx ON public.audience_members (seller_id, email)'
        || COALESCE(' INCLUDE (' || dates || ')', '') || ' WHERE {SAMPLE}';
    ALTER TABLE public.audience_members DROP CONSTRAINT IF EXISTS audience_members_pkey;
    EXECUTE
        'ALTER TABLE public.audience_members ADD CONSTRAINT audience_members_pkey '
        || 'PRIMARY KEY (seller_id, email)' || COALESCE(' INCLUDE (' || dates || ')', '');
    EXECUTE
        'CREATE OR REPLACE FUNCTION public.audience_member_is_empty('
        || 'member public.audience_members) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE '
        || 'AS ''SELECT '
        || COALESCE('num_nonnulls(member.' || replace(dates, ', ', ', member.') || ') = 0', 'true')
        || '''';
END
$$
"""  # noqa: S608 - a condition of ours
"""Rebuild what names the date columns that exist, ``audience_member_is_empty`` and two indexes.

The covering key, and the index of a random sample, one member in 1024, which gives key ranges
and estimates.
"""


def create_members() -> list[str]:
    """Return the statements that create ``audience_members`` and the address functions.

    The table has no date columns yet: each :func:`install` adds one.
    """
    # In this order: a body with RETURN is parsed when it is created, and calls the function before.
    return [UNUSUAL_FUNCTION, ADDRESS_FUNCTION, _CREATE_TABLE, _TUNE_AUTOVACUUM]


def drop_members() -> list[str]:
    """Return the statements that undo :func:`create_members`, after every :func:`remove`."""
    return [
        "DROP FUNCTION IF EXISTS public.audience_member_is_empty(public.audience_members)",
        "DROP TABLE public.audience_members",
        "DROP FUNCTION public.audience_address(text)",
        "DROP FUNCTION public.audience_unusual_address(text)",
    ]


def install(source: Source) -> list[str]:
    """Return the statements that project ``source.table`` into ``audience_members``.

    The table must exist, with ``seller_id``, ``email`` and ``created_at``. Existing
    rows are projected too. Run the statements in one transaction. It locks the source
    table while its rows are rewritten with their address (5 seconds a million), and
    ``audience_members`` while its covering key is rebuilt (1 second a million).
    """
    return [
        _check(source),
        f"ALTER TABLE public.audience_members ADD COLUMN {source.since} timestamptz",
        _FOLLOW_COLUMNS,
        f"ALTER TABLE public.{source.table} ADD COLUMN member_email {member_email(source)}",
        f"""
        CREATE INDEX {source.table}_member_idx
        ON public.{source.table} (seller_id, member_email, created_at)
        WHERE member_email IS NOT NULL
        """,
        *functions(source),
        *triggers.triggers(source),
        # Last: the triggers' lock on the table keeps rows from being written in between.
        _back_fill(source),
    ]


def remove(source: Source) -> list[str]:
    """Return the statements that undo :func:`install`; the source table keeps its rows.

    It locks both tables, ``audience_members`` while its covering key is rebuilt.
    """
    return [
        *triggers.drop_triggers(source),
        f"ALTER TABLE public.audience_members DROP COLUMN {source.since}",
        _FOLLOW_COLUMNS,
        # After _FOLLOW_COLUMNS, whose function no longer looks at the dropped date.
        """
        DELETE FROM public.audience_members AS member
        WHERE public.audience_member_is_empty(ROW(member.*)::public.audience_members)
        """,
        f"DROP INDEX public.{source.table}_member_idx",
        f"ALTER TABLE public.{source.table} DROP COLUMN member_email",
    ]


def functions(source: Source) -> list[str]:
    """Return the statements that create or replace the trigger functions of ``source``."""
    return triggers.functions(source)


def member_email(source: Source) -> str:
    """Return type and definition of ``member_email``, the generated column of the source table."""
    return f'text COLLATE "C" GENERATED ALWAYS AS ({member_email_sql(source)}) STORED'


def member_email_sql(source: Source) -> str:
    """Return the expression of ``member_email``: the address of an eligible row, else null."""
    eligible = f"({source.eligible.strip()}\n) AND seller_id IS NOT NULL AND created_at IS NOT NULL"
    return f"CASE WHEN {eligible} THEN public.audience_address(email) END"


def _check(source: Source) -> str:
    """Return the statement that fails if the table lacks a needed column or type.

    ``created_at`` must have a time zone: without one, its instant would depend on the
    session's ``TimeZone``.
    """
    # The NULL accepts any type of email: of another type, <> ALL is null and not true.
    return f"""
    DO $$
    DECLARE
        wrong text;
    BEGIN
        SELECT string_agg(needed.name || ' must be ' || needed.types[1], ', ') INTO wrong
        FROM (
            VALUES
                ('seller_id', ARRAY['bigint', 'integer', 'smallint']),
                ('email', ARRAY['text', NULL]),
                ('created_at', ARRAY['timestamp with time zone'])
        ) AS needed (name, types)
        LEFT JOIN pg_catalog.pg_attribute
            ON attrelid = 'public.{source.table}'::regclass AND attname = needed.name
        WHERE attname IS NULL OR format_type(atttypid, NULL) <> ALL (needed.types);
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'public.{source.table} cannot be a source: %', wrong;
        END IF;
    END
    $$
    """  # noqa: S608 - names come from the registry


def _back_fill(source: Source) -> str:
    """Return the statement that projects the existing rows of ``source``."""
    # ORDER BY: in key order, as triggers lock members.
    return f"""
    INSERT INTO public.audience_members AS member (seller_id, email, {source.since})
    SELECT seller_id, member_email, date_trunc('second', min({calendar_date("created_at")}))
    FROM public.{source.table}
    WHERE member_email IS NOT NULL
    GROUP BY seller_id, member_email
    ORDER BY seller_id, member_email
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {source.since} = excluded.{source.since}
    """  # noqa: S608 - names come from the registry
