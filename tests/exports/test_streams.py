"""Several connections, one snapshot, one ordered file; and nothing left when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import cycle

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.audience.merge import Merge
from app.audience.ranges import ranges_between
from app.database import Connection, connect, create_engine
from app.errors import DatabaseUnavailable
from app.exports.parts import Progress
from app.exports.snapshot import SharedSnapshot, SnapshotNotShared, open_snapshot, share_snapshot
from app.exports.streams import Streams
from tests.waiting import until

NAME = "export of the tests"
EMAILS = sorted(
    [
        *(f"same.first.bytes.{number:03}@x.co" for number in range(300)),
        *("=cmd@x.co", "+a@x.co", "-b@x.co", "0@x.co", "9@x.co", "o'brien@x.co"),
        *('"a\\"b"@x.co', '"a\\\\"@x.co', '"1,2"@x.co', "josé@x.co", "日本@x.co", "z@x.co"),
    ],
    key=str.encode,
)
MERGE = Merge(1, ("follower",), ("email",))


class Gathered:
    """A sink that remembers; ``before`` is called before each write."""

    def __init__(self) -> None:
        self.data = b""
        self.before: Callable[[], Awaitable[None]] | None = None

    async def write(self, data: bytes) -> None:
        if self.before is not None:
            await self.before()
        self.data += data


@pytest.fixture
def sink() -> Gathered:
    """Where the file goes."""
    return Gathered()


@pytest.fixture
async def members(connection: Connection) -> None:
    """Seller 1 has all of ``EMAILS``, and another seller has some in between."""
    await connection.execute(
        """
        INSERT INTO audience_members (seller_id, email, follower_since)
        SELECT seller_id, email, now() FROM unnest($1::text[]) AS email
        CROSS JOIN generate_series(1, 2) AS seller_id
        """,
        EMAILS,
    )


async def copy(
    engine: AsyncEngine, sink: Gathered, boundaries: Sequence[str], count: int = 2
) -> Progress:
    """Copy seller 1's list, cut at ``boundaries``."""
    progress = Progress()
    ranges = ranges_between(boundaries)
    streams = Streams(engine, NAME, MERGE, ranges, count, sink, progress, timeout_s=60)
    async with open_snapshot(engine, NAME) as (first, *_):
        await streams.copy(first)
    return progress


async def sessions(connection: Connection) -> list[int]:
    """Return the process ids of the export's sessions on the server."""
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1", NAME
    )
    return [row["pid"] for row in rows]


async def until_ended(connection: Connection) -> None:
    """Wait until the export has no session left."""

    async def are_ended() -> bool:
        return not await sessions(connection)

    await until(are_ended)


def line(email: str) -> bytes:
    """Return an address as its line of the file."""
    cell = f"'{email}" if email[0] in "=+-@" else email
    return (
        '"' + cell.replace('"', '""') + '"' if {'"', ","} & set(cell) else cell
    ).encode() + b"\n"


WHOLE = b"".join(map(line, EMAILS))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(
    "boundaries",
    [
        [],
        ["A"],
        ["\x01", "z@x.co"],
        ["zz", "zzz"],
        EMAILS,
        [f"same.first.bytes.{number:03}@x.co" for number in range(0, 300, 10)],
        ["same.first.bytes.0", "same.first.bytes.00", "same.first.bytes.000"],
        ['"a\\"b"@x.co', '"a\\\\"@x.co', "o'brien@x.co"],
        ["josé@x.co", "日本@x.co"],
    ],
    ids=["one", "letters", "ends", "beyond", "each", "even", "empty", "hostile", "unicode"],
)
@pytest.mark.usefixtures("members")
async def test_wherever_it_is_cut_the_file_is_the_same(
    engine: AsyncEngine, sink: Gathered, boundaries: list[str], count: int
) -> None:
    progress = await copy(engine, sink, sorted(boundaries), count)
    assert sink.data == WHOLE
    assert progress.rows == len(EMAILS)


