"""A large list from the database to the store, in ranges of equal size."""

import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import cast

import pytest

from app.audience.key_ranges import BOUNDARIES, RANGE_SAMPLES, ranges_between
from app.audience.merge import FORMULAS_END, Merge, merge_sql
from app.config import Settings
from app.database.connections import Connection, connect, create_engine
from app.database.database import Database, DatabaseConnection
from app.exports.execution.file_formats import FILE_FORMATS, XLSX, FileFormat
from app.exports.execution.multipart_upload import Progress, open_multipart_upload
from app.exports.execution.pipeline import LARGE_RANGES, CopyJob, stream_export
from app.exports.execution.snapshot import open_snapshot
from app.exports.execution.stream_growth import StreamLimits
from app.exports.execution.xlsx import XlsxWriter
from app.models import FileOptions
from app.ports import ObjectStorage
from devstack.postgres import PostgresServer
from devstack.s3 import Store
from tests.adapters.conftest import open_store
from tests.fakes import MemoryStorage

MEMBERS = 120_000
SHEETS = 3
LARGE, SPREAD, SMALL = 1, 2, 3
"""Sellers: all addresses have the same first bytes, or have not, or are few."""

HEADER = b"Email,Subscribed At (UTC),Sources\n"
KEY = "exports/1/x/1.csv"


@pytest.fixture(scope="module")
async def large_url(postgres: PostgresServer, migrated_template: str) -> AsyncIterator[str]:
    """A database with three sellers."""
    url = postgres.create_database("large", template=migrated_template)
    connection = await connect(url)
    await connection.execute(
        f"""
        INSERT INTO audience_members (seller_id, email, follower_since, customer_since)
        SELECT
            CASE WHEN number % 100 = 0 THEN {SMALL} ELSE {LARGE} + number % 2 END,
            CASE
                WHEN number < 100 THEN '=' || number || '@x.co'
                WHEN number % 2 = 0 THEN 'all.have.the.same.first.bytes.' || number || '@x.co'
                ELSE md5(number::text) || '@x.co'
            END,
            CASE WHEN number % 3 < 2 THEN timestamptz '2026-01-01 UTC' END,
            CASE WHEN number % 3 > 0 THEN timestamptz '2025-12-31 23:59:59.999 UTC' END
        FROM generate_series(1, {2 * MEMBERS}) AS number
        """
    )
    await connection.execute("VACUUM ANALYZE audience_members")
    await connection.close()
    yield url
    postgres.drop_database("large")


@pytest.fixture
async def database(large_url: str) -> AsyncIterator[Database]:
    """A database on the large database."""
    database = Database(create_engine(large_url, pool_size=5))
    yield database
    await database.close()


@pytest.fixture
async def connection(large_url: str) -> AsyncIterator[Connection]:
    """One connection to the large database."""
    connection = await connect(large_url)
    yield connection
    await connection.close()


def merge(seller_id: int) -> Merge:
    """Return what is sql for: all that can differ from row to row."""
    columns = ("email", "subscribed_at", "sources")
    return Merge(seller_id, ("follower", "customer"), FileOptions(columns=columns))


async def export(
    database: Database, storage: ObjectStorage, settings: Settings, seller_id: int, streams: int
) -> Progress:
    """Export a seller's list over this many streams."""
    progress = Progress()
    async with open_multipart_upload(storage, KEY, settings, progress) as sink:
        await stream_export(
            CopyJob(
                database,
                "export 1",
                merge(seller_id),
                sink,
                progress,
                StreamLimits(streams, streams),
                timeout_s=60,
            )
        )
        await sink.finish()
    return progress


async def expected(connection: Connection, seller_id: int) -> bytes:
    """Return the file as one COPY of all would be."""
    file = bytearray(HEADER)

    async def add(data: bytes) -> None:
        file.extend(data)

    await connection.copy_from_query(merge_sql(merge(seller_id)), output=add, format="csv")
    return bytes(file)


