"""A workbook from rows that come in pieces: its sheets, its parts, what readers see of it."""

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from app.exports.execution.xlsx import BLOCK_BYTES, SHEET_ROWS, XlsxWriter
from app.models import FileOptions
from tests.hostile import MIB, measured_memory
from tests.workbooks import Gathered, faults, opened

OPTIONS = FileOptions(columns=("email", "subscribed_at"))
HEADINGS = ("Email", "Subscribed At (UTC)")
JOINED = datetime.fromisoformat("2026-11-22T13:54:05")
LIMIT = 5
"""The rows of a sheet in these tests."""

DATA_DESCRIPTOR = 0x08
"""The flag of an entry whose length and checksum stand behind it."""

SHEET = "xl/worksheets/sheet1.xml"


def row(number: int) -> bytes:
    """Return a row as SQL writes it."""
    text = f'<c t="inlineStr"><is><t>{number}@x.co</t></is></c>'
    return f'<row>{text}<c s="1"><v>46348.57922453704</v></c></row>\n'.encode()


def rows(count: int) -> bytes:
    """Return this many rows."""
    return b"".join(map(row, range(count)))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut data without regard to its rows."""
    return (data[start : start + size] for start in range(0, len(data), size))


async def written(
    data: bytes, options: FileOptions = OPTIONS, *, size: int = 64, sheet_rows: int = LIMIT
) -> bytes:
    """Return the workbook of rows that come in pieces of ``size`` bytes."""
    sink = Gathered()
    writer = XlsxWriter(sink, options, sheet_rows=sheet_rows)
    await writer.begin()
    for piece in pieces(data, size):
        await writer.write(piece)
    await writer.finish()
    return sink.data


def expected(count: int) -> dict[str, list[tuple[str | datetime, ...]]]:
    """Return the sheets of this many rows."""
    sheets: dict[str, list[tuple[str | datetime, ...]]] = {"Audience": [HEADINGS]}
    for number in range(count):
        sheet = number // LIMIT + 1
        name = "Audience" if sheet == 1 else f"Audience {sheet}"
        sheets.setdefault(name, [HEADINGS]).append((f"{number}@x.co", JOINED))
    return sheets


@pytest.mark.parametrize("size", [1, 100, 10_000])
@pytest.mark.parametrize("count", [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT, 2 * LIMIT + 1])
async def test_a_sheet_begins_with_the_first_row_that_the_one_before_has_no_room_for(
    count: int, size: int
) -> None:
    assert opened(await written(rows(count), size=size)).rows == expected(count)


@pytest.mark.parametrize("count", [0, LIMIT, 2 * LIMIT + 1])
async def test_a_second_reader_sees_the_same(count: int) -> None:
    book = CalamineWorkbook.from_filelike(io.BytesIO(await written(rows(count))))
    read = {
        name: [tuple(row) for row in book.get_sheet_by_name(name).to_python()]
        for name in book.sheet_names
    }
    assert read == expected(count)


@pytest.mark.parametrize("count", [0, LIMIT, 2 * LIMIT + 1])
async def test_a_validator_of_the_schemas_finds_no_fault(count: int, tmp_path: Path) -> None:
    assert faults(await written(rows(count)), tmp_path) == []


@pytest.mark.parametrize(
    ("part", "right", "wrong"),
    [
        (SHEET, b"<cols>", b'<autoFilter ref="A1:B4"/><cols>'),
        (SHEET, b'state="frozen"', b'state="cold"'),
        (SHEET, b'<c s="1">', b'<c s="1" t="date">'),
        ("xl/workbook.xml", b"<sheets>", b"<definedNames/><sheets>"),
        ("xl/styles.xml", b"<fills", b"<borders/><fills"),
    ],
)
async def test_the_validator_would_find_one(
    part: str, right: bytes, wrong: bytes, tmp_path: Path
) -> None:
    changed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(await written(rows(1)))) as given,
        zipfile.ZipFile(changed, "w") as other,
    ):
        for name in given.namelist():
            content = given.read(name)
            other.writestr(name, content.replace(right, wrong) if name == part else content)
            assert name != part or right in content
    assert faults(changed.getvalue(), tmp_path) != []


async def test_each_sheet_has_its_headings_frozen_and_filters_all_its_rows() -> None:
    sheets = opened(await written(rows(LIMIT + 2))).sheets
    assert [sheet.freeze_panes for sheet in sheets] == ["A2", "A2"]
    assert [sheet.auto_filter.ref for sheet in sheets] == [f"A1:B{LIMIT + 1}", "A1:B3"]


async def test_excel_finds_the_filters_by_their_names() -> None:
    with zipfile.ZipFile(io.BytesIO(await written(rows(LIMIT + 2)))) as archive:
        book = archive.read("xl/workbook.xml").decode()
    assert re.findall(r'localSheetId="(\d)" hidden="1">([^<]*)<', book) == [
        ("0", f"'Audience'!$A$1:$B${LIMIT + 1}"),
        ("1", "'Audience 2'!$A$1:$B$3"),
    ]


async def test_dates_are_dates_headings_are_bold_and_columns_wide_enough() -> None:
    [sheet] = opened(await written(rows(1))).sheets
    assert sheet["B2"].is_date
    assert sheet["B2"].number_format == r"yyyy\-mm\-dd\ hh:mm:ss"
    assert (sheet["A1"].font.bold, sheet["A2"].font.bold) == (True, False)
    widths = [sheet.column_dimensions[letter].width for letter in "AB"]
    assert all(width >= len("2026-11-22 13:54:05") for width in widths)


async def test_headings_are_in_the_language_and_name_the_zone() -> None:
    options = FileOptions(columns=("subscribed_at",), locale="de", timezone="Europe/Berlin")
    [sheet] = opened(await written(b"", options)).sheets
    assert sheet["A1"].value == "Angemeldet am (Europe/Berlin)"


async def test_a_filter_covers_every_column_whatever_their_number() -> None:
    columns = tuple(f"source{number}_since" for number in range(28))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.exports.execution.xlsx.heading", lambda column, *_: f"<{column}>")
        [sheet] = opened(await written(b"", FileOptions(columns=columns))).sheets
    assert sheet.auto_filter.ref == "A1:AB1"
    assert sheet["AB1"].value == "<source27_since>"


async def test_a_sheet_has_as_many_rows_as_excel_beneath_its_headings() -> None:
    assert SHEET_ROWS == 2**20 - 1
    options = FileOptions(columns=("sources",))
    for count, sheets in ((SHEET_ROWS, 1), (SHEET_ROWS + 1, 2)):
        file = await written(b"<row/>\n" * count, options, size=2**20, sheet_rows=SHEET_ROWS)
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            listed = re.findall(rb"sheet name", archive.read("xl/workbook.xml"))
            assert f'"A1:A{2**20}"'.encode() in archive.read(SHEET)[-100:]
        assert len(listed) == sheets


async def test_the_archive_needs_neither_sizes_in_advance_nor_zip64() -> None:
    with zipfile.ZipFile(io.BytesIO(await written(rows(12)))) as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            assert entry.flag_bits & DATA_DESCRIPTOR
            assert entry.compress_type == zipfile.ZIP_DEFLATED
            assert entry.extra == b""


async def test_memory_does_not_depend_on_the_number_of_rows() -> None:
    class Nowhere:
        async def write(self, data: bytes) -> None:
            assert len(data) < BLOCK_BYTES

    piece = rows(1000)
    writer = XlsxWriter(Nowhere(), OPTIONS, sheet_rows=100_000)
    with measured_memory() as memory:
        await writer.begin()
        for _ in range(300):
            await writer.write(piece)
        await writer.finish()
    assert memory.peak < 2 * MIB


async def test_a_sink_that_fails_ends_it() -> None:
    class Full:
        async def write(self, data: bytes) -> None:
            raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        await XlsxWriter(Full(), OPTIONS).begin()
