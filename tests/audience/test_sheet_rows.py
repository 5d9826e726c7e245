"""The rows of a sheet against an oracle: texts as they are, dates as dates."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audience.merge import Merge, available_columns
from app.audience.sheet_rows import NOT_XML, sheet_rows_sql
from app.database.connections import Connection, connect
from app.exports.execution.xlsx import XlsxWriter
from app.models import FileOptions
from tests.audience.storefront import DAY, LATER, SELLER, Storefront
from tests.csv_oracle import KEYS
from tests.workbooks import Cell, Gathered, Rows, opened
from tests.xlsx_oracle import expected_sheet, shown

JOINED = datetime(2026, 11, 22, 13, 54, 5, tzinfo=UTC)

INSERT = """
    INSERT INTO audience_members (seller_id, email, follower_since)
    SELECT 1, email, since FROM unnest($1::text[], $2::timestamptz[]) AS given (email, since)
"""

HOSTILE = (
    "ann@x.co",
    "=cmd|' /C calc'!A0@x.co",
    "+1@x.co",
    "-1@x.co",
    "@sum(1)@x.co",
    "a&b@x.co",
    "&amp;@x.co",
    '"<b>]]>"@x.co',
    '"a\\"b"@x.co',
    '"a  b"@x.co',
    "_x0041_@x.co",
    "_x0041_x0042_@x.co",
    "_x005f_x0041_@x.co",
    "_x00e9_@x.co",
    "_xylophone_@x.co",
    "_x004@x.co",
    "1e5@x.co",
    "'quoted@x.co",
    "josé@münchen.example",
    "日本@x.co",
    "😀@x.co",
    "a\ufffeb\uffffc@x.co",
    "\u2028@x.co",
    "\x85@x.co",
    "\x7f@x.co",
    " spaces ",
    "\ttab\nand\r\nlines\r",
    "".join(map(chr, range(1, 32))),
    "\\N",
    "\\.",
    "\\x41",
    "&" * 250 + "@x.co",
)

characters = st.characters(codec="utf-8", exclude_characters="\0")
texts = st.one_of(
    st.text(characters, min_size=1, max_size=20),
    st.text("_x0041&<>\\\t\r\n ]'\"=\ufffe", min_size=1, max_size=20),
)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database of the test's own."""
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def exported_sheet(connection: Connection, merge: Merge) -> Rows:
    """Return the rows of the sheet that a merge makes, the headings first."""
    sink = Gathered()
    writer = XlsxWriter(sink, merge.options)
    await writer.begin()
    await connection.copy_from_query(sheet_rows_sql(merge), output=writer.write, format="text")
    await writer.finish()
    [(name, rows)] = opened(sink.data).rows.items()
    assert name == "Audience"
    return rows


async def exported_texts(connection: Connection, texts: set[str]) -> list[Cell]:
    """Return the cells of a seller who knows exactly these people."""
    await connection.execute("DELETE FROM audience_members")
    await connection.execute(INSERT, sorted(texts), [JOINED] * len(texts))
    merge = Merge(1, ("follower",), FileOptions(columns=("email",)))
    [_, *rows] = await exported_sheet(connection, merge)
    return [email for (email,) in rows]


async def exported_dates(
    connection: Connection, dates: list[str], timezone: str = "UTC"
) -> list[Cell]:
    """Return the cells of dates that PostgreSQL reads."""
    await connection.execute("DELETE FROM audience_members")
    await connection.execute(
        """
        INSERT INTO audience_members (seller_id, email, follower_since)
        SELECT 1, lpad(number::text, 4, '0') || '@x.co', since::timestamptz
        FROM unnest($1::text[]) WITH ORDINALITY AS given (since, number)
        """,
        dates,
    )
    options = FileOptions(columns=("follower_since",), timezone=timezone)
    [_, *rows] = await exported_sheet(connection, Merge(1, ("follower",), options))
    return [date for (date,) in rows]


async def test_a_text_is_in_its_cell_as_it_is(connection: Connection) -> None:
    in_order = sorted(HOSTILE, key=str.encode)
    assert await exported_texts(connection, set(HOSTILE)) == in_order


@settings(max_examples=40)
@given(given_texts=st.sets(texts, min_size=1, max_size=30))
async def test_so_is_any_text(connection: Connection, given_texts: set[str]) -> None:
    in_order = sorted(given_texts, key=str.encode)
    assert await exported_texts(connection, given_texts) == in_order


