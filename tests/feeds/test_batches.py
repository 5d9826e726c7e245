"""Batches of an import: as many lines as they may have, and no more bytes."""

from collections.abc import Iterator

from app.audience.sources import FOLLOWER
from app.feeds.batches import BATCH_BYTES_MAX, BatchReader
from app.feeds.columns import SourceColumn, SourceTable
from app.feeds.csv_records import CsvRecord
from tests.hostile import MIB

COLUMNS = {
    name: SourceColumn(name, kind, is_nullable=False, default=None)
    for name, kind in {
        "seller_id": "bigint",
        "email": "text",
        "created_at": "timestamp with time zone",
    }.items()
}
TABLE = SourceTable(FOLLOWER, COLUMNS, SourceColumn("id", "bigint", is_nullable=False, default="1"))


def lines_of_a_mebibyte() -> Iterator[CsvRecord]:
    """Yield a header and a gigabyte of lines."""
    yield CsvRecord(1, ["seller_id", "email", "created_at"])
    for number in range(2, 1026):
        yield CsvRecord(number, ["1", "x" * MIB, "2025-03-01"])


def test_a_batch_of_long_lines_ends_before_it_has_all_its_lines() -> None:
    batches = BatchReader(lines_of_a_mebibyte(), TABLE, streams=2, batch_lines=50_000)
    batch = batches.next()
    assert batch is not None
    assert BATCH_BYTES_MAX <= sum(map(len, batch.parts)) < BATCH_BYTES_MAX + 3 * MIB
    following = batches.next()
    assert following is not None
    assert b"".join(following.parts).startswith(b"1,")
