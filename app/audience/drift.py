"""Drift: where ``audience_members`` differs from the source tables, and its repair."""

from dataclasses import dataclass

import asyncpg

from app.audience.dates import calendar_date, earliest
from app.audience.sources import SOURCES
from app.database.database import DatabaseConnection, Queryable


@dataclass(frozen=True)
class Drift:
    """The number of wrong members, by kind.

    Attributes:
        missing: People who are in a source but not in ``audience_members``.
        surplus: Members who are in no source.
        wrong_dates: By the source's key, members whose date is not the source's earliest.
    """

    missing: int
    surplus: int
    wrong_dates: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """The number of each kind, by its name in the command's output."""
        dates = {f"wrong {key} date": number for key, number in self.wrong_dates.items()}
        return {"missing member": self.missing, "surplus member": self.surplus} | dates

    @property
    def total(self) -> int:
        """The sum of all kinds; a member with two wrong dates counts twice."""
        return sum(self.counts.values())

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self.counts.values())


async def verify(connection: DatabaseConnection, seller_id: int | None = None) -> Drift:
    """Compare ``audience_members`` with the source tables, for one seller or for all.

    Both are read in one snapshot: writers do not wait, and do not change the result.
    ``connection`` must be outside a transaction and allow long statements: 2.5 million
    members take some ten seconds. ``None`` for ``seller_id`` means all sellers.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True) as tx:
        (row,) = await tx.fetch(_count_sql(f"({_drifted_sql(seller_id)}) AS drifted"))
    return _drift(row)


async def rebuild(connection: DatabaseConnection, seller_id: int | None = None) -> Drift:
    """Make ``audience_members`` equal to the source tables; return the drift there was.

    Each wrong member is treated as by a trigger: written first, in key order, then
    computed again in a new statement. So writers continue meanwhile, and only those
    that touch a wrong address wait. ``connection`` must be outside a transaction and
    allow long statements. ``None`` for ``seller_id`` means all sellers.

    Raises:
        asyncpg.DeadlockDetectedError: writers locked several of the addresses in
            another order (SQLSTATE 40P01); nothing was changed, try again.
    """
    # READ COMMITTED: _DATE must see what others committed while _LOCK waited for them.
    async with connection.transaction() as tx:
        await tx.execute(
            f"CREATE TEMPORARY TABLE drifted ON COMMIT DROP AS {_drifted_sql(seller_id)}"
        )
        # A temporary table is analysed by nobody else, and one without statistics is planned
        # as if it had a few hundred rows.
        await tx.execute("ANALYZE drifted")
        (row,) = await tx.fetch(_count_sql("drifted"))
        # The order is the guarantee: _LOCK writes each member first, as a trigger does.
        for statement in (_LOCK, _USE_MEMBER_INDEXES, _DATE, _WRITE, _DELETE_EMPTY):
            await tx.execute(statement)
    return _drift(row)


# A verification is retained for 90 days.
_RECORD = """
    WITH old AS (
        DELETE FROM projection_verifications
        WHERE verified_at < statement_timestamp() - interval '90 days'
    )
    INSERT INTO projection_verifications (drift_rows) VALUES (:drift_rows)
"""


async def record_verification(database: Queryable, drift_rows: int) -> None:
    """Record how much drift the whole projection has now, for the metrics.

    ``drift_rows`` is :attr:`Drift.total` of a run of :func:`verify` over all sellers, or 0
    after :func:`rebuild`.
    """
    await database.execute(_RECORD, drift_rows=drift_rows)


def _rows(seller_id: int | None) -> str:
    """Return a query for every eligible row of every source, its date in its source's column."""
    chosen = "" if seller_id is None else f"AND seller_id = {seller_id:d}"
    return "\nUNION ALL\n".join(
        f"""
        SELECT seller_id, member_email AS email, {
            ", ".join(
                f"{calendar_date('created_at') if other is source else 'NULL::timestamptz'}"
                f" AS {other.since}"
                for other in SOURCES
            )
        }
        FROM public.{source.table}
        WHERE member_email IS NOT NULL {chosen}
        """  # noqa: S608 - names come from the registry, the seller is a number
        for source in SOURCES
    )


