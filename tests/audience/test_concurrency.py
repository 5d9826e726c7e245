"""Concurrent writers of one address leave the member that the source rows give, in any order."""

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest
from asyncpg.transaction import Transaction

from app.audience.drift import verify
from app.database.connections import Connection, connect
from app.database.database import DatabaseConnection
from tests.audience.storefront import DAY, Storefront
from tests.oracle import members

SEED = int(os.environ.get("CONCURRENCY_SEED", random.randrange(1_000_000)))
WRITERS = 8
EMAILS = ("a@x.co", "b@x.co", "C@x.co", " d@x.co", "é@x.co", "É@x.co", "g@x.co", "h@x.co")
TABLES = ("followers", "purchases", "affiliates")
TOGGLES = {
    "followers": "deleted_at = CASE WHEN deleted_at IS NULL THEN now() END",
    "purchases": "refunded = refunded IS NOT TRUE",
    "affiliates": "product_count = 1 - product_count",
}
FURTHER = {
    "followers": ("confirmed_at", "now()"),
    "purchases": ("state", "'successful'"),
    "affiliates": ("send_posts", "true"),
}
RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
WAIT_S = 10.0


def a_statement(chance: random.Random, rows: str = "true") -> str:
    """Return one write of one or two rows, addresses in either order, among ``rows``."""
    table = chance.choice(TABLES)
    first, second = chance.sample(EMAILS, 2)
    date = f"'{DAY + timedelta(hours=chance.randrange(5))}'"
    column, value = FURTHER[table]
    inserted = ", ".join(
        f"(1, '{email}', {date}, {value})" for email in (first, second)[: chance.choice((1, 2))]
    )
    chosen = f"""
        id IN (
            SELECT id
            FROM {table}
            WHERE {rows}
            ORDER BY hashint8(id + {chance.randrange(1000)})
            LIMIT {chance.choice((1, 2))}
        )
    """
    swap = f"email = CASE email WHEN '{first}' THEN '{second}' ELSE '{first}' END"
    changes = (swap, f"created_at = {date}", TOGGLES[table])
    return chance.choice(
        [
            f"INSERT INTO {table} (seller_id, email, created_at, {column}) VALUES {inserted}",
            *(f"UPDATE {table} SET {change} WHERE {chosen}" for change in changes),
            f"DELETE FROM {table} WHERE {chosen}",
        ]
    )


