"""Every combination of a file's options against the oracle, over hostile addresses and dates."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audience.counts import count_audience
from app.audience.estimates import estimate_rows
from app.audience.merge import Merge, available_columns, header, merge_sql
from app.audience.options import RequestedOptions, check_format
from app.audience.period import Period
from app.database.connections import Connection
from app.database.database import Database, open_database
from app.errors import RequestInvalid
from app.models import FileOptions
from tests.audience.storefront import SELLER, Storefront
from tests.audience.test_merge import ADDRESSES, subsets
from tests.audience.test_sheet_rows import exported_sheet
from tests.csv_oracle import HEADINGS, KEYS, expected_csv, listed
from tests.oracle import LONG_AGO, UNKNOWN, Members, calendar_date
from tests.xlsx_oracle import expected_sheet

HOSTILE = (
    *ADDRESSES,
    *("\uff1dcmd@x.co", "\uff0bcmd@x.co", "\uff0dcmd@x.co", "\uff20cmd@x.co", "\uff21@x.co"),
    *("a;b@x.co", '"a;b"@x.co', '"semi; comma,"@x.co', "zz@x.co", "\U0001d51e@x.co"),
)

MOMENTS = [
    datetime.fromisoformat(text)
    for text in (
        "0001-01-03T00:00:00Z",
        "1850-05-01T12:00:00.5Z",
        "1899-12-31T23:59:59Z",
        "1970-01-01T00:00:00Z",
        "2011-12-30T09:59:59.999999Z",
        "2024-03-31T00:59:59Z",
        "2024-03-31T01:00:00Z",
        "2024-10-27T00:30:00Z",
        "2024-10-27T01:30:00Z",
        "2024-12-31T23:00:00Z",
        "9999-12-30T00:00:00Z",
    )
]
DATES = [*MOMENTS, UNKNOWN, LONG_AGO]


class Bounds(TypedDict):
    """The options of a period."""

    joined_after: datetime | None
    joined_before: datetime | None


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)

EDGES = [
    None,
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2024, 3, 31, 1, tzinfo=UTC),
    datetime(2024, 3, 31, 1, 0, 0, 1, tzinfo=UTC),
    datetime(2025, 1, 1, tzinfo=UTC),
]

CHOICES: Mapping[str, Sequence[Any]] = {
    "sources": subsets(KEYS),
    "columns": [0, 1, 2, 3],
    "format": ["csv", "xlsx"],
    "spreadsheet_safe": [True, False],
    "bom": [False, True],
    "delimiter": [",", ";", "\t"],
    "locale": list(HEADINGS),
    "timezone": ZONES,
    "joined_after": EDGES,
    "joined_before": EDGES,
}

CSV_ONLY = ("spreadsheet_safe", "bom", "delimiter")
"""Options that change nothing in a workbook, whose cells are texts and never formulas."""


def columns_of(sources: Sequence[str], choice: int) -> tuple[str, ...]:
    """Return one of four choices of columns that fit the sources."""
    available = tuple(available_columns(sources))
    return [available, available[::-1], available[:2], available[1:2]][choice]


@pytest.fixture
async def hostile(storefront: Storefront) -> Storefront:
    """Each address in some sources, on random dates, and each date as the only one of a member."""
    dice = random.Random(15)
    for table in ("followers", "purchases", "affiliates"):
        for email in HOSTILE:
            for date in dice.sample(DATES, dice.randrange(3)):
                await storefront.insert(table, email=email, created_at=date)
        for number, date in enumerate(DATES):
            await storefront.insert(table, email=f"{number}@only.co", created_at=date)
    return storefront


async def exported(connection: Connection, merge: Merge) -> bytes:
    """Return the file that a merge makes."""
    parts = [header(merge.options)]

    async def take(data: bytes) -> None:
        parts.append(data)

    await connection.copy_from_query(
        merge_sql(merge), output=take, format="csv", delimiter=merge.options.delimiter
    )
    return b"".join(parts)


async def check(connection: Connection, members: Members, chosen: Mapping[str, Any]) -> None:
    """Compare one file with the oracle's; it lists nobody where a period ends before it begins."""
    options = {name: value for name, value in chosen.items() if name not in ("sources", "format")}
    options["columns"] = columns_of(chosen["sources"], chosen["columns"])
    merge = Merge(SELLER, chosen["sources"], FileOptions(format=chosen["format"], **options))
    if chosen["format"] == "csv":
        expected = expected_csv(members, SELLER, chosen["sources"], **options)
        assert await exported(connection, merge) == expected, chosen
    else:
        ours = {name: value for name, value in options.items() if name not in CSV_ONLY}
        sheet = expected_sheet(members, SELLER, chosen["sources"], **ours)
        assert await exported_sheet(connection, merge) == sheet, chosen