def _drifted_sql(seller_id: int | None) -> str:
    """Return a query for every wrong member: what is wrong, as one boolean for each kind."""
    chosen = "" if seller_id is None else f"WHERE seller_id = {seller_id:d}"
    dates = [source.since for source in SOURCES]
    return f"""
    SELECT
        seller_id,
        email,
        actual.is_there IS NULL AS is_missing,
        expected.is_there IS NULL AS is_surplus,
        {", ".join(f"expected.{date} IS DISTINCT FROM actual.{date} AS {date}" for date in dates)}
    FROM (
        SELECT
            seller_id,
            email,
            true AS is_there,
            {", ".join(f"date_trunc('second', min({date})) AS {date}" for date in dates)}
        FROM ({_rows(seller_id)}) AS eligible
        GROUP BY seller_id, email
    ) AS expected
    FULL JOIN (
        SELECT seller_id, email, true AS is_there, {", ".join(dates)}
        FROM public.audience_members
        {chosen}
    ) AS actual USING (seller_id, email)
    WHERE actual.is_there IS NULL
        OR expected.is_there IS NULL
        OR {" OR ".join(f"expected.{date} IS DISTINCT FROM actual.{date}" for date in dates)}
    """  # noqa: S608 - names come from the registry, the seller is a number


def _count_sql(drifted: str) -> str:
    both = "NOT is_missing AND NOT is_surplus"
    wrong = (
        f"count(*) FILTER (WHERE {both} AND {source.since}) AS {source.key}" for source in SOURCES
    )
    return f"""
    SELECT
        count(*) FILTER (WHERE is_missing) AS missing,
        count(*) FILTER (WHERE is_surplus) AS surplus,
        {", ".join(wrong)}
    FROM {drifted}
    """  # noqa: S608 - names come from the registry


def _drift(row: asyncpg.Record) -> Drift:
    return Drift(
        missing=row["missing"],
        surplus=row["surplus"],
        wrong_dates={source.key: row[source.key] for source in SOURCES},
    )


# Not DO NOTHING, which would not lock a member that exists: its writers would not wait.
_LOCK = f"""
    INSERT INTO public.audience_members AS member (seller_id, email)
    SELECT seller_id, email
    FROM drifted
    ORDER BY seller_id, email
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {SOURCES[0].since} = member.{SOURCES[0].since}
"""  # noqa: S608 - names come from the registry

_USE_MEMBER_INDEXES = "SET LOCAL enable_sort = off"
"""Without statistics the planner may sort; only the index finds the earliest row without one."""

_DATE = f"""
    CREATE TEMPORARY TABLE dated ON COMMIT DROP AS
    SELECT
        member.seller_id,
        member.email,
        {", ".join(f"{earliest(source)} AS {source.since}" for source in SOURCES)}
    FROM public.audience_members AS member
    JOIN drifted ON member.seller_id = drifted.seller_id AND member.email = drifted.email
"""  # noqa: S608 - names come from the registry
"""Apart from the update: on Citus no update may call a function that is not immutable."""

_WRITE = f"""
    UPDATE public.audience_members AS member
    SET {", ".join(f"{source.since} = dated.{source.since}" for source in SOURCES)}
    FROM dated
    WHERE member.seller_id = dated.seller_id AND member.email = dated.email
"""  # noqa: S608 - names come from the registry

_DELETE_EMPTY = f"""
    DELETE FROM public.audience_members AS member
    USING dated
    WHERE member.seller_id = dated.seller_id
        AND member.email = dated.email
        AND num_nonnulls({", ".join(f"dated.{source.since}" for source in SOURCES)}) = 0
"""  # noqa: S608 - names come from the registry
