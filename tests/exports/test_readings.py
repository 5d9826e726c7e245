"""Reading rows for many at once: one query, the right row for each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import create_engine, transaction
from app.errors import DatabaseUnavailable, ExportNotFound
from app.exports.readings import Readings, open_readings

INSERT = """
    INSERT INTO exports
        (seller_id, sources, columns, spreadsheet_safe, bom, recipient_email, fingerprint)
    VALUES (:seller_id, '{follower}', '{email}', true, false, 'a@example.com', '')
    RETURNING id
"""


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The test's own database."""
    engine = create_engine(database_url, 2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def readings(engine: AsyncEngine) -> AsyncIterator[Readings]:
    """The readings of the test."""
    async with open_readings(engine) as readings:
        yield readings


async def add(engine: AsyncEngine, seller_id: int) -> UUID:
    async with transaction(engine) as connection:
        export_id: UUID = (
            await connection.execute(text(INSERT), {"seller_id": seller_id})
        ).scalar_one()
        return export_id


async def test_a_crowd_of_readers_is_one_query(engine: AsyncEngine, readings: Readings) -> None:
    ids = {seller_id: await add(engine, seller_id) for seller_id in range(1, 6)}
    statements: list[str] = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: statements.append(statement),
    )
    asked = list(ids.items()) * 20
    found = await asyncio.gather(*(readings.read(*each) for each in asked))
    assert [(each.seller_id, each.id) for each in found] == asked
    assert len(statements) == 1


async def test_a_row_is_read_for_its_own_seller_only(
    engine: AsyncEngine, readings: Readings
) -> None:
    export_id = await add(engine, 1)
    asked = (readings.read(2, export_id), readings.read(1, uuid4()), readings.read(1, export_id))
    others, nobodys, own = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(others, ExportNotFound)
    assert isinstance(nobodys, ExportNotFound)
    assert not isinstance(own, BaseException)


async def test_a_reader_who_leaves_does_not_disturb_the_others(
    engine: AsyncEngine, readings: Readings
) -> None:
    export_id = await add(engine, 1)
    leaving, staying = (asyncio.create_task(readings.read(1, export_id)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).id == export_id
    with suppress(asyncio.CancelledError):
        await leaving


async def test_everybody_hears_that_the_database_is_away() -> None:
    engine = create_engine("postgresql://127.0.0.1:1/nowhere", 1)
    async with open_readings(engine) as readings:
        asked = [readings.read(seller_id, uuid4()) for seller_id in (1, 2)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, DatabaseUnavailable) for each in answers)


async def test_who_waits_at_the_end_is_sent_away(engine: AsyncEngine) -> None:
    async with open_readings(engine) as readings:
        waiting = asyncio.create_task(readings.read(1, uuid4()))
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
