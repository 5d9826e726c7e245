"""The merge as rows of a worksheet: SQL writes each row's XML, COPY carries it."""

from app.audience.key_ranges import ALL_KEYS, KeyRange, literal
from app.audience.merge import Merge, date_of, select_members, sources_of

TEXT_BEGIN = '<c t="inlineStr"><is><t>'
SPACED_TEXT_BEGIN = '<c t="inlineStr"><is><t xml:space="preserve">'
TEXT_END = "</t></is></c>"
DATE_STYLE = 1
"""The place of the date's format among the workbook's cell formats."""

DATE_BEGIN = f'<c s="{DATE_STYLE}"><v>'
DATE_END = "</v></c>"
EMPTY = "<c/>"

PLAIN_DATES = ("1900-03-03", "9999-12-30")
"""In UTC: dates between them are dates of a workbook in every time zone."""

WORKBOOK_DATES = ("1900-03-01", "10000-01-01")
"""In the file's time zone: where Excel's calendar is right, up to its end.

Excel believes that 1900 was a leap year, and begins with it.
"""

UNIX_EPOCH = 25569
"""1 January 1970 as a serial number, in days."""

# With the space: at an end of a text, readers drop it unless xml:space says otherwise.
UNUSUAL = r"[\u0001-\u0020&<>\\\ufffe\uffff]|_x"
"""Matches every text that must not be a cell as it is. PostgreSQL stores no U+0000."""

NOT_XML = (*range(0x01, 0x20), 0xFFFE, 0xFFFF)
"""Characters that XML 1.0 cannot hold, or changes (line ends), or COPY does (TAB)."""


def sheet_rows_sql(merge: Merge, keys: KeyRange = ALL_KEYS) -> str:
    """Return the SELECT whose COPY in text format is the rows of a sheet, one a line.

    Cells and rows have no references, so that rows do not depend on those before them. No row
    holds a backslash or a control character: COPY changes nothing and adds LF after each row.
    """
    cells = "\n || ".join(_cell(merge, column) for column in merge.options.columns)
    return select_members(merge, keys, f"'<row>' || {cells} || '</row>'")


def _cell(merge: Merge, column: str) -> str:
    if column == "email":
        return text_cell("audience_members.email")
    if column == "sources":
        return f"'{TEXT_BEGIN}' || {sources_of(merge)} || '{TEXT_END}'"
    return date_cell(date_of(merge, column), merge.options.timezone)


def text_cell(text: str) -> str:
    """Return SQL for a text cell that shows exactly what ``text`` is, with any characters."""
    return f"""
        CASE
            WHEN {text} ~ {literal(UNUSUAL)}
                THEN '{SPACED_TEXT_BEGIN}' || {_escaped(text)}
            ELSE '{TEXT_BEGIN}' || {text}
        END || '{TEXT_END}'
    """


def _escaped(text: str) -> str:
    """Return SQL that escapes markup as XML does, and other characters as ``_xHHHH_`` (Xstring).

    What is written like such an escape is kept by escaping its ``_``.
    """
    # Innermost: it must not see the underscores of the codes that replace() puts in.
    escaped = rf"regexp_replace({text}, '_(?=x[0-9A-Fa-f]{{4}}_)', '_x005F_', 'g')"
    # The & first: the other entities have one, which would be escaped again.
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"}
    codes = {chr(code): f"_x{code:04X}_" for code in NOT_XML}
    for character, escape in (entities | codes).items():
        escaped = f"replace({escaped}, E'\\u{ord(character):04x}', '{escape}')"
    return escaped


def date_cell(instant: str, timezone: str) -> str:
    """Return SQL for a date cell: days since 1900 in ``timezone``; empty where it is unknown.

    A date that Excel's calendar does not have is a text.
    """
    local = f"({instant} AT TIME ZONE {literal(timezone)})"
    # Not extract(), which returns numeric: slower, and with other digits.
    number = f"'{DATE_BEGIN}' || (date_part('epoch', {local}) / 86400 + {UNIX_EPOCH})::text"
    (first, last), (begin, end) = PLAIN_DATES, WORKBOOK_DATES
    # IS NOT TRUE: a null (the member is not in the source) is an empty cell, as infinity is.
    return f"""
        CASE
            WHEN {instant} BETWEEN '{first} UTC' AND '{last} UTC' THEN {number} || '{DATE_END}'
            WHEN isfinite({instant}) IS NOT TRUE THEN '{EMPTY}'
            WHEN {local} >= '{begin}' AND {local} < '{end}' THEN {number} || '{DATE_END}'
            ELSE '{TEXT_BEGIN}' || {local}::text || '{TEXT_END}'
        END
    """