async def test_all_that_was_committed_before_the_snapshots_instant_is_in_the_file(
    database: Database,
    connection: Connection,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new connection prepares its first statement, and so has its snapshot, a trip earlier."""
    prepare = DatabaseConnection._prepare
    committed: list[datetime] = []

    async def commit_in_between(self: DatabaseConnection, sql: str) -> object:
        prepared = await prepare(self, sql)
        if sql.startswith("SELECT") and "taken_at" in sql:
            await connection.execute(
                "INSERT INTO audience_members (seller_id, email, follower_since)"
                " VALUES (4, 'late@x.co', now())"
            )
            committed.append(await connection.fetchval("SELECT clock_timestamp()"))
        return prepared

    monkeypatch.setattr(DatabaseConnection, "_prepare", commit_in_between)
    progress = await export(database, MemoryStorage(), settings, seller_id=4, streams=1)
    await connection.execute("DELETE FROM audience_members WHERE seller_id = 4")
    assert progress.rows == 0
    assert progress.snapshot_at is not None
    assert [progress.snapshot_at < at for at in committed] == [True]


def boundaries(seller_id: int) -> str:
    """Return what asks for the boundaries of a seller's ranges."""
    sql = BOUNDARIES.replace(":seller_id", str(seller_id))
    return "SELECT " + sql.replace(":samples", str(RANGE_SAMPLES))


@pytest.mark.parametrize("seller_id", [LARGE, SPREAD])
async def test_ranges_have_about_equal_rows_however_the_addresses_are_spread(
    connection: Connection, seller_id: int
) -> None:
    found = await connection.fetchval(boundaries(seller_id))
    emails = [
        row["email"]
        for row in await connection.fetch(
            "SELECT email FROM audience_members WHERE seller_id = $1 ORDER BY email", seller_id
        )
    ]
    places = [0, *map(emails.index, found), len(emails)]
    sizes = [high - low for low, high in pairwise(places)]
    assert len(sizes) > LARGE_RANGES
    assert all(size < 2 * RANGE_SAMPLES * 1024 for size in sizes)
    assert all(size > RANGE_SAMPLES * 1024 / 2 for size in sizes[:-1])


async def test_the_boundaries_are_read_from_the_sample_alone(connection: Connection) -> None:
    plan = await connection.fetch(f"EXPLAIN {boundaries(LARGE)}")
    assert any("Index Only Scan using audience_members_sample_idx" in row[0] for row in plan)


@pytest.mark.parametrize("seller_id", [LARGE, SPREAD])
async def test_every_range_is_read_from_the_index_alone(
    connection: Connection, database: Database, seller_id: int
) -> None:
    found = await connection.fetchval(boundaries(seller_id))
    ranges = ranges_between(sorted({FORMULAS_END, *found}))
    assert len(ranges) > LARGE_RANGES
    async with open_snapshot(database, "export 1") as (inside, *_):
        for keys in ranges:
            plan = await inside.connection.fetch(f"EXPLAIN {merge_sql(merge(seller_id), keys)}")
            steps = [row[0].strip().removeprefix("->").strip() for row in plan]
            (scan,) = [step for step in steps if "Scan" in step]
            assert scan.startswith("Index Only Scan using audience_members_pkey")
            (condition,) = [step for step in steps if step.startswith("Index Cond")]
            assert condition.count("email") == sum(
                bound is not None for bound in (keys.low, keys.high)
            )
            assert not any(step.startswith("Sort") for step in steps)


@pytest.mark.parametrize("streams", [1, 2, 4])
@pytest.mark.parametrize("seller_id", [LARGE, SPREAD])
async def test_a_large_list_is_the_same_file_over_any_number_of_streams(
    database: Database,
    connection: Connection,
    storage: MemoryStorage,
    settings: Settings,
    seller_id: int,
    streams: int,
) -> None:
    progress = await export(database, storage, settings, seller_id, streams)
    file = await expected(connection, seller_id)
    assert storage.objects == {KEY: file}
    assert (progress.rows, progress.bytes) == (file.count(b"\n") - 1, len(file))


async def workbook(
    database: Database, storage: MemoryStorage, settings: Settings, streams: int
) -> dict[str, bytes]:
    """Export a list as a workbook and return the content of each part."""
    asked = merge(SPREAD)
    asked = replace(asked, options=replace(asked.options, format="xlsx"))
    progress = Progress()
    async with open_multipart_upload(storage, KEY, settings, progress) as sink:
        await stream_export(
            CopyJob(
                database,
                "export 1",
                asked,
                sink,
                progress,
                StreamLimits(streams, streams),
                timeout_s=60,
            )
        )
        await sink.finish()
    file = bytes(storage.objects[KEY])
    assert progress.bytes == len(file)
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert sum(part.count(b"</row>") for part in parts.values()) == progress.rows + SHEETS
    return parts


async def test_a_workbook_has_the_same_content_over_any_number_of_streams(
    database: Database,
    storage: MemoryStorage,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smaller = replace(XLSX, writer=partial(XlsxWriter, sheet_rows=MEMBERS // SHEETS))
    monkeypatch.setitem(cast("dict[str, FileFormat]", FILE_FORMATS), "xlsx", smaller)
    alone = await workbook(database, storage, settings, streams=1)
    assert len(alone) == 5 + SHEETS
    assert await workbook(database, storage, settings, streams=4) == alone


async def test_a_small_list_takes_one_connection_and_one_put(
    database: Database, storage: MemoryStorage, settings: Settings
) -> None:
    calls = []

    async def look(method: str) -> None:
        calls.append(method)

    storage.before = look
    progress = await export(database, storage, settings, SMALL, streams=4)
    assert progress.rows == 2 * MEMBERS // 100
    assert calls == ["put"]
    assert database.engine.pool.checkedin() == 1  # type: ignore[attr-defined]


async def test_several_ranges_are_one_object_in_a_real_store(
    database: Database, connection: Connection, s3_store: Store, settings: Settings
) -> None:
    async with open_store(s3_store) as bucket:
        await export(database, bucket.storage, settings, LARGE, streams=3)
        assert bucket.read(KEY) == await expected(connection, LARGE)
        assert [upload async for upload in bucket.storage.list_uploads(KEY)] == []
