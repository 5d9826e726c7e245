"""Records of a CSV file (RFC 4180), with the line on which each begins.

What one broken line spoils is that line: a quote that never closes takes no
more than itself, however much of the file it seems to swallow.
"""

import csv
import gzip
import re
import zlib
from collections import deque
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, NamedTuple, TypeAlias

from app.feeds.staging import Rejected

LINE_BYTES_MAX = 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"

UNPLAIN = re.compile(rb'["\r\0]')
"""What only a parser can read, or nobody."""

BROKEN_FILE = (EOFError, zlib.error, gzip.BadGzipFile)


Readable: TypeAlias = "BufferedReader[Any] | gzip.GzipFile"


class Record(NamedTuple):
    """The cells of one record, and the line on which it begins, from 1.

    ``plain`` is the record as it stands, where it is one line without a quote.
    """

    line: int
    cells: list[str]
    plain: str | None = None


def opened(file: "BufferedReader[Any]") -> Readable:
    """Return what is in ``file``, decompressed where it begins as gzip does (RFC 1952)."""
    if file.peek(len(GZIP)).startswith(GZIP):
        return gzip.GzipFile(fileobj=file)
    return file


class Lines:
    """The lines of a file as text; those of the record being read can be given back."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._given_back: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self.number = 0
        self.fault: str | None = None
        """Why the record being read cannot be taken."""

    def __iter__(self) -> Iterator[str]:
        """Return itself: the lines are read once."""
        return self

    def __next__(self) -> str:
        """Return the next line with its end."""
        raw = self._next()
        if not raw:
            raise StopIteration
        if not self.number and raw.startswith(BYTE_ORDER_MARK):
            raw = raw[len(BYTE_ORDER_MARK) :]
        self.number += 1
        self._taken.append(raw)
        if b"\0" in raw:
            self.fault = "holds a NUL"
        if len(raw) > LINE_BYTES_MAX:
            self.fault = f"is longer than {LINE_BYTES_MAX:,} bytes"
            return "\n"
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fault = "is not UTF-8"
            return raw.decode(errors="replace")

    def plain(self) -> str | None:
        """Return the next line without its end, ``None`` unless it can be cut at its commas.

        Nearly every line can, in a third of the time that it takes to parse.
        """
        raw = self._next()
        body = raw.removesuffix(b"\n").removesuffix(b"\r")
        is_first = self.number == 0  # it may begin with a byte order mark
        if is_first or not raw or len(raw) > LINE_BYTES_MAX or UNPLAIN.search(body):
            self._given_back.appendleft(raw)
            return None
        try:
            text = body.decode()
        except UnicodeDecodeError:
            self._given_back.appendleft(raw)
            return None
        self.number += 1
        return text

    @property
    def first(self) -> int:
        """The line on which the record being read begins."""
        return self.number - len(self._taken) + 1

    def begin(self) -> None:
        """Begin a record with the next line."""
        self._taken = []
        self.fault = None

    def give_back(self) -> None:
        """Let all lines of the record but its first be read again."""
        again = self._taken[1:]
        self._given_back.extendleft(reversed(again))
        self._taken = self._taken[:1]
        self.number -= len(again)

    def _next(self) -> bytes:
        return self._given_back.popleft() if self._given_back else self._read()

    def _read(self) -> bytes:
        """Read a line; of one that is too long, no more than shows that it is."""
        line = piece = self._file.readline(LINE_BYTES_MAX + 1)
        while len(piece) > LINE_BYTES_MAX and not piece.endswith(b"\n"):
            piece = self._file.readline(LINE_BYTES_MAX + 1)
        return line


def read_records(file: Readable) -> Iterator[Record | Rejected]:
    """Yield the records of ``file``, and what is none, in order; empty lines are passed over."""
    lines = Lines(file)
    try:
        yield from _read_records(lines)
    except BROKEN_FILE as error:
        yield Rejected(lines.number + 1, f"the compressed file is broken from here on: {error}")


def _read_records(lines: Lines) -> Iterator[Record | Rejected]:
    reader = csv.reader(lines, strict=True)
    while True:
        while (text := lines.plain()) is not None:
            if text:
                yield Record(lines.number, text.split(","), text)
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejected(lines.first, f"is no CSV: {error}")
            lines.give_back()
        else:
            if lines.fault:
                yield Rejected(lines.first, lines.fault)
            elif cells:
                yield Record(lines.first, cells)
