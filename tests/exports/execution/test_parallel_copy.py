"""Several connections, one snapshot, one ordered file; and nothing left when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from app.audience.key_ranges import ranges_between
from app.audience.merge import Merge
from app.database.connections import Connection, connect, create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable
from app.exports.execution import parallel_copy, yield_gate
from app.exports.execution.multipart_upload import Progress
from app.exports.execution.parallel_copy import CopyJob, ParallelCopy
from app.exports.execution.snapshot import (
    SharedSnapshot,
    SnapshotNotShared,
    export_snapshot,
    open_snapshot,
)
from app.exports.execution.stream_growth import StreamGrowth, StreamLimits
from app.exports.execution.yield_gate import YieldGate
from app.models import FileOptions
from tests.polling import until

NAME = "export of the tests"
EMAILS = sorted(
    [
        *(f"same.first.bytes.{number:03}@x.co" for number in range(300)),
        *("=cmd@x.co", "+a@x.co", "-b@x.co", "0@x.co", "9@x.co", "o'brien@x.co"),
        *('"a\\"b"@x.co', '"a\\\\"@x.co', '"1,2"@x.co', "josé@x.co", "日本@x.co", "z@x.co"),
    ],
    key=str.encode,
)
MERGE = Merge(1, ("follower",), FileOptions(columns=("email",)))


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
    database: Database,
    sink: Gathered,
    boundaries: Sequence[str],
    count: int = 2,
    merge: Merge = MERGE,
) -> Progress:
    """Copy seller 1's list, cut at ``boundaries``."""
    progress = Progress()
    ranges = ranges_between(boundaries)
    job = CopyJob(database, NAME, merge, sink, progress, StreamLimits(count, count), timeout_s=60)
    streams = ParallelCopy(job, ranges, sink)
    async with open_snapshot(database, NAME) as (first, *_):
        await streams.run(first)
    return progress


@pytest.mark.parametrize("boundaries", [(), ("O", "same.first.bytes.100@x.co", "z")])
async def test_addresses_that_mailing_tools_refuse_are_counted_in_the_snapshot(
    database: Database,
    connection: Connection,
    members: None,
    sink: Gathered,
    boundaries: Sequence[str],
) -> None:
    """Of ``EMAILS`` two, and of these two more: the part before the last ``@`` counts."""
    for email in ("a@münchen.example", '"a@b"@é.co', '"é@b"@x.co', "ñandú@x.co"):
        await connection.execute(
            "INSERT INTO audience_members (seller_id, email, follower_since) VALUES (1, $1, now())",
            email,
        )
    progress = await copy(database, sink, boundaries)
    assert progress.refused_addresses == 4


async def test_a_file_without_addresses_has_none_that_are_refused(
    database: Database, members: None, sink: Gathered
) -> None:
    merge = replace(MERGE, options=FileOptions(columns=("subscribed_at",)))
    assert (await copy(database, sink, (), merge=merge)).refused_addresses == 0


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
    database: Database, sink: Gathered, boundaries: list[str], count: int
) -> None:
    progress = await copy(database, sink, sorted(boundaries), count)
    assert sink.data == WHOLE
    assert progress.rows == len(EMAILS)


@pytest.mark.parametrize("emails", [[], ["ann@x.co"]])
async def test_almost_nothing_may_be_cut_too(
    database: Database, connection: Connection, sink: Gathered, emails: list[str]
) -> None:
    for email in emails:
        await connection.execute(
            "INSERT INTO audience_members VALUES (1, $1, now())",
            email,
        )
    progress = await copy(database, sink, ["A", "b", "c"])
    assert sink.data == b"".join(map(line, emails))
    assert progress.rows == len(emails)


@pytest.mark.usefixtures("members")
async def test_all_streams_see_the_same_while_rows_change(
    database: Database, connection: Connection, sink: Gathered
) -> None:
    async def change() -> None:
        sink.before = None
        await connection.execute("DELETE FROM audience_members WHERE email < 'same.first.bytes.2'")
        await connection.execute(
            "INSERT INTO audience_members VALUES (1, 'same.first.bytes.new@x.co', now())"
        )

    sink.before = change
    await copy(database, sink, EMAILS[::20])
    assert sink.data == WHOLE


