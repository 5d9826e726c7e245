"""The file read back by others: the same cells, and none that a spreadsheet would calculate."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audience.merge import Merge, header, merge_sql
from app.database.connections import Connection, connect
from app.models import FileOptions

SEEN_AT = datetime(2025, 11, 22, 13, 54, 5, tzinfo=UTC)
PRINTED = "2025-11-22 13:54:05"

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")

INSERT = """
    INSERT INTO audience_members (seller_id, email, follower_since)
    SELECT 1, email, $2 FROM unnest($1::text[]) AS email
"""

characters = st.characters(codec="utf-8", exclude_characters="\0")
cells = st.one_of(
    st.text(characters, min_size=1, max_size=20),
    st.text("\uff1d\uff0b\uff0d\uff20\uff21a", min_size=1, max_size=4),
    st.text("=+-@\t\r\n\"',;|\\.a", min_size=1, max_size=8),
    st.sampled_from(["\\.", "\\N", "NULL", '""', '"', "'=1", "\ufeff", "=cmd|' /C calc'!A0"]),
)
"""Much more than can be an address: the file must hold regardless of the table does."""

by_hypothesis = settings(max_examples=60)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database of the test's own."""
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def exported(connection: Connection, emails: set[str], *, safe: bool) -> bytes:
    """Return the file of a seller who knows exactly these people."""
    merge = Merge(1, ("follower",), FileOptions(spreadsheet_safe=safe))
    file = io.BytesIO(header(merge.options))
    file.seek(0, io.SEEK_END)
    await connection.execute("DELETE FROM audience_members")
    await connection.execute(INSERT, sorted(emails), SEEN_AT)

    async def take(data: bytes) -> None:
        file.write(data)

    await connection.copy_from_query(merge_sql(merge), output=take, format="csv")
    return file.getvalue()


def rows(emails: set[str]) -> list[list[str]]:
    """Return the rows that a reader should see."""
    in_order = sorted(emails, key=str.encode)
    return [["Email", "Subscribed At (UTC)"], *([email, PRINTED] for email in in_order)]


@by_hypothesis
@given(emails=st.sets(cells, min_size=1, max_size=20))
async def test_python_reads_back_what_was_there(connection: Connection, emails: set[str]) -> None:
    file = await exported(connection, emails, safe=False)
    assert list(csv.reader(io.StringIO(file.decode(), newline=""), strict=True)) == rows(emails)


@by_hypothesis
@given(emails=st.sets(cells, min_size=1, max_size=20))
async def test_postgresql_reads_back_what_was_there(
    connection: Connection, emails: set[str]
) -> None:
    file = await exported(connection, emails, safe=False)
    await connection.execute("DROP TABLE IF EXISTS pg_temp.read_back")
    await connection.execute("CREATE TEMPORARY TABLE read_back (email text, since text)")
    await connection.copy_to_table("read_back", source=io.BytesIO(file), format="csv", header=True)
    found = await connection.fetch('SELECT email, since FROM read_back ORDER BY email COLLATE "C"')
    assert [list(row) for row in found] == rows(emails)[1:]


@by_hypothesis
@given(emails=st.sets(cells, min_size=1, max_size=20))
async def test_no_cell_is_a_formula_and_only_the_guard_is_added(
    connection: Connection, emails: set[str]
) -> None:
    file = await exported(connection, emails, safe=True)
    read = list(csv.reader(io.StringIO(file.decode(), newline=""), strict=True))
    assert not [cell for row in read for cell in row if cell.startswith(FORMULA)]
    in_order = sorted(emails, key=str.encode)
    guarded = [f"'{email}" if email.startswith(FORMULA) else email for email in in_order]
    assert [row[0] for row in read[1:]] == guarded
