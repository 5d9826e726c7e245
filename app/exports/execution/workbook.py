"""A workbook's parts (ECMA-376) apart from its rows."""

from collections.abc import Sequence
from string import ascii_uppercase
from xml.sax.saxutils import escape

from app.audience.sheet_rows import DATE_STYLE, TEXT_BEGIN, TEXT_END

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"

XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

HEADING_STYLE = 2
DATE_WIDTH, TEXT_WIDTH = 21, 40
"""In characters."""

STYLES = f"""{XML}<styleSheet xmlns="{MAIN}">
<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>
<fonts count="2">
<font><sz val="11"/><name val="Calibri"/></font>
<font><b/><sz val="11"/><name val="Calibri"/></font>
</fonts>
<fills count="2">
<fill><patternFill patternType="none"/></fill>
<fill><patternFill patternType="gray125"/></fill>
</fills>
<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>
<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>
<cellXfs count="3">
<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>
<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>
<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>
</cellXfs>
<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>
</styleSheet>
""".encode()
"""Cell formats by their number: 0 as it is, 1 a date, 2 a heading."""

PACKAGE_RELATIONSHIPS = f"""{XML}<Relationships xmlns="{PACKAGE}/relationships">
<Relationship Id="rId1" Type="{RELATIONSHIPS}/officeDocument" Target="xl/workbook.xml"/>
</Relationships>
""".encode()


def sheet_path(number: int) -> str:
    """Return where the sheet of this number, from 1, is in the package."""
    return f"xl/worksheets/sheet{number}.xml"


def sheet_name(number: int) -> str:
    """Return the name that the sheet's tab shows."""
    return "Audience" if number == 1 else f"Audience {number}"


def sheet_begin(number: int, columns: Sequence[str], headings: Sequence[str]) -> bytes:
    """Return what stands before a sheet's rows, with the row of headings."""
    selected = ' tabSelected="1"' if number == 1 else ""
    widths = "".join(
        f'<col min="{place}" max="{place}" width="{_width(column)}"{_style(column)} '
        'customWidth="1"/>'
        for place, column in enumerate(columns, start=1)
    )
    heading_begin = TEXT_BEGIN.replace("<c ", f'<c s="{HEADING_STYLE}" ')
    cells = "".join(f"{heading_begin}{escape(heading)}{TEXT_END}" for heading in headings)
    # The schema prescribes this order: sheetViews, cols, sheetData, and then autoFilter.
    return (
        f'{XML}<worksheet xmlns="{MAIN}">'
        f'<sheetViews><sheetView{selected} workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        '<selection pane="bottomLeft"/></sheetView></sheetViews>'
        f"<cols>{widths}</cols><sheetData>\n<row>{cells}</row>\n"
    ).encode()


def sheet_end(columns: int, rows: int) -> bytes:
    """Return what stands behind a sheet's rows: the filter over them and their headings."""
    return (
        f'</sheetData><autoFilter ref="A1:{column_letters(columns)}{rows + 1}"/></worksheet>\n'
    ).encode()


def workbook(columns: int, rows: Sequence[int]) -> bytes:
    """Return the list of the sheets, from the rows of each without the headings.

    Excel keeps the range of a filter as a name, too.
    """
    sheets = "".join(
        f'<sheet name="{sheet_name(number)}" sheetId="{number}" r:id="rId{number}"/>'
        for number in range(1, len(rows) + 1)
    )
    filters = "".join(
        # localSheetId counts from 0, sheetId from 1.
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{place}" hidden="1">'
        f"'{sheet_name(place + 1)}'!$A$1:${column_letters(columns)}${length + 1}</definedName>"
        for place, length in enumerate(rows)
    )
    return (
        f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{RELATIONSHIPS}">'
        f"<bookViews><workbookView/></bookViews><sheets>{sheets}</sheets>"
        f"<definedNames>{filters}</definedNames></workbook>\n"
    ).encode()


def workbook_relationships(sheets: int) -> bytes:
    """Return where the sheets and the styles are."""
    targets = "".join(
        f'<Relationship Id="rId{number}" Type="{RELATIONSHIPS}/worksheet" '
        f'Target="worksheets/sheet{number}.xml"/>'
        for number in range(1, sheets + 1)
    )
    return (
        f'{XML}<Relationships xmlns="{PACKAGE}/relationships">{targets}'
        f'<Relationship Id="rId{sheets + 1}" Type="{RELATIONSHIPS}/styles" Target="styles.xml"/>'
        "</Relationships>\n"
    ).encode()


def content_types(sheets: int) -> bytes:
    """Return what kind each part is of."""
    kinds = {"xl/workbook.xml": "sheet.main", "xl/styles.xml": "styles"} | {
        sheet_path(number): "worksheet" for number in range(1, sheets + 1)
    }
    overrides = "".join(
        f'<Override PartName="/{path}" ContentType="{TYPE}.{kind}+xml"/>'
        for path, kind in kinds.items()
    )
    return (
        f'{XML}<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>\n'
    ).encode()


def column_letters(number: int) -> str:
    """Return the name of the column of this number, from 1: A, …, Z, AA."""
    number, place = divmod(number - 1, 26)
    return (column_letters(number) if number else "") + ascii_uppercase[place]


def _is_date(column: str) -> bool:
    return column not in ("email", "sources")


def _width(column: str) -> int:
    return DATE_WIDTH if _is_date(column) else TEXT_WIDTH


def _style(column: str) -> str:
    return f' style="{DATE_STYLE}"' if _is_date(column) else ""
