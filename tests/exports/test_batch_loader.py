"""Reading rows for many at once: one query, the right row for each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.database.connections import create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable, ExportNotFound
from app.exports.batch_loader import ExportLoader, open_export_loader
from app.models import ExportKey
from tests.statements import recorded_statements

INSERT = """
    INSERT INTO exports
        (seller_id, sources, columns, spreadsheet_safe, bom, recipient_email, fingerprint)
    VALUES (:seller_id, '{follower}', '{email}', true, false, 'a@example.com', '')
    RETURNING id
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's own database."""
    database = Database(create_engine(database_url, 2))
    yield database
    await database.close()


@pytest.fixture
async def readings(database: Database) -> AsyncIterator[ExportLoader]:
    """The readings of the test."""
    async with open_export_loader(database) as readings:
        yield readings


async def add(database: Database, seller_id: int) -> UUID:
    async with database.engine.begin() as connection:
        export_id: UUID = (
            await connection.execute(text(INSERT), {"seller_id": seller_id})
        ).scalar_one()
        return export_id


async def test_a_crowd_of_readers_is_one_query(database: Database, readings: ExportLoader) -> None:
    ids = {seller_id: await add(database, seller_id) for seller_id in range(1, 6)}
    keys = list(ids.items()) * 20
    with recorded_statements() as statements:
        found = await asyncio.gather(*(readings.load(ExportKey(*each)) for each in keys))
    assert [(each.seller_id, each.id) for each in found] == keys
    assert len(statements) == 1


async def test_a_row_is_read_for_its_own_seller_only(
    database: Database, readings: ExportLoader
) -> None:
    export_id = await add(database, 1)
    loads = (
        readings.load(ExportKey(2, export_id)),
        readings.load(ExportKey(1, uuid4())),
        readings.load(ExportKey(1, export_id)),
    )
    others, nobodys, own = await asyncio.gather(*loads, return_exceptions=True)
    assert isinstance(others, ExportNotFound)
    assert isinstance(nobodys, ExportNotFound)
    assert not isinstance(own, BaseException)


async def test_a_reader_who_leaves_does_not_disturb_the_others(
    database: Database, readings: ExportLoader
) -> None:
    export_id = await add(database, 1)
    leaving, staying = (
        asyncio.create_task(readings.load(ExportKey(1, export_id))) for _ in range(2)
    )
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).id == export_id
    with suppress(asyncio.CancelledError):
        await leaving


async def test_every_caller_gets_the_error_of_an_unavailable_database() -> None:
    database = Database(create_engine("postgresql://127.0.0.1:1/nowhere", 1))
    async with open_export_loader(database) as readings:
        loads = [readings.load(ExportKey(seller_id, uuid4())) for seller_id in (1, 2)]
        answers = await asyncio.gather(*loads, return_exceptions=True)
    assert all(isinstance(each, DatabaseUnavailable) for each in answers)


async def test_who_waits_at_the_end_is_sent_away(database: Database) -> None:
    async with open_export_loader(database) as readings:
        waiting = asyncio.create_task(readings.load(ExportKey(1, uuid4())))
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
