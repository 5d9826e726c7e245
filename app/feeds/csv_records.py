"""Records of a CSV file (RFC 4180), with the line on which each begins.

An invalid line invalidates no other. A quote that is never closed would make the
rest of the file one record: its first line is rejected, and the rest is read again.
"""

import csv
import gzip
import re
import zlib
from collections import deque
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, NamedTuple, TypeAlias

from app.feeds.staging import RejectedLine

LINE_BYTES_MAX = 1024 * 1024
RECORD_BYTES_MAX = LINE_BYTES_MAX
"""The maximum of all lines of a record together, so that a quote that is never closed does not
collect the whole file."""

HEAD_LINES_MAX = 100
"""In how many lines the header is looked for, to see its delimiter."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"

UNPLAIN = re.compile(rb'["\r\0]')
"""Characters that a simple split at commas cannot handle."""

INNER_CR = re.compile(rb"\r(?!\n?\Z)")
"""A CR that ends a line in the middle of the bytes."""

WORD = re.compile(rb"[A-Za-z0-9_]")

BROKEN_FILE = (EOFError, zlib.error, gzip.BadGzipFile)


Readable: TypeAlias = "BufferedReader[Any] | gzip.GzipFile"


class CsvRecord(NamedTuple):
    """The cells of one record, and the number of the line on which it begins, from 1.

    ``plain`` is the record's text where it can be written again as it is: one line with
    commas and no quote. ``None`` for any other.
    """

    line: int
    cells: list[str]
    plain: str | None = None


def open_decompressed(file: "BufferedReader[Any]") -> Readable:
    """Return ``file``, decompressed if it begins with gzip's magic number (RFC 1952)."""
    # Not read and seek: standard input may be a pipe.
    if file.peek(len(GZIP)).startswith(GZIP):
        return gzip.GzipFile(fileobj=file)
    return file


class PushbackLines:
    """The lines of a file as text; the lines of the current record can be pushed back."""

    def __init__(self, file: "TextLines") -> None:
        self._file = file
        self._pushed_back: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._taken_bytes = 0
        self.number = 0
        self.fault: str | None = None
        """Why the current record is invalid; ``None`` if it is valid."""

    def __iter__(self) -> Iterator[str]:
        """Return itself: the lines can be read only once."""
        return self

    def __next__(self) -> str:
        """Return the next line with its end.

        Raises:
            csv.Error: with it, the record is longer than it may be.
        """
        raw = self._next()
        if not raw:
            raise StopIteration
        if not self.number and raw.startswith(BYTE_ORDER_MARK):
            raw = raw[len(BYTE_ORDER_MARK) :]
        self.number += 1
        self._taken.append(raw)
        self._taken_bytes += len(raw)
        if len(self._taken) > 1 and self._taken_bytes > RECORD_BYTES_MAX:
            raise csv.Error(f"longer than {RECORD_BYTES_MAX:,} bytes")
        if b"\0" in raw:
            self.fault = "holds a NUL"
        if len(raw) > LINE_BYTES_MAX:
            self.fault = f"is longer than {LINE_BYTES_MAX:,} bytes"
            # Not the part that was read: a quote in it could swallow the lines that follow.
            return "\n"
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fault = "is not UTF-8"
            # Parsed all the same: its quotes say on which line the record ends.
            return raw.decode(errors="replace")

    def next_simple_line(self) -> str | None:
        """Return the next line without its end, ``None`` unless it can be split at delimiters.

        Nearly every line can, in a third of the time that the csv module takes.
        """
        raw = self._next()
        body = raw.removesuffix(b"\n").removesuffix(b"\r")
        is_first = self.number == 0  # it may begin with a byte order mark
        if is_first or not raw or len(raw) > LINE_BYTES_MAX or UNPLAIN.search(body):
            self._pushed_back.appendleft(raw)
            return None
        try:
            text = body.decode()
        except UnicodeDecodeError:
            self._pushed_back.appendleft(raw)
            return None
        self.number += 1
        return text

    def find_delimiter(self) -> str:
        """Return the character that separates the header's cells; read no line for good."""
        begun: list[bytes] = []
        while len(begun) < HEAD_LINES_MAX and (raw := self._next()):
            begun.append(raw)
            if WORD.search(raw):
                break
        self._pushed_back.extend(begun)
        # Latin-1 decodes any bytes: a header that is not UTF-8 is rejected later, with its line.
        header = begun[-1].decode("latin-1") if begun else ""
        # The comma first: max() returns the first of equals, as in a header of one column.
        return max(",;\t", key=header.count)

    @property
    def first(self) -> int:
        """The number of the line on which the current record begins."""
        return self.number - len(self._taken) + 1

    def begin(self) -> None:
        """Start a record at the next line."""
        self._taken = []
        self._taken_bytes = 0
        self.fault = None

    def push_back(self) -> None:
        """Push back all lines of the record but its first."""
        returned = self._taken[1:]
        # extendleft() reverses them once more.
        self._pushed_back.extendleft(reversed(returned))
        self._taken = self._taken[:1]
        self.number -= len(returned)

    def _next(self) -> bytes:
        return self._pushed_back.popleft() if self._pushed_back else self._read()

    def _read(self) -> bytes:
        """Read a line; of a line that is too long, only as much as proves it."""
        line = piece = self._file.readline(LINE_BYTES_MAX + 1)
        while len(piece) > LINE_BYTES_MAX and not piece.endswith((b"\r", b"\n")):
            piece = self._file.readline(LINE_BYTES_MAX + 1)
        return line


class TextLines:
    """The lines of a file, each with its end: LF, CR and LF, or CR alone."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._lines: deque[bytes] = deque()
        self._begun = b""

    def readline(self, size: int) -> bytes:
        """Return the next line, or ``size`` bytes of it."""
        while not self._lines:
            chunk = self._begun + self._file.readline(size - len(self._begun))
            self._begun = b""
            if b"\r" not in chunk or INNER_CR.search(chunk) is None:
                return chunk
            self._lines.extend(chunk.splitlines(keepends=True))
            if not chunk.endswith(b"\n"):
                self._begun = self._lines.pop()
        return self._lines.popleft()


def read_records(file: Readable) -> Iterator[CsvRecord | RejectedLine]:
    """Yield the records of ``file`` and its invalid lines, in order; empty lines are skipped.

    The first line with a word decides which character separates cells: a comma, ``;`` or a tab.
    """
    lines = PushbackLines(TextLines(file))
    try:
        yield from _read_records(lines, lines.find_delimiter())
    except BROKEN_FILE as error:
        yield RejectedLine(lines.number + 1, f"the compressed file is broken from here on: {error}")


def _read_records(lines: PushbackLines, delimiter: str) -> Iterator[CsvRecord | RejectedLine]:
    # Strict: otherwise neither a quote that never closes is an error, nor text behind a closed one.
    csv.field_size_limit(RECORD_BYTES_MAX)  # of the process; 128 KiB by default
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    while True:
        while (text := lines.next_simple_line()) is not None:
            if text:
                plain = text if delimiter == "," else None
                yield CsvRecord(lines.number, text.split(delimiter), plain)
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RejectedLine(lines.first, f"is no CSV: {error}")
            lines.push_back()
        else:
            if lines.fault:
                yield RejectedLine(lines.first, lines.fault)
            elif cells:
                yield CsvRecord(lines.first, cells)
