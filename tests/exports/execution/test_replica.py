"""Exports that read from a streaming replica made by pg_basebackup."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asyncpg import SerializationError

from app.audience.merge import Merge
from app.audience.replica import ReplayTarget, read_from_replica_or_primary, wait_for_replay
from app.cli.local_export import export_to_file
from app.config import Settings
from app.database.connections import Connection, connect, create_engine
from app.database.database import Database, DatabaseConnection
from app.errors import DatabaseUnavailable
from app.exports.execution.exporter import MAX_REPLICA_ATTEMPTS, Exporter
from app.exports.execution.snapshot import SnapshotNotShared, export_snapshot, open_snapshot
from app.models import Export, FileOptions
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox
from tests.audience.storefront import Storefront
from tests.fakes import MemoryExportEvents, MemoryQueue, MemoryStorage
from tests.polling import until

Ask = Callable[..., Awaitable[Export]]
Make = Callable[..., Exporter]

IMPATIENT = {"max_standby_streaming_delay": "0", "hot_standby_feedback": "off"}
"""A replica that cancels every statement that delays replay."""

FUTURE_LSN = 1 << 60

WIDE_MEMBERS = """
    INSERT INTO audience_members (seller_id, email, follower_since)
    SELECT 1, md5(n::text) || repeat(md5(n::text), 6) || '@x.co', '2026-03-01Z'
    FROM generate_series(1, 120000) AS n
"""
"""28 MB: more than a part and what two sockets hold, so that a COPY of it can be held up."""


COUNT_SLOWLY = """
    SELECT count(*)
    FROM audience_members, LATERAL (
        SELECT CASE WHEN pg_is_in_recovery() THEN pg_sleep(3) END
        WHERE audience_members.email IS NOT NULL
    ) AS pause
"""


@pytest.fixture(scope="module")
def replica(sandbox: Sandbox, postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A streaming replica of the server of all tests."""
    server = PostgresServer(sandbox, name="replica", settings=IMPATIENT, primary=postgres)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def replica_url(replica: PostgresServer, database_url: str) -> str:
    """The address of the test's own database on the replica."""
    url = replica.url(database_url.rsplit("/", 1)[1])

    async def has_arrived() -> bool:
        try:
            await (await connect(url)).close()
        except DatabaseUnavailable:
            return False
        return True

    await until(has_arrived)
    return url


@pytest.fixture
async def standby(replica_url: str) -> AsyncIterator[Connection]:
    """One connection to the replica; its replay goes on when the test has ended."""
    connection = await connect(replica_url)
    yield connection
    await resume_replay(connection)
    await connection.close()


@pytest.fixture
async def replica_database(replica_url: str) -> AsyncIterator[Database]:
    """Where exports read."""
    database = Database(create_engine(replica_url, pool_size=5))
    yield database
    await database.close()


@pytest.fixture
def make(
    database: Database,
    replica_database: Database,
    replica_url: str,
    storage: MemoryStorage,
    queue: MemoryQueue,
    export_events: MemoryExportEvents,
    fast_settings: Settings,
) -> Make:
    """Make an exporter that reads from the replica and waits for it this many seconds."""

    def make(wait_s: float) -> Exporter:
        changes = {"audience_database_url": replica_url, "replica_wait_s": wait_s}
        patience = {"lease_s": 30, "stall_timeout_s": 30, "retry_max_age_s": 3600}
        settings = fast_settings.model_copy(update=changes | patience)
        return Exporter(
            database, replica_database, storage, queue, export_events, settings, worker="tests"
        )

    return make


async def attempted(exporter: Exporter, export: Export, connection: Connection) -> Export:
    """Make one attempt at an export, whenever it is due, and return its row afterwards."""
    await connection.execute("UPDATE exports SET due_at = clock_timestamp()")
    claimed = await exporter.claim(export.key)
    assert claimed is not None
    ended = (await exporter.run(claimed)).export
    assert ended is not None
    return ended


async def pause_replay(standby: Connection) -> None:
    """Let the replica stay behind from now on."""

    async def is_paused() -> bool:
        with suppress(SerializationError):  # this statement too delays replay
            await standby.execute("SELECT pg_wal_replay_pause()")
            state: str = await standby.fetchval("SELECT pg_get_wal_replay_pause_state()")
            return state == "paused"
        return False

    await until(is_paused)


async def resume_replay(standby: Connection) -> None:
    """Let the replica go on."""
    with suppress(SerializationError):  # replay went on, and cancelled what had asked for it
        await standby.execute("SELECT pg_wal_replay_resume()")


async def replayed(standby: Connection, lsn: int | None) -> None:
    """Wait until the replica has come as far as the primary's log was at ``lsn``."""

    async def has_come() -> bool:
        target = ReplayTarget(datetime.now(UTC), lsn, 10)
        return await wait_for_replay(DatabaseConnection(standby), target) is not None

    await until(has_come)


async def is_waiting(standby: Connection) -> bool:
    """Return whether an export looks how far the replica has come."""
    looks: int = await standby.fetchval("""
        SELECT count(*)
        FROM pg_stat_activity
        WHERE query LIKE '%pg_last_wal_replay_lsn%'
        AND pid <> pg_backend_pid()
        AND datname = current_database()
    """)
    return looks > 0


