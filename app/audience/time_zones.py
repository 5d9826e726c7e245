"""Time zones: the names that PostgreSQL knows, and the first moment of a day in one of them."""

from datetime import UTC, date, datetime, time

from app.database.database import Database

DEFAULT_TIMEZONE = "UTC"

# Some installations also list their files' other forms, and the machine's own zone.
NAMES = """
    SELECT name
    FROM pg_timezone_names
    WHERE name !~ '^(posix|right)/' AND name NOT IN ('localtime', 'posixrules', 'Factory')
"""

# Around a change of the zone's offset midnight may be missing or come twice: bisect for the
# change. No offset is above 16 hours, so only a change within 17 hours of midnight in UTC matters.
FIRST_MOMENT = """
    WITH RECURSIVE bounds (low, high) AS (
        SELECT
            CAST(:midnight AS timestamptz) - interval '17 hours',
            CAST(:midnight AS timestamptz) + interval '17 hours'
        UNION ALL
        SELECT
            CASE WHEN is_before THEN middle ELSE low END,
            CASE WHEN is_before THEN high ELSE middle END
        FROM bounds
        CROSS JOIN LATERAL (
            SELECT date_trunc('second', low + (high - low) / 2) AS middle
        ) AS halved
        CROSS JOIN LATERAL (
            SELECT (middle AT TIME ZONE :timezone) - (middle AT TIME ZONE 'UTC')
                = (low AT TIME ZONE :timezone) - (low AT TIME ZONE 'UTC') AS is_before
        ) AS compared
        WHERE high - low > interval '1 second'
    ),
    change AS (
        SELECT
            (min(low) AT TIME ZONE 'UTC') - (min(low) AT TIME ZONE :timezone) AS before,
            (max(high) AT TIME ZONE 'UTC') - (max(high) AT TIME ZONE :timezone) AS after,
            min(high) AS at
        FROM bounds
    )
    SELECT
        CASE
            WHEN CAST(:midnight AS timestamptz) + before < at
                THEN CAST(:midnight AS timestamptz) + before
            WHEN CAST(:midnight AS timestamptz) + after >= at
                THEN CAST(:midnight AS timestamptz) + after
            ELSE at
        END
    FROM change
"""


class TimeZones:
    """The time zones of a server, whose names are read once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names: dict[str, str] = {}

    async def find(self, name: str) -> str | None:
        """Return a zone's name as PostgreSQL spells it, ``None`` where there is none.

        Raises:
            DatabaseUnavailable: the names are not known yet.
        """
        if name.upper() == DEFAULT_TIMEZONE:
            return DEFAULT_TIMEZONE
        # Read once: the view opens every file of the time zone database.
        if not self._names:
            rows = await self._database.fetch(NAMES)
            self._names = {row["name"].lower(): row["name"] for row in rows}
        return self._names.get(name.lower())

    async def first_moment(self, day: date, timezone: str) -> datetime:
        """Return the first instant of a day in a time zone that :meth:`find` returned.

        That is the end of a gap that midnight falls into, and the earlier one of two midnights.
        At the ends of the calendar it is the first or last instant that Python has.

        Raises:
            DatabaseUnavailable: trying again may help.
        """
        midnight = datetime.combine(day, time(), UTC)
        if timezone == DEFAULT_TIMEZONE or day in (date.min, date.max):
            return midnight
        ((moment,),) = await self._database.fetch(
            FIRST_MOMENT, midnight=midnight, timezone=timezone
        )
        assert isinstance(moment, datetime)  # noqa: S101 - the type of the column
        return moment
