"""The projection: the SQL that keeps ``audience_members`` true to its sources.

Migrations run what :func:`create_members` and :func:`install` return. They
take the :class:`Source` from the registry, so that a new kind of audience is
written down once. What a migration has installed does not follow when the
registry or this module changes afterwards. So

- whoever changes a trigger function adds a migration that runs
  :func:`functions` again for every source;
- whoever changes a source's eligibility copies the old :class:`Source` into
  the migration that installed it, and adds one that runs :func:`remove` of
  the old and :func:`install` of the new;
- ``tests/migrations`` compares what the migrations leave behind with what
  this module would install today.

Names are qualified throughout: the apply worker of logical replication runs
with an empty ``search_path``.
"""

from app.audience import triggers
from app.audience.addresses import ADDRESS_FUNCTION
from app.audience.ranges import SAMPLE
from app.audience.sources import Source

_CREATE_TABLE = """
CREATE TABLE public.audience_members (
    seller_id bigint NOT NULL,
    email text COLLATE "C" NOT NULL,
    CONSTRAINT audience_members_pkey PRIMARY KEY (seller_id, email)
) WITH (
    autovacuum_vacuum_insert_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
)
"""
"""What migration 0001 left; :func:`tend_members` has other values since."""

_TEND = """
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

_FOLLOW_COLUMNS = """
DO $$
DECLARE
    dates text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO dates
    FROM pg_catalog.pg_attribute
    WHERE attrelid = 'public.audience_members'::regclass
        AND attname LIKE '%\\_since'
        AND NOT attisdropped;
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
"""
"""Make the covering key and ``audience_member_is_empty`` follow the dates the table now has."""


def create_members() -> list[str]:
    """Return the statements that create ``audience_members`` and the rule of addresses.

    The table has no dates yet: each :func:`install` adds one.
    """
    return [ADDRESS_FUNCTION, _CREATE_TABLE]


def tend_members() -> str:
    """Return the statement that keeps exports to the index while members are written.

    An export reads the index alone where the visibility map says it may, page
    by page of the table; a page holds a hundred members of as many sellers.
    Were 2 % of them written before a vacuum came, two rows in three would be
    looked up. So it comes after 0.2 %, a hundred times as eagerly as by
    PostgreSQL's default, and pages keep room for their members' next versions:
    most writes change no date, and then neither index has to know of them.

    Of a partitioned table the partitions there are are tended; a new one needs it again.
    """
    return _TEND


def create_sample() -> str:
    """Return the statement that creates the index of one member in 1024, chosen by chance."""
    return f"""
        CREATE INDEX audience_members_sample_idx
        ON public.audience_members (seller_id, email)
        WHERE {SAMPLE}
    """


def drop_members() -> list[str]:
    """Return the statements that undo :func:`create_members`, after every :func:`remove`."""
    return [
        "DROP FUNCTION IF EXISTS public.audience_member_is_empty(public.audience_members)",
        "DROP TABLE public.audience_members",
        "DROP FUNCTION public.audience_address(text)",
    ]


def install(source: Source) -> list[str]:
    """Return the statements that project ``source.table`` into ``audience_members``.

    The table must exist, with ``seller_id``, ``email`` and ``created_at``.
    Rows that are there already are projected as well. To be run in one
    transaction: it locks the source table, while its rows are rewritten with
    their address (5 seconds a million), and ``audience_members``, while its
    covering key is built anew (1 second a million).
    """
    return [
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
        _back_fill(source),
    ]


def remove(source: Source) -> list[str]:
    """Return the statements that undo :func:`install`; the source table keeps its rows.

    Locks both tables, ``audience_members`` while its covering key is built anew.
    """
    return [
        *triggers.drop_triggers(source),
        f"ALTER TABLE public.audience_members DROP COLUMN {source.since}",
        _FOLLOW_COLUMNS,
        """
        DELETE FROM public.audience_members
        WHERE public.audience_member_is_empty(audience_members)
        """,
        f"DROP INDEX public.{source.table}_member_idx",
        f"ALTER TABLE public.{source.table} DROP COLUMN member_email",
    ]


def functions(source: Source) -> list[str]:
    """Return the statements that create or replace the trigger functions of ``source``."""
    return triggers.functions(source)


def member_email(source: Source) -> str:
    """Return the type and definition of the generated column of ``source.table``."""
    return f'text COLLATE "C" GENERATED ALWAYS AS ({member_email_sql(source)}) STORED'


def member_email_sql(source: Source) -> str:
    """Return the expression of ``member_email``: the address of an eligible row, else null."""
    return f"CASE WHEN {source.eligible.strip()} THEN public.audience_address(email) END"


def _back_fill(source: Source) -> str:
    return f"""
    INSERT INTO public.audience_members AS member (seller_id, email, {source.since})
    SELECT seller_id, member_email, date_trunc('second', min(created_at))
    FROM public.{source.table}
    WHERE member_email IS NOT NULL
    GROUP BY seller_id, member_email
    ORDER BY seller_id, member_email
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {source.since} = excluded.{source.since}
    """  # noqa: S608 - names come from the registry