@pytest.mark.parametrize("emails", [[], ["ann@x.co"]])
async def test_almost_nothing_may_be_cut_too(
    engine: AsyncEngine, connection: Connection, sink: Gathered, emails: list[str]
) -> None:
    for email in emails:
        await connection.execute(
            "INSERT INTO audience_members VALUES (1, $1, now())",
            email,
        )
    progress = await copy(engine, sink, ["A", "b", "c"])
    assert sink.data == b"".join(map(line, emails))
    assert progress.rows == len(emails)


@pytest.mark.usefixtures("members")
async def test_all_streams_see_the_same_while_rows_change(
    engine: AsyncEngine, connection: Connection, sink: Gathered
) -> None:
    async def change() -> None:
        sink.before = None
        await connection.execute("DELETE FROM audience_members WHERE email < 'same.first.bytes.2'")
        await connection.execute(
            "INSERT INTO audience_members VALUES (1, 'same.first.bytes.new@x.co', now())"
        )

    sink.before = change
    await copy(engine, sink, EMAILS[::20])
    assert sink.data == WHOLE


async def two_sessions(connection: Connection) -> list[int]:
    """Wait for the second stream and return both."""

    async def are_two() -> bool:
        return len(await sessions(connection)) == 2

    await until(are_two)
    return await sessions(connection)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.usefixtures("members")
async def test_a_stream_that_fails_in_the_middle_ends_all(
    engine: AsyncEngine, connection: Connection, sink: Gathered, which: int
) -> None:
    async def kill() -> None:
        sink.before = None
        pids = sorted(await two_sessions(connection))
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pids[which])

    sink.before = kill
    with pytest.raises(DatabaseUnavailable):
        async with asyncio.timeout(20):
            await copy(engine, sink, EMAILS[::4])
    await until_ended(connection)


@pytest.mark.usefixtures("members")
async def test_a_sink_that_fails_ends_all(
    engine: AsyncEngine, connection: Connection, sink: Gathered
) -> None:
    async def fail() -> None:
        await two_sessions(connection)
        raise ValueError("full")

    sink.before = fail
    with pytest.raises(ValueError, match="full"):
        await copy(engine, sink, EMAILS[::4])
    await until_ended(connection)


@pytest.mark.usefixtures("members")
async def test_a_cancel_in_the_middle_ends_all_sessions(
    engine: AsyncEngine, connection: Connection, sink: Gathered
) -> None:
    sink.before = asyncio.Event().wait  # type: ignore[assignment]  # it never returns
    task = asyncio.create_task(copy(engine, sink, EMAILS[::4]))
    await two_sessions(connection)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await until_ended(connection)


@pytest.mark.usefixtures("members")
async def test_without_a_connection_for_it_a_stream_is_done_without(
    database_url: str, sink: Gathered
) -> None:
    engine = create_engine(database_url, pool_size=1)
    async with engine.connect():
        async with asyncio.timeout(5):
            await copy(engine, sink, EMAILS[::50], count=3)
    await engine.dispose()
    assert sink.data == WHOLE


@pytest.mark.usefixtures("members")
async def test_a_stream_that_a_balancer_led_elsewhere_is_done_without(
    database_url: str, empty_database_url: str, sink: Gathered
) -> None:
    urls = cycle([database_url, empty_database_url])

    async def balanced(**_: object) -> Connection:
        return await connect(next(urls))

    engine = create_async_engine("postgresql+asyncpg://", async_creator=balanced)
    await copy(engine, sink, EMAILS[::4])
    await engine.dispose()
    assert sink.data == WHOLE


async def test_a_snapshot_of_the_same_name_on_another_server_is_not_taken_for_it(
    engine: AsyncEngine,
) -> None:
    async with open_snapshot(engine, NAME) as (first, *_):
        shared = await share_snapshot(first)
        assert shared is not None
        for other in (
            SharedSnapshot(shared.id, "another server"),
            SharedSnapshot("00000000-00000000-1", shared.server),
        ):
            with pytest.raises(SnapshotNotShared):
                async with open_snapshot(engine, NAME, shared=other):
                    pass
