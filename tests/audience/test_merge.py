"""The merge against an oracle in plain Python, and its refusals."""

from collections.abc import Sequence
from itertools import chain, combinations
from typing import Any

import pytest

from app.audience.key_ranges import KeyRange
from app.audience.merge import (
    GUARDED_EMAIL,
    Merge,
    available_columns,
    header,
    merge_sql,
    validate_columns,
)
from app.database.connections import Connection
from app.errors import RequestInvalid
from app.models import FileOptions
from tests.audience.storefront import DAY, LATER, SELLER, Storefront
from tests.csv_oracle import KEYS, expected_csv

ADDRESSES = (
    "ann@x.co",
    "  Bob@X.CO\t",
    "JOSÉ@x.co",
    "=cmd@x.co",
    "+plus@x.co",
    "-minus@x.co",
    '"quoted, name"@x.co',
    '"@at"@x.co',
    "o'brien@x.co",
    "'already@x.co",
    "zoë@[192.168.0.1]",
    "ñandú@x.co",
    "0digit@x.co",
    "{brace}@x.co",
)


def subsets(items: Sequence[str]) -> list[tuple[str, ...]]:
    """Return every non-empty subset, in order."""
    sizes = range(1, len(items) + 1)
    return list(chain.from_iterable(combinations(items, size) for size in sizes))


async def exported(connection: Connection, merge: Merge) -> bytes:
    """Return the file that a merge makes."""
    parts = [header(merge.options)]

    async def take(data: bytes) -> None:
        parts.append(data)

    await connection.copy_from_query(merge_sql(merge), output=take, format="csv")
    return b"".join(parts)


@pytest.fixture
async def crowd(storefront: Storefront) -> Storefront:
    """People in every combination of sources, twice over, under awkward addresses."""
    combinations_of_sources = [(), *subsets(KEYS)]
    add: dict[str, Any] = {
        "follower": storefront.follow,
        "customer": storefront.buy,
        "affiliate": storefront.refer,
    }
    for number, email in enumerate(ADDRESSES):
        for place, key in enumerate(combinations_of_sources[number % 8]):
            await add[key](email, created_at=LATER if (number + place) % 3 else DAY)
    await storefront.follow("other@x.co", seller_id=SELLER + 1)
    return storefront


@pytest.mark.parametrize("sources", subsets(KEYS), ids=" ".join)
async def test_every_choice_of_sources_and_columns_makes_the_oracles_file(
    crowd: Storefront, sources: tuple[str, ...]
) -> None:
    members = await crowd.members()
    for columns in subsets(available_columns(sources)):
        for chosen in (columns, columns[::-1]):
            validate_columns(sources, chosen)
            file = await exported(
                crowd.connection, Merge(SELLER, sources, FileOptions(columns=chosen))
            )
            assert file == expected_csv(members, SELLER, sources, chosen)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("bom", [True, False])
async def test_guard_and_mark_are_options(crowd: Storefront, safe: bool, bom: bool) -> None:
    columns = tuple(available_columns(KEYS))
    merge = Merge(SELLER, KEYS, FileOptions(columns=columns, spreadsheet_safe=safe, bom=bom))
    file = await exported(crowd.connection, merge)
    members = await crowd.members()
    assert file == expected_csv(members, SELLER, KEYS, columns, spreadsheet_safe=safe, bom=bom)


@pytest.mark.parametrize(
    ("low", "high", "is_guarded"),
    [
        (None, None, True),
        (None, "b", True),
        ("@", "b", True),
        ("A", "b", False),
        ("b", "\uff0b", False),
        ("b", "\uff0ba", True),
        ("b", None, True),
    ],
)
def test_the_guard_is_left_out_of_a_range_where_no_address_begins_a_formula(
    low: str | None, high: str | None, is_guarded: bool
) -> None:
    sql = merge_sql(Merge(SELLER, KEYS), KeyRange(low, high))
    assert (GUARDED_EMAIL in sql) == is_guarded


async def test_a_seller_without_an_audience_gets_the_header_alone(storefront: Storefront) -> None:
    merge = Merge(SELLER, ("follower",))
    assert await exported(storefront.connection, merge) == b"Email,Subscribed At (UTC)\n"


async def test_the_date_is_the_earliest_of_the_selected_sources_only(
    storefront: Storefront,
) -> None:
    await storefront.follow("ann@x.co", created_at=DAY)
    await storefront.buy("ann@x.co", created_at=LATER)
    merge = Merge(SELLER, ("customer",), FileOptions(columns=("subscribed_at",)))
    file = await exported(storefront.connection, merge)
    assert file.decode().splitlines()[1] == f"{LATER:%Y-%m-%d %H:%M:%S}"


async def test_the_scan_reads_the_index_alone_and_sorts_nothing(crowd: Storefront) -> None:
    await crowd.connection.execute("VACUUM ANALYZE audience_members")
    await crowd.connection.execute("SET enable_seqscan = off")
    merge = Merge(SELLER, KEYS, FileOptions(columns=tuple(available_columns(KEYS))))
    plan = await crowd.connection.fetch(f"EXPLAIN {merge_sql(merge)}")
    lines = "\n".join(row[0] for row in plan)
    assert "Index Only Scan using audience_members_pkey" in lines
    assert "Sort" not in lines


@pytest.mark.parametrize(
    ("sources", "columns", "field"),
    [
        ((), ("email",), "sources"),
        (("follower",), (), "columns"),
        (("follower",), ("phone",), "columns"),
        (("follower",), ("customer_since",), "columns"),
        (("follower",), ("email", "email"), "columns"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    sources: tuple[str, ...], columns: tuple[str, ...], field: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        validate_columns(sources, columns)
    assert refused.value.field == field