async def two_sessions(connection: Connection) -> list[int]:
    """Wait for the second stream and return both."""

    async def are_two() -> bool:
        return len(await sessions(connection)) == 2

    await until(are_two)
    return await sessions(connection)


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams cannot read all ranges ahead of their turn."""
    monkeypatch.setattr(parallel_copy, "BUFFERED_BYTES", 64)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.usefixtures("members", "little_room")
async def test_a_stream_that_fails_in_the_middle_ends_all(
    database: Database, connection: Connection, sink: Gathered, which: int
) -> None:
    async def kill() -> None:
        sink.before = None
        pids = sorted(await two_sessions(connection))
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pids[which])

    sink.before = kill
    with pytest.raises(DatabaseUnavailable):
        async with asyncio.timeout(20):
            await copy(database, sink, EMAILS[::4])
    await until_ended(connection)


@pytest.mark.usefixtures("members")
async def test_a_sink_that_fails_ends_all(
    database: Database, connection: Connection, sink: Gathered
) -> None:
    async def fail() -> None:
        await two_sessions(connection)
        raise ValueError("full")

    sink.before = fail
    with pytest.raises(ValueError, match="full"):
        await copy(database, sink, EMAILS[::4])
    await until_ended(connection)


@pytest.mark.usefixtures("members")
async def test_a_cancel_in_the_middle_ends_all_sessions(
    database: Database, connection: Connection, sink: Gathered
) -> None:
    sink.before = asyncio.Event().wait  # type: ignore[assignment]  # it never returns
    task = asyncio.create_task(copy(database, sink, EMAILS[::4]))
    await two_sessions(connection)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await until_ended(connection)


@pytest.mark.usefixtures("members")
async def test_without_a_connection_for_it_a_stream_is_done_without(
    database_url: str, sink: Gathered
) -> None:
    database = Database(create_engine(database_url, pool_size=1))
    async with database.engine.connect():
        async with asyncio.timeout(5):
            await copy(database, sink, EMAILS[::50], count=3)
    await database.close()
    assert sink.data == WHOLE


@pytest.mark.usefixtures("members")
async def test_a_stream_that_a_balancer_led_elsewhere_is_done_without(
    database_url: str, empty_database_url: str, sink: Gathered
) -> None:
    urls = cycle([database_url, empty_database_url])

    async def balanced(**_: object) -> Connection:
        return await connect(next(urls))

    database = Database(create_async_engine("postgresql+asyncpg://", async_creator=balanced))
    await copy(database, sink, EMAILS[::4])
    await database.close()
    assert sink.data == WHOLE


async def test_a_snapshot_of_the_same_name_on_another_server_is_not_taken_for_it(
    database: Database,
) -> None:
    async with open_snapshot(database, NAME) as (first, *_):
        shared = await export_snapshot(first)
        assert shared is not None
        for other in (
            SharedSnapshot(shared.id, "another server"),
            SharedSnapshot("00000000-00000000-1", shared.server),
        ):
            with pytest.raises(SnapshotNotShared):
                async with open_snapshot(database, NAME, shared=other):
                    pass


@pytest.mark.usefixtures("members")
async def test_a_range_that_ends_without_a_row_is_no_stall(
    database: Database, sink: Gathered
) -> None:
    progress = Progress()
    progress.moved_at = 0.0
    merge = replace(MERGE, sources=("affiliate",))
    job = CopyJob(database, NAME, merge, sink, progress, StreamLimits(1, 1), timeout_s=60)
    async with open_snapshot(database, NAME) as (first, *_):
        await ParallelCopy(job, ranges_between(EMAILS[::20]), sink).run(first)
    assert sink.data == b""
    assert progress.moved_at > 0


class ScriptedGrowth(StreamGrowth):
    """Has four streams after the first range, and retires one once four were seen."""

    were_seen = False

    def note_range(self, written_bytes: int) -> None:
        self.streams = 3 if self.were_seen else 4


@pytest.mark.usefixtures("members", "little_room")
async def test_a_copy_grows_and_retires_a_stream_and_the_file_is_the_same(
    database: Database, connection: Connection, sink: Gathered
) -> None:
    seen = []
    limits = StreamLimits(2, 4)
    growth = ScriptedGrowth(limits)

    async def are_four() -> bool:
        return len(await sessions(connection)) == 4

    async def look() -> None:
        if growth.streams == 4 and not growth.were_seen:
            await until(are_four)
            growth.were_seen = True
        seen.append(len(await sessions(connection)))

    sink.before = look
    job = CopyJob(database, NAME, MERGE, sink, Progress(), limits, timeout_s=60)
    copy = ParallelCopy(job, ranges_between(EMAILS[::2]), sink, growth)
    async with open_snapshot(database, NAME) as (first, *_):
        await copy.run(first)
    assert sink.data == WHOLE
    assert max(seen) == 4
    assert 3 in seen[seen.index(4) :]


@pytest.mark.usefixtures("members")
async def test_all_streams_wait_while_a_small_export_runs_and_then_go_on(
    database: Database, sink: Gathered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yield_gate, "PAUSED_SHARE", 1e9)
    monkeypatch.setattr(yield_gate, "PAUSE_MAX_S", 60)
    gate = YieldGate()
    limits = StreamLimits(2, 2)
    job = CopyJob(database, NAME, MERGE, sink, Progress(), limits, timeout_s=60, gate=gate)
    copy = ParallelCopy(job, ranges_between(EMAILS[::20]), sink)

    async def are_paused() -> bool:
        return gate.paused == limits.most

    async with open_snapshot(database, NAME) as (first, *_):
        with gate.small_export():
            running = asyncio.create_task(copy.run(first))
            await until(are_paused)
            assert sink.data == b""
        await running
    assert sink.data == WHOLE