class Writer:
    """One of the connections, with its own random choices and counts."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.own = f"id % {WRITERS} = {number}"
        self.chance = random.Random(f"{SEED}-{number}")
        self.failures: Counter[str] = Counter()

    async def write_single_statements(self, operations: int) -> None:
        """Write rows that nobody else writes, of addresses that everybody writes."""
        for _ in range(operations):
            await self.commit([a_statement(self.chance, self.own)])

    async def write_transactions(self, operations: int) -> None:
        """Write any rows, in transactions of one to three statements."""
        while operations > 0:
            statements = [a_statement(self.chance) for _ in range(self.chance.randint(1, 3))]
            await self.commit(statements)
            operations -= len(statements)

    async def commit(self, statements: list[str]) -> None:
        """Run a transaction, again and again until it commits."""
        isolation = self.chance.choice(["read_committed", "repeatable_read"])
        while True:
            try:
                async with self.connection.transaction(isolation=isolation):
                    for statement in statements:
                        await self.connection.execute(statement)
            except RETRIED as error:
                self.failures[error.sqlstate] += 1
            else:
                return


@pytest.fixture
async def connections(database_url: str) -> AsyncIterator[list[Connection]]:
    """As many connections as there are writers."""
    connections = [await connect(database_url) for _ in range(WRITERS)]
    for connection in connections:
        await connection.execute("SET deadlock_timeout = '2ms'")
    yield connections
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("operations", [3_000, pytest.param(20_000, marks=pytest.mark.slow)])
async def test_eight_writers_of_few_addresses_leave_no_drift(
    connections: list[Connection], storefront: Storefront, operations: int
) -> None:
    print(f"CONCURRENCY_SEED={SEED}")
    writers = [Writer(connection, number) for number, connection in enumerate(connections)]
    share = operations // 2 // WRITERS
    await asyncio.gather(*(writer.write_single_statements(share) for writer in writers))
    failures = sum((writer.failures for writer in writers), Counter())
    assert failures[asyncpg.DeadlockDetectedError.sqlstate] == 0
    await expect_no_drift(storefront)
    await asyncio.gather(*(writer.write_transactions(share) for writer in writers))
    await expect_no_drift(storefront)


async def expect_no_drift(storefront: Storefront) -> None:
    """Compare the members with the oracle, and with what a rebuild computes."""
    assert not await verify(storefront.database)
    rows = {table: await storefront.rows(table) for table in TABLES}
    assert await storefront.members() == members(rows)


Step = Callable[[Storefront], Awaitable[None]]


async def insert(storefront: Storefront) -> None:
    """Another follower comes under address a."""
    await storefront.follow("a@x.co", created_at=DAY + timedelta(hours=1))


async def buy(storefront: Storefront) -> None:
    """Address a buys: another source, the same member."""
    await storefront.buy("a@x.co")


async def leave(storefront: Storefront) -> None:
    """Followers of address a move to b."""
    await storefront.connection.execute(
        "UPDATE followers SET email = 'b@x.co' WHERE email = 'a@x.co'"
    )


async def come(storefront: Storefront) -> None:
    """Followers of address c move to a."""
    await storefront.connection.execute(
        "UPDATE followers SET email = 'a@x.co', created_at = $1 WHERE email = 'c@x.co'",
        DAY + timedelta(hours=2),
    )


async def age(storefront: Storefront) -> None:
    """The newest follower of address a gets a later date."""
    await storefront.connection.execute(
        """
        UPDATE followers SET created_at = created_at + '1 day'::interval
        WHERE id = (SELECT max(id) FROM followers WHERE email = 'a@x.co')
        """
    )


async def delete(storefront: Storefront) -> None:
    """Every follower of address a goes."""
    await storefront.connection.execute("DELETE FROM followers WHERE email = 'a@x.co'")


async def delete_newest(storefront: Storefront) -> None:
    """The newest follower goes."""
    await storefront.connection.execute(
        "DELETE FROM followers WHERE id = (SELECT max(id) FROM followers)"
    )


async def truncate(storefront: Storefront) -> None:
    """Every follower goes at once."""
    await storefront.connection.execute("TRUNCATE followers")


FIRST: list[tuple[Step, ...]] = [
    *((step,) for step in (insert, buy, leave, come, age, delete, delete_newest, truncate)),
    (delete, insert),
]
SECOND: list[tuple[Step, ...]] = [
    *((step,) for step in (insert, buy, leave, come, age, delete, delete_newest)),
    (insert, age),
    (come, age),
    (insert, delete_newest),
    (buy, come),
]


EMAILS_BEFORE = ("a", "c", "ac")


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
@pytest.mark.parametrize("is_open", [False, True], ids=["committed", "open"])
@pytest.mark.parametrize("starts", [1, pytest.param(3, marks=pytest.mark.slow)])
async def test_every_pair_of_transactions_leaves_no_drift(
    connections: list[Connection], isolation: str, is_open: bool, role: str, starts: int
) -> None:
    """Each pair begins with some of the addresses a and c; the short form takes turns."""
    storefronts = [Storefront(connection) for connection in connections]
    for number, (first, second) in enumerate(itertools.product(FIRST, SECOND)):
        for emails in (EMAILS_BEFORE * 2)[number % 3 :][:starts]:
            await storefronts[0].connection.execute("DELETE FROM followers")
            await storefronts[0].connection.execute("DELETE FROM purchases")
            for email in emails:
                await storefronts[0].follow(f"{email}@x.co")
            await race(storefronts, first, second, isolation, is_open, role)
            names = [step.__name__ for step in (*first, *second)]
            assert not await verify(DatabaseConnection(connections[0])), (names, emails)


async def race(
    storefronts: list[Storefront],
    first: tuple[Step, ...],
    second: tuple[Step, ...],
    isolation: str,
    is_open: bool,
    role: str,
) -> None:
    """Let ``second`` take its snapshot, ``first`` do its work, and then ``second`` its own.

    ``first`` commits before ``second`` begins to write or, if ``is_open``, as soon
    as ``second`` waits for it.
    """
    earlier, later, observer = storefronts[:3]
    waiting = later.connection.transaction(isolation=isolation)
    await waiting.start()
    await later.connection.execute("SELECT 1 FROM audience_members")
    await later.connection.execute(f"SET LOCAL session_replication_role = {role}")
    transaction = earlier.connection.transaction()
    await transaction.start()
    for step in first:
        await step(earlier)
    if not is_open:
        await transaction.commit()
    work = asyncio.create_task(run_and_commit(later, waiting, second))
    if is_open:
        await until_done_or_waiting(work, later, observer)
        await transaction.commit()
    await work


async def run_and_commit(
    storefront: Storefront, transaction: Transaction, steps: tuple[Step, ...]
) -> None:
    """Run steps in the open transaction and commit it, unless it must give way."""
    try:
        for step in steps:
            await step(storefront)
        await transaction.commit()
    except asyncpg.SerializationError:
        await transaction.rollback()


async def until_done_or_waiting(
    work: asyncio.Task[None], later: Storefront, observer: Storefront
) -> None:
    """Wait until the later transaction has finished, or waits for a lock."""
    process = later.connection.get_server_pid()
    deadline = time.monotonic() + WAIT_S
    while not work.done() and time.monotonic() < deadline:
        waits = await observer.connection.fetchval(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1", process
        )
        if waits:
            return
        await asyncio.sleep(0)
    assert work.done()
