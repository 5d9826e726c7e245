"""Rows of a sheet become a workbook, as they come."""

import asyncio

from app.audience.headings import heading
from app.exports.execution.reorder_buffer import ByteSink
from app.exports.execution.workbook import (
    PACKAGE_RELATIONSHIPS,
    STYLES,
    content_types,
    sheet_begin,
    sheet_end,
    sheet_path,
    workbook,
    workbook_relationships,
)
from app.exports.execution.zip_stream import ZipStream
from app.models import FileOptions

SHEET_ROWS = 1_048_575
"""How many rows a spreadsheet shows below the headings."""

BLOCK_BYTES = 256 * 1024
"""How much is compressed in one go: about a millisecond of a thread."""

ROW_END = b"\n"


class XlsxWriter:
    """Frames rows as a workbook, and begins another sheet where one is full.

    Rows come as ``sheet_rows_sql`` makes them, in any number of pieces. They are compressed in a
    thread while the event loop goes on. The caller waits, so that nothing accumulates.
    """

    def __init__(
        self, sink: ByteSink, options: FileOptions, *, sheet_rows: int = SHEET_ROWS
    ) -> None:
        self._sink = sink
        self._package = _Package(options, sheet_rows)
        self._pieces: list[bytes] = []
        self._bytes = 0

    async def begin(self) -> None:
        """Write what stands before the rows."""
        await self._sink.write(self._package.begin())

    async def write(self, data: bytes) -> None:
        """Take bytes of rows, cut anywhere."""
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes >= BLOCK_BYTES:
            await self._sink.write(await asyncio.to_thread(self._package.add, self._taken()))

    async def finish(self) -> None:
        """Write the last rows, and the parts that name all sheets."""
        await self._sink.write(await asyncio.to_thread(self._package.end, self._taken()))

    def _taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._bytes = 0
        return taken


class _Package:
    """The parts of a workbook in their archive; each call returns the bytes that it adds."""

    def __init__(self, options: FileOptions, sheet_rows: int) -> None:
        self._columns = options.columns
        self._headings = [
            heading(column, options.locale, options.timezone) for column in options.columns
        ]
        self._sheet_rows = sheet_rows
        self._archive = ZipStream()
        self._rows: list[int] = []

    def begin(self) -> bytes:
        """Begin the first sheet."""
        self._add_part("_rels/.rels", PACKAGE_RELATIONSHIPS)
        self._add_part("xl/styles.xml", STYLES)
        self._begin_sheet()
        return self._archive.take()

    def add(self, data: bytes) -> bytes:
        """Add rows, cut anywhere."""
        start = 0
        while start < len(data):
            # Checked before a further row, not after the last: no empty sheet follows a full one.
            if self._rows[-1] == self._sheet_rows:
                self._end_sheet()
                self._begin_sheet()
            end = self._count_rows(data, start)
            self._archive.write(memoryview(data)[start:end])
            start = end
        return self._archive.take()

    def end(self, data: bytes) -> bytes:
        """Add the last rows and end the workbook."""
        added = self.add(data)
        self._end_sheet()
        sheets = len(self._rows)
        self._add_part("xl/workbook.xml", workbook(len(self._columns), self._rows))
        self._add_part("xl/_rels/workbook.xml.rels", workbook_relationships(sheets))
        self._add_part("[Content_Types].xml", content_types(sheets))
        self._archive.end()
        return added + self._archive.take()

    def _count_rows(self, data: bytes, start: int) -> int:
        """Count the rows from ``start`` for which the sheet has room; return where they end."""
        room = self._sheet_rows - self._rows[-1]
        found = data.count(ROW_END, start)
        self._rows[-1] += min(found, room)
        if found < room:
            return len(data)
        for _ in range(room):
            start = data.index(ROW_END, start) + 1
        return start

    def _begin_sheet(self) -> None:
        self._rows.append(0)
        number = len(self._rows)
        self._archive.begin(sheet_path(number))
        self._archive.write(sheet_begin(number, self._columns, self._headings))

    def _end_sheet(self) -> None:
        self._archive.write(sheet_end(len(self._columns), self._rows[-1]))

    def _add_part(self, path: str, content: bytes) -> None:
        self._archive.begin(path)
        self._archive.write(content)
