"""Drift: where ``audience_members`` is not what the source tables say, and its repair."""

from dataclasses import dataclass

import asyncpg

from app.audience.sources import SOURCES, Source
from app.database import Connection


@dataclass(frozen=True)
class Drift:
    """How many members are wrong, by kind.

    ``missing`` people are in a source but no member, ``surplus`` members are in
    no source, and ``wrong_dates`` counts, by the source's key, members whose
    date of that source is not the earliest one.
    """

    missing: int
    surplus: int
    wrong_dates: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """The number of each kind, by its name for people."""
        dates = {f"wrong {key} date": number for key, number in self.wrong_dates.items()}
        return {"missing member": self.missing, "surplus member": self.surplus} | dates

    @property
    def total(self) -> int:
        """How much is wrong: a member with two wrong dates counts twice."""
        return sum(self.counts.values())

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self.counts.values())


async def verify(connection: Connection, seller_id: int | None = None) -> Drift:
    """Compare ``audience_members`` with the source tables, for one seller or for all.

    Reads both in one snapshot, so writers neither wait nor disturb. The
    connection must be outside a transaction, and patient: 2.5 million members
    take some ten seconds.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(_count_sql(f"({_drifted_sql(seller_id)}) AS drifted"))
    return _drift(row)


async def rebuild(connection: Connection, seller_id: int | None = None) -> Drift:
    """Make ``audience_members`` what the source tables say; return what was wrong.

    Does to each wrong member what a trigger does: writes it first, in key
    order with all others, then computes it anew in a fresh statement. So
    writers may go on meanwhile, and only those who touch a wrong address wait.
    The connection must be outside a transaction, and patient.

    Raises:
        asyncpg.DeadlockDetectedError: writers held several of the addresses in
            another order (SQLSTATE 40P01); nothing is changed, try again.
    """
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(
            f"CREATE TEMPORARY TABLE drifted ON COMMIT DROP AS {_drifted_sql(seller_id)}"
        )
        await connection.execute("ANALYZE drifted")
        row = await connection.fetchrow(_count_sql("drifted"))
        for statement in (_LOCK, _USE_MEMBER_INDEXES, _RECOMPUTE, _DELETE_EMPTY):
            await connection.execute(statement)
    return _drift(row)


async def record_verification(connection: Connection, drift_rows: int) -> None:
    """Keep what is known of the whole projection now, for ninety days."""
    await connection.execute(
        """
        WITH forgotten AS (
            DELETE FROM projection_verifications
            WHERE verified_at < clock_timestamp() - interval '90 days'
        )
        INSERT INTO projection_verifications (drift_rows) VALUES ($1)
        """,
        drift_rows,
    )


def _rows(seller_id: int | None) -> str:
    """Every eligible row of every source, its date in the column of its source."""
    chosen = "" if seller_id is None else f"AND seller_id = {seller_id:d}"
    return "\nUNION ALL\n".join(
        f"""
        SELECT seller_id, member_email AS email, {
            ", ".join(
                f"{'created_at' if other is source else 'NULL::timestamptz'} AS {other.since}"
                for other in SOURCES
            )
        }
        FROM public.{source.table}
        WHERE member_email IS NOT NULL {chosen}
        """  # noqa: S608 - names come from the registry, the seller is a number
        for source in SOURCES
    )


def _drifted_sql(seller_id: int | None) -> str:
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


def _earliest(source: Source) -> str:
    return f"""
    {source.since} = (
        SELECT date_trunc('second', source.created_at)
        FROM public.{source.table} AS source
        WHERE source.seller_id = member.seller_id AND source.member_email = member.email
        ORDER BY source.created_at
        LIMIT 1
    )
    """  # noqa: S608 - names come from the registry


_LOCK = f"""
    INSERT INTO public.audience_members AS member (seller_id, email)
    SELECT seller_id, email
    FROM drifted
    ORDER BY seller_id, email
    ON CONFLICT (seller_id, email) DO UPDATE
    SET {SOURCES[0].since} = member.{SOURCES[0].since}
"""  # noqa: S608 - names come from the registry

_USE_MEMBER_INDEXES = "SET LOCAL enable_sort = off"
"""Whatever the statistics say: of all ways to the earliest row, only the index needs no sort."""

_RECOMPUTE = f"""
    UPDATE public.audience_members AS member
    SET {", ".join(map(_earliest, SOURCES))}
    FROM drifted
    WHERE member.seller_id = drifted.seller_id AND member.email = drifted.email
"""  # noqa: S608 - names come from the registry

_DELETE_EMPTY = """
    DELETE FROM public.audience_members AS member
    USING drifted
    WHERE member.seller_id = drifted.seller_id
        AND member.email = drifted.email
        AND public.audience_member_is_empty(member)
"""