def fit(chosen: Mapping[str, Any]) -> bool:
    """Return whether no option of a CSV stands beside another format."""
    return chosen["format"] == "csv" or (chosen["delimiter"], chosen["bom"]) == (",", False)


def pairs() -> Iterator[dict[str, Any]]:
    """Yield every pair of values of two options."""
    for one, other in combinations(CHOICES, 2):
        for values in product(CHOICES[one], CHOICES[other]):
            yield dict(zip((one, other), values, strict=True))


def drawn() -> Iterator[dict[str, Any]]:
    """Yield, for each pair that fits, options with it that are random otherwise."""
    dice = random.Random(51)
    plain = {name: values[0] for name, values in CHOICES.items()}
    for pair in pairs():
        while fit(plain | pair):
            chosen = {name: dice.choice(values) for name, values in CHOICES.items()} | pair
            if fit(chosen):
                yield chosen
                break


def is_accepted(pair: Mapping[str, Any]) -> bool:
    """Return whether the API accepts two options together."""
    names = ("format", *CSV_ONLY)
    try:
        check_format(RequestedOptions(**{name: pair[name] for name in names if name in pair}))
    except RequestInvalid:
        return False
    return True


def test_every_pair_of_options_that_is_accepted_is_drawn() -> None:
    accepted = {tuple(pair.items()) for pair in pairs() if is_accepted(pair)}
    assert {pair for chosen in drawn() for pair in combinations(chosen.items(), 2)} == accepted


async def test_every_pair_of_options_makes_the_oracles_file(hostile: Storefront) -> None:
    members, dates = await hostile.members(), defaultdict[tuple[str, str], set[datetime]](set)
    for chosen in drawn():
        await check(hostile.connection, members, chosen)
        period = chosen["joined_after"], chosen["joined_before"]
        for _, since in listed(members, SELLER, chosen["sources"], *period):
            dates[chosen["format"], chosen["timezone"]].update(since.values())
    each = {calendar_date(date) for date in DATES}
    assert dates == dict.fromkeys(product(CHOICES["format"], ZONES), each)


around = st.sampled_from(MOMENTS[1:-1]).flatmap(
    lambda moment: st.integers(-1, 1).map(lambda s: moment + timedelta(seconds=s))
)


@settings(max_examples=100)
@given(
    chosen=st.fixed_dictionaries(
        {name: st.sampled_from(list(values)) for name, values in CHOICES.items()}
        | {"joined_after": st.none() | around, "joined_before": st.none() | around}
    ).filter(fit)
)
async def test_any_options_make_the_oracles_file(
    hostile: Storefront, chosen: dict[str, Any]
) -> None:
    await check(hostile.connection, await hostile.members(), chosen)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's database."""
    async with open_database(database_url, pool_size=1) as database:
        yield database


async def test_estimates_and_counts_are_those_of_the_files(
    hostile: Storefront, database: Database
) -> None:
    members = await hostile.members()
    for after, before in product(EDGES, EDGES):
        period: Bounds = {"joined_after": after, "joined_before": before}
        rows = {}
        for sources in subsets(KEYS):
            merge = Merge(SELLER, sources, FileOptions(columns=("sources",), **period))
            file = expected_csv(members, SELLER, sources, ("sources",), **period)
            rows[sources] = len(file.splitlines()) - 1
            assert await estimate_rows(database, merge) == rows[sources]
        counts = await count_audience(database, SELLER, Period(after, before))
        assert counts.by_source == {key: rows[(key,)] for key in KEYS}
        assert counts.total == rows[KEYS]
