"""File formats: the SQL of a row, how COPY carries rows, and how their stream is framed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from app.audience.key_ranges import KeyRange
from app.audience.merge import Merge, header, merge_sql
from app.audience.sheet_rows import sheet_rows_sql
from app.exports.execution.reorder_buffer import ByteSink
from app.exports.execution.xlsx import XlsxWriter
from app.models import FileOptions
from app.models.file_options import FileFormatKey


class FileWriter(Protocol):
    """Frames the rows of one file, in the order of the file."""

    async def begin(self) -> None:
        """Write what stands before the rows."""

    async def write(self, data: bytes) -> None:
        """Take bytes of rows, cut anywhere."""

    async def finish(self) -> None:
        """Write what stands behind the rows."""


@dataclass(frozen=True)
class FileFormat:
    """One way to write a list.

    Attributes:
        rows_sql: returns the SELECT whose COPY is the rows of a range of keys.
        copy_options: returns the options of that COPY, by asyncpg's names.
        writer: returns what frames the rows and writes the file's bytes to a sink.
        after_address: the byte that follows an address in its row, and is in none.
    """

    rows_sql: Callable[[Merge, KeyRange], str]
    copy_options: Callable[[FileOptions], Mapping[str, str]]
    writer: Callable[[ByteSink, FileOptions], FileWriter]
    after_address: bytes


class CsvWriter:
    """The header, and the rows as PostgreSQL writes them."""

    def __init__(self, sink: ByteSink, options: FileOptions) -> None:
        self._sink = sink
        self._options = options

    async def begin(self) -> None:
        """Write the header, behind the byte order mark if there is one."""
        await self._sink.write(header(self._options))

    async def write(self, data: bytes) -> None:
        """Pass the bytes on."""
        await self._sink.write(data)

    async def finish(self) -> None:
        """Write nothing: a CSV file ends with its last row."""


def _csv_copy(options: FileOptions) -> Mapping[str, str]:
    return {"format": "csv", "delimiter": options.delimiter}


def _text_copy(_options: FileOptions) -> Mapping[str, str]:
    # Not csv, which would put each row in quotes, for the quotes in its XML.
    return {"format": "text"}


# The end of the row, not the delimiter: a quoted local part may hold commas and semicolons.
CSV = FileFormat(merge_sql, _csv_copy, CsvWriter, after_address=b"\n")

XLSX = FileFormat(sheet_rows_sql, _text_copy, XlsxWriter, after_address=b"<")

FILE_FORMATS: Mapping[FileFormatKey, FileFormat] = {"csv": CSV, "xlsx": XLSX}
"""The formats by their key in the API; a format is offered where it has an entry here."""
