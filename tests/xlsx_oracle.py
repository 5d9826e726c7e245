"""The expected sheet of an export, in plain Python, written from the contract alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.csv_oracle import heading, listed
from tests.oracle import UNKNOWN, Members
from tests.workbooks import Cell, Rows

FIRST_DATE = datetime(1900, 3, 1)  # noqa: DTZ001 - in the file's zone
"""Excel's calendar is right from here on; dates before are texts."""


def expected_sheet(
    members: Members,
    seller_id: int,
    sources: Sequence[str],
    columns: Sequence[str],
    *,
    locale: str = "en",
    timezone: str = "UTC",
    joined_after: datetime | None = None,
    joined_before: datetime | None = None,
) -> Rows:
    """Return the cells of one seller's file, the headings first."""
    return [
        tuple(heading(column, locale, timezone) for column in columns),
        *(
            tuple(_cell(email, dates, column, timezone) for column in columns)
            for email, dates in listed(members, seller_id, sources, joined_after, joined_before)
        ),
    ]


def _cell(email: str, dates: Mapping[str, datetime], column: str, timezone: str) -> Cell:
    if column == "email":
        return email
    if column == "sources":
        return " ".join(dates)
    if column == "subscribed_at":
        return shown(min(dates.values()), timezone)
    return shown(dates.get(column.removesuffix("_since")), timezone)


def shown(date: datetime | None, timezone: str) -> Cell:
    """Return the date cell of an instant, which is empty where there is none or an unknown one."""
    if date is None or date == UNKNOWN:
        return None
    local = date.astimezone(ZoneInfo(timezone) if timezone != "UTC" else UTC).replace(tzinfo=None)
    return local if local >= FIRST_DATE else f"{local.isoformat(sep=' ')}"