async def test_no_address_has_a_character_that_xml_cannot_hold_but_noncharacters(
    connection: Connection,
) -> None:
    for form in ("a{}b@x.co", '"a{}b"@x.co', "a@x{}x.co"):
        allowed = await connection.fetch(
            """
            SELECT code FROM unnest($1::integer[]) AS code
            WHERE audience_address(replace($2, '{}', chr(code))) IS NOT NULL
            """,
            list(NOT_XML),
            form,
        )
        assert {row["code"] for row in allowed} <= {0xFFFE, 0xFFFF}


@pytest.mark.parametrize(
    ("date", "cell"),
    [
        ("0001-01-01 00:00:00Z", "0001-01-01 00:00:00"),
        ("1899-12-31 23:59:59Z", "1899-12-31 23:59:59"),
        ("1900-02-28 23:59:59Z", "1900-02-28 23:59:59"),
        ("1900-03-01 00:00:00Z", datetime.fromisoformat("1900-03-01")),
        ("1900-03-04 01:02:03Z", datetime.fromisoformat("1900-03-04T01:02:03")),
        ("1970-01-01 00:00:00Z", datetime.fromisoformat("1970-01-01")),
        ("2024-02-29 12:00:00Z", datetime.fromisoformat("2024-02-29T12:00:00")),
        ("9999-12-29 23:59:59Z", datetime.fromisoformat("9999-12-29T23:59:59")),
        ("9999-12-31 23:59:59Z", datetime.fromisoformat("9999-12-31T23:59:59")),
        ("infinity", None),
    ],
)
async def test_a_date_that_the_calendar_of_excel_lacks_is_a_text(
    connection: Connection, date: str, cell: Cell
) -> None:
    assert await exported_dates(connection, [date]) == [cell]


@pytest.mark.parametrize(
    "timezone",
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Apia"],
)
async def test_dates_are_those_of_the_time_zone(connection: Connection, timezone: str) -> None:
    dates = [
        *(datetime(year, 6, 15, 23, 59, 59, tzinfo=UTC) for year in range(1890, 2100, 7)),
        *(datetime(2026, 3, 29, hour, 30, tzinfo=UTC) for hour in range(24)),
        *(datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in range(24)),
        *(datetime(1900, month, day, 20, tzinfo=UTC) for month, day in ((2, 28), (3, 1), (3, 3))),
    ]
    cells = await exported_dates(connection, [date.isoformat() for date in dates], timezone)
    assert cells == [shown(date, timezone) for date in dates]


async def test_a_date_that_the_time_zone_moves_out_of_the_calendar_is_a_text(
    connection: Connection,
) -> None:
    [cell] = await exported_dates(connection, ["9999-12-31 23:00:00Z"], "Asia/Tokyo")
    assert cell == "10000-01-01 08:00:00"


@pytest.mark.parametrize("sources", [("follower",), ("customer", "affiliate"), KEYS], ids=" ".join)
async def test_every_choice_of_sources_and_columns_makes_the_oracles_rows(
    connection: Connection, sources: tuple[str, ...]
) -> None:
    storefront = Storefront(connection)
    add: dict[str, Any] = {
        "follower": storefront.follow,
        "customer": storefront.buy,
        "affiliate": storefront.refer,
    }
    for number in range(16):
        for place, key in enumerate(KEYS):
            if number >> place & 1:
                date = LATER if (number + place) % 3 else DAY
                await add[key](f"{number}&a@x.co", created_at=date)
    members = await storefront.members()
    columns = tuple(available_columns(sources))
    for chosen in (columns, columns[::-1], *((column,) for column in columns)):
        merge = Merge(SELLER, sources, FileOptions(columns=chosen, timezone="Asia/Kolkata"))
        sheet = await exported_sheet(connection, merge)
        assert sheet == expected_sheet(members, SELLER, sources, chosen, timezone="Asia/Kolkata")


async def test_the_scan_reads_the_index_alone_and_sorts_nothing(connection: Connection) -> None:
    await Storefront(connection).follow("ann@x.co")
    await connection.execute("VACUUM ANALYZE audience_members")
    await connection.execute("SET enable_seqscan = off")
    merge = Merge(SELLER, KEYS, FileOptions(columns=tuple(available_columns(KEYS))))
    plan = await connection.fetch(f"EXPLAIN {sheet_rows_sql(merge)}")
    lines = "\n".join(row[0] for row in plan)
    assert "Index Only Scan using audience_members_pkey" in lines
    assert "Sort" not in lines
