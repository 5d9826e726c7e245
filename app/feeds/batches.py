"""From a file's records to batches that COPY takes, one part for each stream."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from typing import cast

from app.audience.sources import Source
from app.errors import FileUnfit
from app.feeds.columns import EMAIL, SELLER, fed_columns
from app.feeds.records import Record
from app.feeds.staging import KEY, VERSION, Rejected, Staging


@dataclass
class Batch:
    """Some records of a file as CSV for a staging table, in parts to be written side by side."""

    parts: list[bytes]
    records: int = 0
    rejected: list[Rejected] = field(default_factory=list)


class Batches:
    """Cuts records into batches of ``batch_lines``, each in ``streams`` parts.

    Records of one key are always in one part of a batch, in their order.
    Records of one address are as a rule: two streams that write the same
    person would wait for each other. ``fields`` is what a part's lines hold.
    """

    def __init__(
        self, records: Iterator[Record | Rejected], source: Source, streams: int, batch_lines: int
    ) -> None:
        names = _header(next(records, None))
        self.staging = _staging(source, names)
        self.fields = (*names, "line")
        self._records = records
        self._batch_lines = batch_lines
        self._streams = streams
        self._email = names.index(EMAIL)
        self._identity = [names.index(name) for name in (SELLER, KEY) if self.staging.is_keyed]

    def next(self) -> Batch | None:
        """Return the next batch, ``None`` after the last."""
        batch = Batch([])
        texts = [TextIOWrapper(BytesIO(), "utf-8", newline="") for _ in range(self._streams)]
        known: dict[tuple[str, str], int] = {}
        for record in self._records:
            batch.records += 1
            if isinstance(record, Rejected):
                batch.rejected.append(record)
            elif len(record.cells) != len(self.fields) - 1:
                batch.rejected.append(self._of_other_width(record))
            else:
                _write(texts[self._stream(record.cells, known)], record)
            if batch.records == self._batch_lines:
                break
        batch.parts = [_bytes(text) for text in texts]
        return batch if batch.records else None

    def _stream(self, cells: list[str], known: dict[tuple[str, str], int]) -> int:
        if self._streams == 1:
            return 0
        stream = hash(cells[self._email].strip().lower()) % self._streams
        if not self._identity:
            return stream
        seller, key = self._identity
        return known.setdefault((cells[seller], cells[key]), stream)

    def _of_other_width(self, record: Record) -> Rejected:
        width = len(self.fields) - 1
        reason = f"has {len(record.cells)} cells where the header has {width}"
        return Rejected(record.line, reason)


def _header(record: Record | Rejected | None) -> list[str]:
    if record is None:
        raise FileUnfit("The file is empty: its first line names the columns.")
    if isinstance(record, Rejected):
        raise FileUnfit(f"The first line {record.reason}.")
    return [cell.strip() for cell in record.cells]


def _staging(source: Source, names: list[str]) -> Staging:
    columns = fed_columns(source)
    known = (KEY, VERSION, *columns)
    if "id" in names:
        raise FileUnfit(f"The column id is made here; the storefront's own is called {KEY}.")
    for name in names:
        if name not in known:
            raise FileUnfit(f"{source.key} has no column {name!r}; there are {', '.join(known)}.")
        if names.count(name) > 1:
            raise FileUnfit(f"The column {name} is named twice.")
    for column in columns.values():
        if column.name not in names and (column.is_required or column.name == EMAIL):
            raise FileUnfit(f"The column {column.name} is missing.")
    if VERSION in names and KEY not in names:
        raise FileUnfit("A version needs a key.")
    return Staging(
        source,
        columns=tuple(name for name in names if name in columns),
        is_keyed=KEY in names,
        is_versioned=VERSION in names,
    )


def _write(text: TextIOWrapper, record: Record) -> None:
    """Write a record as a line of CSV with its number last."""
    if record.plain is None:
        csv.writer(text, lineterminator="\n").writerow([*record.cells, record.line])
    else:
        text.write(f"{record.plain},{record.line}\n")


def _bytes(text: TextIOWrapper) -> bytes:
    text.flush()
    return cast(BytesIO, text.buffer).getvalue()
