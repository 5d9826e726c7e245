"""The merge: one ordered, index-only range scan that is already the CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.audience.headings import heading
from app.audience.key_ranges import ALL_KEYS, KeyRange, literal
from app.audience.period import Period
from app.audience.sources import SOURCES, SOURCES_BY_KEY, Source
from app.errors import RequestInvalid
from app.models import DEFAULT_COLUMNS, FileOptions

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

FORMULAS_END = "A"
WIDE_FORMULAS_BEGIN = "\uff0b"
"""Between them, in collation C, no address begins a formula."""

FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are full-width forms, which some spreadsheets read like the plain ones."""

GUARDED_EMAIL = f"""
    CASE
        WHEN audience_members.email >= '{FORMULAS_END}'
            AND audience_members.email < '{WIDE_FORMULAS_BEGIN}' THEN audience_members.email
        WHEN left(audience_members.email, 1) IN ({", ".join(map(literal, FORMULA_BEGINNINGS))})
            THEN '''' || audience_members.email
        ELSE audience_members.email
    END
"""
"""The address, with a quote before a formula's first character (CWE-1236).

Nearly every row is settled by the first two comparisons.
"""


@dataclass(frozen=True)
class Merge:
    """What to read: whose audience, which sources of it, and how the file is written."""

    seller_id: int
    sources: tuple[str, ...]
    options: FileOptions = field(default_factory=FileOptions)

    @property
    def period(self) -> Period:
        """Of which dates members are listed."""
        return Period(self.options.joined_after, self.options.joined_before)

    @property
    def selected_sources(self) -> list[Source]:
        """The selected sources, in the registry's order."""
        return [source for source in SOURCES if source.key in self.sources]


def available_columns(sources: Sequence[str]) -> list[str]:
    """Return the keys of all columns that fit the selected sources, in order."""
    dates = [SOURCES_BY_KEY[key].since for key in sources]
    return [*DEFAULT_COLUMNS, "sources", *dates]


def validate_columns(sources: Sequence[str], columns: Sequence[str]) -> None:
    """Raise unless there is a source, and every column is known, fits them and comes once.

    Raises:
        RequestInvalid: of the field ``sources`` or ``columns``.
    """
    if not sources:
        raise RequestInvalid("sources", "Choose at least one source.")
    available = available_columns(sources)
    every_column = available_columns(list(SOURCES_BY_KEY))
    if not columns:
        raise RequestInvalid("columns", "Name at least one column.")
    for column in columns:
        if column not in every_column:
            raise RequestInvalid(
                "columns", f"Unknown column; choose from {', '.join(every_column)}."
            )
        if column not in available:
            raise RequestInvalid("columns", f"{column} needs its source to be selected.")
    if len(set(columns)) < len(columns):
        raise RequestInvalid("columns", "Name each column once.")


def header(options: FileOptions) -> bytes:
    """Return the file's first bytes: the heading of each column, and the mark if asked for."""
    headings = (heading(column, options.locale, options.timezone) for column in options.columns)
    # Not quoted: no heading has a character that CSV would quote; see heading().
    line = options.delimiter.join(headings) + "\n"
    return (BYTE_ORDER_MARK if options.bom else b"") + line.encode()


def merge_sql(merge: Merge, keys: KeyRange = ALL_KEYS) -> str:
    """Return the SELECT whose COPY is the file's body, or ``keys`` of it, one row an address.

    Rows come in the byte order of the address. The qualified ORDER BY keeps
    the index order: an output column named ``email`` would capture it. A lone
    empty cell is written as ``""``: readers skip an empty line.
    """
    cells = [_cell(merge, keys, column) for column in merge.options.columns]
    if len(cells) == 1:
        cells = [f"coalesce(({cells[0]})::text, '')"]
    return select_members(merge, keys, ", ".join(cells))


def select_members(merge: Merge, keys: KeyRange, selected: str) -> str:
    """Return the SELECT of ``selected`` from the members that the file lists, in its order."""
    return f"""
        SELECT {selected}
        FROM audience_members
        WHERE seller_id = {merge.seller_id:d} AND ({membership(merge)}){keys.condition}
        ORDER BY audience_members.email
    """  # noqa: S608 - columns come from the registry, the seller is a number, keys are quoted


def membership(merge: Merge) -> str:
    """Return the condition on a seller's member to be in the file.

    A period is about the date that ``subscribed_at`` shows: the earliest of the selected sources.
    """
    if merge.period.is_bounded:
        return merge.period.condition(date_of(merge, "subscribed_at"))
    return " OR ".join(f"{source.since} IS NOT NULL" for source in merge.selected_sources)


def date_of(merge: Merge, column: str) -> str:
    """Return SQL for the instant that a column of dates shows."""
    if column != "subscribed_at":
        return column
    # PostgreSQL's LEAST ignores nulls: the sources that the member is not in.
    return f"LEAST({', '.join(source.since for source in merge.selected_sources)})"


def sources_of(merge: Merge) -> str:
    """Return SQL for the keys of the selected sources that a member belongs to."""
    words = (
        f"CASE WHEN {source.since} IS NOT NULL THEN '{source.key}' END"
        for source in merge.selected_sources
    )
    return f"concat_ws(' ', {', '.join(words)})"


def _cell(merge: Merge, keys: KeyRange, column: str) -> str:
    if column == "email":
        return _email_cell(merge, keys)
    return sources_of(merge) if column == "sources" else _date_cell(merge, column)


def _email_cell(merge: Merge, keys: KeyRange) -> str:
    # Python compares code points, whose order is that of UTF-8's bytes and so of collation C.
    is_plain = keys.low is not None and keys.low >= FORMULAS_END
    is_narrow = keys.high is not None and keys.high <= WIDE_FORMULAS_BEGIN
    return (
        GUARDED_EMAIL
        if merge.options.spreadsheet_safe and not (is_plain and is_narrow)
        else "audience_members.email"
    )


def _date_cell(merge: Merge, column: str) -> str:
    """Print an instant as ``2026-11-22 13:54:05``: dates are kept cut to the second.

    An unknown one is empty.
    """
    date = date_of(merge, column)
    if column != "subscribed_at" or not merge.period.is_bounded:  # in a period it is known
        date = f"nullif({date}, 'infinity')"
    # Not to_char(), which is slower (ADR 6): each session's DateStyle is ISO, which prints it so.
    return f"{date} AT TIME ZONE {literal(merge.options.timezone)}"