@pytest.mark.parametrize("is_joined", [False, True], ids=["asked once", "coalesced"])
async def test_a_follower_gained_before_the_button_was_pressed_is_in_the_file(
    create_export: Ask,
    make: Make,
    standby: Connection,
    storefront: Storefront,
    storage: MemoryStorage,
    *,
    is_joined: bool,
) -> None:
    exporter = make(wait_s=20)
    if is_joined:
        await replayed(standby, (await create_export()).required_lsn)
    await pause_replay(standby)
    await storefront.follow("new@x.co")
    export = await create_export()
    running = asyncio.create_task(attempted(exporter, export, storefront.connection))
    await until(lambda: is_waiting(standby))
    assert not running.done()
    await resume_replay(standby)
    ended = await running
    assert (ended.status, ended.attempt) == ("succeeded", 1)
    assert b"new@x.co" in storage.objects[str(ended.object_key)]


@pytest.mark.parametrize("wait_s", [20, 0.05], ids=["comes", "stays behind"])
async def test_a_copy_to_a_file_misses_nobody_either(
    settings: Settings,
    replica_url: str,
    standby: Connection,
    storefront: Storefront,
    tmp_path: Path,
    wait_s: float,
) -> None:
    changes = {"audience_database_url": replica_url, "replica_wait_s": wait_s}
    await pause_replay(standby)
    await storefront.follow("new@x.co")
    merge = Merge(1, ("follower",), FileOptions(columns=("email",)))
    file = tmp_path / "list.csv"
    copying = asyncio.create_task(export_to_file(settings.model_copy(update=changes), merge, file))
    if wait_s > 1:
        await until(lambda: is_waiting(standby))
        assert not file.exists()
        await resume_replay(standby)
    copied = await copying
    assert (copied.rows, file.read_bytes()) == (1, b"Email\nnew@x.co\n")


async def test_the_snapshot_is_dated_by_what_the_replica_has_replayed(
    create_export: Ask, make: Make, standby: Connection, storefront: Storefront
) -> None:
    export = await create_export()
    await replayed(standby, export.required_lsn)
    await pause_replay(standby)
    paused_at = await storefront.connection.fetchval("SELECT clock_timestamp()")
    await storefront.follow("late@x.co")
    ended = await attempted(make(wait_s=20), export, storefront.connection)
    assert ended.file_rows == 0
    assert ended.snapshot_at is not None
    assert ended.created_at <= ended.snapshot_at <= paused_at


async def test_a_replica_that_stays_behind_is_left_for_the_primary(
    create_export: Ask, make: Make, standby: Connection, storefront: Storefront
) -> None:
    await pause_replay(standby)
    await storefront.follow("new@x.co")
    export, exporter = await create_export(), make(wait_s=0.05)
    for _ in range(MAX_REPLICA_ATTEMPTS):
        ended = await attempted(exporter, export, storefront.connection)
        assert (ended.status, ended.error_code) == ("queued", "replica_behind")
        assert ended.failures == 0
    ended = await attempted(exporter, export, storefront.connection)
    assert (ended.status, ended.file_rows) == ("succeeded", 1)


async def test_a_read_that_replay_cancels_is_tried_again_and_then_left_for_the_primary(
    create_export: Ask,
    make: Make,
    standby: Connection,
    connection: Connection,
    storage: MemoryStorage,
) -> None:
    await connection.execute(WIDE_MEMBERS)
    export, exporter = await create_export(), make(wait_s=20)

    async def conflict(method: str) -> None:
        if method == "create_upload":
            await connection.execute("""
                DELETE FROM audience_members
                WHERE ctid IN (SELECT ctid FROM audience_members LIMIT 10)
            """)
            await connection.execute("VACUUM (FREEZE) audience_members")

    storage.before = conflict
    for _ in range(MAX_REPLICA_ATTEMPTS):
        ended = await attempted(exporter, export, connection)
        assert (ended.status, ended.error_code) == ("queued", "source_busy")
    assert storage.uploads == {}
    await pause_replay(standby)
    await connection.execute("DELETE FROM audience_members")
    ended = await attempted(exporter, export, connection)
    assert (ended.status, ended.file_rows) == ("succeeded", 0)


async def test_a_server_that_is_no_standby_is_not_waited_for(connection: Connection) -> None:
    target = ReplayTarget(datetime.now(UTC), FUTURE_LSN, 60)
    async with asyncio.timeout(5):
        assert await wait_for_replay(DatabaseConnection(connection), target) is None


async def test_a_count_that_replay_cancels_comes_from_the_primary(
    database: Database,
    replica_database: Database,
    standby: Connection,
    storefront: Storefront,
) -> None:
    for number in range(10):
        await storefront.follow(f"{number}@x.co")
    lsn = await storefront.connection.fetchval(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
    )
    await replayed(standby, lsn)

    async def dawdle(server: Database) -> int | None:
        row = await server.fetchrow(COUNT_SLOWLY)
        return row and int(row[0])

    async def is_reading() -> bool:
        return bool(
            await standby.fetchval("""
                SELECT count(*) FROM pg_stat_activity
                WHERE wait_event = 'PgSleep' AND datname = current_database()
            """)
        )

    reading = asyncio.create_task(read_from_replica_or_primary(replica_database, database, dawdle))
    await until(is_reading)
    await storefront.connection.execute("DELETE FROM followers WHERE email < '5'")
    await storefront.connection.execute("VACUUM (FREEZE) audience_members")
    assert await reading == 5


async def test_streams_share_a_snapshot_of_a_replica_but_not_of_its_primary(
    database: Database, replica_database: Database
) -> None:
    async with open_snapshot(replica_database, "first") as (first, *_):
        shared = await export_snapshot(first)
        assert shared is not None
        async with open_snapshot(replica_database, "second", shared=shared) as (second, *_):
            snapshots = [
                await each.connection.fetchval("SELECT pg_current_snapshot()")
                for each in (first, second)
            ]
            assert snapshots[0] == snapshots[1]
        with pytest.raises(SnapshotNotShared):
            async with open_snapshot(database, "third", shared=shared):
                pass
