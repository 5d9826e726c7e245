"""docs/audience.md lists the columns of the source tables as the database has them."""

import re

import pytest

from app.database.connections import connect
from devstack.service_processes import ROOT

GENERATED = "member_email"

COLUMNS = """
    SELECT column_name, replace(data_type, 'timestamp with time zone', 'timestamptz'),
        CASE is_nullable WHEN 'YES' THEN 'yes' ELSE 'no' END,
        CASE is_identity WHEN 'YES' THEN 'identity'
        ELSE coalesce(substring(column_default FROM '^''(.*)''::'), column_default, '') END
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = $1 AND column_name <> $2
"""


def section(table: str) -> str:
    """Return the page's lines about a table."""
    page = (ROOT / "docs" / "audience.md").read_text()
    return page.split(f"\n**`{table}`** · ")[1].split("\n**")[0].split("\n## ")[0]


def documented(table: str) -> list[tuple[str, str, str, str]]:
    """Return each column with its type, whether it takes null, and its default."""
    row = r"^\| `(\w+)` \| (\w+) \| (yes|no) \| (\w*) ?\| .+ \|$"
    return re.findall(row, section(table), re.MULTILINE)


@pytest.mark.parametrize("table", ["followers", "purchases", "affiliates"])
async def test_the_columns_are_those_of_the_database(database_url: str, table: str) -> None:
    connection = await connect(database_url)
    try:
        columns = await connection.fetch(COLUMNS, table, GENERATED)
    finally:
        await connection.close()
    assert sorted(documented(table)) == sorted(tuple(column) for column in columns)


@pytest.mark.parametrize("table", ["followers", "purchases", "affiliates"])
async def test_the_smallest_row_comes_first_and_is_a_member(database_url: str, table: str) -> None:
    smallest = re.findall(r"`(\w+)`", section(table).splitlines()[0])
    assert smallest == [name for name, *_ in documented(table)][: len(smallest)]
    values = {
        "seller_id": "7",
        "email": "'ann@example.com'",
        "created_at": "now()",
        "confirmed_at": "now()",
        "state": "'successful'",
    }
    row = ", ".join(values[name] for name in smallest)
    connection = await connect(database_url)
    try:
        await connection.execute(f"INSERT INTO {table} ({', '.join(smallest)}) VALUES ({row})")
        assert await connection.fetchval("SELECT count(*) FROM audience_members") == 1
    finally:
        await connection.close()
