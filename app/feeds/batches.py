"""Divide a file's records into batches for COPY, with one part per stream."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from itertools import filterfalse
from typing import cast

from app.errors import InvalidImportFile
from app.feeds.columns import EMAIL, ID, SELLER, SourceTable
from app.feeds.csv_records import CsvRecord
from app.feeds.staging import KEY, LINE, VERSION, RejectedLine, StagingTable, own

NAME_MAX = 63
"""How many characters of an unknown column's name an error shows: PostgreSQL's maximum."""

BATCH_BYTES_MAX = 32 * 1024 * 1024
"""The maximum size of a batch, for lines of a MiB; 50,000 usual lines are a tenth of it."""


@dataclass
class Batch:
    """Records of a file as CSV for a staging table.

    Attributes:
        parts: CSV, one text for each stream; empty where a stream has no record.
        records: The number of records, rejected ones included.
        rejected: Records that cannot be staged, with their reasons.
    """

    parts: list[bytes]
    records: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)


class BatchReader:
    """Divides records into batches of ``batch_lines``, each in ``streams`` parts.

    All records of one key are in one part of a batch, in their order. Records of one
    address usually are too: two streams that write the same person wait for each other.

    Attributes:
        staging: The staging table for the file's columns.
        fields: The names of the cells in each line of a part; the last is the line number.

    Raises:
        InvalidImportFile: the file's header does not fit the table.
    """

    def __init__(
        self,
        records: Iterator[CsvRecord | RejectedLine],
        target: SourceTable,
        streams: int,
        batch_lines: int,
    ) -> None:
        header = _header(next(filterfalse(_is_empty, records), None))
        self.staging = _staging(target, header)
        self.fields = (
            *(own(name) if name in (KEY, VERSION) else name for name in header),
            own(LINE),
        )
        self._records = records
        self._batch_lines = batch_lines
        self._streams = streams
        self._email = header.index(EMAIL)
        self._identity = [header.index(name) for name in (SELLER, KEY) if self.staging.is_keyed]

    def next(self) -> Batch | None:
        """Return the next batch, ``None`` after the last."""
        batch = Batch([])
        texts = [TextIOWrapper(BytesIO(), "utf-8", newline="") for _ in range(self._streams)]
        stream_of_key: dict[tuple[str, str], int] = {}
        for record in self._records:
            if _is_empty(record):
                continue
            batch.records += 1
            if isinstance(record, RejectedLine):
                batch.rejected.append(record)
            elif len(record.cells) != len(self.fields) - 1:
                batch.rejected.append(self._reject_width(record))
            else:
                _write(texts[self._stream(record.cells, stream_of_key)], record)
            if batch.records == self._batch_lines or _size(texts) > BATCH_BYTES_MAX:
                break
        batch.parts = [_bytes(text) for text in texts]
        return batch if batch.records else None

    def _stream(self, cells: list[str], stream_of_key: dict[tuple[str, str], int]) -> int:
        if self._streams == 1:
            return 0
        stream = hash(cells[self._email].strip().lower()) % self._streams
        if not self._identity:
            return stream
        seller, key = self._identity
        # The first record's address decides: a later one of the same key may have another.
        return stream_of_key.setdefault((cells[seller], cells[key]), stream)

    def _reject_width(self, record: CsvRecord) -> RejectedLine:
        width = len(self.fields) - 1
        reason = f"has {len(record.cells)} cells where the header has {width}"
        return RejectedLine(record.line, reason)


def _is_empty(record: CsvRecord | RejectedLine) -> bool:
    return isinstance(record, CsvRecord) and not any(map(str.strip, record.cells))


def _header(record: CsvRecord | RejectedLine | None) -> list[str]:
    if record is None:
        raise InvalidImportFile("The file is empty: its first line names the columns.")
    if isinstance(record, RejectedLine):
        raise InvalidImportFile(f"The first line {record.reason}.")
    return [cell.strip() for cell in record.cells]


def _staging(target: SourceTable, header: list[str]) -> StagingTable:
    _check_names(target, header)
    table_columns = {
        name: column for name, column in target.columns.items() if name not in (KEY, VERSION)
    }
    for column in table_columns.values():
        if column.name not in header and (column.is_required or column.name == EMAIL):
            raise InvalidImportFile(f"The column {column.name} is missing.")
    return StagingTable(
        target,
        columns=tuple(name for name in header if name in table_columns or name == ID),
        is_keyed=KEY in header,
        is_versioned=VERSION in header,
    )


def _check_names(target: SourceTable, header: list[str]) -> None:
    """Check that the header names writable columns, each once.

    Raises:
        InvalidImportFile: it does not.
    """
    has_ids = target.id is not None and not target.makes_ids and KEY not in header
    allowed = list(dict.fromkeys((KEY, VERSION, *([ID] if has_ids else []), *target.columns)))
    if ID in header and not has_ids:
        raise InvalidImportFile(
            f"The column id is made here; the storefront's own is called {KEY}."
        )
    for name in header:
        if name not in allowed:
            there_are = f"there are {', '.join(allowed)}"
            raise InvalidImportFile(
                f"{target.source.key} has no column {name[:NAME_MAX]!r}; {there_are}."
            )
        if header.count(name) > 1:
            raise InvalidImportFile(f"The column {name} is named twice.")
    if has_ids and ID not in header:
        raise InvalidImportFile(f"The column id is missing, or {KEY}, which is then the id.")
    if VERSION in header and KEY not in header:
        raise InvalidImportFile("A version needs a key.")
    if KEY in header and target.id is None:
        raise InvalidImportFile(
            f"{target.source.table} has no column id, so its rows have no keys."
        )


def _write(text: TextIOWrapper, record: CsvRecord) -> None:
    """Write a record as a line of CSV, with its line number as the last cell."""
    if record.plain is None:
        csv.writer(text, lineterminator="\n").writerow([*record.cells, record.line])
    else:
        text.write(f"{record.plain},{record.line}\n")


def _size(texts: Sequence[TextIOWrapper]) -> int:
    """Return how many bytes are written, but for some KiB that each text holds back."""
    return sum(cast(BytesIO, text.buffer).tell() for text in texts)


def _bytes(text: TextIOWrapper) -> bytes:
    text.flush()
    return cast(BytesIO, text.buffer).getvalue()
