"""The sellers of a chaos run, their audiences, and the expected file of each export."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from app.database.connections import connect
from app.errors import DatabaseUnavailable
from tests.csv_oracle import KEYS, expected_csv
from tests.oracle import Members, members

BUSY_SELLER = 1
"""A seller who gains followers during the run: any of several states of the file is right."""

SIZES = (0, 1, 40, 400, 3000)
LARGE_ROWS = 30_000
LARGE_PART = 6
LARGE_LOCAL = "x" * 200
"""Long addresses make large files from few rows: three parts of S3's minimum size."""

DAY = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
FOLLOW_S = 0.05
SHAPES = (
    "{n}@x.co",
    "josé{n}@x.co",
    "=cmd{n}@x.co",
    '"a,b{n}"@x.co',
    "{n}@EXAMPLE.com",
    " {n}@y.co ",
)

COLUMNS = ("email", "subscribed_at", "sources")


@dataclass(frozen=True)
class ExportRequest:
    """One export to request; its recipient is unique."""

    number: int
    seller_id: int
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    spreadsheet_safe: bool
    bom: bool

    @property
    def recipient(self) -> str:
        """The recipient of the mail."""
        return f"export{self.number}@example.com"

    @property
    def body(self) -> dict[str, Any]:
        """The request's body."""
        return {
            "seller_id": self.seller_id,
            "recipient_email": self.recipient,
            "columns": list(self.columns),
            "spreadsheet_safe": self.spreadsheet_safe,
            "bom": self.bom,
            **dict.fromkeys(self.sources, True),
        }


@dataclass
class Crowd:
    """The sellers, their members, and the exports to request."""

    sizes: dict[int, int]
    requests: list[ExportRequest]
    people: Members = field(default_factory=dict)
    followed: int = 0

    def is_right(self, request: ExportRequest, content: bytes) -> bool:
        """Return whether a file is right, byte by byte."""
        people = self.people
        if request.seller_id == BUSY_SELLER:
            # The last commit may have succeeded without a confirmation: hence one more.
            people = first_followers(min(content.count(b"\n") - 1, self.followed + 1))
        right = expected_csv(
            people,
            request.seller_id,
            request.sources,
            request.columns,
            spreadsheet_safe=request.spreadsheet_safe,
            bom=request.bom,
        )
        return content == right


def gather(dice: random.Random, exports: int) -> Crowd:
    """Return sellers of mixed sizes and this many different requests."""
    sellers = range(BUSY_SELLER + 1, BUSY_SELLER + 2 + max(3, exports // 5))
    sizes = {seller_id: dice.choice(SIZES) for seller_id in sellers}
    sizes[sellers[0]] = LARGE_ROWS
    lots = [BUSY_SELLER, *sellers, *[sellers[0]] * (len(sellers) // LARGE_PART)]
    requests = [_request(dice, number, dice.choice(lots)) for number in range(exports)]
    return Crowd(sizes, requests)


def _request(dice: random.Random, number: int, seller_id: int) -> ExportRequest:
    sources = tuple(key for key in KEYS if dice.random() < 0.6) or ("follower",)
    possible = [*COLUMNS, *(f"{key}_since" for key in sources)]
    return ExportRequest(
        number,
        seller_id,
        sources,
        tuple(dice.sample(possible, dice.randint(1, len(possible)))),
        spreadsheet_safe=dice.random() < 0.8,
        bom=dice.random() < 0.2,
    )


async def settle(crowd: Crowd, url: str, dice: random.Random) -> None:
    """Insert the members of every seller but the busy one."""
    rows = [row for seller, size in crowd.sizes.items() for row in _rows(dice, seller, size)]
    tables: dict[str, list[dict[str, Any]]] = {"followers": [], "purchases": [], "affiliates": []}
    for table, row in rows:
        tables[table].append(row)
    connection = await connect(url, command_timeout=300)
    try:
        for table, its in tables.items():
            if its:
                names = list(its[0])
                records = [tuple(row.values()) for row in its]
                await connection.copy_records_to_table(table, records=records, columns=names)
    finally:
        await connection.close()
    crowd.people = members(tables)


def _rows(dice: random.Random, seller_id: int, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    is_large = size == LARGE_ROWS
    for number in range(size):
        shape = f"{LARGE_LOCAL}{{n}}@x.co" if is_large else dice.choice(SHAPES)
        row = {
            "seller_id": seller_id,
            "email": shape.format(n=number),
            "created_at": DAY + timedelta(minutes=dice.randrange(100_000)),
        }
        if dice.random() < 0.7:
            yield "followers", row | {"confirmed_at": DAY}
        if dice.random() < 0.6:
            yield "purchases", row | {"state": "successful"}
        if dice.random() < 0.1:
            yield "affiliates", row | {"product_count": 1}


def first_followers(count: int) -> Members:
    """Return the busy seller's audience after this many followers."""
    return {
        (BUSY_SELLER, _follower(number)): {"follower": DAY + timedelta(seconds=number)}
        for number in range(count)
    }


def _follower(number: int) -> str:
    return f"{number:06}@busy.co"


async def follow_for_ever(crowd: Crowd, url: str) -> None:
    """Insert followers of the busy seller one by one, through every outage.

    A follower whose commit was not confirmed is inserted again, which changes no member.
    """
    while True:
        try:
            await _follow(crowd, url)
        except (DatabaseUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(FOLLOW_S)


async def _follow(crowd: Crowd, url: str) -> None:
    connection = await connect(url)
    try:
        while True:
            await connection.execute(
                """
                INSERT INTO followers (seller_id, email, created_at, confirmed_at)
                VALUES ($1, $2, $3, $3)
                """,
                BUSY_SELLER,
                _follower(crowd.followed),
                DAY + timedelta(seconds=crowd.followed),
            )
            crowd.followed += 1
            await asyncio.sleep(FOLLOW_S)
    finally:
        connection.terminate()
