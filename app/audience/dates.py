"""A member's date of one source, as SQL: the earliest known one, cut to the second.

A date outside the years 1 to 9999 in UTC (``infinity``, ``-infinity``, BC) is unknown, and
``infinity`` in ``audience_members``: as the largest of all dates it gives way to any known one in
MIN and LEAST, and is before no end of a period.
"""

from app.audience.sources import Source

FIRST_DATE = "'0001-01-01 00:00:00+00'"
DATES_END = "'10000-01-01 00:00:00+00'"


def calendar_date(date: str) -> str:
    """Return SQL for a date that is not null, ``infinity`` where it is unknown."""
    return f"""
    CASE
        WHEN {date} >= {FIRST_DATE} AND {date} < {DATES_END} THEN {date}
        ELSE 'infinity'::timestamptz
    END
    """


def earliest(source: Source, table: str | None = None) -> str:
    """Return SQL for the date of ``member`` in ``source``; null where no row of it counts.

    ``table`` is what the statement calls the source's table; ``None``: by its name. Each of the
    two look-ups is one step in the index of the source: the first finds what is not before the
    year 1, the second whether there is anything else.
    """
    rows = f"""
        FROM {table or f"public.{source.table}"} AS source
        WHERE source.seller_id = member.seller_id AND source.member_email = member.email
    """
    # Both look-ups are ordered, the second as well: where sorts are disabled, as in the triggers,
    # only the source's own index gives that order, so no other index and no scan is planned.
    return f"""
    coalesce(
        (
            SELECT date_trunc('second', {calendar_date("source.created_at")})
            {rows} AND source.created_at >= {FIRST_DATE}
            ORDER BY source.created_at
            LIMIT 1
        ),
        (
            SELECT 'infinity'::timestamptz
            {rows}
            ORDER BY source.created_at
            LIMIT 1
        )
    )
    """
