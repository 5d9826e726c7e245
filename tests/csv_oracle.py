"""The expected file of an export, in plain Python, written from the contract alone."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.oracle import UNKNOWN, Members

KEYS = ("follower", "customer", "affiliate")
HEADINGS = {
    "en": {
        "email": "Email",
        "subscribed_at": "Subscribed At",
        "sources": "Sources",
        "follower_since": "Follower Since",
        "customer_since": "Customer Since",
        "affiliate_since": "Affiliate Since",
    },
    "zh-CN": {
        "email": "电子邮箱",
        "subscribed_at": "订阅时间",
        "sources": "来源",
        "follower_since": "关注日期",
        "customer_since": "成为客户日期",
        "affiliate_since": "加入联盟日期",
    },
    "de": {
        "email": "E-Mail",
        "subscribed_at": "Angemeldet am",
        "sources": "Quellen",
        "follower_since": "Follower seit",
        "customer_since": "Kunde seit",
        "affiliate_since": "Partner seit",
    },
    "es": {
        "email": "Correo electrónico",
        "subscribed_at": "Suscrito el",
        "sources": "Orígenes",
        "follower_since": "Seguidor desde",
        "customer_since": "Cliente desde",
        "affiliate_since": "Afiliado desde",
    },
    "fr": {
        "email": "E-mail",
        "subscribed_at": "Inscrit le",
        "sources": "Sources",
        "follower_since": "Abonné depuis",
        "customer_since": "Client depuis",
        "affiliate_since": "Affilié depuis",
    },
}
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def expected_csv(
    members: Members,
    seller_id: int,
    sources: Sequence[str],
    columns: Sequence[str],
    *,
    spreadsheet_safe: bool = True,
    bom: bool = False,
    delimiter: str = ",",
    locale: str = "en",
    timezone: str = "UTC",
    joined_after: datetime | None = None,
    joined_before: datetime | None = None,
) -> bytes:
    """Return the whole file of one seller, byte for byte."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", delimiter=delimiter)
    writer.writerow([heading(column, locale, timezone) for column in columns])
    for email, dates in listed(members, seller_id, sources, joined_after, joined_before):
        cells = [_cell(email, dates, column, timezone) for column in columns]
        writer.writerow([_guarded(cell) if spreadsheet_safe else cell for cell in cells])
    return (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()


def listed(
    members: Members,
    seller_id: int,
    sources: Sequence[str],
    joined_after: datetime | None = None,
    joined_before: datetime | None = None,
) -> Iterator[tuple[str, dict[str, datetime]]]:
    """Yield the addresses of a file in order, each with its date of each selected source."""
    theirs = {email: dates for (seller, email), dates in members.items() if seller == seller_id}
    for email in sorted(theirs, key=str.encode):
        dates = {key: theirs[email][key] for key in KEYS if key in sources and key in theirs[email]}
        if dates and is_in_period(min(dates.values()), joined_after, joined_before):
            yield email, dates


def is_in_period(date: datetime, after: datetime | None, before: datetime | None) -> bool:
    """Return whether a date is at or after the one and before the other; an unknown is in none."""
    if after is None and before is None:
        return True
    if date == UNKNOWN:
        return False
    return (after is None or date >= after) and (before is None or date < before)


def heading(column: str, locale: str, timezone: str) -> str:
    """Return the heading of a column; a date's names its time zone."""
    text = HEADINGS[locale][column]
    return text if column in ("email", "sources") else f"{text} ({timezone})"


def _cell(email: str, dates: Mapping[str, datetime], column: str, timezone: str) -> str:
    if column == "email":
        return email
    if column == "sources":
        return " ".join(dates)
    if column == "subscribed_at":
        return _printed(min(dates.values()), timezone)
    return _printed(dates.get(column.removesuffix("_since")), timezone)


def _printed(date: datetime | None, timezone: str) -> str:
    if date is None or date == UNKNOWN:
        return ""
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    return date.astimezone(zone).replace(tzinfo=None).isoformat(" ")


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULAS) else cell
