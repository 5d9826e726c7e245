"""The file that an export must be, in plain Python, written from the contract alone."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime

from tests.oracle import Members

KEYS = ("follower", "customer", "affiliate")
HEADINGS = {
    "email": "Email",
    "subscribed_at": "Subscribed At (UTC)",
    "sources": "Sources",
    "follower_since": "Follower Since (UTC)",
    "customer_since": "Customer Since (UTC)",
    "affiliate_since": "Affiliate Since (UTC)",
}


def expected_csv(
    members: Members,
    seller_id: int,
    sources: Sequence[str],
    columns: Sequence[str],
    *,
    spreadsheet_safe: bool = True,
    bom: bool = False,
) -> bytes:
    """Return the whole file of one seller, byte for byte."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([HEADINGS[column] for column in columns])
    theirs = {email: dates for (seller, email), dates in members.items() if seller == seller_id}
    for email in sorted(theirs, key=str.encode):
        dates = {key: theirs[email][key] for key in KEYS if key in sources and key in theirs[email]}
        if dates:
            cells = [_cell(email, dates, column) for column in columns]
            writer.writerow([_guarded(cell) if spreadsheet_safe else cell for cell in cells])
    return (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()


def _cell(email: str, dates: Mapping[str, datetime], column: str) -> str:
    if column == "email":
        return email
    if column == "sources":
        return " ".join(dates)
    if column == "subscribed_at":
        return _printed(min(dates.values()))
    return _printed(dates.get(column.removesuffix("_since")))


def _printed(date: datetime | None) -> str:
    return "" if date is None else f"{date:%Y-%m-%d %H:%M:%S}"


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell else cell
