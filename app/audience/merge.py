"""The merge: one ordered, index-only range scan that is already the CSV."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.audience.ranges import ALL_KEYS, KeyRange
from app.audience.sources import SOURCES, SOURCES_BY_KEY, Source
from app.errors import RequestInvalid

DEFAULT_COLUMNS = ("email", "subscribed_at")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

FORMULAS_END = "A"
"""In collation C all characters that begin a formula sort below this one."""

GUARDED_EMAIL = f"""
    CASE
        WHEN audience_members.email >= '{FORMULAS_END}' THEN audience_members.email
        WHEN left(audience_members.email, 1) IN ('=', '+', '-', '@', E'\\t', E'\\r')
            THEN '''' || audience_members.email
        ELSE audience_members.email
    END
"""
"""The address, with a quote before a formula's first character (CWE-1236).

Nearly every row is settled by the first comparison.
"""


@dataclass(frozen=True)
class Merge:
    """What to read: which sources, as which columns, how guarded."""

    seller_id: int
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    spreadsheet_safe: bool = True
    bom: bool = False

    @property
    def chosen(self) -> list[Source]:
        """The selected sources, in the registry's order."""
        return [source for source in SOURCES if source.key in self.sources]


def available_columns(sources: Sequence[str]) -> list[str]:
    """Return the keys of all columns that fit the selected sources, in order."""
    dates = [SOURCES_BY_KEY[key].since for key in sources]
    return [*DEFAULT_COLUMNS, "sources", *dates]


def check_columns(sources: Sequence[str], columns: Sequence[str]) -> None:
    """Raise unless there is a source, and every column is known, fits them and comes once.

    Raises:
        RequestInvalid: of the field ``sources`` or ``columns``.
    """
    if not sources:
        raise RequestInvalid("sources", "Choose at least one source.")
    available = available_columns(sources)
    known = available_columns(list(SOURCES_BY_KEY))
    if not columns:
        raise RequestInvalid("columns", "Name at least one column.")
    for column in columns:
        if column not in known:
            raise RequestInvalid("columns", f"Unknown column; choose from {', '.join(known)}.")
        if column not in available:
            raise RequestInvalid("columns", f"{column} needs its source to be selected.")
    if len(set(columns)) < len(columns):
        raise RequestInvalid("columns", "Name each column once.")


def header(merge: Merge) -> bytes:
    """Return the file's first bytes: the heading of each column, and the mark if asked for."""
    headings = {
        "email": "Email",
        "subscribed_at": "Subscribed At (UTC)",
        "sources": "Sources",
    } | {source.since: source.heading for source in SOURCES}
    line = ",".join(headings[column] for column in merge.columns) + "\n"
    return (BYTE_ORDER_MARK if merge.bom else b"") + line.encode()


def merge_sql(merge: Merge, keys: KeyRange = ALL_KEYS) -> str:
    """Return the SELECT whose COPY is the file's body, or ``keys`` of it, one row an address.

    Rows come in the byte order of the address. The qualified ORDER BY keeps
    the index order: an output column named ``email`` would capture it. A lone
    empty cell is written as ``""``: readers skip an empty line.
    """
    cells = [_cell(merge, keys, column) for column in merge.columns]
    if len(cells) == 1:
        cells = [f"coalesce(({cells[0]})::text, '')"]
    selected = " OR ".join(f"{source.since} IS NOT NULL" for source in merge.chosen)
    return f"""
        SELECT {", ".join(cells)}
        FROM audience_members
        WHERE seller_id = {merge.seller_id:d} AND ({selected}){keys.condition}
        ORDER BY audience_members.email
    """  # noqa: S608 - columns come from the registry, the seller is a number, keys are quoted


def _cell(merge: Merge, keys: KeyRange, column: str) -> str:
    if column == "email":
        return _email_cell(merge, keys)
    cells: Mapping[str, Callable[[Merge], str]] = {
        "subscribed_at": _earliest_cell,
        "sources": _sources_cell,
    }
    return cells[column](merge) if column in cells else _utc(column)


def _email_cell(merge: Merge, keys: KeyRange) -> str:
    may_be_formula = keys.low is None or keys.low < FORMULAS_END
    return GUARDED_EMAIL if merge.spreadsheet_safe and may_be_formula else "audience_members.email"


def _earliest_cell(merge: Merge) -> str:
    return _utc(f"LEAST({', '.join(source.since for source in merge.chosen)})")


def _sources_cell(merge: Merge) -> str:
    words = (
        f"CASE WHEN {source.since} IS NOT NULL THEN '{source.key}' END" for source in merge.chosen
    )
    return f"concat_ws(' ', {', '.join(words)})"


def _utc(date: str) -> str:
    """Print an instant as ``2026-11-22 13:54:05``: dates are kept cut to the second."""
    return f"{date} AT TIME ZONE 'UTC'"
